/* Functions of vectors for the AVX2 files: exp2, the activations, bf16 rounding, masks, reductions.
 *
 * Include only from files compiled for AVX2 and FMA. All of it is static and inline. */
#ifndef EMB_KERNEL_AVX2_MATH_H
#define EMB_KERNEL_AVX2_MATH_H

#include "kernel/kernel.h"
#include "kernel/gelu_tables.h"

#include <immintrin.h>

#define EMB_LOG2_E 1.44269504088896341f

/* The first n lanes; all of them from 8 up. */
static inline __m256i emb256_mask(size_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8), lane);
}

/* 2^i for whole i in -126..127 */
static inline __m256 emb256_power_of_two(__m256i i)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(i, _mm256_set1_epi32(127)), 23));
}

/* 2^r for r in -1/2..1/2, relative error <= 1e-7 */
static inline __m256 emb256_exp2_part(__m256 r)
{
    __m256 y = _mm256_set1_ps(1.534581243e-04f);
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.339993090e-03f));
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(9.618489072e-03f));
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(5.550328642e-02f));
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(2.402264625e-01f));
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(6.931471825e-01f));
    return _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f));
}

/* 2^x, relative error <= 1e-7 while the result is a normal number; 0 from -160 down, infinity above. NaN stays. */
static inline __m256 emb256_exp2(__m256 x)
{
    x = _mm256_max_ps(_mm256_set1_ps(-160.0f), x);
    x = _mm256_min_ps(_mm256_set1_ps(130.0f), x);
    __m256 whole = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 y = emb256_exp2_part(_mm256_sub_ps(x, whole));
    __m256i i = _mm256_cvtps_epi32(whole);
    __m256i half = _mm256_srai_epi32(i, 1);
    y = _mm256_mul_ps(y, emb256_power_of_two(half));
    return _mm256_mul_ps(y, emb256_power_of_two(_mm256_sub_epi32(i, half)));
}

/* max(x, 0) - g(|x|), g by the wide segments of gelu_tables.h: absolute error <= 6e-7. The segment is the low bits of
 * |x| * scale once 1.5 * 2^23 is added, which rounds to a whole number. */
static inline __m256 emb256_gelu(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(12582912.0f);
    const __m256 scale = _mm256_set1_ps(EMB_GELU_WIDE_SCALE);
    __m256 t = _mm256_min_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x), _mm256_set1_ps(EMB_GELU_RANGE));
    __m256 shifted = _mm256_fmadd_ps(t, scale, magic);
    __m256i i = _mm256_castps_si256(shifted);
    __m256 d = _mm256_fmsub_ps(t, scale, _mm256_sub_ps(shifted, magic));
    __m256 g = _mm256_permutevar8x32_ps(_mm256_loadu_ps(emb_gelu_wide_segments[5]), i);
    for (int power = 4; power >= 0; power--) {
        g = _mm256_fmadd_ps(g, d, _mm256_permutevar8x32_ps(_mm256_loadu_ps(emb_gelu_wide_segments[power]), i));
    }
    return _mm256_sub_ps(_mm256_max_ps(_mm256_setzero_ps(), x), g);
}

/* x / (1 + exp(-s)) */
static inline __m256 emb256_sigmoid_times(__m256 x, __m256 s)
{
    __m256 e = emb256_exp2(_mm256_mul_ps(s, _mm256_set1_ps(-EMB_LOG2_E)));
    return _mm256_div_ps(x, _mm256_add_ps(e, _mm256_set1_ps(1.0f)));
}

/* x/2 * (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2/pi) * (x + 0.044715 x^3) */
static inline __m256 emb256_gelu_tanh(__m256 x)
{
    __m256 x2 = _mm256_mul_ps(x, x);
    __m256 c = _mm256_fmadd_ps(x2, _mm256_set1_ps(2.0f * 0.79788456080286536f * 0.044715f),
                               _mm256_set1_ps(2.0f * 0.79788456080286536f));
    return emb256_sigmoid_times(x, _mm256_mul_ps(x, c));
}

static inline __m256 emb256_act(enum emb_act act, __m256 x)
{
    switch (act) {
    case EMB_ACT_GELU: return emb256_gelu(x);
    case EMB_ACT_GELU_TANH: return emb256_gelu_tanh(x);
    case EMB_ACT_RELU: return _mm256_max_ps(_mm256_setzero_ps(), x);
    case EMB_ACT_SILU: return emb256_sigmoid_times(x, x);
    case EMB_ACT_NONE: break;
    }
    return x;
}

/* To bf16, to nearest even, NaN quiet, denormals kept. */
static inline __m128i emb256_to_bf16(__m256 x)
{
    __m256i u = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    rounded = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
}

/* The first n of 8 bf16, n <= 8. */
static inline void emb256_store_bf16(emb_bf16 *to, size_t n, __m256 x)
{
    __m128i h = emb256_to_bf16(x);
    if (n == 8) {
        _mm_storeu_si128((__m128i *)to, h);
        return;
    }
    emb_bf16 all[8];
    _mm_storeu_si128((__m128i *)all, h);
    for (size_t i = 0; i < n; i++) {
        to[i] = all[i];
    }
}

/* The maximum of all lanes, in every lane. NaN lanes may be lost. */
static inline __m256 emb256_max_all(__m256 x)
{
    x = _mm256_max_ps(x, _mm256_permute2f128_ps(x, x, 1));
    x = _mm256_max_ps(x, _mm256_permute_ps(x, 0x4e));
    return _mm256_max_ps(x, _mm256_permute_ps(x, 0xb1));
}

/* The sum of all lanes in one fixed order. */
static inline float emb256_sum(__m256 x)
{
    x = _mm256_add_ps(x, _mm256_permute2f128_ps(x, x, 1));
    x = _mm256_add_ps(x, _mm256_permute_ps(x, 0x4e));
    x = _mm256_add_ps(x, _mm256_permute_ps(x, 0xb1));
    return _mm256_cvtss_f32(x);
}

/* Transposes 8 x 8: lane j of r[i] becomes lane i of r[j]. */
static inline __attribute__((always_inline)) void emb256_transpose(__m256 r[8])
{
    __m256 t[8];
    for (size_t i = 0; i < 8; i += 4) {
        __m256 a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        __m256 c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

#endif
