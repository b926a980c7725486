/* What the AVX2 files offer the table of their tier. */
#ifndef EMB_KERNEL_AVX2_TIER_H
#define EMB_KERNEL_AVX2_TIER_H

#include "kernel/kernel.h"

extern const struct emb_gemm emb_gemm_f32_avx2;
extern const struct emb_gemm emb_gemm_bf16_avx2;
extern const struct emb_gemm emb_gemm_i8_avx2;

void emb_attention_avx2(const struct emb_attention_job *job);

void emb_f32_to_bf16_avx2(const float *x, size_t n, emb_bf16 *y);

#endif
