/* The end of a matrix product's tile for the AVX-512 files. The file that includes this defines, before, how 16 floats
 * become bf16: EMB512_TO_BF16(x), a __m256i. */
#ifndef EMB_KERNEL_AVX512_FINISH_H
#define EMB_KERNEL_AVX512_FINISH_H

#include "kernel/x86/avx512_math.h"
#include "kernel/x86/panel.h"

static inline __attribute__((always_inline)) void finish_with(const struct emb_gemm_job *job,
                                                              const struct emb_panel_tile *t, enum emb_act act, bool i8)
{
    for (size_t c = 0; c < t->columns; c += 16) {
        size_t col = t->column + c;
        __mmask16 mask = t->columns - c < 16 ? emb512_mask(t->columns - c) : 0xffff;
        __m512 bias = job->bias ? _mm512_maskz_loadu_ps(mask, job->bias + col) : _mm512_set1_ps(-0.0f);
        __m512 scale = i8 ? _mm512_load_ps(t->scales + c) : _mm512_setzero_ps();
        for (size_t r = 0; r < t->rows; r++) {
            __m512 x;
            if (i8) {
                __m512i sum = _mm512_load_si512((const int32_t *)t->values + r * 64 + c);
                __m512 both = _mm512_mul_ps(_mm512_set1_ps(job->a_scales[t->row + r]), scale);
                x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), both, bias);
            } else {
                x = _mm512_add_ps(_mm512_load_ps((const float *)t->values + r * 64 + c), bias);
            }
            x = emb512_act(act, x);
            if (job->residual) {
                const float *from = job->residual + (t->row + r) * job->ldr + col;
                x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, from));
            }
            size_t at = (t->row + r) * job->ldo + col;
            if (job->out_bf16) {
                _mm256_mask_storeu_epi16((emb_bf16 *)job->out + at, mask, EMB512_TO_BF16(x));
            } else {
                _mm512_mask_storeu_ps((float *)job->out + at, mask, x);
            }
        }
    }
}

/* For panels of 64 columns. Adding -0 changes no value, so that no bias needs no other path. */
static inline __attribute__((always_inline)) void finish_any(const struct emb_gemm_job *job,
                                                             const struct emb_panel_tile *t, bool i8)
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
