/* Matrix products of bf16 by bfmmla, two rows by two columns over four elements of k in one instruction; and
 * conversion by bfcvtn.
 *
 * bfmmla takes denormals as zero, adds the four products in its own fixed order and rounds to odd; over fours the
 * chain rises, in every tile alike. Packed weights are [ceil(k / 4)][16][4], so a load is two columns. Of an odd
 * number of rows the last is multiplied twice, and put once. */
#include "kernel/arm/neon_tier.h"

#include "kernel/tiers.h"

#define EMB_NEON_TO_BF16(x) vreinterpret_u16_bf16(vcvt_bf16_f32(x))
#include "kernel/arm/neon_finish.h"

#include <string.h>

#define MR EMB_NEON_MR
#define NR EMB_NEON_NR
#define LANES EMB_NEON_LANES
#define VECTORS EMB_NEON_VECTORS
#define PAIRS (MR / 2)
#define K_STEP 4
#define A_ELEMENTS 8 /* of a row at a time */

/* acc[i][j] += rows 2i, 2i + 1 of a times columns 2j, 2j + 1 of w. */
EMB_NEON_INLINE void step(float32x4_t acc[PAIRS][2 * VECTORS], const uint16x8_t a[PAIRS], const emb_bf16 *w,
                          size_t pairs, size_t columns)
{
    EMB_UNROLL
    for (size_t j = 0; j < columns; j++) {
        bfloat16x8_t b = vreinterpretq_bf16_u16(vld1q_u16(w + j * 2 * K_STEP));
        EMB_UNROLL
        for (size_t i = 0; i < pairs; i++) {
            acc[i][j] = vbfmmlaq_f32(acc[i][j], vreinterpretq_bf16_u16(a[i]), b);
        }
    }
}

/* Up to 8 elements of a row, then zeros. */
EMB_NEON_INLINE uint16x8_t load_tail(const emb_bf16 *a, size_t count)
{
    emb_bf16 elements[A_ELEMENTS] = {0};
    memcpy(elements, a, count * sizeof(*a));
    return vld1q_u16(elements);
}

EMB_NEON_INLINE void join(uint16x8_t first, uint16x8_t second, uint16x8_t *low, uint16x8_t *high)
{
    uint64x2_t a = vreinterpretq_u64_u16(first), b = vreinterpretq_u64_u16(second);
    *low = vreinterpretq_u16_u64(vzip1q_u64(a, b));
    *high = vreinterpretq_u16_u64(vzip2q_u64(a, b));
}

EMB_NEON_INLINE void put_pair(const struct emb_panel_tile *t, size_t r, size_t rows, size_t v, float32x4_t first,
                              float32x4_t second)
{
    float64x2_t a = vreinterpretq_f64_f32(first), b = vreinterpretq_f64_f32(second);
    put_values(t, r, v, vreinterpretq_f32_f64(vzip1q_f64(a, b)));
    if (r + 1 < rows) {
        put_values(t, r + 1, v, vreinterpretq_f32_f64(vzip2q_f64(a, b)));
    }
}

EMB_NEON_INLINE void tile_bf16(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const emb_bf16 *a = t->a, *w = t->panel;
    size_t lda = t->lda, k = t->k, p = 0, pairs = (rows + 1) / 2;
    float32x4_t acc[PAIRS][2 * VECTORS];
    uint16x8_t low[PAIRS], high[PAIRS];
    EMB_UNROLL
    for (size_t i = 0; i < pairs; i++) {
        EMB_UNROLL
        for (size_t j = 0; j < 2 * vectors; j++) {
            acc[i][j] = vdupq_n_f32(0.0f);
        }
    }
    for (; p + A_ELEMENTS <= k; p += A_ELEMENTS) {
        EMB_UNROLL
        for (size_t i = 0; i < pairs; i++) {
            size_t second = 2 * i + 1 < rows ? 2 * i + 1 : 2 * i;
            join(vld1q_u16(a + 2 * i * lda + p), vld1q_u16(a + second * lda + p), low + i, high + i);
        }
        step(acc, low, w + p * NR, pairs, 2 * vectors);
        step(acc, high, w + (p + K_STEP) * NR, pairs, 2 * vectors);
    }
    if (p < k) {
        EMB_UNROLL
        for (size_t i = 0; i < pairs; i++) {
            size_t second = 2 * i + 1 < rows ? 2 * i + 1 : 2 * i;
            join(load_tail(a + 2 * i * lda + p, k - p), load_tail(a + second * lda + p, k - p), low + i, high + i);
        }
        step(acc, low, w + p * NR, pairs, 2 * vectors);
        if (k - p > K_STEP) {
            step(acc, high, w + (p + K_STEP) * NR, pairs, 2 * vectors);
        }
    }
    EMB_UNROLL
    for (size_t i = 0; i < pairs; i++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            put_pair(t, 2 * i, rows, v, acc[i][2 * v], acc[i][2 * v + 1]);
        }
    }
}

EMB_PANEL_TILES_4(bf16)

static const struct emb_panel_kernel kernel_bf16 = {
    .nr = NR,
    .mr = MR,
    .lanes = LANES,
    .a_size = sizeof(emb_bf16),
    .element = sizeof(emb_bf16),
    .k_step = K_STEP,
    .tiles = tiles_bf16,
    .finish = finish,
};

EMB_PANEL_FUNCTIONS(bf16, kernel_bf16)

static void f32_to_bf16(const float *x, size_t n, emb_bf16 *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t count = n - i < LANES ? n - i : LANES;
        emb_neon_store_bf16(y + i, count, EMB_NEON_TO_BF16(emb_neon_load_part(x + i, count)));
    }
}

static void encode(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    (void)scales;
    f32_to_bf16(x, rows * k, a);
}

void emb_kernels_init_bf16(struct emb_kernels *t)
{
    t->f32_to_bf16 = f32_to_bf16;
    t->gemm_bf16 = (struct emb_gemm){
        .name = "bf16_bf16",
        .native = true,
        .nr = NR,
        .mr = MR,
        .a_size = sizeof(emb_bf16),
        .encode = encode,
        EMB_PANEL_MEMBERS(bf16),
    };
}
