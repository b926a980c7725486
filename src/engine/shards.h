/* Who computes what: inputs shared out among the threads of a context.
 *
 * In bulk each thread takes shards, runs of whole texts of some hundred tokens, through all layers by itself: no barrier, activations
 * in its own cache. Few texts can rarely be shared out evenly, so what would keep one thread busy at the end while the others wait is
 * left to all of them together; and where there is little in all, everything is. */
#ifndef EMB_SHARDS_H
#define EMB_SHARDS_H

#include "embellama/embellama.h"

/* Places begin..end of the plan's order, run together. */
struct emb_shard {
    size_t begin, end;
    size_t tokens;
};

struct emb_shards_terms {
    size_t threads;
    size_t nodes;  /* teams, each of which can work on a joint shard */
    size_t tokens; /* of a thread's shard, about */
    size_t most;   /* of any shard; at least terms->tokens and the longest input */
    size_t hidden; /* the model's, which tells how much dearer long texts are */
};

/* Zero at first. Memory is kept from plan to plan. */
struct emb_shards {
    size_t *order; /* [inputs] which input is at each place */
    struct emb_shard *shards;
    size_t alone; /* shards [0, alone) are for a thread each, to be taken in this order */
    size_t count; /* shards [alone, count) are for all threads of a team together */

    uint64_t *keys;                /* [inputs] the longest first */
    size_t *before;                /* [inputs] what is before it in its list: a place among the keys, + 1 */
    struct emb_shards_list *lists; /* [threads + 1] inputs of each thread, and of all together */
    size_t order_capacity, shards_capacity, keys_capacity, before_capacity, lists_capacity;
};

void emb_shards_deinit(struct emb_shards *plan);

/* Shares n inputs out, each of 1 to terms->most tokens. False when out of memory. */
bool emb_shards_plan(struct emb_shards *plan, const embellama_ids *inputs, size_t n,
                     const struct emb_shards_terms *terms);

#endif
