/* What a worker computes with, whatever it is, a thread or a process: an engine context of its own over the one shared
 * model. */
#ifndef EMB_POOL_WORKER_H
#define EMB_POOL_WORKER_H

#include <stdatomic.h>

#include "pool/pool.h"

/* What a worker runs. The usual one, over an embellama_model, is emb_pool_engine; tests give their own. */
struct emb_pool_engine {
    const void *arg; /* handed to start */
    size_t dim, labels;
    /* Called for each worker before it has a batch; *state is then handed to run and stop. */
    int (*start)(const void *arg, int threads, void **state, embellama_error *error);
    /* Computes one batch: every input's values, as its task says, and every status. On the worker's thread. */
    void (*run)(void *state, struct emb_pool_batch *batch);
    void (*stop)(void *state);
};

/* How vectors are made, the same for every batch of a pool. Scores are logits. */
struct emb_pool_recipe {
    const embellama_model *model;
    embellama_pooling pooling; /* not NONE: an input has one vector */
    embellama_normalize normalize;
    float p;
    size_t shard_tokens; /* as in embellama_ctx_options */
};

/* recipe must outlive the workers. */
struct emb_pool_engine emb_pool_engine(const struct emb_pool_recipe *recipe);

/* Has a state that its start made raise *counter after each layer of the model computed. */
void emb_pool_count_layers(void *state, _Atomic uint64_t *counter);

#endif
