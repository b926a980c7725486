/* Attention for AVX2 and FMA in f32; bf16 operands are widened as they are packed.
 *
 * Built as avx512_attention.c is: keys packed transposed in blocks of 64, here as four panels of 16; tiles of up to 6
 * queries; softmax kept online; sums over rising keys in blocks that start at 0.
 *
 * Scratch: keys [blocks][4][head_dim][16], values [n][dim16], one tile's running output [6][dim16], its widened queries
 * [6][dim16]; dim16 is head_dim rounded up to 16. */
#include "kernel/x86/avx2_tier.h"

#include "kernel/bf16.h"
#include "kernel/x86/avx2_math.h"

#include <math.h>
#include <string.h>

#define MR 6
#define KEY_BLOCK 64
#define PANEL 16
#define LANES 8
#define TILE_INLINE static inline __attribute__((always_inline))

/* One tile of queries on its way over the keys. */
struct tile {
    _Alignas(32) float weight[MR][KEY_BLOCK]; /* of the block at hand: scores, then exp2(score - max) */
    __m256 max[MR];                           /* in every lane */
    __m256 sum[MR];                           /* by lane */
    __m256 keep[MR];                          /* what the block's new maximum leaves of earlier sums */
    float *out;                               /* [MR][dim16] */
    size_t dim16;
    size_t ldq; /* of the queries */
};

static size_t round16(size_t x)
{
    return (x + PANEL - 1) / PANEL * PANEL;
}

size_t emb_attention_scratch_avx2(size_t n, size_t head_dim)
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

TILE_INLINE float load(const void *x, bool bf16, size_t at)
{
    return bf16 ? emb_bf16_to_f32(((const emb_bf16 *)x)[at]) : ((const float *)x)[at];
}

/* Row i of x as f32, zeros after it up to a multiple of 16. */
TILE_INLINE void copy_row(const struct emb_attention_job *job, const void *x, bool bf16, size_t i, float *to)
{
    size_t d = 0, at = i * job->ld;
    for (; bf16 && d + LANES <= job->head_dim; d += LANES) {
        __m128i h = _mm_loadu_si128((const __m128i *)((const emb_bf16 *)x + at + d));
        _mm256_store_ps(to + d, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)));
    }
    for (; d < job->head_dim; d++) {
        to[d] = load(x, bf16, at + d);
    }
    memset(to + d, 0, (round16(d) - d) * sizeof(float));
}

TILE_INLINE void pack(const struct emb_attention_job *job, bool bf16, float *keys, float *values, size_t dim16)
{
    for (size_t j = 0; j < job->n; j += PANEL) {
        size_t count = job->n - j < PANEL ? job->n - j : PANEL;
        for (size_t d = 0; d < job->head_dim; d++, keys += PANEL) {
            for (size_t i = 0; i < count; i++) {
                keys[i] = load(job->k, bf16, (j + i) * job->ld + d);
            }
            for (size_t i = count; i < PANEL; i++) {
                keys[i] = 0.0f;
            }
        }
    }
    for (size_t j = 0; j < job->n; j++) {
        copy_row(job, job->v, bf16, j, values + j * dim16);
    }
}

/* Scores of one panel of 16 keys into to[rows][KEY_BLOCK], in units of log2. */
TILE_INLINE void scores(float *to, const float *q, size_t ld, const float *panel, size_t head_dim, float scale,
                        size_t rows)
{
    __m256 acc[MR][2];
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        acc[r][0] = _mm256_setzero_ps();
        acc[r][1] = _mm256_setzero_ps();
    }
    for (size_t d = 0; d < head_dim; d++) {
        __m256 b0 = _mm256_load_ps(panel + d * PANEL), b1 = _mm256_load_ps(panel + d * PANEL + LANES);
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m256 x = _mm256_broadcast_ss(q + r * ld + d);
            acc[r][0] = _mm256_fmadd_ps(x, b0, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(x, b1, acc[r][1]);
        }
    }
    const __m256 factor = _mm256_set1_ps(scale * EMB_LOG2_E);
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        _mm256_store_ps(to + r * KEY_BLOCK, _mm256_mul_ps(acc[r][0], factor));
        _mm256_store_ps(to + r * KEY_BLOCK + LANES, _mm256_mul_ps(acc[r][1], factor));
    }
}

/* Scores of one row to weights, with the running maximum and sum; count of the scores are real. */
static void softmax_row(struct tile *t, size_t r, size_t count)
{
    float *row = t->weight[r];
    size_t padded = round16(count);
    for (size_t j = count; j < padded; j++) {
        row[j] = -INFINITY;
    }
    __m256 max = _mm256_load_ps(row);
    for (size_t j = LANES; j < padded; j += LANES) {
        max = _mm256_max_ps(max, _mm256_load_ps(row + j));
    }
    max = _mm256_max_ps(t->max[r], emb256_max_all(max));
    t->keep[r] = emb256_exp2(_mm256_sub_ps(t->max[r], max));
    t->max[r] = max;
    __m256 sum = _mm256_mul_ps(t->sum[r], t->keep[r]);
    for (size_t j = 0; j < padded; j += 2 * LANES) {
        __m256 w0 = emb256_exp2(_mm256_sub_ps(_mm256_load_ps(row + j), max));
        __m256 w1 = emb256_exp2(_mm256_sub_ps(_mm256_load_ps(row + j + LANES), max));
        _mm256_store_ps(row + j, w0);
        _mm256_store_ps(row + j + LANES, w1);
        sum = _mm256_add_ps(_mm256_add_ps(sum, w0), w1);
    }
    t->sum[r] = sum;
}

/* out = out * keep + weight * values, for 16 columns of the head. */
TILE_INLINE void mix(struct tile *t, const float *values, size_t count, size_t column, size_t rows)
{
    __m256 acc[MR][2];
    float *out = t->out + column;
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        acc[r][0] = _mm256_mul_ps(_mm256_load_ps(out + r * t->dim16), t->keep[r]);
        acc[r][1] = _mm256_mul_ps(_mm256_load_ps(out + r * t->dim16 + LANES), t->keep[r]);
    }
    const float *from = values + column;
    for (size_t j = 0; j < count; j++, from += t->dim16) {
        __m256 b0 = _mm256_load_ps(from), b1 = _mm256_load_ps(from + LANES);
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m256 x = _mm256_broadcast_ss(&t->weight[r][j]);
            acc[r][0] = _mm256_fmadd_ps(x, b0, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(x, b1, acc[r][1]);
        }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        _mm256_store_ps(out + r * t->dim16, acc[r][0]);
        _mm256_store_ps(out + r * t->dim16 + LANES, acc[r][1]);
    }
}

/* One block of keys for a tile of a fixed number of rows. */
TILE_INLINE void block_rows(struct tile *t, const struct emb_attention_job *job, const float *q, const float *block,
                            const float *values, size_t count, size_t rows)
{
    for (size_t j = 0; j < count; j += PANEL) {
        scores(&t->weight[0][j], q, t->ldq, block + j * job->head_dim, job->head_dim, job->scale, rows);
    }
    for (size_t r = 0; r < rows; r++) {
        softmax_row(t, r, count);
    }
    for (size_t column = 0; column < t->dim16; column += PANEL) {
        mix(t, values, count, column, rows);
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
        const __m256 sum = _mm256_set1_ps(emb256_sum(t->sum[r]));
        for (size_t d = 0; d < job->head_dim; d += LANES) {
            size_t count = job->head_dim - d < LANES ? job->head_dim - d : LANES;
            __m256 x = _mm256_div_ps(_mm256_load_ps(t->out + r * t->dim16 + d), sum);
            size_t at = (row + r) * job->ldo + d;
            if (job->out_bf16) {
                emb256_store_bf16((emb_bf16 *)job->out + at, count, x);
            } else if (count == LANES) {
                _mm256_storeu_ps((float *)job->out + at, x);
            } else {
                _mm256_maskstore_ps((float *)job->out + at, emb256_mask(count), x);
            }
        }
    }
}

void emb_attention_avx2(const struct emb_attention_job *job)
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
            t.max[r] = _mm256_set1_ps(-INFINITY);
            t.sum[r] = _mm256_setzero_ps();
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
