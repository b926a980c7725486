/* Attention for AVX2 and FMA in f32; bf16 operands are widened as they are packed.
 *
 * Keys are packed transposed, in panels of 16; tiles of up to 6 queries pass over blocks of four panels: scores as a
 * matrix product held in registers, softmax kept online, and a second product with the values. Every query's sums run
 * over rising keys in blocks that start at 0, and every decision is taken from the query's own scores, so its result does
 * not depend on the tile or the call it is in. */
#include "kernel/x86/avx2_tier.h"

#include "kernel/attention.h"
#include "kernel/bf16.h"
#include "kernel/panel.h"
#include "kernel/x86/avx2_math.h"

#include <math.h>
#include <string.h>

#define MR EMB_ATTENTION_MR
#define KEY_BLOCK EMB_ATTENTION_KEYS
#define PANEL 16
#define LANES 8
#define TILE_INLINE static inline __attribute__((always_inline))

/* One tile of queries on its way over the keys. */
struct tile {
    _Alignas(32) float weight[MR][KEY_BLOCK]; /* of the block at hand: scores, then weights */
    __m256 sum[MR];                           /* of the weights, by lane */
    __m256 factor;                            /* of the scores, to units of log2; positive */
    float base[MR];
    const float *q;
    size_t ldq;
    size_t head_dim;
    struct emb_attention_room room;
};

/* ---- Packing ---- */

/* Up to 8 elements from the at-th of x on, as f32. */
TILE_INLINE __m256 load(const void *x, bool bf16, size_t at, size_t count)
{
    if (!bf16) {
        const float *from = (const float *)x + at;
        return count >= LANES ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, emb256_mask(count));
    }
    emb_bf16 part[LANES] = {0};
    const emb_bf16 *from = (const emb_bf16 *)x + at;
    if (count < LANES) {
        memcpy(part, from, count * sizeof(*part));
        from = part;
    }
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* Row i of x as f32, zeros after it up to a multiple of 16. */
TILE_INLINE void copy_row(const struct emb_attention_job *job, const void *x, bool bf16, size_t i, float *to)
{
    for (size_t d = 0; d < job->head_dim; d += 2 * LANES) {
        size_t left = job->head_dim - d;
        _mm256_store_ps(to + d, load(x, bf16, i * job->ld + d, left));
        __m256 second = left > LANES ? load(x, bf16, i * job->ld + d + LANES, left - LANES) : _mm256_setzero_ps();
        _mm256_store_ps(to + d + LANES, second);
    }
}

/* Keys j..j+8 (those below n; the rest as zero) into lanes of their panel, with the sign of the scale. */
TILE_INLINE void pack_keys(const struct emb_attention_job *job, bool bf16, size_t j, float *panel)
{
    const __m256 sign = _mm256_set1_ps(job->scale < 0 ? -0.0f : 0.0f);
    for (size_t d = 0; d < job->head_dim; d += LANES) {
        size_t left = job->head_dim - d, dims = left < LANES ? left : LANES;
        __m256 r[LANES];
        for (size_t i = 0; i < LANES; i++) {
            __m256 x = j + i < job->n ? load(job->k, bf16, (j + i) * job->ld + d, left) : _mm256_setzero_ps();
            r[i] = _mm256_xor_ps(x, sign);
        }
        emb256_transpose(r);
        for (size_t i = 0; i < dims; i++) {
            _mm256_store_ps(panel + (d + i) * PANEL, r[i]);
        }
    }
}

TILE_INLINE void pack(const struct emb_attention_job *job, bool bf16, const struct emb_attention_room *room)
{
    for (size_t j = 0; j < job->n; j += PANEL) {
        pack_keys(job, bf16, j, room->keys + j * job->head_dim);
        pack_keys(job, bf16, j + LANES, room->keys + j * job->head_dim + LANES);
    }
    for (size_t j = 0; j < job->n; j++) {
        copy_row(job, job->v, bf16, j, room->values + j * room->width);
    }
}

/* ---- A block of keys ---- */

/* acc += q * b over count elements: q has rows ldq apart, b rows ldb apart. */
TILE_INLINE void multiply(__m256 acc[MR][2], const float *q, size_t ldq, const float *b, size_t ldb, size_t count,
                          size_t rows)
{
    for (size_t d = 0; d < count; d++, b += ldb) {
        __m256 b0 = _mm256_load_ps(b), b1 = _mm256_load_ps(b + LANES);
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            __m256 x = _mm256_broadcast_ss(q + r * ldq + d);
            acc[r][0] = _mm256_fmadd_ps(x, b0, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(x, b1, acc[r][1]);
        }
    }
}

TILE_INLINE void store(float *to, size_t ld, const __m256 acc[MR][2], size_t rows)
{
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        _mm256_store_ps(to + r * ld, acc[r][0]);
        _mm256_store_ps(to + r * ld + LANES, acc[r][1]);
    }
}

/* Products with the 16 keys of one panel. */
TILE_INLINE void scores(struct tile *t, const float *panel, size_t key, size_t rows)
{
    __m256 acc[MR][2];
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    }
    multiply(acc, t->q, t->ldq, panel, PANEL, t->head_dim, rows);
    store(&t->weight[0][key], KEY_BLOCK, acc, rows);
}

/* Takes top for query r's base and rescales what earlier blocks left. */
static void move_base(struct tile *t, size_t r, float top)
{
    const __m256 keep = emb256_exp2(_mm256_set1_ps(t->base[r] - top));
    t->base[r] = top;
    t->sum[r] = _mm256_mul_ps(t->sum[r], keep);
    for (size_t d = 0; d < t->room.width; d += LANES) {
        float *out = t->room.out + r * t->room.width + d;
        _mm256_store_ps(out, _mm256_mul_ps(_mm256_load_ps(out), keep));
    }
}

/* 2^x, x = score * factor - base rounded once, relative error <= 1e-7 beside that of x; 0 from -126 down. NaN stays. */
TILE_INLINE __m256 weight_of(__m256 score, __m256 factor, __m256 base)
{
    __m256 x = _mm256_fmsub_ps(score, factor, base);
    __m256 whole = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256i y = _mm256_castps_si256(emb256_exp2_part(_mm256_sub_ps(x, whole)));
    y = _mm256_add_epi32(y, _mm256_slli_epi32(_mm256_cvtps_epi32(whole), 23));
    __m256 some = _mm256_cmp_ps(x, _mm256_set1_ps(-126.0f), _CMP_NLT_UQ);
    return _mm256_and_ps(_mm256_castsi256_ps(y), some);
}

/* Scores of one query to weights, and their sum; count of the scores are real. */
static void weigh(struct tile *t, size_t r, size_t count, bool first)
{
    float *row = t->weight[r];
    size_t padded = (count + PANEL - 1) / PANEL * PANEL;
    for (size_t j = count; j < padded; j++) {
        row[j] = -INFINITY;
    }
    __m256 max = _mm256_max_ps(_mm256_load_ps(row), _mm256_load_ps(row + LANES));
    for (size_t j = PANEL; j < padded; j += PANEL) {
        max = _mm256_max_ps(max, _mm256_max_ps(_mm256_load_ps(row + j), _mm256_load_ps(row + j + LANES)));
    }
    float top = _mm256_cvtss_f32(_mm256_mul_ps(emb256_max_all(max), t->factor));
    if (first) {
        t->base[r] = top;
    } else if (top > t->base[r] + EMB_ATTENTION_SLACK) {
        move_base(t, r, top);
    }
    const __m256 base = _mm256_set1_ps(t->base[r]);
    __m256 sum = t->sum[r];
    for (size_t j = 0; j < padded; j += PANEL) {
        __m256 w0 = weight_of(_mm256_load_ps(row + j), t->factor, base);
        __m256 w1 = weight_of(_mm256_load_ps(row + j + LANES), t->factor, base);
        _mm256_store_ps(row + j, w0);
        _mm256_store_ps(row + j + LANES, w1);
        sum = _mm256_add_ps(_mm256_add_ps(sum, w0), w1);
    }
    t->sum[r] = sum;
}

/* out += weight * values, for 16 columns of the head. */
TILE_INLINE void mix(struct tile *t, const float *values, size_t count, size_t column, bool first, size_t rows)
{
    __m256 acc[MR][2];
    size_t width = t->room.width;
    float *out = t->room.out + column;
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        acc[r][0] = first ? _mm256_setzero_ps() : _mm256_load_ps(out + r * width);
        acc[r][1] = first ? _mm256_setzero_ps() : _mm256_load_ps(out + r * width + LANES);
    }
    multiply(acc, t->weight[0], KEY_BLOCK, values + column, width, count, rows);
    store(out, width, acc, rows);
}

TILE_INLINE void block_rows(struct tile *t, size_t key, size_t count, size_t rows)
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
        t->sum[r] = _mm256_setzero_ps();
        if (job->in_bf16) {
            copy_row(job, job->q, true, row + r, t->room.queries + r * t->room.width);
        }
    }
}

static void end(const void *tile, const struct emb_attention_job *job, size_t row, size_t rows)
{
    const struct tile *t = tile;
    for (size_t r = 0; r < rows; r++) {
        const __m256 inverse = _mm256_set1_ps(1.0f / emb256_sum(t->sum[r]));
        for (size_t d = 0; d < job->head_dim; d += LANES) {
            size_t count = job->head_dim - d < LANES ? job->head_dim - d : LANES;
            __m256 x = _mm256_mul_ps(_mm256_load_ps(t->room.out + r * t->room.width + d), inverse);
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
    static const struct emb_attention_walk walk = {KEY_BLOCK, begin, blocks, end};
    struct tile t;
    t.room = emb_attention_room_of(job);
    t.head_dim = job->head_dim;
    t.factor = _mm256_set1_ps(fabsf(job->scale) * EMB_LOG2_E);
    t.ldq = job->in_bf16 ? t.room.width : job->ld;
    if (job->in_bf16) {
        pack(job, true, &t.room);
    } else {
        pack(job, false, &t.room);
    }
    emb_attention_run(job, &walk, &t);
}
