/* What workers and batches of some size make of a load: the queue, the batches and the pool that serve, without HTTP. */
#ifndef EMB_TRIAL_H
#define EMB_TRIAL_H

#include "embellama/embellama.h"
#include "pool/pool.h"

struct emb_trial {
    const embellama_model *model;
    struct emb_pool_layout layout;
    size_t batch_tokens; /* 0: automatic, like the next */
    size_t shard_tokens;
    const embellama_ids *bulk; /* sent one each by as many clients as keep all workers busy; may be none */
    size_t n_bulk;
    const embellama_ids *brief; /* sent by a few clients, each one after the other: their replies are timed */
    size_t n_brief;
    double seconds; /* longer where even a few batches take longer */
};

struct emb_trial_result {
    double tokens_per_s; /* of the whole load */
    double *ms;          /* [n] from sending to having the vector, of each brief text; emb_free */
    size_t n, capacity;
};

/* Runs the load on workers of its own; the first quarter of the time warms up. Replaces tokens_per_s and appends to ms: result
 * starts as zeros. Errors: E_NOMEM, and what an input's embedding fails with. */
int emb_trial_run(const struct emb_trial *trial, struct emb_trial_result *result, embellama_error *error);

#endif
