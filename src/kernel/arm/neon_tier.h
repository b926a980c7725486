/* What the base ARM files offer the table of their tier, and the tiers above. */
#ifndef EMB_KERNEL_NEON_TIER_H
#define EMB_KERNEL_NEON_TIER_H

#include "kernel/kernel.h"
#include "kernel/panel.h"

extern const struct emb_gemm emb_gemm_f32_neon;
extern const struct emb_gemm emb_gemm_bf16_neon;
extern const struct emb_gemm emb_gemm_i8_neon;

/* Packs bf16 as panels of [ceil(k / step)][nr][step]. A panel's bytes are a multiple of 64; padding is zero. */
void emb_pack_bf16_neon(emb_bf16 *dst, const float *w, size_t r0, size_t r1, size_t k, size_t nr, size_t step);

/* Conversion of rows to signed bytes, an emb_gemm's encode, and how weights are packed for it. */
void emb_encode_i8_neon(const float *x, size_t rows, size_t k, void *a, float *scales);
extern const struct emb_panel_i8_rows emb_i8_rows_neon;

void emb_attention_neon(const struct emb_attention_job *job);

void emb_f32_to_bf16_neon(const float *x, size_t n, emb_bf16 *y);

#endif
