/* Matrix products for AVX2 and FMA: f32, and bf16 widened in registers.
 *
 * A tile is up to 6 rows by 2 vectors: 12 accumulators of the 16 registers. */
#include "kernel/x86/avx2_tier.h"

#include "kernel/bf16.h"
#include "kernel/x86/avx2_finish.h"

#define MR 6
#define NR 16
#define LANES 8
#define TILE_INLINE static inline __attribute__((always_inline))

TILE_INLINE void clear(__m256 acc[MR][2], size_t rows, size_t vectors)
{
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = _mm256_setzero_ps();
        }
    }
}

TILE_INLINE void store(const struct emb_panel_tile *t, const __m256 acc[MR][2], size_t rows, size_t vectors)
{
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            __m256 x = _mm256_add_ps(acc[r][v], _mm256_load_ps(t->bias + v * LANES));
            _mm256_storeu_ps(t->values + r * t->stride + v * LANES, x);
        }
    }
}

TILE_INLINE void tile_f32(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const float *a = t->a, *w = t->panel;
    size_t lda = t->lda, k = t->k;
    __m256 acc[MR][2];
    clear(acc, rows, vectors);
    for (size_t p = 0; p < k; p++) {
        __m256 b[2];
        _mm_prefetch((const char *)(w + p * NR) + EMB_PANEL_AHEAD, _MM_HINT_T0);
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            b[v] = _mm256_loadu_ps(w + p * NR + v * LANES);
        }
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            __m256 x = _mm256_broadcast_ss(a + r * lda + p);
            EMB_UNROLL
            for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = _mm256_fmadd_ps(x, b[v], acc[r][v]);
            }
        }
    }
    store(t, acc, rows, vectors);
}

/* The bf16 in the lower or the upper half of each lane, as f32. The mask stays in memory: there is no register for it. */
TILE_INLINE __m256 widen(__m256i pairs, bool upper)
{
    static const __attribute__((aligned(32)))
    int32_t mask[8] = {-65536, -65536, -65536, -65536, -65536, -65536, -65536, -65536};
    if (!upper) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    }
    __asm__("vpand %1, %0, %0" : "+x"(pairs) : "m"(mask));
    return _mm256_castsi256_ps(pairs);
}

/* acc + a * b. By hand, as gcc 12 spills around the intrinsic where registers are few. */
TILE_INLINE __m256 add_product(__m256 acc, __m256 a, __m256 b)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b));
    return acc;
}

/* One of the two elements of a pair, for all rows. a is at the pair; the last pair of an odd k has no upper element. */
TILE_INLINE void bf16_step(__m256 acc[MR][2], const emb_bf16 *a, size_t lda, const emb_bf16 *w, bool upper, bool single,
                           size_t rows, size_t vectors)
{
    __m256 b[2];
    EMB_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        b[v] = widen(_mm256_loadu_si256((const __m256i *)(w + v * 2 * LANES)), upper);
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        __m256 x = widen(_mm256_set1_epi32(single ? a[r * lda] : emb_bf16_load_pair(a + r * lda)), upper);
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
    __m256 acc[MR][2];
    clear(acc, rows, vectors);
    for (size_t p = 0; p + 1 < k; p += 2) {
        bf16_step(acc, a + p, lda, w + p * NR, false, false, rows, vectors);
        /* Load again rather than keep both halves: there are no registers left for them. */
        __asm__ volatile("" ::: "memory");
        bf16_step(acc, a + p, lda, w + p * NR, true, false, rows, vectors);
    }
    if (k % 2) {
        bf16_step(acc, a + k - 1, lda, w + (k - 1) * NR, false, true, rows, vectors);
    }
    store(t, acc, rows, vectors);
}

EMB_PANEL_TILES_2(f32)
EMB_PANEL_TILES_2(bf16)

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
    emb_f32_to_bf16_avx2(x, rows * k, a);
}

const struct emb_gemm emb_gemm_f32_avx2 = {
    .name = "f32_avx2",
    .native = true,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(float),
    EMB_PANEL_MEMBERS(f32),
};

const struct emb_gemm emb_gemm_bf16_avx2 = {
    .name = "bf16_avx2",
    .native = false,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(emb_bf16),
    .encode = encode_bf16,
    EMB_PANEL_MEMBERS(bf16),
};
