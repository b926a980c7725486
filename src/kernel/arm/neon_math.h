/* Functions of vectors for the ARM files: exp2, the activations, bf16 rounding, parts of vectors, reductions.
 *
 * Needs nothing but the base of armv8-a. All of it is static and inline. */
#ifndef EMB_KERNEL_NEON_MATH_H
#define EMB_KERNEL_NEON_MATH_H

#include "kernel/kernel.h"
#include "kernel/gelu_tables.h"

#include <arm_neon.h>

#define EMB_LOG2_E 1.44269504088896341f

/* The first n of 4 values, n <= 4, then zeros. Reads no further. */
static inline float32x4_t emb_neon_load_part(const float *x, size_t n)
{
    if (n == 4) {
        return vld1q_f32(x);
    }
    float all[4] = {0};
    for (size_t i = 0; i < n; i++) {
        all[i] = x[i];
    }
    return vld1q_f32(all);
}

static inline void emb_neon_store_part(float *to, size_t n, float32x4_t x)
{
    if (n == 4) {
        vst1q_f32(to, x);
        return;
    }
    float all[4];
    vst1q_f32(all, x);
    for (size_t i = 0; i < n; i++) {
        to[i] = all[i];
    }
}

/* The lanes below n as they are, the others zero. */
static inline float32x4_t emb_neon_keep(float32x4_t x, size_t n)
{
    static const uint32_t lanes[4] = {0, 1, 2, 3};
    uint32x4_t kept = vcltq_u32(vld1q_u32(lanes), vdupq_n_u32(n < 4 ? (uint32_t)n : 4));
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), kept));
}

/* bf16 to f32. */
static inline float32x4_t emb_neon_widen(uint16x4_t h)
{
    return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}

/* 2^i for whole i in -126..127 */
static inline float32x4_t emb_neon_power_of_two(int32x4_t i)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(i, vdupq_n_s32(127)), 23));
}

/* 2^r for r in -1/2..1/2, relative error <= 1e-7 */
static inline float32x4_t emb_neon_exp2_part(float32x4_t r)
{
    float32x4_t y = vdupq_n_f32(1.534581243e-04f);
    y = vfmaq_f32(vdupq_n_f32(1.339993090e-03f), y, r);
    y = vfmaq_f32(vdupq_n_f32(9.618489072e-03f), y, r);
    y = vfmaq_f32(vdupq_n_f32(5.550328642e-02f), y, r);
    y = vfmaq_f32(vdupq_n_f32(2.402264625e-01f), y, r);
    y = vfmaq_f32(vdupq_n_f32(6.931471825e-01f), y, r);
    return vfmaq_f32(vdupq_n_f32(1.0f), y, r);
}

/* 2^x, relative error <= 1e-7 while the result is a normal number; 0 from -160 down, infinity above. NaN stays. */
static inline float32x4_t emb_neon_exp2(float32x4_t x)
{
    x = vmaxq_f32(vdupq_n_f32(-160.0f), x);
    x = vminq_f32(vdupq_n_f32(130.0f), x);
    float32x4_t whole = vrndnq_f32(x);
    float32x4_t y = emb_neon_exp2_part(vsubq_f32(x, whole));
    int32x4_t i = vcvtq_s32_f32(whole);
    int32x4_t half = vshrq_n_s32(i, 1);
    y = vmulq_f32(y, emb_neon_power_of_two(half));
    return vmulq_f32(y, emb_neon_power_of_two(vsubq_s32(i, half)));
}

/* max(x, 0) - t / (2 p(t)^16), t = |x|, p of gelu_tables.h: absolute error <= 5e-7. */
static inline float32x4_t emb_neon_gelu(float32x4_t x)
{
    float32x4_t t = vminq_f32(vabsq_f32(x), vdupq_n_f32(8.0f));
    float32x4_t p = vdupq_n_f32(emb_gelu_power[6]);
    for (int i = 5; i >= 0; i--) {
        p = vfmaq_f32(vdupq_n_f32(emb_gelu_power[i]), p, t);
    }
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, t);
    p = vmulq_f32(p, p);
    p = vmulq_f32(p, p);
    p = vmulq_f32(p, p);
    p = vmulq_f32(p, p);
    float32x4_t g = vdivq_f32(vmulq_f32(t, vdupq_n_f32(0.5f)), p);
    return vsubq_f32(vmaxq_f32(vdupq_n_f32(0.0f), x), g);
}

/* x / (1 + exp(-s)) */
static inline float32x4_t emb_neon_sigmoid_times(float32x4_t x, float32x4_t s)
{
    float32x4_t e = emb_neon_exp2(vmulq_f32(s, vdupq_n_f32(-EMB_LOG2_E)));
    return vdivq_f32(x, vaddq_f32(e, vdupq_n_f32(1.0f)));
}

/* x/2 * (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2/pi) * (x + 0.044715 x^3) */
static inline float32x4_t emb_neon_gelu_tanh(float32x4_t x)
{
    float32x4_t c = vfmaq_f32(vdupq_n_f32(2.0f * 0.79788456080286536f), vmulq_f32(x, x),
                              vdupq_n_f32(2.0f * 0.79788456080286536f * 0.044715f));
    return emb_neon_sigmoid_times(x, vmulq_f32(x, c));
}

static inline float32x4_t emb_neon_act(enum emb_act act, float32x4_t x)
{
    switch (act) {
    case EMB_ACT_GELU: return emb_neon_gelu(x);
    case EMB_ACT_GELU_TANH: return emb_neon_gelu_tanh(x);
    case EMB_ACT_RELU: return vmaxq_f32(vdupq_n_f32(0.0f), x);
    case EMB_ACT_SILU: return emb_neon_sigmoid_times(x, x);
    case EMB_ACT_NONE: break;
    }
    return x;
}

/* To bf16, to nearest even, NaN quiet, denormals kept. */
static inline uint16x4_t emb_neon_to_bf16(float32x4_t x)
{
    uint32x4_t u = vreinterpretq_u32_f32(x);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd);
    uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), rounded, quiet), 16);
}

/* The first n of 4 bf16, n <= 4. */
static inline void emb_neon_store_bf16(emb_bf16 *to, size_t n, uint16x4_t h)
{
    if (n == 4) {
        vst1_u16(to, h);
        return;
    }
    emb_bf16 all[4];
    vst1_u16(all, h);
    for (size_t i = 0; i < n; i++) {
        to[i] = all[i];
    }
}

/* The sum of all lanes in one fixed order. */
static inline float emb_neon_sum(float32x4_t x)
{
    return vaddvq_f32(x);
}

#endif
