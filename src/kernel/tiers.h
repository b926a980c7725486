/* What a tier gives dispatch.c: one function that overwrites its entries of the table. Internal to
 * src/kernel. */
#ifndef EMB_KERNEL_TIERS_H
#define EMB_KERNEL_TIERS_H

#include "kernel/kernel.h"

/* Fills every entry. */
void emb_kernels_init_ref(struct emb_kernels *t);

/* Each overwrites what it does better than the tier below; call only where the CPU has the tier. */
void emb_kernels_init_avx2(struct emb_kernels *t);
void emb_kernels_init_avx512(struct emb_kernels *t);
void emb_kernels_init_avx512vnni(struct emb_kernels *t);
void emb_kernels_init_avx512bf16(struct emb_kernels *t);
void emb_kernels_init_neon(struct emb_kernels *t);
void emb_kernels_init_dotprod(struct emb_kernels *t);
void emb_kernels_init_i8mm(struct emb_kernels *t);
void emb_kernels_init_bf16(struct emb_kernels *t);

#endif
