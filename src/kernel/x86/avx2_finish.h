/* The end of a matrix product's tile for the AVX2 files, in panels of 16 columns. */
#ifndef EMB_KERNEL_AVX2_FINISH_H
#define EMB_KERNEL_AVX2_FINISH_H

#include "kernel/x86/avx2_math.h"
#include "kernel/x86/panel.h"

#define EMB256_FINISH_INLINE static inline __attribute__((always_inline))

/* One vector: count columns of one row. Masked stores are slow on some CPUs, so whole vectors do without. */
EMB256_FINISH_INLINE void finish_store(const struct emb_gemm_job *job, size_t at, __m256 x, size_t count)
{
    if (job->out_bf16) {
        emb256_store_bf16((emb_bf16 *)job->out + at, count, x);
    } else if (count == 8) {
        _mm256_storeu_ps((float *)job->out + at, x);
    } else {
        _mm256_maskstore_ps((float *)job->out + at, emb256_mask(count), x);
    }
}

/* Adding -0 changes no value, so that no bias needs no other path. */
EMB256_FINISH_INLINE void finish_with(const struct emb_gemm_job *job, const struct emb_panel_tile *t, enum emb_act act,
                                      bool i8)
{
    for (size_t c = 0; c < t->columns; c += 8) {
        size_t col = t->column + c;
        size_t count = t->columns - c < 8 ? t->columns - c : 8;
        __m256i mask = emb256_mask(count);
        __m256 bias = job->bias ? _mm256_maskload_ps(job->bias + col, mask) : _mm256_set1_ps(-0.0f);
        __m256 scale = i8 ? _mm256_load_ps(t->scales + c) : _mm256_setzero_ps();
        for (size_t r = 0; r < t->rows; r++) {
            const float *from = (const float *)t->values + r * 16 + c;
            __m256 x;
            if (i8) {
                __m256 both = _mm256_mul_ps(_mm256_set1_ps(job->a_scales[t->row + r]), scale);
                x = _mm256_cvtepi32_ps(_mm256_load_si256((const __m256i *)(const void *)from));
                x = _mm256_fmadd_ps(x, both, bias);
            } else {
                x = _mm256_add_ps(_mm256_load_ps(from), bias);
            }
            x = emb256_act(act, x);
            if (job->residual) {
                const float *add = job->residual + (t->row + r) * job->ldr + col;
                x = _mm256_add_ps(x, _mm256_maskload_ps(add, mask));
            }
            finish_store(job, (t->row + r) * job->ldo + col, x, count);
        }
    }
}

EMB256_FINISH_INLINE void finish_any(const struct emb_gemm_job *job, const struct emb_panel_tile *t, bool i8)
{
    switch (job->act) {
    case EMB_ACT_GELU: finish_with(job, t, EMB_ACT_GELU, i8); break;
    case EMB_ACT_GELU_TANH: finish_with(job, t, EMB_ACT_GELU_TANH, i8); break;
    case EMB_ACT_RELU: finish_with(job, t, EMB_ACT_RELU, i8); break;
    case EMB_ACT_SILU: finish_with(job, t, EMB_ACT_SILU, i8); break;
    case EMB_ACT_NONE: finish_with(job, t, EMB_ACT_NONE, i8); break;
    }
}

#endif
