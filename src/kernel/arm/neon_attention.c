/* Attention for the base of armv8-a in f32; bf16 operands are widened as they are packed.
 *
 * Keys are packed transposed in panels of 16, taken in blocks of 64 that start at key 0; tiles of up to 6 queries;
 * softmax kept online; all sums over rising keys, so a query's bits depend on the query and the keys alone.
 *
 * Scratch: keys [panels][head_dim][16], values [n][dim16], one tile's running output [6][dim16], its widened queries
 * [6][dim16]; dim16 is head_dim rounded up to 16, and the keys' room is that of whole blocks. */
#include "kernel/arm/neon_tier.h"

#include "kernel/arm/neon_math.h"
#include "kernel/arm/neon_tile.h"
#include "kernel/bf16.h"

#include <math.h>
#include <string.h>

#define MR EMB_NEON_MR
#define VECTORS EMB_NEON_VECTORS
#define LANES EMB_NEON_LANES
#define PANEL EMB_NEON_NR
#define KEY_BLOCK 64

/* One tile of queries on its way over the keys. */
struct tile {
    float weight[MR][KEY_BLOCK]; /* of the block at hand: scores, then exp2(score - max) */
    float max[MR];
    float32x4_t sum[MR]; /* by lane */
    float keep[MR];      /* what the block's new maximum leaves of earlier sums */
    float *out;          /* [MR][dim16] */
    size_t dim16;
    size_t ldq; /* of the queries */
};

static size_t round16(size_t x)
{
    return (x + PANEL - 1) / PANEL * PANEL;
}

size_t emb_attention_scratch_neon(size_t n, size_t head_dim)
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

EMB_NEON_INLINE float load(const void *x, bool bf16, size_t at)
{
    return bf16 ? emb_bf16_to_f32(((const emb_bf16 *)x)[at]) : ((const float *)x)[at];
}

/* Row i of x as f32, zeros after it up to a multiple of 16. */
EMB_NEON_INLINE void copy_row(const struct emb_attention_job *job, const void *x, bool bf16, size_t i, float *to)
{
    size_t d = 0, at = i * job->ld;
    for (; bf16 && d + LANES <= job->head_dim; d += LANES) {
        vst1q_f32(to + d, emb_neon_widen(vld1_u16((const emb_bf16 *)x + at + d)));
    }
    for (; d < job->head_dim; d++) {
        to[d] = load(x, bf16, at + d);
    }
    memset(to + d, 0, (round16(d) - d) * sizeof(float));
}

EMB_NEON_INLINE void pack(const struct emb_attention_job *job, bool bf16, float *keys, float *values, size_t dim16)
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
EMB_NEON_INLINE void scores(float *to, const float *q, size_t ld, const float *panel, size_t head_dim, float scale,
                            size_t rows)
{
    float32x4_t acc[MR][VECTORS];
    emb_neon_clear(acc, rows, VECTORS);
    emb_neon_multiply(acc, q, ld, panel, PANEL, head_dim, rows, VECTORS);
    const float32x4_t factor = vdupq_n_f32(scale * EMB_LOG2_E);
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            vst1q_f32(to + r * KEY_BLOCK + v * LANES, vmulq_f32(acc[r][v], factor));
        }
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
    float32x4_t max = vld1q_f32(row);
    for (size_t j = LANES; j < padded; j += LANES) {
        max = vmaxq_f32(max, vld1q_f32(row + j));
    }
    max = vmaxq_f32(vdupq_n_f32(t->max[r]), vdupq_n_f32(vmaxvq_f32(max)));
    float32x4_t keep = emb_neon_exp2(vsubq_f32(vdupq_n_f32(t->max[r]), max));
    t->keep[r] = vgetq_lane_f32(keep, 0);
    t->max[r] = vgetq_lane_f32(max, 0);
    float32x4_t sum = vmulq_f32(t->sum[r], keep);
    for (size_t j = 0; j < padded; j += 2 * LANES) {
        float32x4_t w0 = emb_neon_exp2(vsubq_f32(vld1q_f32(row + j), max));
        float32x4_t w1 = emb_neon_exp2(vsubq_f32(vld1q_f32(row + j + LANES), max));
        vst1q_f32(row + j, w0);
        vst1q_f32(row + j + LANES, w1);
        sum = vaddq_f32(vaddq_f32(sum, w0), w1);
    }
    t->sum[r] = sum;
}

/* out = out * keep + weight * values, for 16 columns of the head. */
EMB_NEON_INLINE void mix(struct tile *t, const float *values, size_t count, size_t column, size_t rows)
{
    float32x4_t acc[MR][VECTORS];
    float *out = t->out + column;
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            acc[r][v] = vmulq_n_f32(vld1q_f32(out + r * t->dim16 + v * LANES), t->keep[r]);
        }
    }
    emb_neon_multiply(acc, t->weight[0], KEY_BLOCK, values + column, t->dim16, count, rows, VECTORS);
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            vst1q_f32(out + r * t->dim16 + v * LANES, acc[r][v]);
        }
    }
}

/* One block of keys for a tile of a fixed number of rows. */
EMB_NEON_INLINE void block_rows(struct tile *t, const struct emb_attention_job *job, const float *q, const float *block,
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
        const float32x4_t sum = vdupq_n_f32(emb_neon_sum(t->sum[r]));
        for (size_t d = 0; d < job->head_dim; d += LANES) {
            size_t count = job->head_dim - d < LANES ? job->head_dim - d : LANES;
            float32x4_t x = vdivq_f32(vld1q_f32(t->out + r * t->dim16 + d), sum);
            size_t at = (row + r) * job->ldo + d;
            if (job->out_bf16) {
                emb_neon_store_bf16((emb_bf16 *)job->out + at, count, emb_neon_to_bf16(x));
            } else {
                emb_neon_store_part((float *)job->out + at, count, x);
            }
        }
    }
}

void emb_attention_neon(const struct emb_attention_job *job)
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
            t.max[r] = -INFINITY;
            t.sum[r] = vdupq_n_f32(0.0f);
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
