/* The queue and its batches. Owns the pool, the jobs' ring and the batches' memory. */
#include "server/scheduler.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"

enum {
    /* Tokens of a batch for each thread of its worker. From some 256 the matrix products run at full speed; the
     * rest keeps short the share of time in which the last texts of a batch leave threads idle. More would only
     * make small requests wait longer. */
    TOKENS_PER_THREAD = 1024,
    /* Inputs of a batch, which bounds the memory of its vectors. */
    BATCH_INPUTS = 256,
};

/* Whose input a place in a batch is; job is NULL once it was cancelled. */
struct slot {
    struct emb_job *job;
    size_t index;
};

struct batch {
    struct emb_pool_batch plain;
    struct slot *slots;
    size_t tokens;
    int worker;
    bool busy;
};

struct emb_scheduler {
    uv_loop_t *loop;
    uv_check_t gathered; /* everything that had arrived was read: time to form batches */
    uv_idle_t hurry;     /* active while new jobs wait for that, so that the loop does not sleep first */
    int handles;         /* open ones */
    struct emb_pool *pool;
    struct emb_pool_layout layout;
    size_t dim;
    size_t context;
    size_t budget; /* tokens of a batch */
    size_t queue_size;

    struct batch *batches;    /* [workers * EMB_POOL_DEPTH] */
    int *held;                /* [workers] batches each has */
    struct emb_job *turn;     /* ring of jobs with waiting inputs: the one whose turn it is */
    struct emb_job *finished; /* ring of jobs whose done is about to be called */
    size_t waiting;
    size_t waiting_tokens;
    size_t running;
    double tokens_per_ns; /* of one worker, a moving average; 0 until measured */
    int ready;
};

static void ring_append(struct emb_job **ring, struct emb_job *job)
{
    if (!*ring) {
        *ring = job->next = job->previous = job;
        return;
    }
    job->next = *ring;
    job->previous = (*ring)->previous;
    job->previous->next = job;
    job->next->previous = job;
}

static void ring_remove(struct emb_job **ring, struct emb_job *job)
{
    if (job->next == job) {
        *ring = NULL;
        return;
    }
    job->previous->next = job->next;
    job->next->previous = job->previous;
    if (*ring == job) {
        *ring = job->next;
    }
}

static size_t batch_count(const struct emb_scheduler *s)
{
    return (size_t)s->layout.workers * EMB_POOL_DEPTH;
}

/* Takes inputs in turn, one of each job, up to limit tokens but at least one input. */
static void fill(struct emb_scheduler *s, struct batch *batch, size_t limit)
{
    struct emb_pool_batch *plain = &batch->plain;
    plain->inputs = 0;
    batch->tokens = 0;
    while (s->turn && plain->inputs < BATCH_INPUTS) {
        struct emb_job *job = s->turn;
        size_t count = job->counts[job->taken];
        if (plain->inputs > 0 && batch->tokens + count > limit) {
            break;
        }
        memcpy(plain->ids + batch->tokens, job->ids + job->taken_tokens, count * sizeof *plain->ids);
        plain->counts[plain->inputs] = (uint32_t)count;
        batch->slots[plain->inputs] = (struct slot){.job = job, .index = job->taken};
        plain->inputs++;
        batch->tokens += count;
        job->taken++;
        job->taken_tokens += count;
        s->turn = job->next;
        if (job->taken == job->inputs) {
            ring_remove(&s->turn, job);
        }
    }
    s->waiting -= plain->inputs;
    s->waiting_tokens -= batch->tokens;
    s->running += plain->inputs;
}

static struct batch *free_batch(struct emb_scheduler *s)
{
    for (size_t i = 0; i < batch_count(s); i++) {
        if (!s->batches[i].busy) {
            return &s->batches[i];
        }
    }
    return NULL;
}

/* Gives the workers what they can take. Idle workers share what there is. A batch for a busy worker waits behind
 * the one it computes, so it is formed only when it is full: until then later arrivals may still join it. */
static void dispatch(struct emb_scheduler *s)
{
    while (s->turn && s->ready > 0) {
        int best = 0;
        size_t idle = 0;
        for (int w = 0; w < s->layout.workers; w++) {
            idle += s->held[w] == 0;
            if (s->held[w] < s->held[best]) {
                best = w;
            }
        }
        bool full = s->waiting_tokens >= s->budget || s->waiting >= BATCH_INPUTS;
        struct batch *batch = free_batch(s);
        if (!batch || s->held[best] >= EMB_POOL_DEPTH || (idle == 0 && !full)) {
            return;
        }
        size_t limit = s->budget;
        if (idle > 1 && s->waiting_tokens / idle < limit) {
            limit = (s->waiting_tokens + idle - 1) / idle;
        }
        fill(s, batch, limit);
        batch->busy = true;
        batch->worker = best;
        s->held[best]++;
        emb_pool_submit(s->pool, best, &batch->plain);
    }
}

/* Hands a computed batch's results to their jobs; those that are complete join the ring of the finished. */
static void deliver(struct emb_scheduler *s, struct batch *batch)
{
    const struct emb_pool_batch *plain = &batch->plain;
    uint64_t now = uv_hrtime();
    for (size_t i = 0; i < plain->inputs; i++) {
        struct emb_job *job = batch->slots[i].job;
        size_t index = batch->slots[i].index;
        if (!job) {
            continue;
        }
        memcpy(job->vectors + index * s->dim, plain->vectors + i * s->dim, s->dim * sizeof *job->vectors);
        job->statuses[index] = plain->statuses[i];
        uint64_t waited = plain->started_ns > job->submitted_ns ? plain->started_ns - job->submitted_ns : 0;
        if (job->finished == 0 || waited < job->queue_ns) {
            job->queue_ns = waited;
        }
        if (++job->finished == job->inputs) {
            job->compute_ns = now - job->submitted_ns - job->queue_ns;
            ring_append(&s->finished, job);
        }
    }
    if (plain->compute_ns > 0) {
        double rate = (double)batch->tokens / (double)plain->compute_ns;
        s->tokens_per_ns = s->tokens_per_ns > 0 ? s->tokens_per_ns + (rate - s->tokens_per_ns) / 8 : rate;
    }
    s->running -= plain->inputs;
    s->held[batch->worker]--;
    batch->busy = false;
}

static void on_hurry(uv_idle_t *handle)
{
    (void)handle;
}

/* The worker gets its next batch before the replies of the last are written. */
static void on_done(void *arg, struct emb_pool_batch *plain)
{
    struct emb_scheduler *s = arg;
    deliver(s, plain->arg);
    dispatch(s);
    uv_idle_start(&s->hurry, on_hurry);
}

static void on_gathered(uv_check_t *handle)
{
    struct emb_scheduler *s = handle->data;
    uv_idle_stop(&s->hurry);
    dispatch(s);
    while (s->finished) {
        struct emb_job *job = s->finished;
        ring_remove(&s->finished, job);
        job->done(job);
    }
}

static void on_ready(void *arg, int worker)
{
    struct emb_scheduler *s = arg;
    (void)worker;
    s->ready++;
    dispatch(s);
}

static bool init_batch(struct emb_scheduler *s, struct batch *batch)
{
    size_t tokens = s->budget > s->context ? s->budget : s->context;
    size_t values;
    if (!emb_mul(BATCH_INPUTS, s->dim, &values)) {
        return false;
    }
    batch->slots = emb_calloc(BATCH_INPUTS, sizeof *batch->slots);
    batch->plain = (struct emb_pool_batch){
        .ids = emb_calloc(tokens, sizeof *batch->plain.ids),
        .counts = emb_calloc(BATCH_INPUTS, sizeof *batch->plain.counts),
        .vectors = emb_calloc(values, sizeof *batch->plain.vectors),
        .statuses = emb_calloc(BATCH_INPUTS, sizeof *batch->plain.statuses),
        .arg = batch,
    };
    return batch->slots && batch->plain.ids && batch->plain.counts && batch->plain.vectors && batch->plain.statuses;
}

static void destroy(struct emb_scheduler *s)
{
    emb_pool_free(s->pool);
    for (size_t i = 0; s->batches && i < batch_count(s); i++) {
        struct batch *batch = &s->batches[i];
        emb_free(batch->slots);
        emb_free(batch->plain.ids);
        emb_free(batch->plain.counts);
        emb_free(batch->plain.vectors);
        emb_free(batch->plain.statuses);
    }
    emb_free(s->batches);
    emb_free(s->held);
    emb_free(s);
}

static struct emb_scheduler *create(uv_loop_t *loop)
{
    struct emb_scheduler *s = emb_calloc(1, sizeof *s);
    if (s) {
        s->loop = loop;
    }
    return s;
}

static void open_handle(struct emb_scheduler *s, uv_handle_t *handle)
{
    handle->data = s;
    uv_unref(handle);
    s->handles++;
}

/* Frees s where it fails. */
static int start(struct emb_scheduler *s, const struct emb_scheduler_setup *setup, embellama_error *error)
{
    int rc = EMBELLAMA_OK;
    s->layout = emb_pool_layout_of(setup->pool);
    s->dim = emb_pool_dim(setup->pool);
    s->context = setup->context;
    s->queue_size = setup->queue_size;
    s->budget = setup->batch_tokens ? setup->batch_tokens : emb_scheduler_batch_tokens(s->layout.threads);
    s->held = emb_calloc((size_t)s->layout.workers, sizeof *s->held);
    s->batches = emb_calloc(batch_count(s), sizeof *s->batches);
    bool whole = s->held && s->batches;
    for (size_t i = 0; whole && i < batch_count(s); i++) {
        whole = init_batch(s, &s->batches[i]);
    }
    if (!whole) {
        rc = emb_fail_nomem(error);
        goto fail;
    }
    uv_check_init(s->loop, &s->gathered);
    uv_check_start(&s->gathered, on_gathered);
    open_handle(s, (uv_handle_t *)&s->gathered);
    uv_idle_init(s->loop, &s->hurry);
    open_handle(s, (uv_handle_t *)&s->hurry);
    s->pool = setup->pool;
    emb_pool_watch(s->pool, &(struct emb_pool_events){.arg = s, .ready = on_ready, .done = on_done});
    return EMBELLAMA_OK;
fail:
    destroy(s);
    return rc;
}

size_t emb_scheduler_batch_tokens(int threads)
{
    return (size_t)threads * TOKENS_PER_THREAD;
}

int emb_scheduler_new(struct emb_scheduler **out, uv_loop_t *loop, const struct emb_scheduler_setup *setup,
                      embellama_error *error)
{
    struct emb_scheduler *s = create(loop);
    if (!s) {
        return emb_fail_nomem(error);
    }
    int rc = start(s, setup, error);
    if (rc == EMBELLAMA_OK) {
        *out = s;
    }
    return rc;
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
    s->pool = NULL;
    uv_close((uv_handle_t *)&s->gathered, on_closed);
    uv_close((uv_handle_t *)&s->hurry, on_closed);
}

bool emb_scheduler_idle(const struct emb_scheduler *s)
{
    return s->waiting == 0 && s->running == 0;
}

bool emb_scheduler_full(const struct emb_scheduler *s)
{
    return s->waiting > 0 && s->waiting >= s->queue_size;
}

static size_t tokens_from(const struct emb_job *job, size_t first)
{
    size_t tokens = 0;
    for (size_t i = first; i < job->inputs; i++) {
        tokens += job->counts[i];
    }
    return tokens;
}

enum emb_submit emb_scheduler_submit(struct emb_scheduler *s, struct emb_job *job)
{
    size_t after;
    if (s->waiting > 0 && (!emb_add(s->waiting, job->inputs, &after) || after > s->queue_size)) {
        return EMB_SUBMIT_FULL;
    }
    assert(job->inputs > 0);
    for (size_t i = 0; i < job->inputs; i++) {
        assert(job->counts[i] > 0 && job->counts[i] <= s->context);
    }
    job->taken = job->taken_tokens = job->finished = 0;
    job->queue_ns = job->compute_ns = 0;
    job->submitted_ns = uv_hrtime();
    ring_append(&s->turn, job);
    s->waiting += job->inputs;
    s->waiting_tokens += tokens_from(job, 0);
    uv_idle_start(&s->hurry, on_hurry);
    return EMB_SUBMIT_QUEUED;
}

void emb_scheduler_cancel(struct emb_scheduler *s, struct emb_job *job)
{
    if (job->finished == job->inputs) {
        ring_remove(&s->finished, job);
        return;
    }
    if (job->taken < job->inputs) {
        ring_remove(&s->turn, job);
        s->waiting -= job->inputs - job->taken;
        s->waiting_tokens -= tokens_from(job, job->taken);
    }
    for (size_t i = 0; i < batch_count(s); i++) {
        struct batch *batch = &s->batches[i];
        for (size_t k = 0; batch->busy && k < batch->plain.inputs; k++) {
            if (batch->slots[k].job == job) {
                batch->slots[k].job = NULL;
            }
        }
    }
}

unsigned emb_scheduler_retry_after_ms(const struct emb_scheduler *s)
{
    if (s->tokens_per_ns <= 0) {
        return 1000;
    }
    double seconds = (double)s->waiting_tokens / (s->tokens_per_ns * s->layout.workers) / 1e9;
    return seconds < 1 ? 1000 : seconds > 60 ? 60000 : (unsigned)(seconds * 1000);
}

struct emb_scheduler_stats emb_scheduler_stats(const struct emb_scheduler *s)
{
    return (struct emb_scheduler_stats){.workers = s->layout.workers,
                                        .threads = s->layout.threads,
                                        .workers_ready = s->ready,
                                        .waiting = s->waiting,
                                        .running = s->running,
                                        .queue_size = s->queue_size};
}

uv_loop_t *emb_scheduler_loop(const struct emb_scheduler *s)
{
    return s->loop;
}

void emb_scheduler_worker_stats(const struct emb_scheduler *s, int worker, struct emb_pool_worker_stats *out)
{
    emb_pool_stats(s->pool, worker, out);
}
