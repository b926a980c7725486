/* What the AVX-512 VNNI files offer tiers above. */
#ifndef EMB_KERNEL_AVX512VNNI_TIER_H
#define EMB_KERNEL_AVX512VNNI_TIER_H

#include "kernel/panel.h"

extern const struct emb_panel_kernel emb_panel_i8_avx512vnni;

#endif
