/* The int8 matrix product by vpdpbusd, and the conversion of activations for it.
 *
 * Activations are unsigned bytes, q + 128; the sums start from -128 times the columns' sums. The tile is that of
 * avx512_gemm.c. */
#include "kernel/x86/avx512vnni_tier.h"

#include "kernel/tiers.h"
#include "kernel/x86/avx512_int8.h"

#define EMB512_TO_BF16(x) emb512_to_bf16(x)
#include "kernel/x86/avx512_finish.h"

#define MR 6
#define NR 64
#define LANES 16
#define STEP 4
#define ROW_BUFFER 4096 /* floats of a rotated row that are kept; a longer row is rotated twice */
#define TILE_INLINE static inline __attribute__((always_inline))

/* sum += a * b, four bytes a lane. By hand, as gcc 12 spills around the intrinsic. */
TILE_INLINE __m512i dot4(__m512i sum, __m512i a, __m512i b)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

/* sum += the products of one step: w is at [vectors][16][4]. */
TILE_INLINE void add_step(__m512i sum[MR][4], const int8_t *w, const int a[MR], size_t rows, size_t vectors)
{
    __m512i b[4];
    EMB_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        b[v] = _mm512_load_si512(w + v * STEP * LANES);
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        __m512i x = _mm512_set1_epi32(a[r]);
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            sum[r][v] = dot4(sum[r][v], x, b[v]);
        }
    }
}

TILE_INLINE void tile_i8(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const uint8_t *a = t->a;
    const int8_t *w = t->panel;
    size_t lda = t->lda, k = t->k;
    __m512i sum[MR][4];
    int quad[MR] = {0};
    const int8_t *starts = w + (k + STEP - 1) / STEP * STEP * NR;
    EMB_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        sum[0][v] = _mm512_load_si512(starts + v * LANES * sizeof(int32_t));
        EMB_UNROLL
        for (size_t r = 1; r < rows; r++) {
            sum[r][v] = sum[0][v];
        }
    }
    size_t p = 0;
    for (; p + STEP <= k; p += STEP) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            memcpy(quad + r, a + r * lda + p, STEP);
        }
        add_step(sum, w + p * NR, quad, rows, vectors);
    }
    if (p < k) {
        __mmask16 mask = emb512_mask(k - p);
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            quad[r] = _mm_cvtsi128_si32(_mm_maskz_loadu_epi8(mask, a + r * lda + p));
        }
        add_step(sum, w + p * NR, quad, rows, vectors);
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            __m512 scale = _mm512_mul_ps(_mm512_set1_ps(t->a_scales[r]), _mm512_load_ps(t->scales + v * LANES));
            __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][v]), scale, _mm512_load_ps(t->bias + v * LANES));
            _mm512_storeu_ps(t->values + r * t->stride + v * LANES, x);
        }
    }
}

EMB_PANEL_TILES_4(i8)

static uint32_t max_bits(const float *x, size_t count, size_t block)
{
    __m512i max = _mm512_setzero_si512();
    __m512 y[4];
    size_t p = 0;
    if (block == EMB_I8_BLOCK) {
        for (; p < count; p += EMB_I8_BLOCK) {
            emb512_rotate(x + p, EMB_I8_BLOCK, EMB_I8_BLOCK, y);
            max = emb512_max_bits(max, y);
        }
    }
    for (; p < count; p += EMB_I8_BLOCK) {
        emb512_rotate(x + p, count - p < EMB_I8_BLOCK ? count - p : EMB_I8_BLOCK, block, y);
        max = emb512_max_bits(max, y);
    }
    return (uint32_t)_mm512_reduce_max_epi32(max);
}

static void quantise(const float *x, size_t count, size_t block, float inverse, int8_t *q)
{
    for (size_t p = 0; p < count; p += EMB_I8_BLOCK) {
        __m512 y[4];
        size_t n = count - p < EMB_I8_BLOCK ? count - p : EMB_I8_BLOCK;
        emb512_rotate(x + p, n, block, y);
        __mmask64 mask = ~0ull >> (EMB_I8_BLOCK - n);
        _mm512_mask_storeu_epi8(q + p, mask, emb512_quantise(y, _mm512_set1_ps(inverse)));
    }
}

static void flip(uint8_t *a, size_t k)
{
    for (size_t p = 0; p < k; p++) {
        a[p] ^= EMB_I8_ZERO;
    }
}

/* A row of whole blocks, rotated once. */
static float encode_blocks(const float *x, size_t k, uint8_t *a)
{
    _Alignas(64) float rotated[ROW_BUFFER];
    __m512i max = _mm512_setzero_si512();
    for (size_t p = 0; p < k; p += EMB_I8_BLOCK) {
        __m512 y[4];
        emb512_rotate(x + p, EMB_I8_BLOCK, EMB_I8_BLOCK, y);
        max = emb512_max_bits(max, y);
        for (size_t v = 0; v < 4; v++) {
            _mm512_store_ps(rotated + p + v * LANES, y[v]);
        }
    }
    struct emb_i8_scale s = emb_i8_scale_of((uint32_t)_mm512_reduce_max_epi32(max));
    if (s.inverse == 0.0f) {
        memset(a, EMB_I8_ZERO, k);
        return s.scale;
    }
    const __m512i zero = _mm512_set1_epi8((char)EMB_I8_ZERO);
    for (size_t p = 0; p < k; p += EMB_I8_BLOCK) {
        __m512 y[4];
        for (size_t v = 0; v < 4; v++) {
            y[v] = _mm512_load_ps(rotated + p + v * LANES);
        }
        _mm512_storeu_si512(a + p, _mm512_xor_si512(emb512_quantise(y, _mm512_set1_ps(s.inverse)), zero));
    }
    return s.scale;
}

static float encode_row(const float *x, size_t k, size_t block, uint8_t *a)
{
    struct emb_i8_scale s = emb_i8_scale_of(max_bits(x, k, block));
    if (s.inverse == 0.0f) {
        memset(a, EMB_I8_ZERO, k);
        return s.scale;
    }
    quantise(x, k, block, s.inverse, (int8_t *)a);
    flip(a, k);
    return s.scale;
}

static void encode(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    size_t block = emb_i8_block(k);
    for (size_t r = 0; r < rows; r++) {
        uint8_t *to = (uint8_t *)a + r * k;
        bool once = block == EMB_I8_BLOCK && k <= ROW_BUFFER;
        scales[r] = once ? encode_blocks(x + r * k, k, to) : encode_row(x + r * k, k, block, to);
    }
}

static const struct emb_panel_i8_rows rows = {max_bits, quantise, EMB_I8_ZERO};

const struct emb_panel_kernel emb_panel_i8_avx512vnni = {
    .nr = NR,
    .mr = MR,
    .lanes = LANES,
    .a_size = sizeof(uint8_t),
    .element = sizeof(int8_t),
    .k_step = STEP,
    .end = EMB_PANEL_END_I8(NR),
    .tiles = tiles_i8,
    .finish = finish,
    .i8 = &rows,
};

EMB_PANEL_FUNCTIONS(i8, emb_panel_i8_avx512vnni)
void emb_kernels_init_avx512vnni(struct emb_kernels *t)
{
    t->gemm_i8 = (struct emb_gemm){
        .name = "i8_avx512vnni",
        .native = true,
        .nr = NR,
        .mr = MR,
        .a_size = sizeof(uint8_t),
        .encode = encode,
        EMB_PANEL_MEMBERS(i8),
    };
}
