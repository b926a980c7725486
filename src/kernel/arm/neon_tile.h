/* The inner loop that matrix products and attention share on ARM: a tile of up to 6 rows by 4 vectors, whose 24
 * accumulators, 6 vectors of a and one of b fill the 32 registers. */
#ifndef EMB_KERNEL_NEON_TILE_H
#define EMB_KERNEL_NEON_TILE_H

#include "kernel/panel.h"

#include <arm_neon.h>
#include <stddef.h>

#define EMB_NEON_MR 6
#define EMB_NEON_VECTORS 4
#define EMB_NEON_NR 16
#define EMB_NEON_LANES 4
#define EMB_NEON_INLINE static inline __attribute__((always_inline))

/* acc += b, at [vectors][4], times one lane of each row's a. A macro, for the lane must be a literal. */
#define EMB_NEON_STEP_F32(acc, a, b, lane, rows, vectors)                                                              \
    do {                                                                                                               \
        EMB_UNROLL for (size_t v_ = 0; v_ < (vectors); v_++)                                                           \
        {                                                                                                              \
            float32x4_t b_ = vld1q_f32((b) + v_ * EMB_NEON_LANES);                                                     \
            EMB_UNROLL for (size_t r_ = 0; r_ < (rows); r_++)                                                          \
            {                                                                                                          \
                (acc)[r_][v_] = vfmaq_laneq_f32((acc)[r_][v_], b_, (a)[r_], lane);                                     \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

EMB_NEON_INLINE void emb_neon_clear(float32x4_t acc[EMB_NEON_MR][EMB_NEON_VECTORS], size_t rows, size_t vectors)
{
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = vdupq_n_f32(0.0f);
        }
    }
}

/* acc += a [rows, k] * b [k, vectors * 4] in rising k; rows of a are lda apart, those of b ldb. */
EMB_NEON_INLINE void emb_neon_multiply(float32x4_t acc[EMB_NEON_MR][EMB_NEON_VECTORS], const float *a, size_t lda,
                                       const float *b, size_t ldb, size_t k, size_t rows, size_t vectors)
{
    float32x4_t x[EMB_NEON_MR];
    size_t p = 0;
    for (; p + 4 <= k; p += 4) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            x[r] = vld1q_f32(a + r * lda + p);
        }
        EMB_NEON_STEP_F32(acc, x, b + p * ldb, 0, rows, vectors);
        EMB_NEON_STEP_F32(acc, x, b + (p + 1) * ldb, 1, rows, vectors);
        EMB_NEON_STEP_F32(acc, x, b + (p + 2) * ldb, 2, rows, vectors);
        EMB_NEON_STEP_F32(acc, x, b + (p + 3) * ldb, 3, rows, vectors);
    }
    for (; p < k; p++) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            x[r] = vdupq_n_f32(a[r * lda + p]);
        }
        EMB_NEON_STEP_F32(acc, x, b + p * ldb, 0, rows, vectors);
    }
}

#endif
