/* The usual engine: an embellama context over the shared model. */
#include "pool/worker.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "engine/watch.h"

struct state {
    const struct emb_pool_recipe *recipe;
    embellama_ctx *ctx;
    embellama_ids *inputs;
    size_t capacity;
};

static void stop(void *arg)
{
    struct state *state = arg;
    embellama_ctx_free(state->ctx);
    emb_free(state->inputs);
    emb_free(state);
}

static int start(const void *arg, int threads, void **out, embellama_error *error)
{
    const struct emb_pool_recipe *recipe = arg;
    struct state *state = emb_calloc(1, sizeof *state);
    if (!state) {
        return emb_fail_nomem(error);
    }
    state->recipe = recipe;
    embellama_ctx_options options = embellama_ctx_options_default();
    options.threads = threads;
    options.shard_tokens = recipe->shard_tokens;
    int rc = embellama_ctx_new(&state->ctx, recipe->model, &options, error);
    if (rc != EMBELLAMA_OK) {
        emb_free(state);
        return rc;
    }
    *out = state;
    return EMBELLAMA_OK;
}

static int embed(struct state *state, struct emb_pool_batch *batch)
{
    if (!emb_grow(&state->inputs, &state->capacity, batch->inputs, sizeof *state->inputs)) {
        return EMBELLAMA_E_NOMEM;
    }
    const int32_t *ids = batch->ids;
    for (size_t i = 0; i < batch->inputs; i++) {
        state->inputs[i] = (embellama_ids){.ids = ids, .count = batch->counts[i]};
        ids += batch->counts[i];
    }
    embellama_embed_options options = embellama_embed_options_default();
    options.pooling = state->recipe->pooling;
    options.normalize = state->recipe->normalize;
    options.p = state->recipe->p;
    return embellama_embed_ids(state->ctx, state->inputs, batch->inputs, &options, batch->vectors, batch->statuses,
                               NULL);
}

/* An input the engine gave no status, because the call as a whole failed, gets the call's. */
static void run(void *arg, struct emb_pool_batch *batch)
{
    enum { UNKNOWN = 1 };
    struct state *state = arg;
    size_t dim = embellama_dim(state->recipe->model);
    for (size_t i = 0; i < batch->inputs; i++) {
        batch->statuses[i] = UNKNOWN;
    }
    int rc = embed(state, batch);
    for (size_t i = 0; i < batch->inputs; i++) {
        if (batch->statuses[i] == UNKNOWN) {
            batch->statuses[i] = rc;
        }
        if (batch->statuses[i] != EMBELLAMA_OK) {
            memset(batch->vectors + i * dim, 0, dim * sizeof *batch->vectors);
        }
    }
}

void emb_pool_count_layers(void *arg, _Atomic uint64_t *counter)
{
    const struct state *state = arg;
    emb_ctx_count_layers(state->ctx, counter);
}

struct emb_pool_engine emb_pool_engine(const struct emb_pool_recipe *recipe)
{
    return (struct emb_pool_engine){
        .arg = recipe, .dim = embellama_dim(recipe->model), .start = start, .run = run, .stop = stop};
}
