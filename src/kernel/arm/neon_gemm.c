/* Matrix products for the base of armv8-a: f32, and bf16 widened in registers.
 *
 * A tile is up to 6 rows by 4 vectors (neon_tile.h). Packed bf16 is [k][16], not pairs, so that a load gives the
 * columns in order. */
#include "kernel/arm/neon_tier.h"

#include "kernel/bf16.h"

#define EMB_NEON_TO_BF16(x) emb_neon_to_bf16(x)
#include "kernel/arm/neon_finish.h"

#include <string.h>

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

EMB_NEON_TILES(f32)
EMB_NEON_TILES(bf16)

static emb_panel_tile_fn *const tiles_f32[] = {EMB_NEON_NAMES(f32)};
static emb_panel_tile_fn *const tiles_bf16[] = {EMB_NEON_NAMES(bf16)};

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

void emb_pack_bf16_neon(emb_bf16 *dst, const float *w, size_t r0, size_t r1, size_t k, size_t nr, size_t step)
{
    size_t elements = ((k + step - 1) / step * step * nr + 31) / 32 * 32;
    for (size_t c0 = r0; c0 < r1; c0 += nr) {
        emb_bf16 *panel = dst + c0 / nr * elements;
        size_t columns = r1 - c0 < nr ? r1 - c0 : nr;
        memset(panel, 0, elements * sizeof(*panel));
        for (size_t p = 0; p < k; p += step) {
            size_t count = k - p < step ? k - p : step;
            for (size_t c = 0; c < columns; c++) {
                for (size_t i = 0; i < count; i++) {
                    panel[p * nr + c * step + i] = emb_bf16_from_f32(w[(c0 - r0 + c) * k + p + i]);
                }
            }
        }
    }
}

static size_t size_f32(size_t n, size_t k)
{
    return emb_panel_size(n, k, &kernel_f32);
}

static size_t size_bf16(size_t n, size_t k)
{
    return emb_panel_size(n, k, &kernel_bf16);
}

static void encode_bf16(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    (void)scales;
    emb_f32_to_bf16_neon(x, rows * k, a);
}

static void pack_f32(void *dst, const float *w, size_t r0, size_t r1, size_t n, size_t k)
{
    (void)n;
    emb_panel_pack_f32(dst, w, r0, r1, k, NR);
}

static void pack_bf16(void *dst, const float *w, size_t r0, size_t r1, size_t n, size_t k)
{
    (void)n;
    emb_pack_bf16_neon(dst, w, r0, r1, k, NR, 1);
}

static void run_f32(const struct emb_gemm_job *job)
{
    emb_panel_run(job, &kernel_f32);
}

static void run_bf16(const struct emb_gemm_job *job)
{
    emb_panel_run(job, &kernel_bf16);
}

const struct emb_gemm emb_gemm_f32_neon = {
    .name = "f32_neon",
    .native = true,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(float),
    .packed_size = size_f32,
    .pack = pack_f32,
    .run = run_f32,
};

const struct emb_gemm emb_gemm_bf16_neon = {
    .name = "bf16_neon",
    .native = false,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(emb_bf16),
    .encode = encode_bf16,
    .packed_size = size_bf16,
    .pack = pack_bf16,
    .run = run_bf16,
};
