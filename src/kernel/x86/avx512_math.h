/* Functions of vectors for the AVX-512 files: exp2, the activations, bf16 rounding, reductions, transposition.
 *
 * Include only from files compiled for AVX-512 F, BW, DQ and VL. All of it is static and inline. */
#ifndef EMB_KERNEL_AVX512_MATH_H
#define EMB_KERNEL_AVX512_MATH_H

#include "kernel/kernel.h"
#include "kernel/gelu_tables.h"

#include <immintrin.h>

#define EMB_LOG2_E 1.44269504088896341f

/* The first n lanes, n <= 16. */
static inline __mmask16 emb512_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

/* 2^r for r in -1/2..1/2, relative error <= 1e-7 */
static inline __m512 emb512_exp2_part(__m512 r)
{
    __m512 y = _mm512_set1_ps(1.534581243e-04f);
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.339993090e-03f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(9.618489072e-03f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(5.550328642e-02f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(2.402264625e-01f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(6.931471825e-01f));
    return _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
}

/* 2^x, relative error <= 1e-7 while the result is a normal number; 0 from -160 down, infinity above. NaN stays. */
static inline __m512 emb512_exp2(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-160.0f), x);
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_scalef_ps(emb512_exp2_part(_mm512_sub_ps(x, whole)), whole);
}

/* Entry i mod 32 of a table of 32. */
static inline __m512 emb512_lookup(const float table[32], __m512i i)
{
    return _mm512_permutex2var_ps(_mm512_loadu_ps(table), i, _mm512_loadu_ps(table + 16));
}

/* max(x, 0) - g(|x|), g by the segments of gelu_tables.h: absolute error <= 6e-7. The segment is the low bits of
 * |x| * scale once 1.5 * 2^23 is added, which rounds to a whole number. */
static inline __m512 emb512_gelu(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(12582912.0f);
    const __m512 scale = _mm512_set1_ps(EMB_GELU_SCALE);
    const __m512 last = _mm512_set1_ps(EMB_GELU_LAST_SEGMENT / EMB_GELU_SCALE);
    __m512 t = _mm512_range_ps(x, last, 0xa); /* min(|x|, last) */
    __m512 shifted = _mm512_fmadd_ps(t, scale, magic);
    __m512i i = _mm512_castps_si512(shifted);
    __m512 d = _mm512_fmsub_ps(t, scale, _mm512_sub_ps(shifted, magic));
    __m512 g = emb512_lookup(emb_gelu_segments[3], i);
    g = _mm512_fmadd_ps(g, d, emb512_lookup(emb_gelu_segments[2], i));
    g = _mm512_fmadd_ps(g, d, emb512_lookup(emb_gelu_segments[1], i));
    g = _mm512_fmadd_ps(g, d, emb512_lookup(emb_gelu_segments[0], i));
    return _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), x), g);
}

/* x / (1 + exp(-s)) */
static inline __m512 emb512_sigmoid_times(__m512 x, __m512 s)
{
    __m512 e = emb512_exp2(_mm512_mul_ps(s, _mm512_set1_ps(-EMB_LOG2_E)));
    return _mm512_div_ps(x, _mm512_add_ps(e, _mm512_set1_ps(1.0f)));
}

/* x/2 * (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2/pi) * (x + 0.044715 x^3) */
static inline __m512 emb512_gelu_tanh(__m512 x)
{
    __m512 x2 = _mm512_mul_ps(x, x);
    __m512 c = _mm512_fmadd_ps(x2, _mm512_set1_ps(2.0f * 0.79788456080286536f * 0.044715f),
                               _mm512_set1_ps(2.0f * 0.79788456080286536f));
    return emb512_sigmoid_times(x, _mm512_mul_ps(x, c));
}

static inline __m512 emb512_act(enum emb_act act, __m512 x)
{
    switch (act) {
    case EMB_ACT_GELU: return emb512_gelu(x);
    case EMB_ACT_GELU_TANH: return emb512_gelu_tanh(x);
    case EMB_ACT_RELU: return _mm512_max_ps(_mm512_setzero_ps(), x);
    case EMB_ACT_SILU: return emb512_sigmoid_times(x, x);
    case EMB_ACT_NONE: break;
    }
    return x;
}

/* To bf16, to nearest even, NaN quiet, denormals kept. */
static inline __m256i emb512_to_bf16(__m512 x)
{
    __m512i u = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, u, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

/* The maximum of all lanes, in every lane. NaN lanes may be lost. */
static inline __m512 emb512_max_all(__m512 x)
{
    x = _mm512_max_ps(x, _mm512_shuffle_f32x4(x, x, 0x4e));
    x = _mm512_max_ps(x, _mm512_shuffle_f32x4(x, x, 0xb1));
    x = _mm512_max_ps(x, _mm512_permute_ps(x, 0x4e));
    return _mm512_max_ps(x, _mm512_permute_ps(x, 0xb1));
}

/* The sum of all lanes in one fixed order. */
static inline float emb512_sum(__m512 x)
{
    x = _mm512_add_ps(x, _mm512_shuffle_f32x4(x, x, 0x4e));
    x = _mm512_add_ps(x, _mm512_shuffle_f32x4(x, x, 0xb1));
    x = _mm512_add_ps(x, _mm512_permute_ps(x, 0x4e));
    x = _mm512_add_ps(x, _mm512_permute_ps(x, 0xb1));
    return _mm512_cvtss_f32(x);
}

/* Transposes 16 x 16: lane j of r[i] becomes lane i of r[j]. */
static inline __attribute__((always_inline)) void emb512_transpose(__m512 r[16])
{
    __m512 t[16];
    for (size_t i = 0; i < 16; i += 4) {
        __m512 a = _mm512_unpacklo_ps(r[i], r[i + 1]), b = _mm512_unpackhi_ps(r[i], r[i + 1]);
        __m512 c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        __m512 a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        __m512 c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        __m512 d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

#endif
