/* The int8 matrix product by smmla: two rows by two columns over eight elements of k in one instruction.
 *
 * Packed weights are [ceil(k / 8)][16][8] bytes, so a load is two columns. Of an odd number of rows the last is
 * multiplied twice, and put once. */
#include "kernel/arm/neon_tier.h"

#include "kernel/int8.h"
#include "kernel/tiers.h"

#define EMB_NEON_TO_BF16(x) emb_neon_to_bf16(x)
#include "kernel/arm/neon_int8_end.h"

#define MR EMB_NEON_MR
#define NR EMB_NEON_NR
#define LANES EMB_NEON_LANES
#define VECTORS EMB_NEON_VECTORS
#define PAIRS (MR / 2)
#define K_STEP 8
#define A_BYTES 16 /* of a row at a time */

/* sum[i][j] += rows 2i, 2i + 1 of a times columns 2j, 2j + 1 of w. */
EMB_NEON_INLINE void step(int32x4_t sum[PAIRS][2 * VECTORS], const int8x16_t a[PAIRS], const int8_t *w, size_t pairs,
                          size_t columns)
{
    EMB_UNROLL
    for (size_t j = 0; j < columns; j++) {
        int8x16_t b = vld1q_s8(w + j * 2 * K_STEP);
        EMB_UNROLL
        for (size_t i = 0; i < pairs; i++) {
            sum[i][j] = vmmlaq_s32(sum[i][j], a[i], b);
        }
    }
}

/* Up to 16 bytes of a row, then zeros. */
EMB_NEON_INLINE int8x16_t load_tail(const int8_t *a, size_t count)
{
    int8_t bytes[A_BYTES] = {0};
    memcpy(bytes, a, count);
    return vld1q_s8(bytes);
}

EMB_NEON_INLINE void join(int8x16_t first, int8x16_t second, int8x16_t *low, int8x16_t *high)
{
    int64x2_t a = vreinterpretq_s64_s8(first), b = vreinterpretq_s64_s8(second);
    *low = vreinterpretq_s8_s64(vzip1q_s64(a, b));
    *high = vreinterpretq_s8_s64(vzip2q_s64(a, b));
}

EMB_NEON_INLINE void put_pair(const struct emb_panel_tile *t, size_t r, size_t rows, size_t v, int32x4_t first,
                              int32x4_t second)
{
    int64x2_t a = vreinterpretq_s64_s32(first), b = vreinterpretq_s64_s32(second);
    put_sums(t, r, v, vreinterpretq_s32_s64(vzip1q_s64(a, b)));
    if (r + 1 < rows) {
        put_sums(t, r + 1, v, vreinterpretq_s32_s64(vzip2q_s64(a, b)));
    }
}

EMB_NEON_INLINE void tile_i8(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const int8_t *a = t->a, *w = t->panel;
    size_t lda = t->lda, k = t->k, p = 0, pairs = (rows + 1) / 2;
    int32x4_t sum[PAIRS][2 * VECTORS];
    int8x16_t low[PAIRS], high[PAIRS];
    EMB_UNROLL
    for (size_t i = 0; i < pairs; i++) {
        EMB_UNROLL
        for (size_t j = 0; j < 2 * vectors; j++) {
            sum[i][j] = vdupq_n_s32(0);
        }
    }
    for (; p + A_BYTES <= k; p += A_BYTES) {
        EMB_UNROLL
        for (size_t i = 0; i < pairs; i++) {
            size_t second = 2 * i + 1 < rows ? 2 * i + 1 : 2 * i;
            join(vld1q_s8(a + 2 * i * lda + p), vld1q_s8(a + second * lda + p), low + i, high + i);
        }
        step(sum, low, w + p * NR, pairs, 2 * vectors);
        step(sum, high, w + (p + K_STEP) * NR, pairs, 2 * vectors);
    }
    if (p < k) {
        EMB_UNROLL
        for (size_t i = 0; i < pairs; i++) {
            size_t second = 2 * i + 1 < rows ? 2 * i + 1 : 2 * i;
            join(load_tail(a + 2 * i * lda + p, k - p), load_tail(a + second * lda + p, k - p), low + i, high + i);
        }
        step(sum, low, w + p * NR, pairs, 2 * vectors);
        if (k - p > K_STEP) {
            step(sum, high, w + (p + K_STEP) * NR, pairs, 2 * vectors);
        }
    }
    EMB_UNROLL
    for (size_t i = 0; i < pairs; i++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            put_pair(t, 2 * i, rows, v, sum[i][2 * v], sum[i][2 * v + 1]);
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
void emb_kernels_init_i8mm(struct emb_kernels *t)
{
    t->gemm_i8 = (struct emb_gemm){
        .name = "i8_i8mm",
        .native = true,
        .nr = NR,
        .mr = MR,
        .a_size = sizeof(int8_t),
        .encode = emb_encode_i8_neon,
        EMB_PANEL_MEMBERS(i8),
    };
}
