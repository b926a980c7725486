/* Layer normalisation for the AVX-512 files. The file that includes this defines, before, how 16 floats become bf16:
 * EMB512_TO_BF16(x), a __m256i.
 *
 * Rows go four at a time, so that the latency of one row's sums hides behind the others and each load of gamma and beta
 * serves four. A row's sums run in lanes and are folded in one order whichever of the four it is. */
#ifndef EMB_KERNEL_AVX512_NORM_H
#define EMB_KERNEL_AVX512_NORM_H

#include "kernel/x86/avx512_math.h"

#define EMB512_NORM_ROWS 4
#define EMB512_NORM_INLINE static inline __attribute__((always_inline))

/* The sum of row r's lanes in each lane of the r-th quarter. */
EMB512_NORM_INLINE __m512 norm_fold(const __m512 x[EMB512_NORM_ROWS])
{
    __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(x[0], x[1], 0x44), _mm512_shuffle_f32x4(x[0], x[1], 0xee));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(x[2], x[3], 0x44), _mm512_shuffle_f32x4(x[2], x[3], 0xee));
    __m512 sum = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    sum = _mm512_add_ps(sum, _mm512_permute_ps(sum, 0x4e));
    return _mm512_add_ps(sum, _mm512_permute_ps(sum, 0xb1));
}

/* Each quarter in a vector of its own. */
EMB512_NORM_INLINE void norm_spread(__m512 x, __m512 to[EMB512_NORM_ROWS])
{
    to[0] = _mm512_shuffle_f32x4(x, x, 0x00);
    to[1] = _mm512_shuffle_f32x4(x, x, 0x55);
    to[2] = _mm512_shuffle_f32x4(x, x, 0xaa);
    to[3] = _mm512_shuffle_f32x4(x, x, 0xff);
}

EMB512_NORM_INLINE void norm_sum(const float *const x[EMB512_NORM_ROWS], size_t i, __mmask16 mask,
                                 __m512 sum[EMB512_NORM_ROWS])
{
    for (size_t r = 0; r < EMB512_NORM_ROWS; r++) {
        sum[r] = _mm512_add_ps(sum[r], _mm512_maskz_loadu_ps(mask, x[r] + i));
    }
}

EMB512_NORM_INLINE void norm_squares(const float *const x[EMB512_NORM_ROWS], const __m512 mean[EMB512_NORM_ROWS],
                                     size_t i, __mmask16 mask, __m512 sum[EMB512_NORM_ROWS])
{
    for (size_t r = 0; r < EMB512_NORM_ROWS; r++) {
        __m512 d = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, x[r] + i), mean[r]);
        sum[r] = _mm512_fmadd_ps(d, d, sum[r]);
    }
}

struct norm {
    size_t dim;
    const float *gamma, *beta;
    float *y;
    emb_bf16 *y16; /* or NULL */
};

/* All loads come before the stores: rows 4096 bytes apart would wait for each other. */
EMB512_NORM_INLINE void norm_store(const struct norm *n, const float *const x[EMB512_NORM_ROWS],
                                   const __m512 mean[EMB512_NORM_ROWS], const __m512 scale[EMB512_NORM_ROWS], size_t i,
                                   __mmask16 mask, size_t rows)
{
    __m512 gamma = _mm512_maskz_loadu_ps(mask, n->gamma + i), beta = _mm512_maskz_loadu_ps(mask, n->beta + i);
    __m512 d[EMB512_NORM_ROWS];
    for (size_t r = 0; r < rows; r++) {
        d[r] = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x[r] + i), mean[r]), scale[r]);
        d[r] = _mm512_fmadd_ps(d[r], gamma, beta);
    }
    for (size_t r = 0; r < rows; r++) {
        _mm512_mask_storeu_ps(n->y + r * n->dim + i, mask, d[r]);
        if (n->y16) {
            _mm256_mask_storeu_epi16(n->y16 + r * n->dim + i, mask, EMB512_TO_BF16(d[r]));
        }
    }
}

/* Up to four rows of x from from on. */
EMB512_NORM_INLINE void norm_rows(const struct norm *n, const float *from, float eps, size_t rows)
{
    const float *x[EMB512_NORM_ROWS];
    __m512 mean[EMB512_NORM_ROWS], scale[EMB512_NORM_ROWS], sum[EMB512_NORM_ROWS], squares[EMB512_NORM_ROWS];
    const __m512 dim = _mm512_set1_ps((float)n->dim);
    size_t whole = n->dim / 16 * 16;
    __mmask16 tail = emb512_mask(n->dim - whole);
    for (size_t r = 0; r < EMB512_NORM_ROWS; r++) {
        x[r] = from + (r < rows ? r : 0) * n->dim;
        sum[r] = squares[r] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < whole; i += 16) {
        norm_sum(x, i, 0xffff, sum);
    }
    norm_sum(x, whole, tail, sum);
    norm_spread(_mm512_div_ps(norm_fold(sum), dim), mean);
    for (size_t i = 0; i < whole; i += 16) {
        norm_squares(x, mean, i, 0xffff, squares);
    }
    norm_squares(x, mean, whole, tail, squares);
    __m512 variance = _mm512_add_ps(_mm512_div_ps(norm_fold(squares), dim), _mm512_set1_ps(eps));
    norm_spread(_mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_sqrt_ps(variance)), scale);
    for (size_t i = 0; i < whole; i += 16) {
        norm_store(n, x, mean, scale, i, 0xffff, rows);
    }
    if (tail) {
        norm_store(n, x, mean, scale, whole, tail, rows);
    }
}

static void layernorm(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                      float *y, emb_bf16 *y16)
{
    struct norm n = {.dim = dim, .gamma = gamma, .beta = beta};
    for (size_t r = 0; r < rows; r += EMB512_NORM_ROWS) {
        n.y = y + r * dim;
        n.y16 = y16 ? y16 + r * dim : NULL;
        if (rows - r >= EMB512_NORM_ROWS) {
            norm_rows(&n, x + r * dim, eps, EMB512_NORM_ROWS);
        } else {
            norm_rows(&n, x + r * dim, eps, rows - r);
        }
    }
}

#endif
