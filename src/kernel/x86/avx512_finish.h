/* The end of a matrix product's tile for the AVX-512 files. The file that includes this defines, before, how 16 floats
 * become bf16: EMB512_TO_BF16(x), a __m256i. */
#ifndef EMB_KERNEL_AVX512_FINISH_H
#define EMB_KERNEL_AVX512_FINISH_H

#include "kernel/x86/avx512_math.h"
#include "kernel/panel.h"

#define EMB512_FINISH_INLINE static inline __attribute__((always_inline))

/* For tiles of up to 6 rows by 4 vectors of f32: what they start from, and their sums, with the bias, to where the tile
 * keeps them. */
EMB512_FINISH_INLINE void emb512_clear(__m512 acc[][4], size_t rows, size_t vectors)
{
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = _mm512_setzero_ps();
        }
    }
}

EMB512_FINISH_INLINE void emb512_put(const struct emb_panel_tile *t, const __m512 acc[][4], size_t rows, size_t vectors)
{
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            __m512 x = _mm512_add_ps(acc[r][v], _mm512_load_ps(t->bias + v * 16));
            _mm512_storeu_ps(t->values + r * t->stride + v * 16, x);
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

EMB512_FINISH_INLINE void finish_with(const struct emb_gemm_job *job, const struct emb_panel_tile *t, enum emb_act act,
                                      bool whole)
{
    __mmask16 masks[4];
    for (size_t v = 0; v < 4; v++) {
        size_t left = t->columns > v * 16 ? t->columns - v * 16 : 0;
        masks[v] = whole || left >= 16 ? 0xffff : emb512_mask(left);
    }
    for (size_t r = 0; r < t->rows; r++) {
        __m512 x[4];
        for (size_t v = 0; v < 4; v++) {
            x[v] = emb512_act(act, _mm512_maskz_load_ps(masks[v], t->values + r * 64 + v * 16));
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

EMB512_FINISH_INLINE void finish_act(const struct emb_gemm_job *job, const struct emb_panel_tile *t, enum emb_act act)
{
    if (t->columns == 64) {
        finish_with(job, t, act, true);
    } else {
        finish_with(job, t, act, false);
    }
}

/* An emb_panel_finish_fn for panels of 64 columns. */
static void finish(const struct emb_gemm_job *job, const struct emb_panel_tile *t)
{
    switch (job->act) {
    case EMB_ACT_GELU: finish_act(job, t, EMB_ACT_GELU); break;
    case EMB_ACT_GELU_TANH: finish_act(job, t, EMB_ACT_GELU_TANH); break;
    case EMB_ACT_RELU: finish_act(job, t, EMB_ACT_RELU); break;
    case EMB_ACT_SILU: finish_act(job, t, EMB_ACT_SILU); break;
    case EMB_ACT_NONE: finish_act(job, t, EMB_ACT_NONE); break;
    }
}

#endif
