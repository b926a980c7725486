/* The int8 matrix product for AVX2, and the conversion of rows for it.
 *
 * Activations and packed weights hold the same numbers as everywhere, but as int16: vpmaddwd multiplies them and adds
 * pairs to int32, exactly. (vpmaddubsw would take bytes, but saturates at the full range; widening bytes in registers
 * costs 5 % of the speed.) The tile is that of avx2_gemm.c. */
#include "kernel/x86/avx2_tier.h"

#include "kernel/int8.h"
#include "kernel/x86/avx2_finish.h"

#include <string.h>

#define MR 6
#define NR 16
#define LANES 8
#define STEP 2
#define ROW_BUFFER 4096 /* floats of a rotated row that are kept; a longer row is rotated twice */
#define INLINE static inline __attribute__((always_inline))

/* ---- The product ---- */

/* sum[v] += a * b[v] for each vector, two numbers a lane. By hand, as gcc 12 has no register to spare and spills around
 * the intrinsics; both products before both sums is 2 % faster on Zen 4. */
INLINE void add_products(__m256i sum[2], __m256i a, const __m256i b[2], size_t vectors)
{
    __m256i products;
    if (vectors == 2) {
        __asm__("vpmaddwd %4, %2, %3\n\tvpmaddwd %5, %2, %2\n\tvpaddd %3, %0, %0\n\tvpaddd %2, %1, %1"
                : "+x"(sum[0]), "+x"(sum[1]), "+x"(a), "=&x"(products)
                : "x"(b[0]), "x"(b[1]));
    } else {
        __asm__("vpmaddwd %2, %1, %1\n\tvpaddd %1, %0, %0" : "+x"(sum[0]), "+x"(a) : "x"(b[0]));
    }
}

/* sum += the products of one step: w is at [vectors][8][2]. */
INLINE void add_step(__m256i sum[MR][2], const int16_t *w, const int a[MR], size_t rows, size_t vectors)
{
    __m256i b[2];
    EMB_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        b[v] = _mm256_load_si256((const __m256i *)(const void *)(w + v * STEP * LANES));
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        add_products(sum[r], _mm256_set1_epi32(a[r]), b, vectors);
    }
}

INLINE void tile_i8(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const int16_t *a = t->a;
    const int16_t *w = t->panel;
    size_t lda = t->lda, k = t->k;
    __m256i sum[MR][2];
    int pair[MR];
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            sum[r][v] = _mm256_setzero_si256();
        }
    }
#pragma GCC unroll 4
    for (size_t p = 0; p + 1 < k; p += STEP) {
        _mm_prefetch((const char *)(w + p * NR) + EMB_PANEL_AHEAD, _MM_HINT_T0);
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            memcpy(pair + r, a + r * lda + p, sizeof(*pair));
        }
        add_step(sum, w + p * NR, pair, rows, vectors);
    }
    if (k % 2) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            pair[r] = (uint16_t)a[r * lda + k - 1];
        }
        add_step(sum, w + (k - 1) * NR, pair, rows, vectors);
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            __m256 scale = _mm256_mul_ps(_mm256_set1_ps(t->a_scales[r]), _mm256_load_ps(t->scales + v * LANES));
            __m256 x = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[r][v]), scale, _mm256_load_ps(t->bias + v * LANES));
            _mm256_storeu_ps(t->values + r * t->stride + v * LANES, x);
        }
    }
}

EMB_PANEL_TILES_2(i8)

/* ---- Conversion of rows ---- */

/* One stage within a vector: lanes where sign is -1 get partner - own, the others partner + own. */
INLINE __m256 stage(__m256 own, __m256 partner, __m256 sign)
{
    return _mm256_fmadd_ps(own, sign, partner);
}

INLINE __m256 rotate_lanes(__m256 y, size_t block)
{
    if (block > 4) {
        y = stage(y, _mm256_permute2f128_ps(y, y, 1), _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1));
    }
    if (block > 2) {
        y = stage(y, _mm256_permute_ps(y, 0x4e), _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1));
    }
    return block > 1 ? stage(y, _mm256_permute_ps(y, 0xb1), _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1)) : y;
}

/* count <= 64 values, a multiple of block; what is beyond count becomes 0. */
INLINE void rotate(const float *x, size_t count, size_t block, __m256 y[8])
{
    for (size_t v = 0; v < 8; v++) {
        size_t left = count > v * LANES ? count - v * LANES : 0;
        y[v] = left >= LANES ? _mm256_loadu_ps(x + v * LANES)
               : left > 0    ? _mm256_maskload_ps(x + v * LANES, emb256_mask(left))
                             : _mm256_setzero_ps();
    }
    for (size_t h = 4; h > 0; h /= 2) {
        for (size_t i = 0; block > h * LANES && i < 8; i += 2 * h) {
            for (size_t j = i; j < i + h; j++) {
                __m256 a = y[j], b = y[j + h];
                y[j] = _mm256_add_ps(a, b);
                y[j + h] = _mm256_sub_ps(a, b);
            }
        }
    }
    for (size_t v = 0; v < 8; v++) {
        y[v] = rotate_lanes(y[v], block);
    }
}

INLINE uint32_t max_lane(__m256i x)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

INLINE __m256i max_of(__m256i max, const __m256 y[8])
{
    for (size_t v = 0; v < 8; v++) {
        __m256i bits = _mm256_and_si256(_mm256_castps_si256(y[v]), _mm256_set1_epi32(0x7fffffff));
        max = _mm256_max_epi32(max, bits);
    }
    return max;
}

INLINE uint32_t max_bits_of(const float *x, size_t count, size_t block)
{
    __m256i max = _mm256_setzero_si256();
    for (size_t p = 0; p < count; p += EMB_I8_BLOCK) {
        __m256 y[8];
        rotate(x + p, count - p < EMB_I8_BLOCK ? count - p : EMB_I8_BLOCK, block, y);
        max = max_of(max, y);
    }
    return max_lane(max);
}

static uint32_t max_bits(const float *x, size_t count, size_t block)
{
    return block == EMB_I8_BLOCK ? max_bits_of(x, count, EMB_I8_BLOCK) : max_bits_of(x, count, block);
}

INLINE __m256i quantise_4(const __m256 y[4], __m256 inverse)
{
    __m256i a = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(y[0], inverse)),
                                   _mm256_cvtps_epi32(_mm256_mul_ps(y[1], inverse)));
    __m256i b = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(y[2], inverse)),
                                   _mm256_cvtps_epi32(_mm256_mul_ps(y[3], inverse)));
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* count <= 64 values into 64 numbers. */
INLINE void quantise_chunk(const float *x, size_t count, size_t block, float inverse, int8_t q[EMB_I8_BLOCK])
{
    __m256 y[8];
    rotate(x, count, block, y);
    _mm256_storeu_si256((__m256i *)(void *)q, quantise_4(y, _mm256_set1_ps(inverse)));
    _mm256_storeu_si256((__m256i *)(void *)(q + 32), quantise_4(y + 4, _mm256_set1_ps(inverse)));
}

static void quantise(const float *x, size_t count, size_t block, float inverse, int8_t *q)
{
    size_t p = 0;
    for (; block == EMB_I8_BLOCK && p < count; p += EMB_I8_BLOCK) {
        quantise_chunk(x + p, EMB_I8_BLOCK, EMB_I8_BLOCK, inverse, q + p);
    }
    for (; p < count; p += EMB_I8_BLOCK) {
        int8_t chunk[EMB_I8_BLOCK];
        size_t n = count - p < EMB_I8_BLOCK ? count - p : EMB_I8_BLOCK;
        quantise_chunk(x + p, n, block, inverse, chunk);
        memcpy(q + p, chunk, n);
    }
}

/* A row of whole blocks, rotated once. */
static float encode_blocks(const float *x, size_t k, int16_t *a)
{
    _Alignas(32) float rotated[ROW_BUFFER];
    __m256i max = _mm256_setzero_si256();
    for (size_t p = 0; p < k; p += EMB_I8_BLOCK) {
        __m256 y[8];
        rotate(x + p, EMB_I8_BLOCK, EMB_I8_BLOCK, y);
        max = max_of(max, y);
        for (size_t v = 0; v < 8; v++) {
            _mm256_store_ps(rotated + p + v * LANES, y[v]);
        }
    }
    struct emb_i8_scale s = emb_i8_scale_of(max_lane(max));
    if (s.inverse == 0.0f) {
        memset(a, 0, k * sizeof(*a));
        return s.scale;
    }
    const __m256 inverse = _mm256_set1_ps(s.inverse);
    for (size_t p = 0; p < k; p += 2 * LANES) {
        __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(rotated + p), inverse));
        __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(rotated + p + LANES), inverse));
        __m256i q = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        _mm256_storeu_si256((__m256i *)(void *)(a + p), q);
    }
    return s.scale;
}

static float encode_row(const float *x, size_t k, size_t block, int16_t *a)
{
    struct emb_i8_scale s = emb_i8_scale_of(max_bits(x, k, block));
    if (s.inverse == 0.0f) {
        memset(a, 0, k * sizeof(*a));
        return s.scale;
    }
    for (size_t p = 0; p < k; p += EMB_I8_BLOCK) {
        int8_t q[EMB_I8_BLOCK];
        size_t count = k - p < EMB_I8_BLOCK ? k - p : EMB_I8_BLOCK;
        quantise(x + p, count, block, s.inverse, q);
        for (size_t i = 0; i < count; i++) {
            a[p + i] = q[i];
        }
    }
    return s.scale;
}

static void encode(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    size_t block = emb_i8_block(k);
    bool once = block == EMB_I8_BLOCK && k <= ROW_BUFFER;
    for (size_t r = 0; r < rows; r++) {
        int16_t *to = (int16_t *)a + r * k;
        scales[r] = once ? encode_blocks(x + r * k, k, to) : encode_row(x + r * k, k, block, to);
    }
}

/* ---- The table's entry ---- */

static const struct emb_panel_i8_rows rows = {max_bits, quantise, 0};

static const struct emb_panel_kernel kernel = {
    .nr = NR,
    .mr = MR,
    .lanes = LANES,
    .a_size = sizeof(int16_t),
    .element = sizeof(int16_t),
    .k_step = STEP,
    .end = EMB_PANEL_END_I8(NR),
    .tiles = tiles_i8,
    .finish = finish,
    .i8 = &rows,
};

EMB_PANEL_FUNCTIONS(i8, kernel)
const struct emb_gemm emb_gemm_i8_avx2 = {
    .name = "i8_avx2",
    .native = true,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(int16_t),
    .encode = encode,
    EMB_PANEL_MEMBERS(i8),
};
