/* Jobs in, answers out, and time: what is accepted, when its deadline comes, and when its done is called. */
#include "server/schedule/scheduler.h"

#include <assert.h>
#include <string.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "server/schedule/scheduler_state.h"

enum {
    MEMORY_SHARE = 8,         /* the queue may fill one part in so many of memory */
    MEMORY_UNKNOWN = 1 << 30, /* where nobody says how much there is */
    INPUT_BYTES = 2048,       /* what an input that waits costs beside its vector: text, ids, bookkeeping */
    TOKEN_BYTES = 16,
    LEAST_QUEUE = 4096,
    MOST_QUEUE = 1 << 20,
    MOST_QUEUE_TOKENS = 1 << 26,
};

/* So long without any worker counts as if the breaker were open. */
#define HELPLESS_NS UINT64_C(3000000000)

/* ---- Jobs that are done ---- */

static void on_hurry(uv_idle_t *handle)
{
    (void)handle;
}

/* The check handle's turn will come without the loop sleeping before. */
static void hurry(struct emb_scheduler *s)
{
    uv_idle_start(&s->hurry, on_hurry);
}

void emb_scheduler_finish(struct emb_scheduler *s, struct emb_job *job)
{
    struct emb_job *first = s->finished;
    job->queued = NULL;
    job->next = first ? first : job;
    job->previous = first ? first->previous : job;
    job->previous->next = job;
    job->next->previous = job;
    s->finished = first ? first : job;
    hurry(s);
}

static void leave_finished(struct emb_scheduler *s, struct emb_job *job)
{
    s->finished = job->next == job ? NULL : s->finished == job ? job->next : s->finished;
    job->next->previous = job->previous;
    job->previous->next = job->next;
}

float *emb_scheduler_values(const struct emb_scheduler *s, const struct emb_job *job, size_t i, size_t *n)
{
    *n = emb_task_values(job->tasks ? &job->tasks[i] : NULL, job->counts[i], s->dim, s->labels);
    return job->vectors + (job->tasks ? job->places[i] : i * s->dim);
}

static void answer(struct emb_scheduler *s)
{
    while (s->finished) {
        struct emb_job *job = s->finished;
        leave_finished(s, job);
        job->done(job);
    }
}

/* ---- Time ---- */

/* Every input that has no status yet was given E_DEADLINE when the job came. */
static void expire(struct emb_scheduler *s, uint64_t now_ns)
{
    struct emb_job *job;
    while ((job = emb_queue_expired(s->queue, now_ns)) != NULL) {
        emb_queue_remove(s->queue, job->queued);
        for (size_t i = 0; i < job->inputs; i++) {
            if (job->statuses[i] == EMBELLAMA_E_DEADLINE) {
                size_t n;
                float *values = emb_scheduler_values(s, job, i, &n);
                memset(values, 0, n * sizeof *values);
                s->expired++;
            }
        }
        uint64_t held = now_ns - job->submitted_ns;
        job->queue_ns = job->finished == 0 ? held : job->queue_ns;
        job->compute_ns = held - job->queue_ns;
        emb_scheduler_finish(s, job);
    }
}

static void on_clock(uv_timer_t *handle);

/* Sets the clock to what comes next by time alone. */
static void set_clock(struct emb_scheduler *s, uint64_t now_ns)
{
    uint64_t next = emb_queue_next_deadline(s->queue), at = emb_batches_next_ns(s);
    next = at < next ? at : next;
    if (emb_breaker_state(&s->breaker, now_ns) == EMB_BREAKER_OPEN && emb_queue_counts(s->queue)->inputs > 0 &&
        s->breaker.until_ns < next) {
        next = s->breaker.until_ns;
    }
    if (next == UINT64_MAX) {
        uv_timer_stop(&s->clock);
    } else {
        uv_timer_start(&s->clock, on_clock, next > now_ns ? (next - now_ns) / 1000000 + 1 : 1, 0);
    }
}

static void dispatch(struct emb_scheduler *s)
{
    uint64_t now_ns = uv_hrtime();
    emb_batches_dispatch(s, now_ns);
    set_clock(s, now_ns);
}

static void on_clock(uv_timer_t *handle)
{
    struct emb_scheduler *s = handle->data;
    expire(s, uv_hrtime());
    dispatch(s);
}

static void on_gathered(uv_check_t *handle)
{
    struct emb_scheduler *s = handle->data;
    uv_idle_stop(&s->hurry);
    dispatch(s);
    answer(s);
}

/* ---- What the pool tells ---- */

static void on_ready(void *arg, int worker)
{
    struct emb_scheduler *s = arg;
    struct emb_worker *w = &s->workers[worker];
    assert(!w->ready && w->held == 0);
    w->ready = true;
    w->dying = w->blamed = false;
    s->ready++;
    s->helpless_ns = 0;
    dispatch(s);
}

/* The worker gets its next batch before the replies of the last are written. */
static void on_done(void *arg, struct emb_pool_batch *plain)
{
    struct emb_scheduler *s = arg;
    emb_outcome_done(s, plain->arg, uv_hrtime());
    dispatch(s);
}

static void on_lost(void *arg, struct emb_pool_batch *plain, enum emb_pool_loss loss, const char *reason)
{
    emb_outcome_lost(arg, plain->arg, loss, reason, uv_hrtime());
    hurry(arg);
}

/* A death that no input is blamed for counts against the breaker. */
static void on_gone(void *arg, int worker)
{
    struct emb_scheduler *s = arg;
    struct emb_worker *w = &s->workers[worker];
    uint64_t now_ns = uv_hrtime();
    assert(w->held == 0);
    if (!w->blamed) {
        emb_breaker_failed(&s->breaker, now_ns);
    }
    w->ready = false;
    s->ready--;
    if (s->ready == 0) {
        s->helpless_ns = now_ns;
    }
    dispatch(s);
}

/* ---- Birth and death ---- */

static void destroy(struct emb_scheduler *s)
{
    emb_queue_free(s->queue);
    emb_dead_letter_close(s->dead_letter);
    emb_batches_deinit(s);
    emb_free(s->model);
    emb_free(s);
}

static size_t within(size_t value, size_t least, size_t most)
{
    return value < least ? least : value > most ? most : value;
}

static void set_limits(struct emb_scheduler *s, const struct emb_scheduler_setup *setup)
{
    size_t memory = emb_memory_size();
    size_t share = (memory > 0 ? memory : MEMORY_UNKNOWN) / MEMORY_SHARE;
    size_t rows = setup->context > EMB_BATCH_INPUTS ? setup->context : EMB_BATCH_INPUTS, values;
    s->context = setup->context;
    s->batch_values = emb_mul(rows, s->dim, &values) && values < EMB_POOL_VALUES_MAX ? values : EMB_POOL_VALUES_MAX;
    s->batch_values = s->batch_values < s->labels ? s->labels : s->batch_values;
    s->fixed_budget = setup->batch_tokens;
    s->target_ns = (setup->target_latency_ms ? setup->target_latency_ms : EMB_TARGET_LATENCY_MS) * UINT64_C(1000000);
    s->queue_size = setup->queue_size ? setup->queue_size
                                      : within(share / (INPUT_BYTES + s->dim * sizeof(float)), LEAST_QUEUE, MOST_QUEUE);
    s->queue_tokens =
        setup->queue_tokens ? setup->queue_tokens : within(share / TOKEN_BYTES, s->context * 16, MOST_QUEUE_TOKENS);
}

static void set_histograms(struct emb_scheduler *s)
{
    emb_histogram_init_steps(&s->batch_inputs, 1, 2, 9);
    emb_histogram_init_steps(&s->batch_tokens, 16, 2, 11);
    emb_histogram_init_steps(&s->queue_s, 0.0005, 2, 18);
    emb_histogram_init_steps(&s->compute_s, 0.0005, 2, 15);
    emb_histogram_init_steps(&s->to_worker_s, 0.00001, 4, 10);
    emb_histogram_init_steps(&s->from_worker_s, 0.00001, 4, 10);
}

static void open_handle(struct emb_scheduler *s, uv_handle_t *handle)
{
    handle->data = s;
    uv_unref(handle);
    s->handles++;
}

static void open_handles(struct emb_scheduler *s)
{
    uv_check_init(s->loop, &s->gathered);
    uv_check_start(&s->gathered, on_gathered);
    open_handle(s, (uv_handle_t *)&s->gathered);
    uv_idle_init(s->loop, &s->hurry);
    open_handle(s, (uv_handle_t *)&s->hurry);
    uv_timer_init(s->loop, &s->clock);
    open_handle(s, (uv_handle_t *)&s->clock);
}

int emb_scheduler_new(struct emb_scheduler **out, uv_loop_t *loop, const struct emb_scheduler_setup *setup,
                      embellama_error *error)
{
    struct emb_scheduler *s = emb_calloc(1, sizeof *s);
    if (!s) {
        return emb_fail_nomem(error);
    }
    s->loop = loop;
    s->layout = emb_pool_layout_of(setup->pool);
    s->dim = emb_pool_dim(setup->pool);
    s->labels = emb_pool_labels(setup->pool);
    set_limits(s, setup);
    set_histograms(s);
    s->model = emb_strdup(setup->model ? setup->model : "");
    s->queue = emb_queue_new();
    if (!s->model || !s->queue || !emb_batches_init(s)) {
        destroy(s);
        return emb_fail_nomem(error);
    }
    if (setup->dead_letter) {
        int rc = emb_dead_letter_open(&s->dead_letter, loop, setup->dead_letter, setup->dead_letter_text, error);
        if (rc != EMBELLAMA_OK) {
            destroy(s);
            return rc;
        }
    }
    open_handles(s);
    s->pool = setup->pool;
    emb_pool_watch(s->pool, &(struct emb_pool_events){
                                .arg = s, .ready = on_ready, .done = on_done, .lost = on_lost, .gone = on_gone});
    *out = s;
    return EMBELLAMA_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct emb_scheduler *s = handle->data;
    if (--s->handles == 0) {
        destroy(s);
    }
}

void emb_scheduler_free(struct emb_scheduler *s)
{
    if (!s) {
        return;
    }
    emb_pool_free(s->pool);
    uv_close((uv_handle_t *)&s->gathered, on_closed);
    uv_close((uv_handle_t *)&s->hurry, on_closed);
    uv_close((uv_handle_t *)&s->clock, on_closed);
}

/* ---- Jobs that come and go ---- */

bool emb_scheduler_idle(const struct emb_scheduler *s)
{
    return emb_queue_counts(s->queue)->inputs == 0 && s->running == 0;
}

bool emb_scheduler_full(const struct emb_scheduler *s)
{
    const struct emb_queue_counts *counts = emb_queue_counts(s->queue);
    return counts->inputs >= s->queue_size || counts->tokens >= s->queue_tokens;
}

static size_t tokens_of(const struct emb_scheduler *s, const struct emb_job *job)
{
    size_t tokens = 0;
    for (size_t i = 0; i < job->inputs; i++) {
        assert(job->counts[i] > 0 && job->counts[i] <= s->context);
        tokens += job->counts[i];
    }
    return tokens;
}

/* How long a job will take with so many tokens ahead of it: itself; and these, with the rest of the batch that its last input will
 * be in, and more than half of that again for what is not foreseen: speeds that drop, others that are more urgent. To refuse
 * what might have made it costs nobody anything, since the queue is not empty then; and it is empty sooner afterwards. */
static uint64_t predict_ns(const struct emb_scheduler *s, const struct emb_job *job, size_t tokens, size_t ahead)
{
    size_t workers = (size_t)(s->ready > 0 ? s->ready : s->layout.workers);
    size_t own = job->inputs < workers ? job->inputs : workers, rest = emb_batches_budget(s);
    rest = rest < ahead ? rest : ahead;
    uint64_t wait_ns = emb_pace_ns(&s->pace, ahead) / workers + emb_pace_ns(&s->pace, rest);
    return emb_pace_ns(&s->pace, tokens) / own + wait_ns * 8 / 5;
}

static bool is_broken(const struct emb_scheduler *s, uint64_t now_ns)
{
    return emb_breaker_state(&s->breaker, now_ns) == EMB_BREAKER_OPEN ||
           (s->helpless_ns > 0 && now_ns - s->helpless_ns > HELPLESS_NS);
}

static enum emb_submit judge(const struct emb_scheduler *s, const struct emb_job *job, uint64_t now_ns)
{
    const struct emb_queue_counts *counts = emb_queue_counts(s->queue);
    size_t tokens = tokens_of(s, job);
    if (job->inputs > s->queue_size || tokens > s->queue_tokens) {
        return EMB_SUBMIT_TOO_LARGE;
    }
    if (is_broken(s, now_ns)) {
        return EMB_SUBMIT_BREAKER;
    }
    if (counts->inputs > s->queue_size - job->inputs || counts->tokens > s->queue_tokens - tokens) {
        return EMB_SUBMIT_FULL;
    }
    if (job->deadline_ns == 0 || job->partial) {
        return EMB_SUBMIT_QUEUED;
    }
    size_t ahead = s->running_tokens + emb_queue_ahead(s->queue, job->priority, job->client, tokens);
    if (now_ns + predict_ns(s, job, tokens, ahead) <= job->deadline_ns) {
        return EMB_SUBMIT_QUEUED;
    }
    return now_ns + predict_ns(s, job, tokens, 0) > job->deadline_ns ? EMB_SUBMIT_SLOW : EMB_SUBMIT_LATE;
}

enum emb_submit emb_scheduler_submit(struct emb_scheduler *s, struct emb_job *job)
{
    uint64_t now_ns = uv_hrtime();
    assert(job->inputs > 0);
    enum emb_submit verdict = judge(s, job, now_ns);
    if (verdict == EMB_SUBMIT_QUEUED) {
        struct emb_queue_request request = {.inputs = job->inputs,
                                            .ids = job->ids,
                                            .counts = job->counts,
                                            .tasks = job->tasks,
                                            .priority = job->priority,
                                            .client = job->client,
                                            .deadline_ns = job->deadline_ns,
                                            .owner = job};
        job->queued = emb_queue_add(s->queue, &request, now_ns);
        verdict = job->queued ? EMB_SUBMIT_QUEUED : EMB_SUBMIT_FULL;
    }
    s->refused[verdict] += verdict != EMB_SUBMIT_QUEUED;
    if (verdict == EMB_SUBMIT_QUEUED) {
        job->finished = 0;
        job->queue_ns = job->compute_ns = 0;
        job->submitted_ns = now_ns;
        for (size_t i = 0; i < job->inputs; i++) {
            job->statuses[i] = EMBELLAMA_E_DEADLINE;
        }
        hurry(s);
    }
    return verdict;
}

void emb_scheduler_cancel(struct emb_scheduler *s, struct emb_job *job)
{
    if (!job->queued) {
        leave_finished(s, job);
        return;
    }
    s->cancelled += job->inputs - job->finished;
    emb_queue_remove(s->queue, job->queued);
    job->queued = NULL;
}

/* ---- What others want to know ---- */

unsigned emb_scheduler_retry_after_ms(const struct emb_scheduler *s)
{
    enum { LEAST = 50, MOST = 60000, UNKNOWN = 1000 };
    uint64_t now_ns = uv_hrtime(), ns;
    if (emb_breaker_state(&s->breaker, now_ns) == EMB_BREAKER_OPEN) {
        ns = s->breaker.until_ns - now_ns;
    } else if (s->ready > 0 && emb_pace_tokens_per_ns(&s->pace) > 0) {
        ns = emb_pace_ns(&s->pace, s->running_tokens + emb_queue_counts(s->queue)->work) / 2 / (uint64_t)s->ready;
    } else {
        return UNKNOWN;
    }
    return (unsigned)within((size_t)(ns / 1000000), LEAST, MOST);
}

struct emb_scheduler_stats emb_scheduler_stats(const struct emb_scheduler *s)
{
    const struct emb_queue_counts *counts = emb_queue_counts(s->queue);
    uint64_t now_ns = uv_hrtime(), oldest = emb_queue_oldest(s->queue);
    struct emb_scheduler_stats stats = {
        .workers = s->layout.workers,
        .threads = s->layout.threads,
        .workers_ready = s->ready,
        .waiting = counts->inputs,
        .waiting_tokens = counts->tokens,
        .running = s->running,
        .queue_size = s->queue_size,
        .queue_tokens = s->queue_tokens,
        .batch_tokens = emb_batches_budget(s),
        .oldest_wait_ns = oldest < now_ns ? now_ns - oldest : 0,
        .tokens_per_s = emb_pace_tokens_per_ns(&s->pace) * 1e9 * s->ready,
        .batches = s->computed_batches,
        .tokens = s->computed_tokens,
        .batch_inputs = &s->batch_inputs,
        .batch_tokens_each = &s->batch_tokens,
        .queue_s = &s->queue_s,
        .compute_s = &s->compute_s,
        .to_worker_s = &s->to_worker_s,
        .from_worker_s = &s->from_worker_s,
        .expired = s->expired,
        .cancelled = s->cancelled,
        .shared = counts->shared,
        .crashed = s->crashed,
        .retried = s->retried,
        .quarantined = emb_quarantine_count(&s->quarantine, now_ns),
        .breaker = is_broken(s, now_ns) ? EMB_BREAKER_OPEN : emb_breaker_state(&s->breaker, now_ns),
        .breaker_opened = s->breaker.opened,
    };
    for (int i = 0; i < EMB_PRIORITIES; i++) {
        stats.waiting_by[i] = counts->inputs_by[i];
        stats.waiting_tokens_by[i] = counts->tokens_by[i];
    }
    memcpy(stats.refused, s->refused, sizeof stats.refused);
    return stats;
}

void emb_scheduler_worker_stats(const struct emb_scheduler *s, int worker, struct emb_pool_worker_stats *out)
{
    emb_pool_stats(s->pool, worker, out);
}

uv_loop_t *emb_scheduler_loop(const struct emb_scheduler *s)
{
    return s->loop;
}
