/* Attention for the base of armv8-a in f32; bf16 operands are widened as they are packed.
 *
 * Keys are packed transposed in panels of 16, taken in blocks of 64 that start at key 0; tiles of up to 6 queries;
 * softmax kept online; all sums over rising keys and all decisions by the query's own scores, so a query's bits depend
 * on the query and the keys alone. */
#include "kernel/arm/neon_tier.h"

#include "kernel/arm/neon_math.h"
#include "kernel/arm/neon_tile.h"
#include "kernel/attention.h"
#include "kernel/bf16.h"

#include <math.h>
#include <string.h>

#define MR EMB_ATTENTION_MR
#define VECTORS EMB_NEON_VECTORS
#define LANES EMB_NEON_LANES
#define PANEL EMB_NEON_NR
#define KEY_BLOCK EMB_ATTENTION_KEYS

/* One tile of queries on its way over the keys. */
struct tile {
    float weight[MR][KEY_BLOCK]; /* of the block at hand: scores, then weights */
    float32x4_t sum[MR];         /* of the weights, by lane */
    float base[MR];
    float factor; /* of the scores, to units of log2; positive */
    const float *q;
    size_t ldq;
    size_t head_dim;
    struct emb_attention_room room;
};

/* ---- Packing ---- */

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
    memset(to + d, 0, (PANEL - 1 - (d + PANEL - 1) % PANEL) * sizeof(float));
}

/* Keys get the sign of the scale. */
EMB_NEON_INLINE void pack(const struct emb_attention_job *job, bool bf16, const struct emb_attention_room *room)
{
    const float sign = job->scale < 0 ? -1.0f : 1.0f;
    float *keys = room->keys;
    for (size_t j = 0; j < job->n; j += PANEL) {
        size_t count = job->n - j < PANEL ? job->n - j : PANEL;
        for (size_t d = 0; d < job->head_dim; d++, keys += PANEL) {
            for (size_t i = 0; i < count; i++) {
                keys[i] = sign * load(job->k, bf16, (j + i) * job->ld + d);
            }
            for (size_t i = count; i < PANEL; i++) {
                keys[i] = 0.0f;
            }
        }
    }
    for (size_t j = 0; j < job->n; j++) {
        copy_row(job, job->v, bf16, j, room->values + j * room->width);
    }
}

/* ---- A block of keys ---- */

EMB_NEON_INLINE void store(float *to, size_t ld, float32x4_t acc[MR][VECTORS], size_t rows)
{
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            vst1q_f32(to + r * ld + v * LANES, acc[r][v]);
        }
    }
}

/* Products with the 16 keys of one panel. */
EMB_NEON_INLINE void scores(struct tile *t, const float *panel, size_t key, size_t rows)
{
    float32x4_t acc[MR][VECTORS];
    emb_neon_clear(acc, rows, VECTORS);
    emb_neon_multiply(acc, t->q, t->ldq, panel, PANEL, t->head_dim, rows, VECTORS);
    store(&t->weight[0][key], KEY_BLOCK, acc, rows);
}

/* Takes top for query r's base and rescales what earlier blocks left. */
static void move_base(struct tile *t, size_t r, float top)
{
    const float32x4_t keep = emb_neon_exp2(vdupq_n_f32(t->base[r] - top));
    t->base[r] = top;
    t->sum[r] = vmulq_f32(t->sum[r], keep);
    for (size_t d = 0; d < t->room.width; d += LANES) {
        float *out = t->room.out + r * t->room.width + d;
        vst1q_f32(out, vmulq_f32(vld1q_f32(out), keep));
    }
}

/* 2^x, x = score * factor - base rounded once, relative error <= 1e-7 beside that of x; 0 from -126 down. NaN stays. */
EMB_NEON_INLINE float32x4_t weight_of(float32x4_t score, float32x4_t factor, float32x4_t minus_base)
{
    float32x4_t x = vfmaq_f32(minus_base, score, factor), whole = vrndnq_f32(x);
    int32x4_t y = vreinterpretq_s32_f32(emb_neon_exp2_part(vsubq_f32(x, whole)));
    y = vaddq_s32(y, vshlq_n_s32(vcvtq_s32_f32(whole), 23));
    uint32x4_t none = vcltq_f32(x, vdupq_n_f32(-126.0f));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_s32(y), none));
}

/* Scores of one query to weights, and their sum; count of the scores are real. */
static void weigh(struct tile *t, size_t r, size_t count, bool first)
{
    float *row = t->weight[r];
    size_t padded = (count + PANEL - 1) / PANEL * PANEL;
    for (size_t j = count; j < padded; j++) {
        row[j] = -INFINITY;
    }
    float32x4_t max = vld1q_f32(row);
    for (size_t j = LANES; j < padded; j += LANES) {
        max = vmaxq_f32(max, vld1q_f32(row + j));
    }
    float top = vmaxvq_f32(max) * t->factor;
    if (first) {
        t->base[r] = top;
    } else if (top > t->base[r] + EMB_ATTENTION_SLACK) {
        move_base(t, r, top);
    }
    const float32x4_t factor = vdupq_n_f32(t->factor), minus_base = vdupq_n_f32(-t->base[r]);
    float32x4_t sum = t->sum[r];
    for (size_t j = 0; j < padded; j += 2 * LANES) {
        float32x4_t w0 = weight_of(vld1q_f32(row + j), factor, minus_base);
        float32x4_t w1 = weight_of(vld1q_f32(row + j + LANES), factor, minus_base);
        vst1q_f32(row + j, w0);
        vst1q_f32(row + j + LANES, w1);
        sum = vaddq_f32(vaddq_f32(sum, w0), w1);
    }
    t->sum[r] = sum;
}

/* out += weight * values, for 16 columns of the head. */
EMB_NEON_INLINE void mix(struct tile *t, const float *values, size_t count, size_t column, bool first, size_t rows)
{
    float32x4_t acc[MR][VECTORS];
    size_t width = t->room.width;
    float *out = t->room.out + column;
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            acc[r][v] = first ? vdupq_n_f32(0.0f) : vld1q_f32(out + r * width + v * LANES);
        }
    }
    emb_neon_multiply(acc, t->weight[0], KEY_BLOCK, values + column, width, count, rows, VECTORS);
    store(out, width, acc, rows);
}

EMB_NEON_INLINE void block_rows(struct tile *t, size_t key, size_t count, size_t rows)
{
    for (size_t j = 0; j < count; j += PANEL) {
        scores(t, t->room.keys + (key + j) * t->head_dim, j, rows);
    }
    for (size_t r = 0; r < rows; r++) {
        weigh(t, r, count, key == 0);
    }
    for (size_t column = 0; column < t->room.width; column += PANEL) {
        mix(t, t->room.values + key * t->room.width, count, column, key == 0, rows);
    }
}

EMB_ATTENTION_BLOCKS

/* ---- Tiles ---- */

static void begin(void *tile, const struct emb_attention_job *job, size_t row, size_t rows)
{
    struct tile *t = tile;
    t->q = job->in_bf16 ? t->room.queries : (const float *)job->q + row * job->ld;
    for (size_t r = 0; r < rows; r++) {
        t->sum[r] = vdupq_n_f32(0.0f);
        if (job->in_bf16) {
            copy_row(job, job->q, true, row + r, t->room.queries + r * t->room.width);
        }
    }
}

static void end(const void *tile, const struct emb_attention_job *job, size_t row, size_t rows)
{
    const struct tile *t = tile;
    for (size_t r = 0; r < rows; r++) {
        const float inverse = 1.0f / emb_neon_sum(t->sum[r]);
        for (size_t d = 0; d < job->head_dim; d += LANES) {
            size_t count = job->head_dim - d < LANES ? job->head_dim - d : LANES;
            float32x4_t x = vmulq_n_f32(vld1q_f32(t->room.out + r * t->room.width + d), inverse);
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
    static const struct emb_attention_walk walk = {KEY_BLOCK, begin, blocks, end};
    struct tile t;
    t.room = emb_attention_room_of(job);
    t.head_dim = job->head_dim;
    t.factor = fabsf(job->scale) * EMB_LOG2_E;
    t.ldq = job->in_bf16 ? t.room.width : job->ld;
    if (job->in_bf16) {
        pack(job, true, &t.room);
    } else {
        pack(job, false, &t.room);
    }
    emb_attention_run(job, &walk, &t);
}
