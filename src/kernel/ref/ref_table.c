/* The portable tier's entry into the table. */
#include "kernel/tiers.h"

#include "kernel/ref/ref.h"

void emb_kernels_init_ref(struct emb_kernels *t)
{
    *t = (struct emb_kernels){
        .gemm_f32 = emb_gemm_f32_ref,
        .gemm_bf16 = emb_gemm_bf16_ref,
        .gemm_i8 = emb_gemm_i8_ref,
        .attention_scratch = emb_attention_scratch_ref,
        .attention = emb_attention_ref,
        .layernorm = emb_layernorm_ref,
        .f32_to_bf16 = emb_f32_to_bf16_ref,
        .dot = emb_dot_ref,
    };
}
