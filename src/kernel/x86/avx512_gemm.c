/* Matrix products for AVX-512: f32, and bf16 widened in registers.
 *
 * A tile is up to 6 rows by 4 vectors: 24 accumulators of the 32 registers, so the weights are read once for six rows
 * and the loop needs few loads. More rows would put more lines of a (often a power of two apart) into one set of L1. */
#include "kernel/x86/avx512_tier.h"

#include "kernel/bf16.h"
#include "kernel/panel.h"

#define EMB512_TO_BF16(x) emb512_to_bf16(x)
#include "kernel/x86/avx512_finish.h"

#define MR 6
#define NR 64
#define LANES 16
#define TILE_INLINE static inline __attribute__((always_inline))

TILE_INLINE void tile_f32(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const float *a = t->a, *w = t->panel;
    size_t lda = t->lda, k = t->k;
    __m512 acc[MR][4];
    emb512_clear(acc, rows, vectors);
    for (size_t p = 0; p < k; p++) {
        __m512 b[4];
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            b[v] = _mm512_loadu_ps(w + p * NR + v * LANES);
        }
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            __m512 x = _mm512_set1_ps(a[r * lda + p]);
            EMB_UNROLL
            for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = _mm512_fmadd_ps(x, b[v], acc[r][v]);
            }
        }
    }
    emb512_put(t, acc, rows, vectors);
}

/* The bf16 in the lower or the upper half of each lane, as f32. */
TILE_INLINE __m512 widen(__m512i pairs, bool upper)
{
    return _mm512_castsi512_ps(upper ? _mm512_and_si512(pairs, _mm512_set1_epi32(-65536))
                                     : _mm512_slli_epi32(pairs, 16));
}

/* acc + a * b. By hand, as gcc 12 spills around the intrinsic where registers are few. */
TILE_INLINE __m512 add_product(__m512 acc, __m512 a, __m512 b)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
}

/* One of the two elements of a pair, for all rows. a is at the pair; the last pair of an odd k has no upper element. */
TILE_INLINE void bf16_step(__m512 acc[MR][4], const emb_bf16 *a, size_t lda, const emb_bf16 *w, bool upper, bool single,
                           size_t rows, size_t vectors)
{
    __m512 b[4];
    EMB_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        b[v] = widen(_mm512_loadu_si512(w + v * 2 * LANES), upper);
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        __m512 x = widen(_mm512_set1_epi32(single ? a[r * lda] : emb_bf16_load_pair(a + r * lda)), upper);
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = add_product(acc[r][v], x, b[v]);
        }
    }
}

TILE_INLINE void tile_bf16(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const emb_bf16 *a = t->a, *w = t->panel;
    size_t lda = t->lda, k = t->k;
    __m512 acc[MR][4];
    emb512_clear(acc, rows, vectors);
    for (size_t p = 0; p + 1 < k; p += 2) {
        bf16_step(acc, a + p, lda, w + p * NR, false, false, rows, vectors);
        /* Load again rather than keep both halves: there are no registers left for them. */
        __asm__ volatile("" ::: "memory");
        bf16_step(acc, a + p, lda, w + p * NR, true, false, rows, vectors);
    }
    if (k % 2) {
        bf16_step(acc, a + k - 1, lda, w + (k - 1) * NR, false, true, rows, vectors);
    }
    emb512_put(t, acc, rows, vectors);
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
    .k_step = 2,
    .tiles = tiles_bf16,
    .finish = finish,
};

EMB_PANEL_FUNCTIONS(f32, kernel_f32)
EMB_PANEL_FUNCTIONS(bf16, kernel_bf16)

static void encode_bf16(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    (void)scales;
    emb_f32_to_bf16_avx512(x, rows * k, a);
}

const struct emb_gemm emb_gemm_f32_avx512 = {
    .name = "f32_avx512",
    .native = true,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(float),
    EMB_PANEL_MEMBERS(f32),
};

const struct emb_gemm emb_gemm_bf16_avx512 = {
    .name = "bf16_avx512",
    .native = false,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(emb_bf16),
    .encode = encode_bf16,
    EMB_PANEL_MEMBERS(bf16),
};
