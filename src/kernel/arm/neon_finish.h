/* The end of a matrix product's tile for the ARM files, in panels of 16 columns. The file that includes it first
 * defines EMB_NEON_TO_BF16(x), four f32 to four bf16 by its own instructions. */
#ifndef EMB_KERNEL_NEON_FINISH_H
#define EMB_KERNEL_NEON_FINISH_H

#include "kernel/arm/neon_math.h"
#include "kernel/arm/neon_tile.h"
#include "kernel/panel.h"

/* The sums of one row's vector, with the bias, to where the tile keeps them. */
EMB_NEON_INLINE void put_values(const struct emb_panel_tile *t, size_t r, size_t v, float32x4_t sum)
{
    float32x4_t x = vaddq_f32(sum, vld1q_f32(t->bias + v * EMB_NEON_LANES));
    vst1q_f32(t->values + r * t->stride + v * EMB_NEON_LANES, x);
}

EMB_NEON_INLINE void finish_with(const struct emb_gemm_job *job, const struct emb_panel_tile *t, enum emb_act act)
{
    for (size_t c = 0; c < t->columns; c += EMB_NEON_LANES) {
        size_t col = t->column + c;
        size_t count = t->columns - c < EMB_NEON_LANES ? t->columns - c : EMB_NEON_LANES;
        for (size_t r = 0; r < t->rows; r++) {
            float32x4_t x = emb_neon_act(act, vld1q_f32(t->values + r * t->stride + c));
            if (job->residual) {
                x = vaddq_f32(x, emb_neon_load_part(job->residual + (t->row + r) * job->ldr + col, count));
            }
            size_t at = (t->row + r) * job->ldo + col;
            if (job->out_bf16) {
                emb_neon_store_bf16((emb_bf16 *)job->out + at, count, EMB_NEON_TO_BF16(x));
            } else {
                emb_neon_store_part((float *)job->out + at, count, x);
            }
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
