/* Layer normalisation, conversion and dot product for the base of armv8-a, and the tier's entry into the table.
 *
 * Sums run in lanes and are folded in one fixed order, so a row's result depends on the row alone. */
#include "kernel/tiers.h"

#include "kernel/arm/neon_math.h"
#include "kernel/arm/neon_tier.h"
#include "kernel/attention.h"

#include <math.h>

#define LANES 4
#define SUMS 4 /* partial sums in turn: they hide the latency of the addition */

static float fold(const float32x4_t sum[SUMS])
{
    return emb_neon_sum(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
}

static void clear(float32x4_t sum[SUMS])
{
    for (size_t j = 0; j < SUMS; j++) {
        sum[j] = vdupq_n_f32(0.0f);
    }
}

static size_t at_most(size_t left)
{
    return left < LANES ? left : LANES;
}

static float row_sum(const float *x, size_t dim)
{
    float32x4_t sum[SUMS];
    size_t i = 0;
    clear(sum);
    for (; i + SUMS * LANES <= dim; i += SUMS * LANES) {
        for (size_t j = 0; j < SUMS; j++) {
            sum[j] = vaddq_f32(sum[j], vld1q_f32(x + i + j * LANES));
        }
    }
    for (; i < dim; i += LANES) {
        sum[0] = vaddq_f32(sum[0], emb_neon_load_part(x + i, at_most(dim - i)));
    }
    return fold(sum);
}

static float row_squares(const float *x, size_t dim, float mean)
{
    const float32x4_t m = vdupq_n_f32(mean);
    float32x4_t sum[SUMS];
    size_t i = 0;
    clear(sum);
    for (; i + SUMS * LANES <= dim; i += SUMS * LANES) {
        for (size_t j = 0; j < SUMS; j++) {
            float32x4_t d = vsubq_f32(vld1q_f32(x + i + j * LANES), m);
            sum[j] = vfmaq_f32(sum[j], d, d);
        }
    }
    for (; i < dim; i += LANES) {
        size_t count = at_most(dim - i);
        float32x4_t d = emb_neon_keep(vsubq_f32(emb_neon_load_part(x + i, count), m), count);
        sum[0] = vfmaq_f32(sum[0], d, d);
    }
    return fold(sum);
}

struct norm {
    float32x4_t mean, scale;
    const float *x, *gamma, *beta;
    float *y;
    emb_bf16 *y16; /* or NULL */
};

static inline void norm_lanes(const struct norm *n, size_t i, size_t count)
{
    float32x4_t x = emb_neon_load_part(n->x + i, count);
    float32x4_t gamma = emb_neon_load_part(n->gamma + i, count), beta = emb_neon_load_part(n->beta + i, count);
    float32x4_t y = vfmaq_f32(beta, vmulq_f32(vsubq_f32(x, n->mean), n->scale), gamma);
    emb_neon_store_part(n->y + i, count, y);
    if (n->y16) {
        emb_neon_store_bf16(n->y16 + i, count, emb_neon_to_bf16(y));
    }
}

static void norm_row(const struct norm *n, size_t dim)
{
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES) {
        norm_lanes(n, i, LANES);
    }
    if (i < dim) {
        norm_lanes(n, i, dim - i);
    }
}

static void layernorm(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                      float *y, emb_bf16 *y16)
{
    for (size_t r = 0; r < rows; r++) {
        struct norm n = {.x = x + r * dim, .gamma = gamma, .beta = beta, .y = y + r * dim};
        n.y16 = y16 ? y16 + r * dim : NULL;
        float mean = row_sum(n.x, dim) / (float)dim;
        n.mean = vdupq_n_f32(mean);
        n.scale = vdupq_n_f32(1.0f / sqrtf(row_squares(n.x, dim, mean) / (float)dim + eps));
        norm_row(&n, dim);
    }
}

void emb_f32_to_bf16_neon(const float *x, size_t n, emb_bf16 *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t count = at_most(n - i);
        emb_neon_store_bf16(y + i, count, emb_neon_to_bf16(emb_neon_load_part(x + i, count)));
    }
}

static float dot(const float *a, const float *b, size_t n)
{
    float32x4_t sum[SUMS];
    size_t i = 0;
    clear(sum);
    for (; i + SUMS * LANES <= n; i += SUMS * LANES) {
        for (size_t j = 0; j < SUMS; j++) {
            sum[j] = vfmaq_f32(sum[j], vld1q_f32(a + i + j * LANES), vld1q_f32(b + i + j * LANES));
        }
    }
    for (; i < n; i += LANES) {
        size_t count = at_most(n - i);
        sum[0] = vfmaq_f32(sum[0], emb_neon_load_part(a + i, count), emb_neon_load_part(b + i, count));
    }
    return fold(sum);
}

void emb_kernels_init_neon(struct emb_kernels *t)
{
    t->gemm_f32 = emb_gemm_f32_neon;
    t->gemm_bf16 = emb_gemm_bf16_neon;
    t->gemm_i8 = emb_gemm_i8_neon;
    t->attention_scratch = emb_attention_room_size;
    t->attention = emb_attention_neon;
    t->layernorm = layernorm;
    t->f32_to_bf16 = emb_f32_to_bf16_neon;
    t->dot = dot;
}
