/* The softmax of a tile of queries for the AVX-512 attention files: bases, sums, and the end.
 *
 * EMB512_TO_BF16 must be defined before it is included: how 16 f32 become bf16. */
#ifndef EMB_KERNEL_AVX512_SOFTMAX_H
#define EMB_KERNEL_AVX512_SOFTMAX_H

#include "kernel/attention.h"
#include "kernel/panel.h"
#include "kernel/x86/avx512_math.h"

#include <math.h>

#define EMB512_INLINE static inline __attribute__((always_inline))

struct emb512_softmax {
    _Alignas(64) float base[16];  /* of query r at lane_of[r] */
    _Alignas(64) float keep[16];  /* what a new base leaves of earlier sums, likewise */
    __m512 max[EMB_ATTENTION_MR]; /* of the block's scores, by lane */
    __m512 sum[EMB_ATTENTION_MR]; /* of the weights, by lane */
    __m512 factor;                /* of the scores, to units of log2; positive */
    float *out;                   /* [MR][width], running */
    size_t width, columns;        /* columns: vectors of head_dim */
};

static const size_t emb512_lane_of[EMB_ATTENTION_MR] = {0, 4, 8, 12, 1, 5};

/* Folds each of six vectors into one lane, query r's into lane_of[r], in the same order for each. */
#define EMB512_FOLD(name, op)                                                                                          \
    EMB512_INLINE __m512 name(const __m512 x[EMB_ATTENTION_MR])                                                        \
    {                                                                                                                  \
        __m512 ab = op(_mm512_shuffle_f32x4(x[0], x[1], 0x44), _mm512_shuffle_f32x4(x[0], x[1], 0xee));                \
        __m512 cd = op(_mm512_shuffle_f32x4(x[2], x[3], 0x44), _mm512_shuffle_f32x4(x[2], x[3], 0xee));                \
        __m512 ef = op(_mm512_shuffle_f32x4(x[4], x[5], 0x44), _mm512_shuffle_f32x4(x[4], x[5], 0xee));                \
        __m512 abcd = op(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));                      \
        __m512 efef = op(_mm512_shuffle_f32x4(ef, ef, 0x88), _mm512_shuffle_f32x4(ef, ef, 0xdd));                      \
        __m512 pairs = op(_mm512_unpacklo_ps(abcd, efef), _mm512_unpackhi_ps(abcd, efef));                             \
        return op(pairs, _mm512_permute_ps(pairs, 0x4e));                                                              \
    }
EMB512_FOLD(emb512_fold_max, _mm512_max_ps)
EMB512_FOLD(emb512_fold_sum, _mm512_add_ps)

EMB512_INLINE void emb512_begin(struct emb512_softmax *s)
{
    _mm512_store_ps(s->base, _mm512_set1_ps(-INFINITY));
    for (size_t r = 0; r < EMB_ATTENTION_MR; r++) {
        s->sum[r] = _mm512_setzero_ps();
    }
}

EMB512_INLINE void emb512_begin_block(struct emb512_softmax *s)
{
    for (size_t r = 0; r < EMB_ATTENTION_MR; r++) {
        s->max[r] = _mm512_set1_ps(-INFINITY);
    }
}

/* Stores the products of a tile with count keys and takes their maxima; keys after count get -infinity. */
EMB512_INLINE void emb512_take_scores(struct emb512_softmax *s, float *to, size_t ld, const __m512 acc[][4],
                                      size_t count, size_t rows, size_t vectors)
{
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __mmask16 last = emb512_mask(count - (vectors - 1) * 16);
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        __m512 max = s->max[r];
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            __m512 x = v + 1 == vectors ? _mm512_mask_mov_ps(none, last, acc[r][v]) : acc[r][v];
            _mm512_store_ps(to + r * ld + v * 16, x);
            max = _mm512_max_ps(max, x);
        }
        s->max[r] = max;
    }
}

/* Bases for the block's maxima; rescales what earlier blocks left of rows where a base has moved. */
EMB512_INLINE void emb512_move_bases(struct emb512_softmax *s, size_t rows)
{
    __m512 old = _mm512_load_ps(s->base), max = _mm512_mul_ps(emb512_fold_max(s->max), s->factor);
    __mmask16 moved = _mm512_cmp_ps_mask(max, _mm512_add_ps(old, _mm512_set1_ps(EMB_ATTENTION_SLACK)), _CMP_GT_OQ);
    if (!moved) {
        return;
    }
    __m512 base = _mm512_mask_mov_ps(old, moved, max);
    _mm512_store_ps(s->base, base);
    _mm512_store_ps(s->keep, _mm512_mask_mov_ps(_mm512_set1_ps(1.0f), moved, emb512_exp2(_mm512_sub_ps(old, base))));
    for (size_t r = 0; r < rows; r++) {
        __m512 keep = _mm512_set1_ps(s->keep[emb512_lane_of[r]]);
        s->sum[r] = _mm512_mul_ps(s->sum[r], keep);
        for (size_t c = 0; c < s->columns; c++) {
            float *out = s->out + r * s->width + c * 16;
            _mm512_store_ps(out, _mm512_mul_ps(_mm512_load_ps(out), keep));
        }
    }
}

EMB512_INLINE void emb512_end(const struct emb512_softmax *s, const struct emb_attention_job *job, size_t row,
                              size_t rows)
{
    _Alignas(64) float inverse[16];
    _mm512_store_ps(inverse, _mm512_div_ps(_mm512_set1_ps(1.0f), emb512_fold_sum(s->sum)));
    for (size_t r = 0; r < rows; r++) {
        const __m512 factor = _mm512_set1_ps(inverse[emb512_lane_of[r]]);
        for (size_t d = 0; d < job->head_dim; d += 16) {
            __mmask16 mask = job->head_dim - d < 16 ? emb512_mask(job->head_dim - d) : 0xffff;
            __m512 x = _mm512_mul_ps(_mm512_load_ps(s->out + r * s->width + d), factor);
            size_t at = (row + r) * job->ldo + d;
            if (job->out_bf16) {
                _mm256_mask_storeu_epi16((emb_bf16 *)job->out + at, mask, EMB512_TO_BF16(x));
            } else {
                _mm512_mask_storeu_ps((float *)job->out + at, mask, x);
            }
        }
    }
}

#endif
