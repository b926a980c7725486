/* The end of an int8 tile for the ARM files. Include after neon_finish.h. */
#ifndef EMB_KERNEL_NEON_INT8_END_H
#define EMB_KERNEL_NEON_INT8_END_H

#include "kernel/arm/neon_finish.h"

/* One row's vector of exact sums, scaled, with the bias, to where the tile keeps it. */
EMB_NEON_INLINE void put_sums(const struct emb_panel_tile *t, size_t r, size_t v, int32x4_t sum)
{
    float32x4_t scale = vmulq_n_f32(vld1q_f32(t->scales + v * EMB_NEON_LANES), t->a_scales[r]);
    float32x4_t x = vfmaq_f32(vld1q_f32(t->bias + v * EMB_NEON_LANES), vcvtq_f32_s32(sum), scale);
    vst1q_f32(t->values + r * t->stride + v * EMB_NEON_LANES, x);
}

#endif
