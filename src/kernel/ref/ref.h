/* Portable kernels shared within src/kernel: other tiers may call them for rare cases. */
#ifndef EMB_KERNEL_REF_H
#define EMB_KERNEL_REF_H

#include "kernel/kernel.h"

extern const struct emb_gemm emb_gemm_f32_ref;
extern const struct emb_gemm emb_gemm_bf16_ref;
extern const struct emb_gemm emb_gemm_i8_ref;

float emb_act_ref(enum emb_act act, float x);

/* The end of one row of the job's output, columns c0 .. c0 + columns: bias, activation, residual, store. */
void emb_finish_row_ref(const struct emb_gemm_job *job, size_t row, size_t c0, size_t columns, const float *acc);

size_t emb_attention_scratch_ref(size_t n, size_t head_dim);
void emb_attention_ref(const struct emb_attention_job *job);

void emb_layernorm_ref(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                       float *y, emb_bf16 *y16);
void emb_f32_to_bf16_ref(const float *x, size_t n, emb_bf16 *y);
float emb_dot_ref(const float *a, const float *b, size_t n);

#endif
