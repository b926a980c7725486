/* Layer normalisation, conversion and dot product for AVX-512, and the tier's entry into the table.
 *
 * Sums run in lanes and are folded in one fixed order, so a row's result depends on the row alone. */
#include "kernel/tiers.h"

#include "kernel/x86/avx512_math.h"
#include "kernel/x86/avx512_tier.h"

#include <math.h>

#define LANES 16

static inline __mmask16 tail_mask(size_t left)
{
    return left < LANES ? emb512_mask(left) : 0xffff;
}

/* Four sums in turn hide the latency of the addition. */
static float row_sum(const float *x, size_t dim)
{
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t i = 0;
    for (; i + 4 * LANES <= dim; i += 4 * LANES) {
        for (size_t j = 0; j < 4; j++) {
            sum[j] = _mm512_add_ps(sum[j], _mm512_loadu_ps(x + i + j * LANES));
        }
    }
    for (; i < dim; i += LANES) {
        sum[0] = _mm512_add_ps(sum[0], _mm512_maskz_loadu_ps(tail_mask(dim - i), x + i));
    }
    return emb512_sum(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

static float row_squares(const float *x, size_t dim, float mean)
{
    const __m512 m = _mm512_set1_ps(mean);
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t i = 0;
    for (; i + 4 * LANES <= dim; i += 4 * LANES) {
        for (size_t j = 0; j < 4; j++) {
            __m512 d = _mm512_sub_ps(_mm512_loadu_ps(x + i + j * LANES), m);
            sum[j] = _mm512_fmadd_ps(d, d, sum[j]);
        }
    }
    for (; i < dim; i += LANES) {
        __mmask16 mask = tail_mask(dim - i);
        __m512 d = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, x + i), m);
        sum[0] = _mm512_fmadd_ps(d, d, sum[0]);
    }
    return emb512_sum(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

struct norm {
    __m512 mean, scale;
    const float *x, *gamma, *beta;
    float *y;
    emb_bf16 *y16; /* or NULL */
};

static inline void norm_lanes(const struct norm *n, size_t i, __mmask16 mask)
{
    __m512 d = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, n->x + i), n->mean), n->scale);
    d = _mm512_fmadd_ps(d, _mm512_maskz_loadu_ps(mask, n->gamma + i), _mm512_maskz_loadu_ps(mask, n->beta + i));
    _mm512_mask_storeu_ps(n->y + i, mask, d);
    if (n->y16) {
        _mm256_mask_storeu_epi16(n->y16 + i, mask, emb512_to_bf16(d));
    }
}

static void layernorm(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                      float *y, emb_bf16 *y16)
{
    for (size_t r = 0; r < rows; r++) {
        struct norm n = {.x = x + r * dim, .gamma = gamma, .beta = beta, .y = y + r * dim};
        n.y16 = y16 ? y16 + r * dim : NULL;
        float mean = row_sum(n.x, dim) / (float)dim;
        n.mean = _mm512_set1_ps(mean);
        n.scale = _mm512_set1_ps(1.0f / sqrtf(row_squares(n.x, dim, mean) / (float)dim + eps));
        size_t i = 0;
        for (; i + LANES <= dim; i += LANES) {
            norm_lanes(&n, i, 0xffff);
        }
        if (i < dim) {
            norm_lanes(&n, i, tail_mask(dim - i));
        }
    }
}

void emb_f32_to_bf16_avx512(const float *x, size_t n, emb_bf16 *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 mask = tail_mask(n - i);
        _mm256_mask_storeu_epi16(y + i, mask, emb512_to_bf16(_mm512_maskz_loadu_ps(mask, x + i)));
    }
}

static float dot(const float *a, const float *b, size_t n)
{
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        for (size_t j = 0; j < 4; j++) {
            sum[j] = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + j * LANES), _mm512_loadu_ps(b + i + j * LANES), sum[j]);
        }
    }
    for (; i < n; i += LANES) {
        __mmask16 mask = tail_mask(n - i);
        sum[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i), sum[0]);
    }
    return emb512_sum(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

void emb_kernels_init_avx512(struct emb_kernels *t)
{
    t->gemm_f32 = emb_gemm_f32_avx512;
    t->gemm_bf16 = emb_gemm_bf16_avx512;
    t->attention_scratch = emb_attention_scratch_avx512;
    t->attention = emb_attention_avx512;
    t->layernorm = layernorm;
    t->f32_to_bf16 = emb_f32_to_bf16_avx512;
    t->dot = dot;
}
