/* Attention for AVX-512 in f32; bf16 operands are widened as they are packed.
 *
 * Keys are packed transposed in blocks of 64, values dense; then tiles of up to 6 queries pass over the blocks: scores
 * as a matrix product held in registers, softmax kept online, and a second product with the values. Every query's sums
 * run over rising keys in blocks that start at 0, and every decision is taken from the query's own scores, so its result
 * does not depend on the tile or the call it is in. */
#include "kernel/x86/avx512_tier.h"

#define EMB512_TO_BF16(x) emb512_to_bf16(x)
#include "kernel/x86/avx512_softmax.h"

#define MR EMB_ATTENTION_MR
#define KEY_BLOCK EMB_ATTENTION_KEYS
#define LANES 16
#define TILE_INLINE static inline __attribute__((always_inline))

/* One tile of queries on its way over the keys. */
struct tile {
    _Alignas(64) float weight[MR][KEY_BLOCK]; /* of the block at hand: scores, then weights */
    struct emb512_softmax s;
    const float *q;
    size_t ldq;
    size_t head_dim;
    struct emb_attention_room room;
};

/* ---- Packing ---- */

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

/* Keys j..j+16 (those below n; the rest as zero) into lanes of their block, with the sign of the scale. */
TILE_INLINE void pack_keys(const struct emb_attention_job *job, bool bf16, size_t j, float *block)
{
    const __m512 sign = _mm512_set1_ps(job->scale < 0 ? -0.0f : 0.0f);
    for (size_t d = 0; d < job->head_dim; d += LANES) {
        size_t dims = job->head_dim - d < LANES ? job->head_dim - d : LANES;
        __mmask16 mask = emb512_mask(dims);
        __m512 r[16];
        for (size_t i = 0; i < 16; i++) {
            __m512 x = j + i < job->n ? load(job->k, bf16, (j + i) * job->ld + d, mask) : _mm512_setzero_ps();
            r[i] = _mm512_xor_ps(x, sign);
        }
        emb512_transpose(r);
        for (size_t i = 0; i < dims; i++) {
            _mm512_store_ps(block + (d + i) * KEY_BLOCK, r[i]);
        }
    }
}

TILE_INLINE void pack(const struct emb_attention_job *job, bool bf16, const struct emb_attention_room *room)
{
    for (size_t j = 0; j < job->n; j += LANES) {
        pack_keys(job, bf16, j, room->keys + j / KEY_BLOCK * KEY_BLOCK * job->head_dim + j % KEY_BLOCK);
    }
    for (size_t j = 0; j < job->n; j++) {
        copy_row(job, job->v, bf16, j, room->values + j * room->width);
    }
}

/* ---- A block of keys ---- */

/* acc += q * b over count elements: q has rows ldq apart, b rows ldb apart. */
TILE_INLINE void multiply(__m512 acc[MR][4], const float *q, size_t ldq, const float *b, size_t ldb, size_t count,
                          size_t rows, size_t vectors)
{
    for (size_t d = 0; d < count; d++, b += ldb) {
        __m512 x[4];
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            x[v] = _mm512_load_ps(b + v * LANES);
        }
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            __m512 y = _mm512_set1_ps(q[r * ldq + d]);
            EMB_UNROLL
            for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = _mm512_fmadd_ps(y, x[v], acc[r][v]);
            }
        }
    }
}

/* 2^x, x = score * factor - base rounded once, relative error <= 1e-7 beside that of x; 0 far down. NaN stays. Of a score
 * of -infinity the fraction is NaN, which vscalefps by -infinity makes 0. */
TILE_INLINE __m512 weight_of(__m512 score, __m512 factor, __m512 base)
{
    __m512 x = _mm512_fmsub_ps(score, factor, base);
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_scalef_ps(emb512_exp2_part(_mm512_sub_ps(x, whole)), whole);
}

/* Scores of the block, and its weights; count of its keys are real. */
TILE_INLINE void weigh(struct tile *t, size_t key, size_t count, size_t rows, size_t vectors)
{
    __m512 acc[MR][4];
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = _mm512_setzero_ps();
        }
    }
    multiply(acc, t->q, t->ldq, t->room.keys + key * t->head_dim, KEY_BLOCK, t->head_dim, rows, vectors);
    emb512_begin_block(&t->s);
    emb512_take_scores(&t->s, t->weight[0], KEY_BLOCK, acc, count, rows, vectors);
    emb512_move_bases(&t->s, key == 0 ? 0 : rows);
    for (size_t r = 0; r < rows; r++) {
        const __m512 base = _mm512_set1_ps(t->s.base[emb512_lane_of[r]]);
        __m512 sum = t->s.sum[r];
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            __m512 w = weight_of(_mm512_load_ps(t->weight[r] + v * LANES), t->s.factor, base);
            _mm512_store_ps(t->weight[r] + v * LANES, w);
            sum = _mm512_add_ps(sum, w);
        }
        t->s.sum[r] = sum;
    }
}

/* out += weight * values, for some vectors of the head from column on. */
TILE_INLINE void mix(struct tile *t, size_t key, size_t count, size_t column, size_t rows, size_t vectors)
{
    __m512 acc[MR][4];
    size_t width = t->room.width;
    float *out = t->room.out + column * LANES;
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = key == 0 ? _mm512_setzero_ps() : _mm512_load_ps(out + r * width + v * LANES);
        }
    }
    const float *values = t->room.values + key * width + column * LANES;
    multiply(acc, t->weight[0], KEY_BLOCK, values, width, count, rows, vectors);
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            _mm512_store_ps(out + r * width + v * LANES, acc[r][v]);
        }
    }
}

TILE_INLINE void block_rows(struct tile *t, size_t key, size_t count, size_t rows)
{
    switch ((count + LANES - 1) / LANES) {
    case 1: weigh(t, key, count, rows, 1); break;
    case 2: weigh(t, key, count, rows, 2); break;
    case 3: weigh(t, key, count, rows, 3); break;
    default: weigh(t, key, count, rows, 4); break;
    }
    size_t column = 0;
    for (; column + 4 <= t->s.columns; column += 4) {
        mix(t, key, count, column, rows, 4);
    }
    if (column + 2 <= t->s.columns) {
        mix(t, key, count, column, rows, 2);
        column += 2;
    }
    if (column < t->s.columns) {
        mix(t, key, count, column, rows, 1);
    }
}

EMB_ATTENTION_BLOCKS

/* ---- Tiles ---- */

static void begin(void *tile, const struct emb_attention_job *job, size_t row, size_t rows)
{
    struct tile *t = tile;
    t->q = job->in_bf16 ? t->room.queries : (const float *)job->q + row * job->ld;
    for (size_t r = 0; job->in_bf16 && r < rows; r++) {
        copy_row(job, job->q, true, row + r, t->room.queries + r * t->room.width);
    }
    emb512_begin(&t->s);
}

static void end(const void *tile, const struct emb_attention_job *job, size_t row, size_t rows)
{
    emb512_end(&((const struct tile *)tile)->s, job, row, rows);
}

void emb_attention_avx512(const struct emb_attention_job *job)
{
    static const struct emb_attention_walk walk = {KEY_BLOCK, begin, blocks, end};
    struct tile t;
    t.room = emb_attention_room_of(job);
    t.head_dim = job->head_dim;
    t.ldq = job->in_bf16 ? t.room.width : job->ld;
    t.s.factor = _mm512_set1_ps(fabsf(job->scale) * EMB_LOG2_E);
    t.s.out = t.room.out;
    t.s.width = t.room.width;
    t.s.columns = t.room.width / LANES;
    if (job->in_bf16) {
        pack(job, true, &t.room);
    } else {
        pack(job, false, &t.room);
    }
    emb_attention_run(job, &walk, &t);
}
