/* The end of a matrix product's tile for the AVX-512 files. The file that includes this defines, before, how 16 floats
 * become bf16: EMB512_TO_BF16(x), a __m256i. */
#ifndef EMB_KERNEL_AVX512_FINISH_H
#define EMB_KERNEL_AVX512_FINISH_H

#include "kernel/x86/avx512_math.h"

static inline __attribute__((always_inline)) void finish_with(const struct emb_gemm_job *job, enum emb_act act,
                                                              const float *tile, size_t row, size_t rows, size_t column,
                                                              size_t columns)
{
    for (size_t c = 0; c < columns; c += 16) {
        size_t col = column + c;
        __mmask16 mask = columns - c < 16 ? emb512_mask(columns - c) : 0xffff;
        __m512 bias = job->bias ? _mm512_maskz_loadu_ps(mask, job->bias + col) : _mm512_set1_ps(-0.0f);
        for (size_t r = 0; r < rows; r++) {
            __m512 x = _mm512_add_ps(_mm512_load_ps(tile + r * 64 + c), bias);
            x = emb512_act(act, x);
            if (job->residual) {
                const float *from = job->residual + (row + r) * job->ldr + col;
                x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, from));
            }
            size_t at = (row + r) * job->ldo + col;
            if (job->out_bf16) {
                _mm256_mask_storeu_epi16((emb_bf16 *)job->out + at, mask, EMB512_TO_BF16(x));
            } else {
                _mm512_mask_storeu_ps((float *)job->out + at, mask, x);
            }
        }
    }
}

/* An emb_panel_finish_fn for panels of 64 columns. Adding -0 changes no value, so that no bias needs no other path. */
static void finish_tile(const struct emb_gemm_job *job, const float *tile, size_t row, size_t rows, size_t column,
                        size_t columns)
{
    switch (job->act) {
    case EMB_ACT_GELU: finish_with(job, EMB_ACT_GELU, tile, row, rows, column, columns); break;
    case EMB_ACT_GELU_TANH: finish_with(job, EMB_ACT_GELU_TANH, tile, row, rows, column, columns); break;
    case EMB_ACT_RELU: finish_with(job, EMB_ACT_RELU, tile, row, rows, column, columns); break;
    case EMB_ACT_SILU: finish_with(job, EMB_ACT_SILU, tile, row, rows, column, columns); break;
    case EMB_ACT_NONE: finish_with(job, EMB_ACT_NONE, tile, row, rows, column, columns); break;
    }
}

#endif
