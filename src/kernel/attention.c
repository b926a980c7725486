/* The walk of attention over tiles and blocks. */
#include "kernel/attention.h"

#define MR EMB_ATTENTION_MR

static size_t round_up(size_t x, size_t to)
{
    return (x + to - 1) / to * to;
}

void emb_attention_run(const struct emb_attention_job *job, const struct emb_attention_walk *walk, void *tile)
{
    for (size_t row = job->q0; row < job->q1;) {
        size_t left = job->q1 - row;
        /* The last two tiles share what is left evenly, as a thin tile is slow. */
        size_t rows = left >= 2 * MR ? MR : left > MR ? (left + 1) / 2 : left;
        walk->begin(tile, job, row, rows);
        for (size_t key = 0; key < job->n; key += walk->keys) {
            walk->blocks[rows - 1](tile, key, job->n - key < walk->keys ? job->n - key : walk->keys);
        }
        walk->end(tile, job, row, rows);
        row += rows;
    }
}

struct emb_attention_room emb_attention_room_of(const struct emb_attention_job *job)
{
    size_t width = round_up(job->head_dim, 16), keys = round_up(job->n, EMB_ATTENTION_KEYS);
    float *from = job->scratch;
    return (struct emb_attention_room){
        .keys = from,
        .values = from + keys * width,
        .out = from + 2 * keys * width,
        .queries = from + (2 * keys + MR) * width,
        .width = width,
    };
}

size_t emb_attention_room_size(size_t n, size_t head_dim)
{
    size_t floats;
    if (n > SIZE_MAX / 4 - EMB_ATTENTION_KEYS || head_dim > SIZE_MAX / 2) {
        return 0;
    }
    if (__builtin_mul_overflow(2 * round_up(n, EMB_ATTENTION_KEYS) + 2 * MR, round_up(head_dim, 16), &floats) ||
        floats > SIZE_MAX / sizeof(float)) {
        return 0;
    }
    return floats * sizeof(float);
}
