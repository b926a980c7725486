/* What the base ARM files offer the table of their tier, and the tiers above. */
#ifndef EMB_KERNEL_NEON_TIER_H
#define EMB_KERNEL_NEON_TIER_H

#include "kernel/kernel.h"
#include "kernel/panel.h"

extern const struct emb_gemm emb_gemm_f32_neon;
extern const struct emb_gemm emb_gemm_bf16_neon;
extern const struct emb_gemm emb_gemm_i8_neon;

/* Conversion of rows to signed bytes, an emb_gemm's encode, and how weights are packed for it. */
void emb_encode_i8_neon(const float *x, size_t rows, size_t k, void *a, float *scales);
extern const struct emb_panel_i8_rows emb_i8_rows_neon;

void emb_attention_neon(const struct emb_attention_job *job);

void emb_f32_to_bf16_neon(const float *x, size_t n, emb_bf16 *y);

#endif
