/* Matrix products for the base of armv8-a: f32, and bf16 widened in registers.
 *
 * A tile is up to 6 rows by 4 vectors (neon_tile.h). Packed bf16 is [k][16], not pairs, so that a load gives the
 * columns in order. */
#include "kernel/arm/neon_tier.h"

#include "kernel/bf16.h"

#define EMB_NEON_TO_BF16(x) emb_neon_to_bf16(x)
#include "kernel/arm/neon_finish.h"

#define MR EMB_NEON_MR
#define NR EMB_NEON_NR
#define LANES EMB_NEON_LANES
#define VECTORS EMB_NEON_VECTORS

EMB_NEON_INLINE void put_tile(const struct emb_panel_tile *t, float32x4_t acc[MR][VECTORS], size_t rows, size_t vectors)
{
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            put_values(t, r, v, acc[r][v]);
        }
    }
}

EMB_NEON_INLINE void tile_f32(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    float32x4_t acc[MR][VECTORS];
    emb_neon_clear(acc, rows, vectors);
    emb_neon_multiply(acc, t->a, t->lda, t->panel, NR, t->k, rows, vectors);
    put_tile(t, acc, rows, vectors);
}

/* acc += one lane of each row's a times a row of the panel. By hand, as gcc 12 spills around the intrinsic here. */
#define STEP_BF16(acc, a, w, lane, rows, vectors)                                                                      \
    do {                                                                                                               \
        EMB_UNROLL for (size_t v_ = 0; v_ < (vectors); v_++)                                                           \
        {                                                                                                              \
            float32x4_t b_ = emb_neon_widen(vld1_u16((w) + v_ * LANES));                                               \
            EMB_UNROLL for (size_t r_ = 0; r_ < (rows); r_++)                                                          \
            {                                                                                                          \
                __asm__("fmla %0.4s, %1.4s, %2.s[" #lane "]" : "+w"((acc)[r_][v_]) : "w"(b_), "w"((a)[r_]));           \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

EMB_NEON_INLINE void tile_bf16(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const emb_bf16 *a = t->a, *w = t->panel;
    size_t lda = t->lda, k = t->k, p = 0;
    float32x4_t acc[MR][VECTORS], x[MR];
    emb_neon_clear(acc, rows, vectors);
    for (; p + 4 <= k; p += 4) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            x[r] = emb_neon_widen(vld1_u16(a + r * lda + p));
        }
        STEP_BF16(acc, x, w + p * NR, 0, rows, vectors);
        STEP_BF16(acc, x, w + (p + 1) * NR, 1, rows, vectors);
        STEP_BF16(acc, x, w + (p + 2) * NR, 2, rows, vectors);
        STEP_BF16(acc, x, w + (p + 3) * NR, 3, rows, vectors);
    }
    for (; p < k; p++) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            x[r] = vdupq_n_f32(emb_bf16_to_f32(a[r * lda + p]));
        }
        STEP_BF16(acc, x, w + p * NR, 0, rows, vectors);
    }
    put_tile(t, acc, rows, vectors);
}

EMB_PANEL_TILES_4(f32)
EMB_PANEL_TILES_4(bf16)

static const struct emb_panel_kernel kernel_f32 = {
    .nr = NR,
    .mr = MR,
    .lanes = LANES,
    .a_size = sizeof(float),
    .element = sizeof(float),
    .k_step = 1,
    .tiles = tiles_f32,
    .finish = finish,
};

static const struct emb_panel_kernel kernel_bf16 = {
    .nr = NR,
    .mr = MR,
    .lanes = LANES,
    .a_size = sizeof(emb_bf16),
    .element = sizeof(emb_bf16),
    .k_step = 1,
    .tiles = tiles_bf16,
    .finish = finish,
};

EMB_PANEL_FUNCTIONS(f32, kernel_f32)
EMB_PANEL_FUNCTIONS(bf16, kernel_bf16)

static void encode_bf16(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    (void)scales;
    emb_f32_to_bf16_neon(x, rows * k, a);
}

const struct emb_gemm emb_gemm_f32_neon = {
    .name = "f32_neon",
    .native = true,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(float),
    EMB_PANEL_MEMBERS(f32),
};

const struct emb_gemm emb_gemm_bf16_neon = {
    .name = "bf16_neon",
    .native = false,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(emb_bf16),
    .encode = encode_bf16,
    EMB_PANEL_MEMBERS(bf16),
};
