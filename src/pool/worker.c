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
    embellama_pair *pairs;
    float *values; /* and statuses, of the inputs of one kind in a batch of several */
    int *statuses;
    size_t inputs_capacity, pairs_capacity, values_capacity, statuses_capacity;
};

static void stop(void *arg)
{
    struct state *state = arg;
    embellama_ctx_free(state->ctx);
    emb_free(state->inputs);
    emb_free(state->pairs);
    emb_free(state->values);
    emb_free(state->statuses);
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

/* ---- Computing ---- */

enum { UNKNOWN = 1 }; /* status of an input that the engine gave none */

static uint32_t kind_of(const struct emb_pool_batch *batch, size_t i)
{
    return batch->tasks ? batch->tasks[i].kind : EMB_TASK_EMBED;
}

static size_t values_of(const struct state *state, const struct emb_pool_batch *batch, size_t i)
{
    const embellama_model_info *info = embellama_model_get_info(state->recipe->model);
    return emb_task_values(batch->tasks ? &batch->tasks[i] : NULL, batch->counts[i], info->dim, info->labels);
}

/* The batch's inputs of one kind, as the engine takes them. values: what they get in all. */
static size_t gather(struct state *state, const struct emb_pool_batch *batch, uint32_t kind, size_t *values)
{
    size_t n = 0;
    const int32_t *ids = batch->ids;
    *values = 0;
    for (size_t i = 0; i < batch->inputs; i++) {
        if (kind_of(batch, i) == kind && kind == EMB_TASK_SCORE) {
            state->pairs[n] = (embellama_pair){.ids = ids, .count = batch->counts[i], .second = batch->tasks[i].second};
        } else if (kind_of(batch, i) == kind) {
            state->inputs[n] = (embellama_ids){.ids = ids, .count = batch->counts[i]};
        }
        if (kind_of(batch, i) == kind) {
            *values += values_of(state, batch, i);
            n++;
        }
        ids += batch->counts[i];
    }
    return n;
}

static int compute(struct state *state, uint32_t kind, size_t n, float *out, int *statuses)
{
    if (kind == EMB_TASK_SCORE) {
        return embellama_score_ids(state->ctx, state->pairs, n, true, out, statuses, NULL);
    }
    embellama_embed_options options = embellama_embed_options_default();
    options.pooling = kind == EMB_TASK_TOKENS ? EMBELLAMA_POOLING_NONE : state->recipe->pooling;
    options.normalize = kind == EMB_TASK_EMBED ? state->recipe->normalize : EMBELLAMA_NORMALIZE_NONE;
    options.p = state->recipe->p;
    return embellama_embed_ids(state->ctx, state->inputs, n, &options, out, statuses, NULL);
}

/* Puts what the inputs of one kind got in the batch's places. */
static void scatter(struct state *state, struct emb_pool_batch *batch, uint32_t kind)
{
    const float *from = state->values;
    const int *status = state->statuses;
    float *to = batch->vectors;
    for (size_t i = 0; i < batch->inputs; i++) {
        size_t values = values_of(state, batch, i);
        if (kind_of(batch, i) == kind) {
            memcpy(to, from, values * sizeof *to);
            batch->statuses[i] = *status++;
            from += values;
        }
        to += values;
    }
}

/* Computes the inputs of one kind, where they are all there are right where they belong. */
static int compute_kind(struct state *state, struct emb_pool_batch *batch, uint32_t kind)
{
    size_t values, n = gather(state, batch, kind, &values);
    if (n == 0 || n == batch->inputs) {
        return n > 0 ? compute(state, kind, n, batch->vectors, batch->statuses) : EMBELLAMA_OK;
    }
    if (!emb_grow(&state->values, &state->values_capacity, values > 0 ? values : 1, sizeof *state->values) ||
        !emb_grow(&state->statuses, &state->statuses_capacity, n, sizeof *state->statuses)) {
        return EMBELLAMA_E_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        state->statuses[i] = UNKNOWN;
    }
    int rc = compute(state, kind, n, state->values, state->statuses);
    scatter(state, batch, kind);
    return rc;
}

/* An input the engine gave no status, because the call as a whole failed, gets the call's. */
static void run(void *arg, struct emb_pool_batch *batch)
{
    struct state *state = arg;
    int rcs[EMB_TASK_KINDS] = {0};
    bool room = emb_grow(&state->inputs, &state->inputs_capacity, batch->inputs, sizeof *state->inputs) &&
                emb_grow(&state->pairs, &state->pairs_capacity, batch->tasks ? batch->inputs : 0, sizeof *state->pairs);
    for (size_t i = 0; i < batch->inputs; i++) {
        batch->statuses[i] = UNKNOWN;
    }
    for (uint32_t kind = 0; kind < (batch->tasks ? EMB_TASK_KINDS : EMB_TASK_EMBED + 1); kind++) {
        rcs[kind] = room ? compute_kind(state, batch, kind) : EMBELLAMA_E_NOMEM;
    }
    float *values = batch->vectors;
    for (size_t i = 0; i < batch->inputs; i++) {
        size_t n = values_of(state, batch, i);
        if (batch->statuses[i] == UNKNOWN) {
            batch->statuses[i] = rcs[kind_of(batch, i)];
        }
        if (batch->statuses[i] != EMBELLAMA_OK) {
            memset(values, 0, n * sizeof *values);
        }
        values += n;
    }
}

void emb_pool_count_layers(void *arg, _Atomic uint64_t *counter)
{
    const struct state *state = arg;
    emb_ctx_count_layers(state->ctx, counter);
}

struct emb_pool_engine emb_pool_engine(const struct emb_pool_recipe *recipe)
{
    const embellama_model_info *info = embellama_model_get_info(recipe->model);
    return (struct emb_pool_engine){
        .arg = recipe, .dim = info->dim, .labels = info->labels, .start = start, .run = run, .stop = stop};
}
