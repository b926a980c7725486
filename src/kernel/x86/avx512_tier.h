/* What the AVX-512 files offer the table of their tier. */
#ifndef EMB_KERNEL_AVX512_TIER_H
#define EMB_KERNEL_AVX512_TIER_H

#include "kernel/kernel.h"

extern const struct emb_gemm emb_gemm_f32_avx512;
extern const struct emb_gemm emb_gemm_bf16_avx512; /* packed as avx512bf16 takes it too */

void emb_attention_avx512(const struct emb_attention_job *job);

/* What f32 needs of scratch is enough for bf16 too. */
void emb_attention_avx512bf16(const struct emb_attention_job *job);

void emb_layernorm_avx512bf16(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                              float *y, emb_bf16 *y16);
void emb_f32_to_bf16_avx512(const float *x, size_t n, emb_bf16 *y);

#endif
