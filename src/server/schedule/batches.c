/* What the workers get, and when. Owns the batches' memory.
 *
 * An idle worker gets a batch at once. The one behind it is formed only when enough waits to fill it and the worker is
 * nearly done, by prediction: until then whoever comes may still be in it, or before it. So a short text waits for what
 * is being computed, and not for what would have stood behind that. */
#include "base/mem.h"
#include "server/schedule/scheduler_state.h"

#include <string.h>

enum {
    /* Tokens for each thread of a worker. From some 256 the matrix products run at full speed; up to the upper number
     * the share of time in which the last texts of a batch leave threads idle still falls. */
    FULL_SPEED = 256,
    MOST_TOKENS = 1024,
    /* A text joins a batch below full speed only if it is at most so many times as long as what is there: the short
     * ones would wait for it. */
    STRETCH = 4,
};

/* How long before the predicted end of a batch the next is handed to the worker. Long enough for a loop that is busy
 * writing replies. */
#define STANDBY_NS UINT64_C(3000000)

static size_t batch_count(const struct emb_scheduler *s)
{
    return (size_t)s->layout.workers * EMB_POOL_DEPTH;
}

size_t emb_scheduler_batch_tokens(int threads)
{
    return (size_t)threads * MOST_TOKENS;
}

static bool init_batch(struct emb_scheduler *s, struct emb_batch *batch)
{
    size_t most = s->fixed_budget ? s->fixed_budget : emb_scheduler_batch_tokens(s->layout.threads);
    size_t tokens = most > s->context ? most : s->context;
    batch->units = emb_calloc(EMB_BATCH_INPUTS, sizeof(struct emb_queue_unit *));
    batch->tasks = emb_calloc(EMB_BATCH_INPUTS, sizeof *batch->tasks);
    batch->plain = (struct emb_pool_batch){
        .ids = emb_calloc(tokens, sizeof *batch->plain.ids),
        .counts = emb_calloc(EMB_BATCH_INPUTS, sizeof *batch->plain.counts),
        .vectors = emb_alloc(s->batch_values, sizeof *batch->plain.vectors),
        .statuses = emb_calloc(EMB_BATCH_INPUTS, sizeof *batch->plain.statuses),
        .arg = batch,
    };
    return batch->units && batch->tasks && batch->plain.ids && batch->plain.counts && batch->plain.vectors &&
           batch->plain.statuses;
}

bool emb_batches_init(struct emb_scheduler *s)
{
    s->workers = emb_calloc((size_t)s->layout.workers, sizeof *s->workers);
    s->batches = emb_calloc(batch_count(s), sizeof *s->batches);
    bool whole = s->workers && s->batches;
    for (size_t i = 0; whole && i < batch_count(s); i++) {
        whole = init_batch(s, &s->batches[i]);
    }
    return whole;
}

void emb_batches_deinit(struct emb_scheduler *s)
{
    for (size_t i = 0; s->batches && i < batch_count(s); i++) {
        struct emb_batch *batch = &s->batches[i];
        emb_free(batch->units);
        emb_free(batch->tasks);
        emb_free(batch->plain.ids);
        emb_free(batch->plain.counts);
        emb_free(batch->plain.vectors);
        emb_free(batch->plain.statuses);
    }
    emb_free(s->batches);
    emb_free(s->workers);
}

/* Half the latency wanted is for waiting behind a batch, half for being in one. */
size_t emb_batches_budget(const struct emb_scheduler *s)
{
    if (s->fixed_budget > 0) {
        return s->fixed_budget;
    }
    size_t most = emb_scheduler_batch_tokens(s->layout.threads);
    size_t tokens = emb_pace_tokens(&s->pace, s->target_ns / 2, (size_t)s->layout.threads * FULL_SPEED);
    return tokens < 1 ? 1 : tokens > most ? most : tokens;
}

/* ---- Filling ---- */

static size_t values_of(const struct emb_scheduler *s, const struct emb_queue_unit *unit)
{
    return emb_task_values(&unit->task, unit->count, s->dim, s->labels);
}

static void put(struct emb_scheduler *s, struct emb_batch *batch, struct emb_queue_unit *unit)
{
    struct emb_pool_batch *plain = &batch->plain;
    memcpy(plain->ids + batch->tokens, emb_queue_ids(unit), unit->count * sizeof *plain->ids);
    plain->counts[plain->inputs] = unit->count;
    batch->tasks[plain->inputs] = unit->task;
    if (unit->task.kind != EMB_TASK_EMBED) {
        plain->tasks = batch->tasks;
    }
    batch->units[plain->inputs++] = unit;
    batch->tokens += unit->count;
    batch->values += values_of(s, unit);
    emb_queue_take(s->queue, unit);
}

static bool fits(const struct emb_scheduler *s, const struct emb_batch *batch, const struct emb_queue_unit *unit,
                 size_t limit)
{
    size_t after = batch->tokens + unit->count;
    if (batch->plain.inputs == 0) {
        return true;
    }
    if (batch->plain.inputs == EMB_BATCH_INPUTS || after > limit ||
        values_of(s, unit) > s->batch_values - batch->values) {
        return false;
    }
    return after <= (size_t)s->layout.threads * FULL_SPEED / 2 || unit->count <= STRETCH * batch->tokens;
}

/* An input in quarantine is answered when its turn comes. */
static bool answered(struct emb_scheduler *s, struct emb_queue_unit *unit, uint64_t now_ns)
{
    if (!emb_quarantine_has(&s->quarantine, unit->hash, now_ns)) {
        return false;
    }
    emb_queue_take(s->queue, unit);
    emb_outcome_settle(s, unit, EMBELLAMA_E_CRASHED, NULL, now_ns, now_ns);
    return true;
}

/* Takes inputs in the queue's order, up to limit tokens but at least one input if there is any. */
static void fill(struct emb_scheduler *s, struct emb_batch *batch, size_t limit, uint64_t now_ns)
{
    struct emb_queue_unit *unit;
    while ((unit = emb_queue_peek(s->queue)) != NULL) {
        if (answered(s, unit, now_ns)) {
            continue;
        }
        if (!fits(s, batch, unit, limit)) {
            return;
        }
        put(s, batch, unit);
    }
}

static struct emb_batch *empty_batch(struct emb_scheduler *s)
{
    for (size_t i = 0; i < batch_count(s); i++) {
        struct emb_batch *batch = &s->batches[i];
        if (!batch->busy) {
            batch->plain.inputs = 0;
            batch->plain.tasks = NULL;
            batch->tokens = batch->values = 0;
            batch->alone = false;
            return batch;
        }
    }
    return NULL;
}

/* ---- Handing over ---- */

static void hand_over(struct emb_scheduler *s, struct emb_batch *batch, int worker, uint64_t now_ns)
{
    struct emb_worker *w = &s->workers[worker];
    batch->busy = true;
    batch->worker = worker;
    if (w->held == 0) {
        w->began_ns = now_ns;
    }
    w->batches[w->held++] = batch;
    s->running += batch->plain.inputs;
    s->running_tokens += batch->tokens;
    emb_breaker_sent(&s->breaker);
    batch->sent_ns = uv_hrtime();
    emb_pool_submit(s->pool, worker, &batch->plain);
}

/* When a busy worker may get the batch behind its first: never behind a suspect, which may well take the worker with
 * it. */
static uint64_t standby_ns(const struct emb_scheduler *s, const struct emb_worker *w)
{
    if (!w->ready || w->dying || w->held != 1 || w->batches[0]->alone) {
        return UINT64_MAX;
    }
    uint64_t end = w->began_ns + emb_pace_ns(&s->pace, w->batches[0]->tokens);
    return end > STANDBY_NS ? end - STANDBY_NS : 0;
}

static bool enough_to_stand_by(const struct emb_scheduler *s)
{
    const struct emb_queue_counts *counts = emb_queue_counts(s->queue);
    return counts->work >= emb_batches_budget(s) || counts->inputs >= EMB_BATCH_INPUTS;
}

uint64_t emb_batches_next_ns(const struct emb_scheduler *s)
{
    uint64_t next = UINT64_MAX;
    if (enough_to_stand_by(s)) {
        for (int i = 0; i < s->layout.workers; i++) {
            uint64_t at = standby_ns(s, &s->workers[i]);
            next = at < next ? at : next;
        }
    }
    return next;
}

/* The worker that is to get the next batch: an idle one, or the busy one that is due first; -1: none is. */
static int choose_worker(const struct emb_scheduler *s, uint64_t now_ns, size_t *idle)
{
    int best = -1;
    uint64_t best_ns = UINT64_MAX;
    *idle = 0;
    for (int i = 0; i < s->layout.workers; i++) {
        const struct emb_worker *w = &s->workers[i];
        bool free = w->ready && !w->dying && w->held == 0;
        uint64_t at = free ? 0 : standby_ns(s, w);
        if (at <= now_ns && at < best_ns) {
            best = i;
            best_ns = at;
        }
        *idle += free;
    }
    return *idle > 0 || enough_to_stand_by(s) ? best : -1;
}

/* False: there is nothing to send, or nobody to send it to. */
static bool send_next(struct emb_scheduler *s, uint64_t now_ns)
{
    size_t idle;
    int worker = choose_worker(s, now_ns, &idle);
    struct emb_batch *batch = worker >= 0 ? empty_batch(s) : NULL;
    if (!batch) {
        return false;
    }
    struct emb_queue_unit *suspect = idle > 0 ? emb_queue_peek_suspect(s->queue) : NULL;
    if (suspect && answered(s, suspect, now_ns)) {
        return true;
    }
    if (suspect) {
        batch->alone = true;
        put(s, batch, suspect);
    } else {
        size_t limit = emb_batches_budget(s), work = emb_queue_counts(s->queue)->work;
        if (idle > 1 && work / idle < limit) {
            limit = (work + idle - 1) / idle;
        }
        fill(s, batch, limit, now_ns);
    }
    if (batch->plain.inputs == 0) {
        return false;
    }
    hand_over(s, batch, worker, now_ns);
    return true;
}

void emb_batches_dispatch(struct emb_scheduler *s, uint64_t now_ns)
{
    while (emb_breaker_allows(&s->breaker, now_ns) && send_next(s, now_ns)) {
    }
}
