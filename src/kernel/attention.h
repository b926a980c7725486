/* The walk of a tier's attention over tiles of queries and blocks of keys, and the room its f32 form needs.
 *
 * Owns the order: tiles of up to EMB_ATTENTION_MR queries, each over all blocks of keys from key 0 on. The tiers bring
 * what is done with a block. */
#ifndef EMB_KERNEL_ATTENTION_H
#define EMB_KERNEL_ATTENTION_H

#include "kernel/kernel.h"

#define EMB_ATTENTION_MR 6
#define EMB_ATTENTION_KEYS 64 /* of a block of f32 */

/* A query's weights are 2^(score - base), in units of log2. The base is a maximum of the query's scores so far, and follows
 * a new one only when that weighs more than 2^SLACK times as much: sums seldom need rescaling. */
#define EMB_ATTENTION_SLACK 8.0f

/* What a tier does. tile is its own state, of one tile of queries. */
struct emb_attention_walk {
    size_t keys; /* of a block */
    void (*begin)(void *tile, const struct emb_attention_job *job, size_t row, size_t rows);
    void (*const *blocks)(void *tile, size_t key,
                          size_t count); /* entry rows - 1: the block of count keys from key on */
    void (*end)(const void *tile, const struct emb_attention_job *job, size_t row, size_t rows);
};

void emb_attention_run(const struct emb_attention_job *job, const struct emb_attention_walk *walk, void *tile);

/* Where f32 attention keeps its operands in the scratch: keys, transposed in panels, have the room of whole blocks;
 * values [n][width], one tile's running output [MR][width] and its queries, where they had to be widened, [MR][width].
 * width is head_dim rounded up to 16. */
struct emb_attention_room {
    float *keys, *values, *out, *queries;
    size_t width;
};

struct emb_attention_room emb_attention_room_of(const struct emb_attention_job *job);

/* Bytes of all of it, or 0 on overflow: an attention_scratch of the table. */
size_t emb_attention_room_size(size_t n, size_t head_dim);

/* The entries of a walk's blocks: block_1 .. block_6, made of inline block_rows(tile, key, count, rows). */
#define EMB_ATTENTION_BLOCK(rows)                                                                                      \
    static void block_##rows(void *tile, size_t key, size_t count)                                                     \
    {                                                                                                                  \
        block_rows(tile, key, count, rows);                                                                            \
    }
#define EMB_ATTENTION_BLOCKS                                                                                           \
    EMB_ATTENTION_BLOCK(1)                                                                                             \
    EMB_ATTENTION_BLOCK(2)                                                                                             \
    EMB_ATTENTION_BLOCK(3)                                                                                             \
    EMB_ATTENTION_BLOCK(4)                                                                                             \
    EMB_ATTENTION_BLOCK(5)                                                                                             \
    EMB_ATTENTION_BLOCK(6)                                                                                             \
    static void (*const blocks[EMB_ATTENTION_MR])(void *tile, size_t key, size_t count) = {block_1, block_2, block_3,  \
                                                                                           block_4, block_5, block_6};

#endif
