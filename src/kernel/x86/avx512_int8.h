/* Rotation and quantisation of int8 rows for the AVX-512 files, as int8.h defines them, bit for bit. */
#ifndef EMB_KERNEL_AVX512_INT8_H
#define EMB_KERNEL_AVX512_INT8_H

#include "kernel/int8.h"
#include "kernel/x86/avx512_math.h"

#define EMB512_I8_INLINE static inline __attribute__((always_inline))

/* One stage of the rotation within a vector: lanes where sign is -1 get partner - own, the others partner + own. */
EMB512_I8_INLINE __m512 emb512_stage(__m512 own, __m512 partner, __m512 sign)
{
    return _mm512_fmadd_ps(own, sign, partner);
}

EMB512_I8_INLINE __m512 emb512_rotate_lanes(__m512 y, size_t block)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    if (block > 8) {
        __m512 sign = _mm512_mask_sub_ps(one, 0xff00, _mm512_setzero_ps(), one);
        y = emb512_stage(y, _mm512_shuffle_f32x4(y, y, 0x4e), sign);
    }
    if (block > 4) {
        __m512 sign = _mm512_mask_sub_ps(one, 0xf0f0, _mm512_setzero_ps(), one);
        y = emb512_stage(y, _mm512_shuffle_f32x4(y, y, 0xb1), sign);
    }
    if (block > 2) {
        __m512 sign = _mm512_mask_sub_ps(one, 0xcccc, _mm512_setzero_ps(), one);
        y = emb512_stage(y, _mm512_permute_ps(y, 0x4e), sign);
    }
    if (block > 1) {
        __m512 sign = _mm512_mask_sub_ps(one, 0xaaaa, _mm512_setzero_ps(), one);
        y = emb512_stage(y, _mm512_permute_ps(y, 0xb1), sign);
    }
    return y;
}

/* count <= 64 values, a multiple of block; what is beyond count becomes 0. */
EMB512_I8_INLINE void emb512_rotate(const float *x, size_t count, size_t block, __m512 y[4])
{
    for (size_t v = 0; v < 4; v++) {
        size_t at = 16 * v;
        y[v] = count >= at + 16 ? _mm512_loadu_ps(x + at)
               : count > at     ? _mm512_maskz_loadu_ps(emb512_mask(count - at), x + at)
                                : _mm512_setzero_ps();
    }
    if (block > 32) {
        __m512 a = y[0], b = y[1];
        y[0] = _mm512_add_ps(a, y[2]);
        y[1] = _mm512_add_ps(b, y[3]);
        y[2] = _mm512_sub_ps(a, y[2]);
        y[3] = _mm512_sub_ps(b, y[3]);
    }
    if (block > 16) {
        __m512 a = y[0], b = y[2];
        y[0] = _mm512_add_ps(a, y[1]);
        y[2] = _mm512_add_ps(b, y[3]);
        y[1] = _mm512_sub_ps(a, y[1]);
        y[3] = _mm512_sub_ps(b, y[3]);
    }
    for (size_t v = 0; v < 4; v++) {
        y[v] = emb512_rotate_lanes(y[v], block);
    }
}

EMB512_I8_INLINE __m512i emb512_max_bits(__m512i max, const __m512 y[4])
{
    for (size_t v = 0; v < 4; v++) {
        max = _mm512_max_epi32(max, _mm512_and_si512(_mm512_castps_si512(y[v]), _mm512_set1_epi32(0x7fffffff)));
    }
    return max;
}

/* 64 signed bytes. */
EMB512_I8_INLINE __m512i emb512_quantise(const __m512 y[4], __m512 inverse)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i a = _mm512_packs_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(y[0], inverse)),
                                   _mm512_cvtps_epi32(_mm512_mul_ps(y[1], inverse)));
    __m512i b = _mm512_packs_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(y[2], inverse)),
                                   _mm512_cvtps_epi32(_mm512_mul_ps(y[3], inverse)));
    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(a, b));
}

#endif
