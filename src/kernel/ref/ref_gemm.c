/* Matrix products in portable C: the definition of what every tier computes.
 *
 * Packed form: panels of NR columns, each [k][NR], the last one padded with zero
 * columns. An element is the sum of its products in rising k, each product and each sum rounded to
 * f32 (bf16 products are exact). */
#include "kernel/ref/ref.h"

#include "kernel/bf16.h"

#include <math.h>

#define NR 32 /* so that a row of a panel fills 64 bytes in both types */

float emb_act_ref(enum emb_act act, float x)
{
    switch (act) {
    case EMB_ACT_GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case EMB_ACT_GELU_TANH: return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case EMB_ACT_RELU: return x < 0.0f ? 0.0f : x;
    case EMB_ACT_SILU: return x / (1.0f + expf(-x));
    case EMB_ACT_NONE: break;
    }
    return x;
}

static size_t packed_size(size_t n, size_t k, size_t element)
{
    size_t columns, bytes;
    if (__builtin_add_overflow(n, NR - 1, &columns)) {
        return 0;
    }
    columns -= columns % NR;
    if (__builtin_mul_overflow(columns, k, &bytes) || __builtin_mul_overflow(bytes, element, &bytes)) {
        return 0;
    }
    return bytes;
}

static size_t packed_size_f32(size_t n, size_t k)
{
    return packed_size(n, k, sizeof(float));
}

static size_t packed_size_bf16(size_t n, size_t k)
{
    return packed_size(n, k, sizeof(emb_bf16));
}

static void pack_f32(void *dst, const float *w, size_t r0, size_t r1, size_t n, size_t k)
{
    (void)n;
    for (size_t c0 = r0; c0 < r1; c0 += NR) {
        float *panel = (float *)dst + c0 * k;
        for (size_t p = 0; p < k; p++) {
            for (size_t c = 0; c < NR; c++) {
                panel[p * NR + c] = c0 + c < r1 ? w[(c0 + c - r0) * k + p] : 0.0f;
            }
        }
    }
}

static void pack_bf16(void *dst, const float *w, size_t r0, size_t r1, size_t n, size_t k)
{
    (void)n;
    for (size_t c0 = r0; c0 < r1; c0 += NR) {
        emb_bf16 *panel = (emb_bf16 *)dst + c0 * k;
        for (size_t p = 0; p < k; p++) {
            for (size_t c = 0; c < NR; c++) {
                panel[p * NR + c] = c0 + c < r1 ? emb_bf16_from_f32(w[(c0 + c - r0) * k + p]) : 0;
            }
        }
    }
}

void emb_finish_row_ref(const struct emb_gemm_job *job, size_t row, size_t c0, size_t columns, const float *acc)
{
    for (size_t c = 0; c < columns; c++) {
        size_t col = c0 + c;
        float x = emb_act_ref(job->act, job->bias ? acc[c] + job->bias[col] : acc[c]);
        if (job->residual) {
            x += job->residual[row * job->ldr + col];
        }
        if (job->out_bf16) {
            ((emb_bf16 *)job->out)[row * job->ldo + col] = emb_bf16_from_f32(x);
        } else {
            ((float *)job->out)[row * job->ldo + col] = x;
        }
    }
}

static void encode_bf16(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    (void)scales;
    emb_f32_to_bf16_ref(x, rows * k, a);
}

static void gemm_f32(const struct emb_gemm_job *job)
{
    for (size_t c0 = job->n0; c0 < job->n1; c0 += NR) {
        const float *panel = (const float *)job->w + c0 * job->k;
        for (size_t row = 0; row < job->m; row++) {
            const float *a = (const float *)job->a + row * job->lda;
            float acc[NR] = {0};
            for (size_t p = 0; p < job->k; p++) {
                float x = a[p];
                for (size_t c = 0; c < NR; c++) {
                    acc[c] += x * panel[p * NR + c];
                }
            }
            emb_finish_row_ref(job, row, c0, job->n1 - c0 < NR ? job->n1 - c0 : NR, acc);
        }
    }
}

static void gemm_bf16(const struct emb_gemm_job *job)
{
    for (size_t c0 = job->n0; c0 < job->n1; c0 += NR) {
        const emb_bf16 *panel = (const emb_bf16 *)job->w + c0 * job->k;
        for (size_t row = 0; row < job->m; row++) {
            const emb_bf16 *a = (const emb_bf16 *)job->a + row * job->lda;
            float acc[NR] = {0};
            for (size_t p = 0; p < job->k; p++) {
                float x = emb_bf16_to_f32(a[p]);
                for (size_t c = 0; c < NR; c++) {
                    acc[c] += x * emb_bf16_to_f32(panel[p * NR + c]);
                }
            }
            emb_finish_row_ref(job, row, c0, job->n1 - c0 < NR ? job->n1 - c0 : NR, acc);
        }
    }
}

const struct emb_gemm emb_gemm_f32_ref = {
    .name = "f32_ref",
    .native = true,
    .nr = NR,
    .mr = 1,
    .a_size = sizeof(float),
    .packed_size = packed_size_f32,
    .pack = pack_f32,
    .run = gemm_f32,
};

const struct emb_gemm emb_gemm_bf16_ref = {
    .name = "bf16_ref",
    .native = false,
    .nr = NR,
    .mr = 1,
    .a_size = sizeof(emb_bf16),
    .encode = encode_bf16,
    .packed_size = packed_size_bf16,
    .pack = pack_bf16,
    .run = gemm_bf16,
};
