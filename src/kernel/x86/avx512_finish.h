/* The end of a matrix product's tile for the AVX-512 files. The file that includes this defines, before, how 16 floats
 * become bf16: EMB512_TO_BF16(x), a __m256i. */
#ifndef EMB_KERNEL_AVX512_FINISH_H
#define EMB_KERNEL_AVX512_FINISH_H

#include "kernel/x86/avx512_math.h"
#include "kernel/x86/panel.h"

#define EMB512_FINISH_INLINE static inline __attribute__((always_inline))

/* The values of one row before the activation: four vectors, of which the masks tell the columns in use. */
EMB512_FINISH_INLINE void finish_load(const struct emb_panel_tile *t, size_t r, const float *a_scale,
                                      const __m512 bias[4], bool i8, __m512 x[4])
{
    for (size_t v = 0; v < 4; v++) {
        const float *from = (const float *)t->values + r * 64 + v * 16;
        if (i8) {
            __m512 scale = _mm512_mul_ps(_mm512_set1_ps(*a_scale), _mm512_load_ps(t->scales + v * 16));
            x[v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(from)), scale, bias[v]);
        } else {
            x[v] = _mm512_add_ps(_mm512_load_ps(from), bias[v]);
        }
    }
}

EMB512_FINISH_INLINE void finish_store(const struct emb_gemm_job *job, size_t at, const __m512 x[4],
                                       const __mmask16 masks[4], bool whole)
{
    if (job->out_bf16) {
        emb_bf16 *to = (emb_bf16 *)job->out + at;
        for (size_t v = 0; v < 4; v++) {
            if (whole) {
                _mm256_storeu_si256((__m256i *)(void *)(to + v * 16), EMB512_TO_BF16(x[v]));
            } else {
                _mm256_mask_storeu_epi16(to + v * 16, masks[v], EMB512_TO_BF16(x[v]));
            }
        }
        return;
    }
    float *to = (float *)job->out + at;
    for (size_t v = 0; v < 4; v++) {
        if (whole) {
            _mm512_storeu_ps(to + v * 16, x[v]);
        } else {
            _mm512_mask_storeu_ps(to + v * 16, masks[v], x[v]);
        }
    }
}

/* Adding -0 changes no value, so that no bias needs no other path. */
EMB512_FINISH_INLINE void finish_with(const struct emb_gemm_job *job, const struct emb_panel_tile *t, enum emb_act act,
                                      bool i8, bool whole)
{
    __mmask16 masks[4];
    __m512 bias[4];
    for (size_t v = 0; v < 4; v++) {
        size_t left = t->columns > v * 16 ? t->columns - v * 16 : 0;
        masks[v] = whole || left >= 16 ? 0xffff : emb512_mask(left);
        bias[v] = job->bias ? _mm512_maskz_loadu_ps(masks[v], job->bias + t->column + v * 16) : _mm512_set1_ps(-0.0f);
    }
    for (size_t r = 0; r < t->rows; r++) {
        __m512 x[4];
        finish_load(t, r, i8 ? job->a_scales + t->row + r : NULL, bias, i8, x);
        for (size_t v = 0; v < 4; v++) {
            x[v] = emb512_act(act, x[v]);
        }
        if (job->residual) {
            const float *from = job->residual + (t->row + r) * job->ldr + t->column;
            for (size_t v = 0; v < 4; v++) {
                x[v] = _mm512_add_ps(x[v], _mm512_maskz_loadu_ps(masks[v], from + v * 16));
            }
        }
        finish_store(job, (t->row + r) * job->ldo + t->column, x, masks, whole);
    }
}

EMB512_FINISH_INLINE void finish_act(const struct emb_gemm_job *job, const struct emb_panel_tile *t, enum emb_act act,
                                     bool i8)
{
    if (t->columns == 64) {
        finish_with(job, t, act, i8, true);
    } else {
        finish_with(job, t, act, i8, false);
    }
}

/* For panels of 64 columns. Columns beyond the tile's vectors hold what they will and are not stored. */
EMB512_FINISH_INLINE void finish_any(const struct emb_gemm_job *job, const struct emb_panel_tile *t, bool i8)
{
    switch (job->act) {
    case EMB_ACT_GELU: finish_act(job, t, EMB_ACT_GELU, i8); break;
    case EMB_ACT_GELU_TANH: finish_act(job, t, EMB_ACT_GELU_TANH, i8); break;
    case EMB_ACT_RELU: finish_act(job, t, EMB_ACT_RELU, i8); break;
    case EMB_ACT_SILU: finish_act(job, t, EMB_ACT_SILU, i8); break;
    case EMB_ACT_NONE: finish_act(job, t, EMB_ACT_NONE, i8); break;
    }
}

#endif
