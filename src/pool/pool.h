/* Workers that compute: the seam between serving and the engine.
 *
 * A worker is a thread here, with an engine context of its own over the one shared model. What crosses the seam is
 * plain data that a socket could carry: token ids in, vectors and statuses out. The pool knows nothing of
 * requests, HTTP or JSON, and decides nothing about what belongs together in a batch. */
#ifndef EMB_POOL_H
#define EMB_POOL_H

#include "embellama/embellama.h"

struct emb_pool;

/* The submitter owns the memory and leaves it alone from submission until done is called. */
struct emb_pool_batch {
    size_t inputs;
    int32_t *ids;        /* all inputs' tokens, one input after the other, special tokens included */
    uint32_t *counts;    /* [inputs] tokens of each */
    float *vectors;      /* [inputs, dim], written by the worker; zeros for an input that failed */
    int *statuses;       /* [inputs], written by the worker: an embellama_status each */
    uint64_t started_ns; /* when the worker took it up (CLOCK_MONOTONIC) and how long it computed */
    uint64_t compute_ns;
    void (*done)(struct emb_pool_batch *batch); /* called on the worker's thread */
    void *arg;                                  /* for done */
};

/* What a worker runs. The usual one, over an embellama_model, is emb_pool_engine; tests give their own. */
struct emb_pool_engine {
    const void *arg; /* handed to start */
    size_t dim;
    /* Called for each worker before it has a batch; *state is then handed to run and stop. */
    int (*start)(const void *arg, int threads, void **state, embellama_error *error);
    /* Computes one batch: every vector and every status. */
    void (*run)(void *state, struct emb_pool_batch *batch);
    void (*stop)(void *state);
};

/* How vectors are made, the same for every batch of a pool. */
struct emb_pool_recipe {
    const embellama_model *model;
    embellama_pooling pooling; /* not NONE: an input has one vector */
    embellama_normalize normalize;
    float p;
    size_t shard_tokens; /* as in embellama_ctx_options */
};

/* recipe must outlive the pool. */
struct emb_pool_engine emb_pool_engine(const struct emb_pool_recipe *recipe);

struct emb_pool_layout {
    int workers;
    int threads; /* of each worker */
};

/* Shares cores out. 0 means automatic for either number: up to 8 cores make one worker, more cores make as many
 * equal workers as keep each at 8 or below; a number that is given decides the other. Automatic numbers never
 * multiply to more than cores. */
struct emb_pool_layout emb_pool_layout(int cores, int workers, int threads);

/* Batches a worker may hold: the one it computes, and one that waits so that it need not idle in between. */
#define EMB_POOL_DEPTH 2

/* Errors: those of start, and E_NOMEM. */
int emb_pool_new(struct emb_pool **out, const struct emb_pool_engine *engine, struct emb_pool_layout layout,
                 embellama_error *error);

/* Computes what was submitted, calling done for it, and ends the workers. NULL is allowed. */
void emb_pool_free(struct emb_pool *pool);

/* Hands a batch to a worker, 0 <= worker < layout.workers, which must hold fewer than EMB_POOL_DEPTH. */
void emb_pool_submit(struct emb_pool *pool, int worker, struct emb_pool_batch *batch);

#endif
