/* Attention of bf16 operands by vdpbf16ps; f32 operands go to avx512_attention.c.
 *
 * Keys are packed transposed in panels of 64, two dimensions of a key side by side; values two keys side by side. Tiles
 * of up to 6 queries pass over blocks of 128 keys: scores in f32, softmax kept online, its weights rounded to bf16, a
 * second product with the values. Each query's sums run over rising pairs of keys in blocks that start at 0, and every
 * decision below is taken from the query's own scores, so its result does not depend on the tile or the call it is in.
 *
 * The weights' sum is taken of the rounded weights, so that their rounding errors cancel where the values agree.
 *
 * vdpbf16ps takes denormals as zero and rounds to nearest even, whatever MXCSR says.
 *
 * Scratch, never more than f32 needs: keys [panels][pairs][64][2], values [n / 2][dim32][2], one tile's queries
 * [6][dim32] and its running output [6][dim32] in f32; pairs is half of head_dim, dim32 is head_dim rounded up to 32.
 */
#include "kernel/x86/avx512_tier.h"

#include "kernel/bf16.h"

#define EMB512_TO_BF16(x) ((__m256i)_mm512_cvtneps_pbh(x))
#include "kernel/x86/avx512_softmax.h"

#define MR EMB_ATTENTION_MR
#define KEY_BLOCK 128
#define PANEL 64
#define LANES 16
#define TILE_INLINE static inline __attribute__((always_inline))

/* One tile of queries on its way over the keys. */
struct tile {
    _Alignas(64) float score[MR][KEY_BLOCK];     /* of the block at hand */
    _Alignas(64) emb_bf16 weight[MR][KEY_BLOCK]; /* of the block at hand */
    struct emb512_softmax s;
    const int *keys;
    const emb_bf16 *values;
    emb_bf16 *q;  /* [MR][dim32] */
    size_t pairs; /* dim32 is s.width */
};

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

TILE_INLINE __m512 dot_pairs(__m512 acc, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

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
            __m512i x = _mm512_set1_epi32(emb_bf16_load_pair(t->q + r * t->s.width + 2 * p));
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = dot_pairs(acc[r][v], x, b[v]);
            }
        }
    }
    emb512_take_scores(&t->s, t->score[0] + j, KEY_BLOCK, acc, count, rows, vectors);
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
    const __m512 base = _mm512_set1_ps(t->s.base[emb512_lane_of[r]]);
    __m512 sum = t->s.sum[r];
    for (size_t j = 0; j < count; j += 2 * LANES) {
        const float *score = t->score[r] + j;
        __m512 low = weight_of(_mm512_load_ps(score), t->s.factor, base), high = _mm512_setzero_ps();
        if (count - j > LANES) {
            high = weight_of(_mm512_load_ps(score + LANES), t->s.factor, base);
        }
        __m512i w = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(t->weight[r] + j, w);
        sum = dot_pairs(sum, w, ones);
    }
    t->s.sum[r] = sum;
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
            acc[r][v] = first ? _mm512_setzero_ps() : _mm512_load_ps(t->s.out + r * t->s.width + (column + v) * LANES);
        }
    }
    const emb_bf16 *from = values + column * 2 * LANES;
    for (size_t j = 0; j < pairs; j++, from += 2 * t->s.width) {
        __m512i b[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            b[v] = _mm512_load_si512(from + v * 2 * LANES);
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m512i x = _mm512_set1_epi32(emb_bf16_load_pair(t->weight[r] + 2 * j));
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
            _mm512_store_ps(t->s.out + r * t->s.width + (column + v) * LANES, acc[r][v]);
        }
    }
}

TILE_INLINE void block_rows(struct tile *t, size_t key, size_t count, size_t rows)
{
    const int *keys = t->keys + key * t->pairs;
    const emb_bf16 *values = t->values + key * t->s.width;
    emb512_begin_block(&t->s);
    for (size_t j = 0; j < count; j += PANEL, keys += t->pairs * PANEL) {
        size_t left = count - j < PANEL ? count - j : PANEL;
        switch ((left + LANES - 1) / LANES) {
        case 1: scores(t, keys, j, left, rows, 1); break;
        case 2: scores(t, keys, j, left, rows, 2); break;
        case 3: scores(t, keys, j, left, rows, 3); break;
        default: scores(t, keys, j, left, rows, 4); break;
        }
    }
    emb512_move_bases(&t->s, key == 0 ? 0 : rows);
    for (size_t r = 0; r < rows; r++) {
        weigh(t, r, count);
    }
    size_t column = 0, pairs = (count + 1) / 2;
    for (; column + 4 <= t->s.columns; column += 4) {
        mix(t, values, pairs, column, key == 0, rows, 4);
    }
    if (column + 2 <= t->s.columns) {
        mix(t, values, pairs, column, key == 0, rows, 2);
        column += 2;
    }
    if (column < t->s.columns) {
        mix(t, values, pairs, column, key == 0, rows, 1);
    }
}

EMB_ATTENTION_BLOCKS

/* ---- Tiles ---- */

static void begin(void *tile, const struct emb_attention_job *job, size_t row, size_t rows)
{
    struct tile *t = tile;
    emb512_begin(&t->s);
    for (size_t r = 0; r < rows; r++) {
        const emb_bf16 *from = (const emb_bf16 *)job->q + (row + r) * job->ld;
        for (size_t d = 0; d < job->head_dim; d += 2 * LANES) {
            _mm512_store_si512(t->q + r * t->s.width + d, load_part(from + d, job->head_dim - d));
        }
    }
}

static void end(const void *tile, const struct emb_attention_job *job, size_t row, size_t rows)
{
    emb512_end(&((const struct tile *)tile)->s, job, row, rows);
}

static void attention_bf16(const struct emb_attention_job *job)
{
    static const struct emb_attention_walk walk = {KEY_BLOCK, begin, blocks, end};
    struct tile t;
    size_t dim32 = round_up(job->head_dim, 2 * LANES);
    t.pairs = (job->head_dim + 1) / 2;
    int *keys = job->scratch;
    emb_bf16 *values = (emb_bf16 *)(void *)(keys + round_up(job->n, PANEL) * t.pairs);
    t.keys = keys;
    t.values = values;
    t.q = values + round_up(job->n, 2) * dim32;
    t.s.factor = _mm512_set1_ps(fabsf(job->scale) * EMB_LOG2_E);
    t.s.out = (float *)(void *)(t.q + MR * dim32);
    t.s.width = dim32;
    t.s.columns = (job->head_dim + LANES - 1) / LANES;
    for (size_t j = 0; j < job->n; j += LANES) {
        pack_keys(job, j, keys + j / PANEL * PANEL * t.pairs + j % PANEL);
    }
    pack_values(job, values, dim32);
    emb_attention_run(job, &walk, &t);
}

void emb_attention_avx512bf16(const struct emb_attention_job *job)
{
    if (job->in_bf16) {
        attention_bf16(job);
    } else {
        emb_attention_avx512(job);
    }
}
