/* The end of a matrix product's tile for the AVX2 files, in panels of 16 columns. */
#ifndef EMB_KERNEL_AVX2_FINISH_H
#define EMB_KERNEL_AVX2_FINISH_H

#include "kernel/x86/avx2_math.h"
#include "kernel/panel.h"

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

EMB256_FINISH_INLINE void finish_with(const struct emb_gemm_job *job, const struct emb_panel_tile *t, enum emb_act act)
{
    for (size_t c = 0; c < t->columns; c += 8) {
        size_t col = t->column + c;
        size_t count = t->columns - c < 8 ? t->columns - c : 8;
        __m256i mask = emb256_mask(count);
        for (size_t r = 0; r < t->rows; r++) {
            __m256 x = emb256_act(act, _mm256_load_ps(t->values + r * 16 + c));
            if (job->residual) {
                const float *add = job->residual + (t->row + r) * job->ldr + col;
                x = _mm256_add_ps(x, _mm256_maskload_ps(add, mask));
            }
            finish_store(job, (t->row + r) * job->ldo + col, x, count);
        }
    }
}

/* An emb_panel_finish_fn. */
static void finish(const struct emb_gemm_job *job, const struct emb_panel_tile *t)
{
    switch (job->act) {
    case EMB_ACT_GELU: finish_with(job, t, EMB_ACT_GELU); break;
    case EMB_ACT_GELU_TANH: finish_with(job, t, EMB_ACT_GELU_TANH); break;
    case EMB_ACT_RELU: finish_with(job, t, EMB_ACT_RELU); break;
    case EMB_ACT_SILU: finish_with(job, t, EMB_ACT_SILU); break;
    case EMB_ACT_NONE: finish_with(job, t, EMB_ACT_NONE); break;
    }
}

#endif
