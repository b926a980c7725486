/* The context: scratch memory and threads, and the calls over texts and inputs.
 *
 * Which texts a thread takes by itself and which all take together, where there are several NUMA nodes (crew.h) the team of one, is
 * planned for each call (shards.h). It never changes a bit of any vector (model/forward.h). */
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"
#include "engine/call.h"
#include "engine/crew.h"
#include "engine/handle.h"
#include "engine/shards.h"
#include "engine/watch.h"
#include "model/forward.h"
#include "model/head.h"
#include "model/pooling.h"

/* Tokens of a shard: large enough for the kernels' full speed, small enough that activations stay in L2. A caller's own number
 * is held to a range in which the scratch memory stays small. */
enum { SHARD_TOKENS = 256, SHARD_TOKENS_MAX = 8192 };

/* One team member's own. */
struct worker {
    const struct emb_model *model; /* with the weights of its node */
    struct emb_scratch scratch;
    struct emb_profile profile;
    struct emb_tokens tokens; /* of the text at hand */
    int32_t *ids;             /* of all the texts it tokenised in this call */
    size_t n_ids, ids_capacity;
};

/* A node's team working together. */
struct group {
    const struct emb_model *model;
    struct emb_scratch scratch;
    struct emb_profile profile;
};

/* Where a tokenised text's ids lie: in a worker's list, which may still move while it grows. */
struct place {
    int member;
    size_t offset, count;
    size_t second; /* of a pair: the first token of the second text */
};

struct embellama_ctx {
    const embellama_model *model;
    struct emb_crew *crew;
    int threads;
    struct worker *workers;     /* [threads] */
    struct group *groups;       /* [nodes of the crew]; NULL with one thread */
    embellama_profile *profile; /* the caller's, or NULL */
    size_t shard_tokens;
    size_t shard_capacity; /* tokens any shard may have */

    /* Of the call at hand, grown as needed. */
    struct place *places;  /* of each text */
    embellama_ids *inputs; /* all inputs; then the valid ones only, cut where asked */
    size_t *index;         /* of each valid one in the caller's list */
    size_t *rows;          /* first output row of each of the caller's inputs */
    struct emb_shards plan;
    embellama_ids *ordered;  /* the valid inputs in the plan's order */
    size_t *seconds;         /* of a call that scores: where the second text of each of the caller's inputs begins */
    size_t *ordered_seconds; /* the same in the plan's order */
    int *statuses;
    size_t places_capacity, inputs_capacity, index_capacity, rows_capacity, ordered_capacity, statuses_capacity;
    size_t seconds_capacity, ordered_seconds_capacity;
    size_t n_inputs;
};

embellama_ctx_options embellama_ctx_options_default(void)
{
    return (embellama_ctx_options){0};
}

embellama_embed_options embellama_embed_options_default(void)
{
    return (embellama_embed_options){.p = 2};
}

/* The threads: on the nodes that the model has weights on; else, to be pinned, on those there are. */
static int new_crew(embellama_ctx *ctx, bool pin, embellama_error *error)
{
    struct emb_topology own = {0};
    const struct emb_topology *topology = &ctx->model->replicas.topology;
    int rc = EMBELLAMA_OK;
    if (pin && topology->count == 0) {
        rc = emb_topology_read(&own, NULL, error);
        topology = &own;
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_crew_new(&ctx->crew, ctx->threads, topology, pin, error);
    }
    emb_topology_deinit(&own);
    return rc;
}

static const struct emb_model *model_on(const embellama_model *model, int node)
{
    return model->replicas.models ? &model->replicas.models[node] : &model->loaded;
}

static int new_workers(embellama_ctx *ctx, embellama_error *error)
{
    int rc = EMBELLAMA_OK, nodes = emb_crew_nodes(ctx->crew);
    ctx->workers = emb_calloc((size_t)ctx->threads, sizeof *ctx->workers);
    ctx->groups = ctx->threads > 1 ? emb_calloc((size_t)nodes, sizeof *ctx->groups) : NULL;
    if (!ctx->workers || (ctx->threads > 1 && !ctx->groups)) {
        return emb_fail_nomem(error);
    }
    for (int i = 0; rc == EMBELLAMA_OK && i < ctx->threads; i++) {
        struct worker *w = &ctx->workers[i];
        w->model = model_on(ctx->model, emb_crew_node_of(ctx->crew, i));
        rc = emb_scratch_init(&w->scratch, w->model, ctx->shard_capacity, 1, error);
    }
    for (int k = 0; rc == EMBELLAMA_OK && ctx->groups && k < nodes; k++) {
        struct group *g = &ctx->groups[k];
        g->model = model_on(ctx->model, k);
        rc = emb_scratch_init(&g->scratch, g->model, ctx->shard_capacity, emb_team_size(emb_crew_team(ctx->crew, k)),
                              error);
    }
    return rc;
}

int embellama_ctx_new(embellama_ctx **out, const embellama_model *model, const embellama_ctx_options *options,
                      embellama_error *error)
{
    embellama_ctx *ctx = emb_calloc(1, sizeof *ctx);
    if (!ctx) {
        return emb_fail_nomem(error);
    }
    ctx->model = model;
    ctx->threads = options && options->threads > 0 ? options->threads : emb_cpu_count();
    size_t context = model->loaded.spec.positions, asked = options ? options->shard_tokens : 0;
    ctx->shard_tokens = asked == 0 ? SHARD_TOKENS : asked < SHARD_TOKENS_MAX ? asked : SHARD_TOKENS_MAX;
    ctx->shard_capacity = context > ctx->shard_tokens ? context : ctx->shard_tokens;
    int rc = new_crew(ctx, options && options->pin, error);
    if (rc == EMBELLAMA_OK) {
        rc = new_workers(ctx, error);
    }
    if (rc != EMBELLAMA_OK) {
        embellama_ctx_free(ctx);
        return rc;
    }
    *out = ctx;
    return EMBELLAMA_OK;
}

void embellama_ctx_free(embellama_ctx *ctx)
{
    if (!ctx) {
        return;
    }
    for (int k = 0; ctx->groups && k < emb_crew_nodes(ctx->crew); k++) {
        emb_scratch_deinit(&ctx->groups[k].scratch);
    }
    emb_crew_free(ctx->crew);
    for (int i = 0; ctx->workers && i < ctx->threads; i++) {
        emb_scratch_deinit(&ctx->workers[i].scratch);
        emb_tokens_deinit(&ctx->workers[i].tokens);
        emb_free(ctx->workers[i].ids);
    }
    emb_free(ctx->workers);
    emb_free(ctx->groups);
    emb_free(ctx->places);
    emb_free(ctx->inputs);
    emb_free(ctx->index);
    emb_free(ctx->rows);
    emb_shards_deinit(&ctx->plan);
    emb_free(ctx->ordered);
    emb_free(ctx->seconds);
    emb_free(ctx->ordered_seconds);
    emb_free(ctx->statuses);
    emb_free(ctx);
}

/* ---- Watching ---- */

void emb_ctx_count_layers(embellama_ctx *ctx, _Atomic uint64_t *counter)
{
    for (int i = 0; i < ctx->threads; i++) {
        ctx->workers[i].scratch.layers_done = counter;
    }
    for (int k = 0; ctx->groups && k < emb_crew_nodes(ctx->crew); k++) {
        ctx->groups[k].scratch.layers_done = counter;
    }
}

/* ---- Profiling ---- */

void embellama_ctx_profile(embellama_ctx *ctx, embellama_profile *profile)
{
    ctx->profile = profile;
    for (int i = 0; i < ctx->threads; i++) {
        ctx->workers[i].scratch.profile = profile ? &ctx->workers[i].profile : NULL;
    }
    for (int k = 0; ctx->groups && k < emb_crew_nodes(ctx->crew); k++) {
        ctx->groups[k].scratch.profile = profile ? &ctx->groups[k].profile : NULL;
    }
}

static void move_profile(embellama_profile *to, struct emb_profile *from, int threads)
{
    for (int i = 0; i < EMBELLAMA_OPERATION_COUNT; i++) {
        to->ns[i] += from->ns[i] * (uint64_t)threads;
        from->ns[i] = 0;
    }
}

/* Adds what the call counted to the caller's profile. A step of the whole team takes the time of all its threads. */
static void collect_profile(embellama_ctx *ctx)
{
    if (!ctx->profile) {
        return;
    }
    for (int i = 0; i < ctx->threads; i++) {
        move_profile(ctx->profile, &ctx->workers[i].profile, 1);
    }
    for (int k = 0; ctx->groups && k < emb_crew_nodes(ctx->crew); k++) {
        move_profile(ctx->profile, &ctx->groups[k].profile, emb_team_size(emb_crew_team(ctx->crew, k)));
    }
}

/* ---- Options ---- */

int emb_call_resolve(struct emb_call *call, const embellama_embed_options *options, embellama_error *error)
{
    const embellama_model_info *info = &call->ctx->model->info;
    embellama_embed_options defaults = embellama_embed_options_default();
    const embellama_embed_options *o = options ? options : &defaults;
    if (call->score && info->labels == 0) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "the model makes vectors only: it has no head to score with");
    }
    if ((unsigned)o->pooling > EMBELLAMA_POOLING_NONE || (unsigned)o->normalize > EMBELLAMA_NORMALIZE_P) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "unknown pooling or normalisation");
    }
    if (o->normalize == EMBELLAMA_NORMALIZE_P && !(o->p > 0)) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "the exponent of p-norm must be above 0");
    }
    if (o->dimensions > info->dim) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%zu dimensions asked for: the model's vectors have %zu",
                        o->dimensions, info->dim);
    }
    if (o->max_length > info->context_length) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "a maximum length of %zu tokens: the model's context has %zu",
                        o->max_length, info->context_length);
    }
    call->pooling = o->pooling == EMBELLAMA_POOLING_AUTO ? info->pooling : o->pooling;
    call->normalize = o->normalize;
    if (o->normalize == EMBELLAMA_NORMALIZE_AUTO) {
        call->normalize = call->pooling == EMBELLAMA_POOLING_NONE ? EMBELLAMA_NORMALIZE_NONE : info->normalize;
    }
    call->p = o->p;
    call->dim = call->score ? info->labels : o->dimensions ? o->dimensions : info->dim;
    call->max_length = o->max_length ? o->max_length : info->context_length;
    call->truncate = o->truncate;
    return EMBELLAMA_OK;
}

/* Room for a call of n inputs, and statuses of our own where the caller wants none. */
static int prepare(struct emb_call *call, int *statuses, embellama_error *error)
{
    embellama_ctx *ctx = call->ctx;
    size_t n = call->n;
    if (!emb_grow(&ctx->inputs, &ctx->inputs_capacity, n, sizeof *ctx->inputs) ||
        !emb_grow(&ctx->index, &ctx->index_capacity, n, sizeof *ctx->index) ||
        !emb_grow(&ctx->rows, &ctx->rows_capacity, n, sizeof *ctx->rows) ||
        !emb_grow(&ctx->ordered, &ctx->ordered_capacity, n, sizeof *ctx->ordered) ||
        !emb_grow(&ctx->places, &ctx->places_capacity, n, sizeof *ctx->places) ||
        !emb_grow(&ctx->statuses, &ctx->statuses_capacity, n, sizeof *ctx->statuses)) {
        return emb_fail_nomem(error);
    }
    if (call->score && (!emb_grow(&ctx->seconds, &ctx->seconds_capacity, n, sizeof *ctx->seconds) ||
                        !emb_grow(&ctx->ordered_seconds, &ctx->ordered_seconds_capacity, n, sizeof *ctx->seconds))) {
        return emb_fail_nomem(error);
    }
    call->statuses = statuses ? statuses : ctx->statuses;
    for (size_t i = 0; i < n; i++) {
        call->statuses[i] = EMBELLAMA_OK;
    }
    for (int i = 0; i < ctx->threads; i++) {
        ctx->workers[i].n_ids = 0;
    }
    return EMBELLAMA_OK;
}

/* ---- Running ---- */

static void finish_row(const struct emb_call *call, const float *full, float *out)
{
    memcpy(out, full, call->dim * sizeof *out);
    embellama_normalize_vector(out, call->dim, call->normalize, call->p);
}

/* Of the first token's state. */
static void finish_scores(const struct emb_call *call, const struct emb_model *model, const float *state, float *pooled,
                          float *out)
{
    emb_head_logits(&model->weights.head, &model->spec, state, pooled, out);
    if (!call->raw && emb_all_finite(out, call->dim)) {
        emb_head_activate(&model->spec.head, out);
    }
}

/* From the hidden states of input i (of the caller's list) to its output rows and status. */
static void finish_input(const struct emb_call *call, const struct emb_model *model, size_t i, const float *states,
                         size_t tokens, float *pooled)
{
    size_t hidden = model->spec.hidden;
    float *out = call->out + call->ctx->rows[i] * call->dim;
    bool each = call->pooling == EMBELLAMA_POOLING_NONE;
    size_t rows = each ? tokens : 1;
    if (call->score) {
        finish_scores(call, model, states, pooled, out);
    } else {
        if (!each) {
            emb_pool_states(states, tokens, hidden, call->pooling, pooled);
        }
        for (size_t r = 0; r < rows; r++) {
            finish_row(call, each ? states + r * hidden : pooled, out + r * call->dim);
        }
    }
    if (!emb_all_finite(out, rows * call->dim)) {
        memset(out, 0, rows * call->dim * sizeof *out);
        call->statuses[i] = EMBELLAMA_E_NOT_FINITE;
    }
}

/* Where the second texts of a shard's inputs begin; NULL for a call without any. Each shard fills its own places. */
static const size_t *order_seconds(const struct emb_call *call, const struct emb_shard *shard)
{
    const embellama_ctx *ctx = call->ctx;
    for (size_t k = shard->begin; call->score && k < shard->end; k++) {
        ctx->ordered_seconds[k] = ctx->seconds[ctx->index[ctx->plan.order[k]]];
    }
    return call->score ? ctx->ordered_seconds + shard->begin : NULL;
}

static void run_shard(const struct emb_call *call, const struct emb_shard *shard, const struct emb_model *model,
                      struct emb_scratch *scratch, struct emb_team *team)
{
    const embellama_ctx *ctx = call->ctx;
    size_t row = 0, hidden = model->spec.hidden;
    scratch->seconds = order_seconds(call, shard);
    emb_forward(model, scratch, team, ctx->ordered + shard->begin, shard->end - shard->begin);
    for (size_t k = shard->begin; k < shard->end; k++) {
        size_t tokens = ctx->ordered[k].count;
        finish_input(call, model, ctx->index[ctx->plan.order[k]], scratch->x + row * hidden, tokens, scratch->rows);
        row += tokens;
    }
    emb_profile_lap(scratch->profile, EMBELLAMA_OPERATION_POOLING);
}

static void shard_item(void *arg, size_t item, int member)
{
    const struct emb_call *call = arg;
    struct worker *w = &call->ctx->workers[member];
    run_shard(call, &call->ctx->plan.shards[item], w->model, &w->scratch, NULL);
}

static void group_item(void *arg, size_t item, int node)
{
    const struct emb_call *call = arg;
    struct group *g = &call->ctx->groups[node];
    const struct emb_shards *plan = &call->ctx->plan;
    run_shard(call, &plan->shards[plan->alone + item], g->model, &g->scratch, emb_crew_team(call->ctx->crew, node));
}

/* Runs ctx->inputs. */
static int run(struct emb_call *call, embellama_error *error)
{
    embellama_ctx *ctx = call->ctx;
    struct emb_shards_terms terms = {
        .threads = (size_t)ctx->threads,
        .nodes = (size_t)emb_crew_nodes(ctx->crew),
        .tokens = ctx->shard_tokens,
        .most = ctx->shard_capacity,
        .hidden = ctx->model->loaded.spec.hidden,
    };
    if (!emb_shards_plan(&ctx->plan, ctx->inputs, ctx->n_inputs, &terms)) {
        return emb_fail_nomem(error);
    }
    for (size_t k = 0; k < ctx->n_inputs; k++) {
        ctx->ordered[k] = ctx->inputs[ctx->plan.order[k]];
    }
    emb_crew_run(ctx->crew, shard_item, call, ctx->plan.alone);
    emb_crew_lead(ctx->crew, group_item, call, ctx->plan.count - ctx->plan.alone);
    collect_profile(ctx);
    return EMBELLAMA_OK;
}

/* Keeps of ctx->inputs those without a bad status, and zeroes the others' vectors. */
static void keep_valid(struct emb_call *call)
{
    embellama_ctx *ctx = call->ctx;
    ctx->n_inputs = 0;
    for (size_t i = 0; i < call->n; i++) {
        if (call->statuses[i] == EMBELLAMA_OK) {
            ctx->index[ctx->n_inputs] = i;
            ctx->inputs[ctx->n_inputs++] = ctx->inputs[i];
        } else if (call->pooling != EMBELLAMA_POOLING_NONE) {
            memset(call->out + i * call->dim, 0, call->dim * sizeof *call->out);
        }
    }
}

/* Index of the first input that failed, or n. */
static size_t first_failure(const struct emb_call *call)
{
    size_t i = 0;
    while (i < call->n && call->statuses[i] == EMBELLAMA_OK) {
        i++;
    }
    return i;
}

/* Returns the status of the first input that failed, with a message; count is its number of tokens. */
static int report(const struct emb_call *call, size_t count, embellama_error *error)
{
    size_t i = first_failure(call);
    if (i == call->n) {
        return EMBELLAMA_OK;
    }
    if (call->statuses[i] == EMBELLAMA_E_TOO_LONG) {
        return emb_fail_at(error, EMBELLAMA_E_TOO_LONG, i, "input %zu has %zu tokens, and %zu fit", i, count,
                           call->max_length);
    }
    return emb_fail_at(error, call->statuses[i], i, "input %zu: %s", i, embellama_status_message(call->statuses[i]));
}

/* ---- Ids ---- */

static int check_ids(const struct emb_call *call, embellama_ids input)
{
    size_t vocab = call->ctx->model->info.vocab_size;
    if (input.count == 0) {
        return EMBELLAMA_E_INVALID;
    }
    for (size_t k = 0; k < input.count; k++) {
        if (input.ids[k] < 0 || (size_t)input.ids[k] >= vocab) {
            return EMBELLAMA_E_TOKEN_ID;
        }
    }
    return input.count > call->max_length && !call->truncate ? EMBELLAMA_E_TOO_LONG : EMBELLAMA_OK;
}

/* Replaces the inputs that are too long by shortened copies, kept in the first worker's list. */
static int cut_ids(struct emb_call *call, embellama_error *error)
{
    embellama_ctx *ctx = call->ctx;
    struct worker *w = &ctx->workers[0];
    size_t room = 0;
    for (size_t k = 0; k < ctx->n_inputs; k++) {
        room += ctx->inputs[k].count > call->max_length ? ctx->inputs[k].count : 0;
    }
    if (!emb_grow(&w->ids, &w->ids_capacity, room, sizeof *w->ids)) {
        return emb_fail_nomem(error);
    }
    int32_t *copy = w->ids;
    for (size_t k = 0; k < ctx->n_inputs; k++) {
        embellama_ids *input = &ctx->inputs[k];
        if (input->count > call->max_length) {
            memcpy(copy, input->ids, input->count * sizeof *copy);
            input->count = embellama_truncate_ids(ctx->model, copy, input->count, call->max_length);
            input->ids = copy;
            copy += input->count;
        }
    }
    return EMBELLAMA_OK;
}

int emb_call_ids(struct emb_call *call, const embellama_ids *inputs, const embellama_pair *pairs, int *statuses,
                 embellama_error *error)
{
    embellama_ctx *ctx = call->ctx;
    int rc = prepare(call, statuses, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    size_t row = 0;
    for (size_t i = 0; i < call->n; i++) {
        ctx->inputs[i] = pairs ? (embellama_ids){pairs[i].ids, pairs[i].count} : inputs[i];
        ctx->rows[i] = row;
        row += call->pooling == EMBELLAMA_POOLING_NONE ? inputs[i].count : 1;
        call->statuses[i] = check_ids(call, ctx->inputs[i]);
        if (pairs) {
            ctx->seconds[i] = pairs[i].second;
            call->statuses[i] = pairs[i].second > pairs[i].count ? EMBELLAMA_E_INVALID : call->statuses[i];
        }
    }
    keep_valid(call);
    rc = cut_ids(call, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    struct emb_crew_guest guest = emb_crew_join(ctx->crew);
    rc = run(call, error);
    emb_crew_part(&guest);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    size_t failed = first_failure(call);
    return report(call, failed == call->n ? 0 : pairs ? pairs[failed].count : inputs[failed].count, error);
}

int embellama_embed_ids(embellama_ctx *ctx, const embellama_ids *inputs, size_t n,
                        const embellama_embed_options *options, float *out, int *statuses, embellama_error *error)
{
    struct emb_call call = {.ctx = ctx, .n = n, .out = out};
    int rc = emb_call_resolve(&call, options, error);
    if (rc == EMBELLAMA_OK && call.pooling == EMBELLAMA_POOLING_NONE && call.truncate) {
        rc = emb_fail(error, EMBELLAMA_E_INVALID, "one vector a token cannot be combined with truncation");
    }
    return rc == EMBELLAMA_OK ? emb_call_ids(&call, inputs, NULL, statuses, error) : rc;
}

/* ---- Texts ---- */

struct tokenizing {
    struct emb_call *call;
    const embellama_text *texts;
};

/* The ids of text i, or of the query and it. */
static int encode(const struct tokenizing *t, size_t i, struct emb_tokens *tokens)
{
    const struct emb_call *call = t->call;
    const struct emb_tokenizer *tokenizer = call->ctx->model->loaded.tokenizer;
    return call->query ? emb_tokenizer_encode(tokenizer, *call->query, &t->texts[i], tokens, NULL)
                       : emb_tokenizer_encode(tokenizer, t->texts[i], NULL, tokens, NULL);
}

/* The first token whose type is 1, or how many there are. */
static size_t find_second(const struct emb_tokens *tokens)
{
    size_t i = 0;
    while (i < tokens->count && tokens->types[i] == 0) {
        i++;
    }
    return i;
}

static void tokenize_item(void *arg, size_t i, int member)
{
    const struct tokenizing *t = arg;
    struct emb_call *call = t->call;
    struct worker *w = &call->ctx->workers[member];
    struct place *place = &call->ctx->places[i];
    emb_profile_start(w->scratch.profile);
    int rc = encode(t, i, &w->tokens);
    size_t count = w->tokens.count, second = rc == EMBELLAMA_OK && call->query ? find_second(&w->tokens) : count;
    if (rc == EMBELLAMA_OK && count > call->max_length) {
        rc = call->truncate ? EMBELLAMA_OK : EMBELLAMA_E_TOO_LONG;
        count = embellama_truncate_pair(call->ctx->model, w->tokens.ids, count, &second, call->max_length);
    }
    if (rc == EMBELLAMA_OK && !emb_grow(&w->ids, &w->ids_capacity, w->n_ids + count, sizeof *w->ids)) {
        rc = EMBELLAMA_E_NOMEM;
    }
    call->statuses[i] = rc;
    if (rc == EMBELLAMA_OK) {
        memcpy(w->ids + w->n_ids, w->tokens.ids, count * sizeof *w->ids);
        *place = (struct place){.member = member, .offset = w->n_ids, .count = count, .second = second};
        w->n_ids += count;
    }
    emb_profile_lap(w->scratch.profile, EMBELLAMA_OPERATION_TOKENIZING);
}

/* Which member tokenises a text is chance. So that no chance makes the same call allocate again, each gets room for the longest text
 * and for all ids. Without memory for that, later calls see. */
static void even_room(embellama_ctx *ctx)
{
    size_t ids = 0, longest = 0;
    for (int i = 0; i < ctx->threads; i++) {
        const struct worker *w = &ctx->workers[i];
        ids += w->n_ids;
        longest = w->tokens.capacity > longest ? w->tokens.capacity : longest;
    }
    for (int i = 0; i < ctx->threads; i++) {
        struct worker *w = &ctx->workers[i];
        if (!emb_grow(&w->ids, &w->ids_capacity, ids, sizeof *w->ids) || !emb_tokens_reserve(&w->tokens, longest)) {
            return;
        }
    }
}

/* The message for the first text that failed: tokenising it again tells its length, or where it is not UTF-8. */
static int report_text(const struct emb_call *call, const embellama_text *texts, embellama_error *error)
{
    size_t i = first_failure(call), count = 0;
    embellama_error why;
    if (i == call->n) {
        return EMBELLAMA_OK;
    }
    const embellama_text *first = call->query ? call->query : &texts[i], *pair = call->query ? &texts[i] : NULL;
    if (embellama_tokenize(call->ctx->model, *first, pair, NULL, NULL, 0, &count, &why) != EMBELLAMA_OK) {
        return emb_fail_at(error, why.code, i, "input %zu: %.200s", i, why.message);
    }
    return report(call, count, error);
}

int emb_call_texts(struct emb_call *call, const embellama_text *texts, int *statuses, embellama_error *error)
{
    embellama_ctx *ctx = call->ctx;
    int rc = ctx->model->loaded.tokenizer ? prepare(call, statuses, error) : emb_fail_no_tokenizer(error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    struct tokenizing t = {call, texts};
    struct emb_crew_guest guest = emb_crew_join(ctx->crew);
    emb_crew_run(ctx->crew, tokenize_item, &t, call->n);
    even_room(ctx);
    for (size_t i = 0; i < call->n; i++) {
        const struct place *place = &ctx->places[i];
        ctx->rows[i] = i;
        if (call->statuses[i] == EMBELLAMA_OK) {
            ctx->inputs[i] = (embellama_ids){ctx->workers[place->member].ids + place->offset, place->count};
        }
        if (call->score) {
            ctx->seconds[i] = place->second;
        }
    }
    keep_valid(call);
    rc = run(call, error);
    emb_crew_part(&guest);
    return rc != EMBELLAMA_OK ? rc : report_text(call, texts, error);
}

int embellama_embed(embellama_ctx *ctx, const embellama_text *texts, size_t n, const embellama_embed_options *options,
                    float *out, int *statuses, embellama_error *error)
{
    struct emb_call call = {.ctx = ctx, .n = n, .out = out};
    int rc = emb_call_resolve(&call, options, error);
    if (rc == EMBELLAMA_OK && call.pooling == EMBELLAMA_POOLING_NONE) {
        rc = emb_fail(error, EMBELLAMA_E_INVALID, "one vector a token is for embellama_embed_ids");
    }
    return rc == EMBELLAMA_OK ? emb_call_texts(&call, texts, statuses, error) : rc;
}
