/* Layer normalisation, conversion and dot product for AVX2, and the tier's entry into the table.
 *
 * Sums run in lanes and are folded in one fixed order, so a row's result depends on the row alone. */
#include "kernel/tiers.h"

#include "kernel/attention.h"
#include "kernel/x86/avx2_math.h"
#include "kernel/x86/avx2_tier.h"

#include <math.h>

#define LANES 8
#define SUMS 4 /* partial sums in turn: they hide the latency of the addition */

static float fold(const __m256 sum[SUMS])
{
    return emb256_sum(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
}

static float row_sum(const float *x, size_t dim)
{
    __m256 sum[SUMS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + SUMS * LANES <= dim; i += SUMS * LANES) {
        for (size_t j = 0; j < SUMS; j++) {
            sum[j] = _mm256_add_ps(sum[j], _mm256_loadu_ps(x + i + j * LANES));
        }
    }
    for (; i < dim; i += LANES) {
        sum[0] = _mm256_add_ps(sum[0], _mm256_maskload_ps(x + i, emb256_mask(dim - i)));
    }
    return fold(sum);
}

static float row_squares(const float *x, size_t dim, float mean)
{
    const __m256 m = _mm256_set1_ps(mean);
    __m256 sum[SUMS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + SUMS * LANES <= dim; i += SUMS * LANES) {
        for (size_t j = 0; j < SUMS; j++) {
            __m256 d = _mm256_sub_ps(_mm256_loadu_ps(x + i + j * LANES), m);
            sum[j] = _mm256_fmadd_ps(d, d, sum[j]);
        }
    }
    for (; i < dim; i += LANES) {
        __m256i mask = emb256_mask(dim - i);
        __m256 d = _mm256_and_ps(_mm256_sub_ps(_mm256_maskload_ps(x + i, mask), m), _mm256_castsi256_ps(mask));
        sum[0] = _mm256_fmadd_ps(d, d, sum[0]);
    }
    return fold(sum);
}

struct norm {
    __m256 mean, scale;
    const float *x, *gamma, *beta;
    float *y;
    emb_bf16 *y16; /* or NULL */
};

static inline __m256 norm_lanes(const struct norm *n, __m256 x, __m256 gamma, __m256 beta)
{
    return _mm256_fmadd_ps(_mm256_mul_ps(_mm256_sub_ps(x, n->mean), n->scale), gamma, beta);
}

static void norm_row(const struct norm *n, size_t dim)
{
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES) {
        __m256 d =
            norm_lanes(n, _mm256_loadu_ps(n->x + i), _mm256_loadu_ps(n->gamma + i), _mm256_loadu_ps(n->beta + i));
        _mm256_storeu_ps(n->y + i, d);
        if (n->y16) {
            emb256_store_bf16(n->y16 + i, LANES, d);
        }
    }
    if (i < dim) {
        __m256i mask = emb256_mask(dim - i);
        __m256 d = norm_lanes(n, _mm256_maskload_ps(n->x + i, mask), _mm256_maskload_ps(n->gamma + i, mask),
                              _mm256_maskload_ps(n->beta + i, mask));
        _mm256_maskstore_ps(n->y + i, mask, d);
        if (n->y16) {
            emb256_store_bf16(n->y16 + i, dim - i, d);
        }
    }
}

static void layernorm(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                      float *y, emb_bf16 *y16)
{
    for (size_t r = 0; r < rows; r++) {
        struct norm n = {.x = x + r * dim, .gamma = gamma, .beta = beta, .y = y + r * dim};
        n.y16 = y16 ? y16 + r * dim : NULL;
        float mean = row_sum(n.x, dim) / (float)dim;
        n.mean = _mm256_set1_ps(mean);
        n.scale = _mm256_set1_ps(1.0f / sqrtf(row_squares(n.x, dim, mean) / (float)dim + eps));
        norm_row(&n, dim);
    }
}

void emb_f32_to_bf16_avx2(const float *x, size_t n, emb_bf16 *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t count = n - i < LANES ? n - i : LANES;
        emb256_store_bf16(y + i, count, _mm256_maskload_ps(x + i, emb256_mask(count)));
    }
}

static float dot(const float *a, const float *b, size_t n)
{
    __m256 sum[SUMS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + SUMS * LANES <= n; i += SUMS * LANES) {
        for (size_t j = 0; j < SUMS; j++) {
            sum[j] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + j * LANES), _mm256_loadu_ps(b + i + j * LANES), sum[j]);
        }
    }
    for (; i < n; i += LANES) {
        __m256i mask = emb256_mask(n - i);
        sum[0] = _mm256_fmadd_ps(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask), sum[0]);
    }
    return fold(sum);
}

void emb_kernels_init_avx2(struct emb_kernels *t)
{
    t->gemm_f32 = emb_gemm_f32_avx2;
    t->gemm_bf16 = emb_gemm_bf16_avx2;
    t->gemm_i8 = emb_gemm_i8_avx2;
    t->attention_scratch = emb_attention_room_size;
    t->attention = emb_attention_avx2;
    t->layernorm = layernorm;
    t->f32_to_bf16 = emb_f32_to_bf16_avx2;
    t->dot = dot;
}
