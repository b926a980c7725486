/* The int8 matrix product by sdot, four products a lane. Packed weights are [ceil(k / 4)][16][4] bytes. */
#include "kernel/arm/neon_tier.h"

#include "kernel/int8.h"
#include "kernel/tiers.h"

#define EMB_NEON_TO_BF16(x) emb_neon_to_bf16(x)
#include "kernel/arm/neon_int8_end.h"

#define MR EMB_NEON_MR
#define NR EMB_NEON_NR
#define LANES EMB_NEON_LANES
#define VECTORS EMB_NEON_VECTORS
#define K_STEP 4
#define A_BYTES 16 /* of a row at a time */

/* sum += one lane of each row's a times the panel's w, at [vectors][4][4]. */
#define STEP(sum, a, w, lane, rows, vectors)                                                                           \
    do {                                                                                                               \
        EMB_UNROLL for (size_t v_ = 0; v_ < (vectors); v_++)                                                           \
        {                                                                                                              \
            int8x16_t b_ = vld1q_s8((w) + v_ * LANES * K_STEP);                                                        \
            EMB_UNROLL for (size_t r_ = 0; r_ < (rows); r_++)                                                          \
            {                                                                                                          \
                (sum)[r_][v_] = vdotq_laneq_s32((sum)[r_][v_], b_, (a)[r_], lane);                                     \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

EMB_NEON_INLINE void tile_i8(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const int8_t *a = t->a, *w = t->panel;
    size_t lda = t->lda, k = t->k, p = 0;
    int32x4_t sum[MR][VECTORS];
    int8x16_t x[MR];
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            sum[r][v] = vdupq_n_s32(0);
        }
    }
    for (; p + A_BYTES <= k; p += A_BYTES) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            x[r] = vld1q_s8(a + r * lda + p);
        }
        STEP(sum, x, w + p * NR, 0, rows, vectors);
        STEP(sum, x, w + (p + 4) * NR, 1, rows, vectors);
        STEP(sum, x, w + (p + 8) * NR, 2, rows, vectors);
        STEP(sum, x, w + (p + 12) * NR, 3, rows, vectors);
    }
    for (; p < k; p += K_STEP) {
        size_t count = k - p < K_STEP ? k - p : K_STEP;
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            uint32_t quad = 0;
            memcpy(&quad, a + r * lda + p, count);
            x[r] = vreinterpretq_s8_u32(vdupq_n_u32(quad));
        }
        STEP(sum, x, w + p * NR, 0, rows, vectors);
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            put_sums(t, r, v, sum[r][v]);
        }
    }
}

EMB_PANEL_TILES_4(i8)

static const struct emb_panel_kernel kernel = {
    .nr = NR,
    .mr = MR,
    .lanes = LANES,
    .a_size = sizeof(int8_t),
    .element = sizeof(int8_t),
    .k_step = K_STEP,
    .end = EMB_PANEL_END_I8(NR),
    .tiles = tiles_i8,
    .finish = finish,
    .i8 = &emb_i8_rows_neon,
};

EMB_PANEL_FUNCTIONS(i8, kernel)
void emb_kernels_init_dotprod(struct emb_kernels *t)
{
    t->gemm_i8 = (struct emb_gemm){
        .name = "i8_dotprod",
        .native = true,
        .nr = NR,
        .mr = MR,
        .a_size = sizeof(int8_t),
        .encode = emb_encode_i8_neon,
        EMB_PANEL_MEMBERS(i8),
    };
}
