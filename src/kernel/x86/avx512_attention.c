/* Attention for AVX-512 in f32; bf16 operands are widened as they are packed.
 *
 * Keys are packed transposed in blocks of 64, values dense; then tiles of up to 6 queries pass over the blocks: scores
 * as a matrix product held in registers, softmax kept online, and a second product with the values. Every query's sums
 * run over rising keys in blocks that start at 0, so a query's result does not depend on the tile or the call it is in.
 *
 * Scratch: keys [blocks][head_dim][64], values [n][dim16], one tile's running output [6][dim16], its widened queries
 * [6][dim16]; dim16 is head_dim rounded up to 16. */
#include "kernel/x86/avx512_tier.h"

#include "kernel/x86/avx512_math.h"

#include <math.h>
#include <string.h>

#define MR 6
#define KEY_BLOCK 64
#define LANES 16
#define TILE_INLINE static inline __attribute__((always_inline))

/* One tile of queries on its way over the keys. */
struct tile {
    _Alignas(64) float weight[MR][KEY_BLOCK]; /* of the block at hand: scores, then exp2(score - max) */
    __m512 max[MR];                           /* in every lane */
    __m512 sum[MR];                           /* by lane */
    __m512 keep[MR];                          /* what the block's new maximum leaves of earlier sums */
    float *out;                               /* [MR][dim16] */
    size_t dim16;
    size_t ldq; /* of the queries */
};

static size_t round16(size_t x)
{
    return (x + LANES - 1) / LANES * LANES;
}

size_t emb_attention_scratch_avx512(size_t n, size_t head_dim)
{
    size_t keys, floats;
    if (n > SIZE_MAX / 4 - KEY_BLOCK || head_dim > SIZE_MAX / 2) {
        return 0;
    }
    keys = (n + KEY_BLOCK - 1) / KEY_BLOCK * KEY_BLOCK;
    if (__builtin_mul_overflow(2 * keys + 2 * MR, round16(head_dim), &floats) || floats > SIZE_MAX / sizeof(float)) {
        return 0;
    }
    return floats * sizeof(float);
}

/* Up to 16 elements from the at-th of x on, as f32. */
TILE_INLINE __m512 load(const void *x, bool bf16, size_t at, __mmask16 mask)
{
    if (!bf16) {
        return _mm512_maskz_loadu_ps(mask, (const float *)x + at);
    }
    __m256i h = _mm256_maskz_loadu_epi16(mask, (const emb_bf16 *)x + at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Row i of x as f32, zeros after it up to a multiple of 16. */
TILE_INLINE void copy_row(const struct emb_attention_job *job, const void *x, bool bf16, size_t i, float *to)
{
    for (size_t d = 0; d < job->head_dim; d += LANES) {
        __mmask16 mask = job->head_dim - d < LANES ? emb512_mask(job->head_dim - d) : 0xffff;
        _mm512_store_ps(to + d, load(x, bf16, i * job->ld + d, mask));
    }
}

/* Keys j..j+16 (those below n; the rest as zero) into lanes of their block. */
TILE_INLINE void pack_keys(const struct emb_attention_job *job, bool bf16, size_t j, float *block)
{
    for (size_t d = 0; d < job->head_dim; d += LANES) {
        size_t dims = job->head_dim - d < LANES ? job->head_dim - d : LANES;
        __mmask16 mask = emb512_mask(dims);
        __m512 r[16];
        for (size_t i = 0; i < 16; i++) {
            r[i] = j + i < job->n ? load(job->k, bf16, (j + i) * job->ld + d, mask) : _mm512_setzero_ps();
        }
        emb512_transpose(r);
        for (size_t i = 0; i < dims; i++) {
            _mm512_store_ps(block + (d + i) * KEY_BLOCK, r[i]);
        }
    }
}

TILE_INLINE void pack(const struct emb_attention_job *job, bool bf16, float *keys, float *values, size_t dim16)
{
    for (size_t j = 0; j < job->n; j += LANES) {
        pack_keys(job, bf16, j, keys + j / KEY_BLOCK * KEY_BLOCK * job->head_dim + j % KEY_BLOCK);
    }
    for (size_t j = 0; j < job->n; j++) {
        copy_row(job, job->v, bf16, j, values + j * dim16);
    }
}

/* Scores of one block into t->weight, in units of log2, with the running maximum; count of its keys are real. */
TILE_INLINE void scores(struct tile *t, const float *q, size_t ld, const float *block, size_t head_dim, float scale,
                        size_t count, size_t rows, size_t vectors)
{
    __m512 acc[MR][4];
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = _mm512_setzero_ps();
        }
    }
    for (size_t d = 0; d < head_dim; d++) {
        __m512 b[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            b[v] = _mm512_load_ps(block + d * KEY_BLOCK + v * LANES);
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m512 x = _mm512_set1_ps(q[r * ld + d]);
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = _mm512_fmadd_ps(x, b[v], acc[r][v]);
            }
        }
    }
    const __m512 factor = _mm512_set1_ps(scale * EMB_LOG2_E);
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __mmask16 last = emb512_mask(count - (vectors - 1) * LANES);
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        __m512 max = none;
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            __mmask16 mask = v + 1 == vectors ? last : 0xffff;
            __m512 s = _mm512_mask_mul_ps(none, mask, acc[r][v], factor);
            _mm512_store_ps(t->weight[r] + v * LANES, s);
            max = _mm512_max_ps(max, s);
        }
        max = _mm512_max_ps(t->max[r], emb512_max_all(max));
        t->keep[r] = emb512_exp2(_mm512_sub_ps(t->max[r], max));
        t->max[r] = max;
    }
}

/* Scores to weights, and their sum. */
TILE_INLINE void exponentials(struct tile *t, size_t rows, size_t vectors)
{
    for (size_t r = 0; r < rows; r++) {
        __m512 sum = _mm512_mul_ps(t->sum[r], t->keep[r]);
        __m512 w[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            w[v] = emb512_exp2(_mm512_sub_ps(_mm512_load_ps(t->weight[r] + v * LANES), t->max[r]));
        }
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            _mm512_store_ps(t->weight[r] + v * LANES, w[v]);
            sum = _mm512_add_ps(sum, w[v]);
        }
        t->sum[r] = sum;
    }
}

/* out = out * keep + weight * values, for some vectors of the head from column on. */
TILE_INLINE void mix(struct tile *t, const float *values, size_t count, size_t column, size_t rows, size_t vectors)
{
    __m512 acc[MR][4];
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            __m512 old = _mm512_load_ps(t->out + r * t->dim16 + column + v * LANES);
            acc[r][v] = _mm512_mul_ps(old, t->keep[r]);
        }
    }
    const float *from = values + column;
    for (size_t j = 0; j < count; j++, from += t->dim16) {
        __m512 b[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            b[v] = _mm512_load_ps(from + v * LANES);
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m512 x = _mm512_set1_ps(t->weight[r][j]);
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = _mm512_fmadd_ps(x, b[v], acc[r][v]);
            }
        }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            _mm512_store_ps(t->out + r * t->dim16 + column + v * LANES, acc[r][v]);
        }
    }
}

TILE_INLINE void weights(struct tile *t, const struct emb_attention_job *job, const float *q, const float *block,
                         size_t count, size_t rows, size_t vectors)
{
    scores(t, q, t->ldq, block, job->head_dim, job->scale, count, rows, vectors);
    exponentials(t, rows, vectors);
}

/* One block of keys for a tile of a fixed number of rows. */
TILE_INLINE void block_rows(struct tile *t, const struct emb_attention_job *job, const float *q, const float *block,
                            const float *values, size_t count, size_t rows)
{
    size_t vectors = (count + LANES - 1) / LANES;
    switch (vectors) {
    case 1: weights(t, job, q, block, count, rows, 1); break;
    case 2: weights(t, job, q, block, count, rows, 2); break;
    case 3: weights(t, job, q, block, count, rows, 3); break;
    default: weights(t, job, q, block, count, rows, 4); break;
    }
    size_t column = 0;
    for (; column + 4 * LANES <= t->dim16; column += 4 * LANES) {
        mix(t, values, count, column, rows, 4);
    }
    if (column + 2 * LANES <= t->dim16) {
        mix(t, values, count, column, rows, 2);
        column += 2 * LANES;
    }
    if (column < t->dim16) {
        mix(t, values, count, column, rows, 1);
    }
}

typedef void block_fn(struct tile *t, const struct emb_attention_job *job, const float *q, const float *block,
                      const float *values, size_t count);

#define BLOCK(rows)                                                                                                    \
    static void block_##rows(struct tile *t, const struct emb_attention_job *job, const float *q, const float *block,  \
                             const float *values, size_t count)                                                        \
    {                                                                                                                  \
        block_rows(t, job, q, block, values, count, rows);                                                             \
    }
BLOCK(1)
BLOCK(2)
BLOCK(3)
BLOCK(4)
BLOCK(5)
BLOCK(6)

static block_fn *const blocks[MR] = {block_1, block_2, block_3, block_4, block_5, block_6};

static void store_rows(const struct emb_attention_job *job, const struct tile *t, size_t row, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        const __m512 sum = _mm512_set1_ps(emb512_sum(t->sum[r]));
        for (size_t d = 0; d < job->head_dim; d += LANES) {
            __mmask16 mask = job->head_dim - d < LANES ? emb512_mask(job->head_dim - d) : 0xffff;
            __m512 x = _mm512_div_ps(_mm512_load_ps(t->out + r * t->dim16 + d), sum);
            size_t at = (row + r) * job->ldo + d;
            if (job->out_bf16) {
                _mm256_mask_storeu_epi16((emb_bf16 *)job->out + at, mask, emb512_to_bf16(x));
            } else {
                _mm512_mask_storeu_ps((float *)job->out + at, mask, x);
            }
        }
    }
}

void emb_attention_avx512(const struct emb_attention_job *job)
{
    struct tile t;
    t.dim16 = round16(job->head_dim);
    size_t padded = (job->n + KEY_BLOCK - 1) / KEY_BLOCK * KEY_BLOCK;
    float *keys = job->scratch;
    float *values = keys + padded * t.dim16;
    t.out = values + padded * t.dim16;
    float *widened = t.out + MR * t.dim16;
    t.ldq = job->in_bf16 ? t.dim16 : job->ld;
    if (job->in_bf16) {
        pack(job, true, keys, values, t.dim16);
    } else {
        pack(job, false, keys, values, t.dim16);
    }

    for (size_t row = job->q0; row < job->q1;) {
        size_t left = job->q1 - row;
        size_t rows = left >= 2 * MR ? MR : left > MR ? (left + 1) / 2 : left;
        const float *q = job->in_bf16 ? widened : (const float *)job->q + row * job->ld;
        for (size_t r = 0; r < rows; r++) {
            t.max[r] = _mm512_set1_ps(-INFINITY);
            t.sum[r] = _mm512_setzero_ps();
            if (job->in_bf16) {
                copy_row(job, job->q, true, row + r, widened + r * t.dim16);
            }
        }
        memset(t.out, 0, rows * t.dim16 * sizeof(float));
        for (size_t j = 0; j < job->n; j += KEY_BLOCK) {
            size_t count = job->n - j < KEY_BLOCK ? job->n - j : KEY_BLOCK;
            blocks[rows - 1](&t, job, q, keys + j * job->head_dim, values + j * t.dim16, count);
        }
        store_rows(job, &t, row, rows);
        row += rows;
    }
}
