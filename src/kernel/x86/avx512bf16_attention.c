/* Attention of bf16 operands by vdpbf16ps; f32 operands go to avx512_attention.c.
 *
 * Keys are packed transposed in panels of 64, two dimensions of a key side by side; values two keys side by side. Tiles
 * of up to 6 queries pass over blocks of 128 keys: scores in f32, softmax kept online, its weights rounded to bf16, a
 * second product with the values. Each query's sums run over rising pairs of keys in blocks that start at 0, and every
 * decision below is taken from the query's own scores, so its result does not depend on the tile or the call it is in.
 *
 * A query's weights are 2^(score - base). The base is a maximum of its scores so far, and follows a new one only when
 * that weighs more than 2^SLACK times as much: sums seldom need rescaling. The weights' sum is taken of the rounded
 * weights, so that their rounding errors cancel where the values agree.
 *
 * vdpbf16ps takes denormals as zero and rounds to nearest even, whatever MXCSR says.
 *
 * Scratch, never more than f32 needs: keys [panels][pairs][64][2], values [n / 2][dim32][2], one tile's queries
 * [6][dim32] and its running output [6][dim32] in f32; pairs is half of head_dim, dim32 is head_dim rounded up to 32.
 */
#include "kernel/x86/avx512_tier.h"

#include "kernel/x86/avx512_math.h"

#include <math.h>
#include <string.h>

#define MR 6
#define KEY_BLOCK 128
#define PANEL 64
#define LANES 16
#define SLACK 8.0f
#define TILE_INLINE static inline __attribute__((always_inline))

/* One tile of queries on its way over the keys. */
struct tile {
    _Alignas(64) float score[MR][KEY_BLOCK];     /* of the block at hand */
    _Alignas(64) emb_bf16 weight[MR][KEY_BLOCK]; /* of the block at hand */
    _Alignas(64) float base[LANES];              /* of query r at lane_of[r], in units of log2 */
    _Alignas(64) float keep[LANES];              /* what a new base leaves of earlier sums, likewise */
    __m512 max[MR];                              /* of the block's scores, by lane */
    __m512 sum[MR];                              /* of the weights, by lane */
    __m512 factor;                               /* of the scores, to units of log2; positive */
    emb_bf16 *q;                                 /* [MR][dim32] */
    float *out;                                  /* [MR][dim32] */
    size_t dim32, pairs, columns;                /* columns: vectors of head_dim */
};

static const size_t lane_of[MR] = {0, 4, 8, 12, 1, 5};

/* ---- Packing ---- */

static size_t round_up(size_t x, size_t to)
{
    return (x + to - 1) / to * to;
}

/* Up to 32 elements. */
TILE_INLINE __m512i load_part(const emb_bf16 *from, size_t count)
{
    if (count >= 2 * LANES) {
        return _mm512_loadu_si512(from);
    }
    return _mm512_maskz_loadu_epi16((__mmask32)((1u << count) - 1u), from);
}

/* Keys j..j+16 (those below n; the rest as zero) into lanes of their panel, with the sign of the scale. */
static void pack_keys(const struct emb_attention_job *job, size_t j, int *panel)
{
    const __m512i sign = _mm512_set1_epi16(job->scale < 0 ? INT16_MIN : 0);
    size_t keys = job->n - j < LANES ? job->n - j : LANES, pairs = (job->head_dim + 1) / 2;
    for (size_t p = 0; p < pairs; p += LANES) {
        size_t part = pairs - p < LANES ? pairs - p : LANES;
        const emb_bf16 *from = (const emb_bf16 *)job->k + j * job->ld + 2 * p;
        __m512 r[LANES];
        for (size_t i = 0; i < LANES; i++) {
            __m512i x = i < keys ? load_part(from + i * job->ld, job->head_dim - 2 * p) : _mm512_setzero_si512();
            r[i] = _mm512_castsi512_ps(_mm512_xor_si512(x, sign));
        }
        emb512_transpose(r);
        for (size_t i = 0; i < part; i++) {
            _mm512_store_ps(panel + (p + i) * PANEL, r[i]);
        }
    }
}

static void pack_values(const struct emb_attention_job *job, emb_bf16 *values, size_t dim32)
{
    _Alignas(64) static const uint16_t low[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                  8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i first = _mm512_load_si512(low), second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    for (size_t j = 0; j < job->n; j += 2, values += 2 * dim32) {
        const emb_bf16 *from = (const emb_bf16 *)job->v + j * job->ld;
        for (size_t d = 0; d < job->head_dim; d += 32) {
            __m512i even = load_part(from + d, job->head_dim - d), odd = _mm512_setzero_si512();
            if (j + 1 < job->n) {
                odd = load_part(from + job->ld + d, job->head_dim - d);
            }
            _mm512_store_si512(values + 2 * d, _mm512_permutex2var_epi16(even, first, odd));
            _mm512_store_si512(values + 2 * d + 32, _mm512_permutex2var_epi16(even, second, odd));
        }
    }
}

/* ---- A block of keys ---- */

static inline int load_pair(const emb_bf16 *from)
{
    int pair;
    memcpy(&pair, from, sizeof(pair));
    return pair;
}

TILE_INLINE __m512 dot_pairs(__m512 acc, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

/* Folds each of six vectors into one lane, query r's into lane_of[r], in the same order for each. */
#define FOLD(name, op)                                                                                                 \
    TILE_INLINE __m512 name(const __m512 x[MR])                                                                        \
    {                                                                                                                  \
        __m512 ab = op(_mm512_shuffle_f32x4(x[0], x[1], 0x44), _mm512_shuffle_f32x4(x[0], x[1], 0xee));                \
        __m512 cd = op(_mm512_shuffle_f32x4(x[2], x[3], 0x44), _mm512_shuffle_f32x4(x[2], x[3], 0xee));                \
        __m512 ef = op(_mm512_shuffle_f32x4(x[4], x[5], 0x44), _mm512_shuffle_f32x4(x[4], x[5], 0xee));                \
        __m512 abcd = op(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));                      \
        __m512 efef = op(_mm512_shuffle_f32x4(ef, ef, 0x88), _mm512_shuffle_f32x4(ef, ef, 0xdd));                      \
        __m512 pairs = op(_mm512_unpacklo_ps(abcd, efef), _mm512_unpackhi_ps(abcd, efef));                             \
        return op(pairs, _mm512_permute_ps(pairs, 0x4e));                                                              \
    }
FOLD(fold_max, _mm512_max_ps)
FOLD(fold_sum, _mm512_add_ps)

/* Products with the keys of one panel into t->score from key j of the block on; count of the panel's keys are real. */
TILE_INLINE void scores(struct tile *t, const int *panel, size_t j, size_t count, size_t rows, size_t vectors)
{
    __m512 acc[MR][4];
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = _mm512_setzero_ps();
        }
    }
    for (size_t p = 0; p < t->pairs; p++) {
        __m512i b[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            b[v] = _mm512_load_si512(panel + p * PANEL + v * LANES);
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m512i x = _mm512_set1_epi32(load_pair(t->q + r * t->dim32 + 2 * p));
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = dot_pairs(acc[r][v], x, b[v]);
            }
        }
    }
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __mmask16 last = emb512_mask(count - (vectors - 1) * LANES);
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        __m512 max = t->max[r];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            __m512 s = v + 1 == vectors ? _mm512_mask_mov_ps(none, last, acc[r][v]) : acc[r][v];
            _mm512_store_ps(t->score[r] + j + v * LANES, s);
            max = _mm512_max_ps(max, s);
        }
        t->max[r] = max;
    }
}

/* Bases for the block's maxima; rescales what earlier blocks left where a base has moved. */
static void move_bases(struct tile *t, size_t rows)
{
    __m512 old = _mm512_load_ps(t->base), max = _mm512_mul_ps(fold_max(t->max), t->factor);
    __mmask16 moved = _mm512_cmp_ps_mask(max, _mm512_add_ps(old, _mm512_set1_ps(SLACK)), _CMP_GT_OQ);
    if (!moved) {
        return;
    }
    __m512 base = _mm512_mask_mov_ps(old, moved, max);
    _mm512_store_ps(t->base, base);
    _mm512_store_ps(t->keep, _mm512_mask_mov_ps(_mm512_set1_ps(1.0f), moved, emb512_exp2(_mm512_sub_ps(old, base))));
    for (size_t r = 0; r < rows; r++) {
        __m512 keep = _mm512_set1_ps(t->keep[lane_of[r]]);
        t->sum[r] = _mm512_mul_ps(t->sum[r], keep);
        for (size_t c = 0; c < t->columns; c++) {
            float *out = t->out + r * t->dim32 + c * LANES;
            _mm512_store_ps(out, _mm512_mul_ps(_mm512_load_ps(out), keep));
        }
    }
}

/* 2^(score * factor - base), relative error <= 3e-6, a thousandth of bf16's; 0 far down. NaN stays. Of a score of
 * -infinity r is NaN, which vscalefps by -infinity makes 0. */
TILE_INLINE __m512 weight_of(__m512 score, __m512 factor, __m512 base)
{
    __m512 x = _mm512_fmsub_ps(score, factor, base);
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_sub_ps(x, whole);
    __m512 y = _mm512_set1_ps(0.009582853f);
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.055906426f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.24024099f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.6931242f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(y, whole);
}

/* Scores of one query to weights, and their sum. Keys after count weigh nothing, up to a multiple of 32. */
TILE_INLINE void weigh(struct tile *t, size_t r, size_t count)
{
    const __m512i ones = _mm512_set1_epi32(0x3f803f80);
    const __m512 base = _mm512_set1_ps(t->base[lane_of[r]]);
    __m512 sum = t->sum[r];
    for (size_t j = 0; j < count; j += 2 * LANES) {
        const float *score = t->score[r] + j;
        __m512 low = weight_of(_mm512_load_ps(score), t->factor, base), high = _mm512_setzero_ps();
        if (count - j > LANES) {
            high = weight_of(_mm512_load_ps(score + LANES), t->factor, base);
        }
        __m512i w = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(t->weight[r] + j, w);
        sum = dot_pairs(sum, w, ones);
    }
    t->sum[r] = sum;
}

/* out += weight * values, for some vectors of the head from column on. */
TILE_INLINE void mix(struct tile *t, const emb_bf16 *values, size_t pairs, size_t column, bool first, size_t rows,
                     size_t vectors)
{
    __m512 acc[MR][4];
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = first ? _mm512_setzero_ps() : _mm512_load_ps(t->out + r * t->dim32 + (column + v) * LANES);
        }
    }
    const emb_bf16 *from = values + column * 2 * LANES;
    for (size_t j = 0; j < pairs; j++, from += 2 * t->dim32) {
        __m512i b[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            b[v] = _mm512_load_si512(from + v * 2 * LANES);
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m512i x = _mm512_set1_epi32(load_pair(t->weight[r] + 2 * j));
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = dot_pairs(acc[r][v], x, b[v]);
            }
        }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            _mm512_store_ps(t->out + r * t->dim32 + (column + v) * LANES, acc[r][v]);
        }
    }
}

/* One block of count keys for a tile of a fixed number of rows. */
TILE_INLINE void block_rows(struct tile *t, const int *keys, const emb_bf16 *values, size_t count, bool first,
                            size_t rows)
{
    for (size_t r = 0; r < MR; r++) {
        t->max[r] = _mm512_set1_ps(-INFINITY);
    }
    for (size_t j = 0; j < count; j += PANEL, keys += t->pairs * PANEL) {
        size_t left = count - j < PANEL ? count - j : PANEL;
        switch ((left + LANES - 1) / LANES) {
        case 1: scores(t, keys, j, left, rows, 1); break;
        case 2: scores(t, keys, j, left, rows, 2); break;
        case 3: scores(t, keys, j, left, rows, 3); break;
        default: scores(t, keys, j, left, rows, 4); break;
        }
    }
    move_bases(t, first ? 0 : rows);
    for (size_t r = 0; r < rows; r++) {
        weigh(t, r, count);
    }
    size_t column = 0, pairs = (count + 1) / 2;
    for (; column + 4 <= t->columns; column += 4) {
        mix(t, values, pairs, column, first, rows, 4);
    }
    if (column + 2 <= t->columns) {
        mix(t, values, pairs, column, first, rows, 2);
        column += 2;
    }
    if (column < t->columns) {
        mix(t, values, pairs, column, first, rows, 1);
    }
}

typedef void block_fn(struct tile *t, const int *keys, const emb_bf16 *values, size_t count, bool first);

#define BLOCK(rows)                                                                                                    \
    static void block_##rows(struct tile *t, const int *keys, const emb_bf16 *values, size_t count, bool first)        \
    {                                                                                                                  \
        block_rows(t, keys, values, count, first, rows);                                                               \
    }
BLOCK(1)
BLOCK(2)
BLOCK(3)
BLOCK(4)
BLOCK(5)
BLOCK(6)

static block_fn *const blocks[MR] = {block_1, block_2, block_3, block_4, block_5, block_6};

/* ---- Tiles ---- */

static void begin_tile(struct tile *t, const struct emb_attention_job *job, size_t row, size_t rows)
{
    _mm512_store_ps(t->base, _mm512_set1_ps(-INFINITY));
    for (size_t r = 0; r < MR; r++) {
        t->sum[r] = _mm512_setzero_ps();
    }
    for (size_t r = 0; r < rows; r++) {
        const emb_bf16 *from = (const emb_bf16 *)job->q + (row + r) * job->ld;
        for (size_t d = 0; d < job->head_dim; d += 2 * LANES) {
            _mm512_store_si512(t->q + r * t->dim32 + d, load_part(from + d, job->head_dim - d));
        }
    }
}

static void end_tile(const struct tile *t, const struct emb_attention_job *job, size_t row, size_t rows)
{
    _Alignas(64) float inverse[LANES];
    _mm512_store_ps(inverse, _mm512_div_ps(_mm512_set1_ps(1.0f), fold_sum(t->sum)));
    for (size_t r = 0; r < rows; r++) {
        const __m512 factor = _mm512_set1_ps(inverse[lane_of[r]]);
        for (size_t d = 0; d < job->head_dim; d += LANES) {
            __mmask16 mask = job->head_dim - d < LANES ? emb512_mask(job->head_dim - d) : 0xffff;
            __m512 x = _mm512_mul_ps(_mm512_load_ps(t->out + r * t->dim32 + d), factor);
            size_t at = (row + r) * job->ldo + d;
            if (job->out_bf16) {
                _mm256_mask_storeu_epi16((emb_bf16 *)job->out + at, mask, (__m256i)_mm512_cvtneps_pbh(x));
            } else {
                _mm512_mask_storeu_ps((float *)job->out + at, mask, x);
            }
        }
    }
}

static void attention_bf16(const struct emb_attention_job *job)
{
    struct tile t;
    t.factor = _mm512_set1_ps(fabsf(job->scale) * EMB_LOG2_E);
    t.pairs = (job->head_dim + 1) / 2;
    t.columns = (job->head_dim + LANES - 1) / LANES;
    t.dim32 = round_up(job->head_dim, 2 * LANES);
    int *keys = job->scratch;
    emb_bf16 *values = (emb_bf16 *)(void *)(keys + round_up(job->n, PANEL) * t.pairs);
    t.q = values + round_up(job->n, 2) * t.dim32;
    t.out = (float *)(void *)(t.q + MR * t.dim32);
    for (size_t j = 0; j < job->n; j += LANES) {
        pack_keys(job, j, keys + j / PANEL * PANEL * t.pairs + j % PANEL);
    }
    pack_values(job, values, t.dim32);

    for (size_t row = job->q0; row < job->q1;) {
        size_t left = job->q1 - row;
        size_t rows = left >= 2 * MR ? MR : left > MR ? (left + 1) / 2 : left;
        begin_tile(&t, job, row, rows);
        for (size_t j = 0; j < job->n; j += KEY_BLOCK) {
            size_t count = job->n - j < KEY_BLOCK ? job->n - j : KEY_BLOCK;
            blocks[rows - 1](&t, keys + j * t.pairs, values + j * t.dim32, count, j == 0);
        }
        end_tile(&t, job, row, rows);
        row += rows;
    }
}

void emb_attention_avx512bf16(const struct emb_attention_job *job)
{
    if (job->in_bf16) {
        attention_bf16(job);
    } else {
        emb_attention_avx512(job);
    }
}
