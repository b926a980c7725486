/* The scheduler over a pool that the test plays by hand: workers that come, compute, die and lose batches when the test
 * says so, so that every transition is met on purpose. Inputs whose first id is POISON end their worker. */
#include "server/schedule/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

enum { DIM = 2, CONTEXT = 512, POISON = 666, WORKERS = 3, LOG = 8192 };

struct fake {
    struct emb_pool base;
    struct emb_pool_batch *held[WORKERS][EMB_POOL_DEPTH];
    int n_held[WORKERS];
    bool ready[WORKERS];
    unsigned computed, deaths;
    size_t inputs[LOG]; /* of each batch that was computed or killed its worker */
    bool poisoned[LOG];
    size_t n_log;
    int fail; /* status of every input, or 0 */
    uint64_t ns_per_token;
    bool freed;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t alive; /* keeps the loop alive, as sockets do in the server */
    struct fake pool;
    struct emb_scheduler *scheduler;
    char folder[32], path[64];
    int done;
};

/* ---- The pool ---- */

static void fake_watch(struct emb_pool *pool)
{
    (void)pool;
}

static void fake_submit(struct emb_pool *base, int worker, struct emb_pool_batch *batch)
{
    struct fake *pool = (struct fake *)base;
    assert_true(pool->ready[worker]);
    assert_true(pool->n_held[worker] < EMB_POOL_DEPTH);
    assert_true(batch->inputs > 0);
    pool->held[worker][pool->n_held[worker]++] = batch;
}

static void fake_stats(const struct emb_pool *base, int worker, struct emb_pool_worker_stats *out)
{
    *out = (struct emb_pool_worker_stats){.ready = ((const struct fake *)base)->ready[worker]};
}

static void fake_free(struct emb_pool *base)
{
    ((struct fake *)base)->freed = true;
}

static const struct emb_pool_kind fake_kind = {fake_watch, fake_submit, fake_stats, fake_free};

static struct emb_pool_batch *shift(struct fake *pool, int worker)
{
    struct emb_pool_batch *batch = pool->held[worker][0];
    assert_true(pool->n_held[worker] > 0);
    pool->held[worker][0] = pool->held[worker][1];
    pool->n_held[worker]--;
    return batch;
}

static bool is_poisoned(const struct emb_pool_batch *batch)
{
    const int32_t *ids = batch->ids;
    for (size_t i = 0; i < batch->inputs; i++) {
        if (*ids == POISON) {
            return true;
        }
        ids += batch->counts[i];
    }
    return false;
}

static void log_batch(struct fake *pool, const struct emb_pool_batch *batch)
{
    assert_true(pool->n_log < LOG);
    pool->inputs[pool->n_log] = batch->inputs;
    pool->poisoned[pool->n_log++] = is_poisoned(batch);
}

static void come(struct fixture *f, int worker)
{
    f->pool.ready[worker] = true;
    f->pool.base.events.ready(f->pool.base.events.arg, worker);
}

static void finish(struct fixture *f, int worker)
{
    struct fake *pool = &f->pool;
    struct emb_pool_batch *batch = shift(pool, worker);
    const int32_t *ids = batch->ids;
    log_batch(pool, batch);
    for (size_t i = 0; i < batch->inputs; i++) {
        batch->vectors[i * DIM] = pool->fail ? 0 : (float)ids[0];
        batch->vectors[i * DIM + 1] = pool->fail ? 0 : (float)batch->counts[i];
        batch->statuses[i] = pool->fail;
        ids += batch->counts[i];
    }
    batch->started_ns = uv_hrtime();
    batch->compute_ns = pool->ns_per_token * (uint64_t)(ids - batch->ids);
    pool->computed++;
    pool->base.events.done(pool->base.events.arg, batch);
}

static void die(struct fixture *f, int worker, enum emb_pool_loss loss)
{
    struct fake *pool = &f->pool;
    pool->deaths++;
    for (int i = 0; pool->n_held[worker] > 0; i++) {
        struct emb_pool_batch *batch = shift(pool, worker);
        if (i == 0) {
            log_batch(pool, batch);
        }
        pool->base.events.lost(pool->base.events.arg, batch, i == 0 ? loss : EMB_POOL_UNSTARTED, "signal 11");
    }
    pool->ready[worker] = false;
    pool->base.events.gone(pool->base.events.arg, worker);
}

/* ---- The fixture ---- */

static void on_alive(uv_timer_t *timer)
{
    (void)timer;
}

static void set_up_with(struct fixture *f, int workers, struct emb_scheduler_setup setup)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->alive);
    uv_timer_start(&f->alive, on_alive, 1000000, 0);
    f->pool.base = (struct emb_pool){.kind = &fake_kind, .layout = {.workers = workers, .threads = 1}, .dim = DIM};
    f->pool.ns_per_token = 1000;
    snprintf(f->folder, sizeof f->folder, "emb-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/dead", f->folder);
    setup.pool = &f->pool.base;
    setup.model = "m";
    setup.context = CONTEXT;
    setup.dead_letter = f->path;
    assert_int_equal(emb_scheduler_new(&f->scheduler, &f->loop, &setup, NULL), 0);
}

static void set_up(struct fixture *f, int workers)
{
    set_up_with(f, workers,
                (struct emb_scheduler_setup){.queue_size = 100000, .queue_tokens = 1000000, .batch_tokens = 1000});
    for (int i = 0; i < workers; i++) {
        come(f, i);
    }
}

static void tear_down(struct fixture *f)
{
    char old[80];
    uv_close((uv_handle_t *)&f->alive, NULL);
    emb_scheduler_free(f->scheduler);
    assert_true(f->pool.freed);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    snprintf(old, sizeof old, "%s.1", f->path);
    unlink(f->path);
    unlink(old);
    assert_int_equal(rmdir(f->folder), 0);
}

static void turn(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_NOWAIT);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void wait_ms(struct fixture *f, unsigned ms)
{
    uint64_t end = uv_hrtime() + ms * UINT64_C(1000000);
    while (uv_hrtime() < end) {
        turn(f);
        uv_sleep(1);
    }
    turn(f);
}

/* Until nothing is left to compute: batches with poison kill their workers, which are replaced. */
static void run_dry(struct fixture *f)
{
    bool more = true;
    turn(f);
    while (more) {
        more = false;
        for (int w = 0; w < f->pool.base.layout.workers; w++) {
            if (f->pool.n_held[w] > 0) {
                more = true;
                if (is_poisoned(f->pool.held[w][0])) {
                    die(f, w, EMB_POOL_SUSPECT);
                    come(f, w);
                } else {
                    finish(f, w);
                }
            }
        }
        turn(f);
    }
    assert_true(emb_scheduler_idle(f->scheduler));
}

struct work {
    struct emb_job job;
    struct fixture *f;
    int order;
};

static void work_done(struct emb_job *job)
{
    struct work *w = job->arg;
    assert_int_equal(w->order, 0);
    w->order = ++w->f->done;
}

/* Inputs of count tokens each that begin with first, first + 1, ... */
static struct work *work_new(struct fixture *f, size_t inputs, uint32_t count, int32_t first)
{
    struct work *w = calloc(1, sizeof *w);
    int32_t *ids = calloc(inputs * count, sizeof *ids);
    uint32_t *counts = calloc(inputs, sizeof *counts);
    for (size_t i = 0; i < inputs; i++) {
        counts[i] = count;
        ids[i * count] = first + (int32_t)i;
    }
    w->f = f;
    w->job = (struct emb_job){.inputs = inputs,
                              .ids = ids,
                              .counts = counts,
                              .vectors = calloc(inputs * DIM, sizeof(float)),
                              .statuses = calloc(inputs, sizeof(int)),
                              .done = work_done,
                              .arg = w,
                              .priority = EMB_PRIORITY_NORMAL,
                              .request_id = "req-1"};
    memset(w->job.vectors, 0xff, inputs * DIM * sizeof(float));
    return w;
}

static void work_free(struct work *w)
{
    free((void *)(uintptr_t)w->job.ids);
    free((void *)(uintptr_t)w->job.counts);
    free(w->job.vectors);
    free(w->job.statuses);
    free(w);
}

static struct work *submit(struct fixture *f, size_t inputs, uint32_t count, int32_t first)
{
    struct work *w = work_new(f, inputs, count, first);
    assert_int_equal(emb_scheduler_submit(f->scheduler, &w->job), EMB_SUBMIT_QUEUED);
    assert_int_equal(w->order, 0);
    return w;
}

/* Right vectors, and zeros for what failed; returns how many did with that status. */
static size_t check(const struct work *w, int status)
{
    size_t failed = 0;
    const int32_t *ids = w->job.ids;
    assert_true(w->order > 0);
    for (size_t i = 0; i < w->job.inputs; i++) {
        bool ok = w->job.statuses[i] == EMBELLAMA_OK;
        assert_true(ok || w->job.statuses[i] == status);
        assert_true(w->job.vectors[i * DIM] == (ok ? (float)ids[0] : 0));
        assert_true(w->job.vectors[i * DIM + 1] == (ok ? (float)w->job.counts[i] : 0));
        failed += !ok;
        ids += w->job.counts[i];
    }
    return failed;
}

static struct emb_scheduler_stats stats_of(const struct fixture *f)
{
    return emb_scheduler_stats(f->scheduler);
}

/* Lines of the dead-letter file, once it is written. */
static size_t dead_letters(struct fixture *f, char *last, size_t size)
{
    uv_unref((uv_handle_t *)&f->alive);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_ref((uv_handle_t *)&f->alive);
    FILE *file = fopen(f->path, "r");
    size_t n = 0;
    assert_non_null(file);
    while (fgets(last, (int)size, file)) {
        n++;
    }
    fclose(file);
    return n;
}

/* ---- Losses ---- */

static void test_killed_from_outside(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *w = submit(&f, 100, 100, 1000);
    turn(&f);
    for (int i = 0; i < 10; i++) {
        die(&f, 0, EMB_POOL_BLAMELESS);
        turn(&f);
        assert_int_equal(stats_of(&f).workers_ready, 0);
        assert_int_equal(stats_of(&f).waiting, 100 - 10 * (size_t)i);
        come(&f, 0);
        turn(&f);
        finish(&f, 0);
    }
    run_dry(&f);
    assert_int_equal(check(w, 0), 0);
    for (size_t i = 0; i < f.pool.n_log; i++) {
        assert_int_equal(f.pool.inputs[i], 10); /* nobody is suspected */
    }
    assert_true(stats_of(&f).retried >= 100);
    assert_int_equal(stats_of(&f).crashed, 0);
    work_free(w);
    tear_down(&f);
}

/* What was lost is computed before what waited behind it. */
static void test_lost_come_first(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *a = submit(&f, 2, 500, 1000);
    turn(&f);
    struct work *b = submit(&f, 2, 500, 2000);
    die(&f, 0, EMB_POOL_BLAMELESS);
    come(&f, 0);
    turn(&f);
    assert_int_equal(f.pool.held[0][0]->ids[0], 1000);
    run_dry(&f);
    assert_int_equal(a->order, 1);
    check(a, 0);
    check(b, 0);
    work_free(a);
    work_free(b);
    tear_down(&f);
}

/* Killed from outside again and again, though others are computed in between: it is given up in the end. */
static void test_lost_from_outside_forever(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 2);
    struct work *w = submit(&f, 1, 10, 1000);
    turn(&f);
    int deaths = 0;
    for (; w->order == 0; deaths++) {
        assert_int_equal(f.pool.n_held[0], 1);
        struct work *other = submit(&f, 1, 10, 2000 + deaths);
        turn(&f);
        finish(&f, 1);
        turn(&f);
        check(other, 0);
        work_free(other);
        die(&f, 0, EMB_POOL_BLAMELESS);
        turn(&f);
        if (f.pool.n_held[1] > 0) { /* it went to the other one, which dies as well */
            die(&f, 1, EMB_POOL_BLAMELESS);
            deaths++;
            come(&f, 0);
            turn(&f);
            come(&f, 1);
        }
        turn(&f);
    }
    assert_int_equal(check(w, EMBELLAMA_E_CRASHED), 1);
    assert_true(deaths >= 16 && deaths <= 17);
    assert_int_equal(stats_of(&f).quarantined, 0);
    work_free(w);
    tear_down(&f);
}

static void test_one_culprit_among_a_thousand(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 2);
    struct work *w[1000];
    for (int i = 0; i < 1000; i++) {
        w[i] = submit(&f, 1, 10, i);
    }
    run_dry(&f);
    size_t failed = 0;
    for (int i = 0; i < 1000; i++) {
        size_t here = check(w[i], EMBELLAMA_E_CRASHED);
        assert_int_equal(here, i == POISON);
        failed += here;
    }
    assert_int_equal(failed, 1);
    assert_int_equal(f.pool.deaths, 2); /* once among others, once alone */
    size_t poisoned_alone = 0;
    for (size_t i = 0; i < f.pool.n_log; i++) {
        poisoned_alone += f.pool.poisoned[i] && f.pool.inputs[i] == 1;
    }
    assert_int_equal(poisoned_alone, 1);
    assert_int_equal(stats_of(&f).crashed, 1);
    assert_int_equal(stats_of(&f).quarantined, 1);
    assert_int_equal(stats_of(&f).breaker, EMB_BREAKER_CLOSED);
    char line[512] = "";
    assert_int_equal(dead_letters(&f, line, sizeof line), 1);
    assert_non_null(strstr(line, "\"request_id\":\"req-1\",\"input\":0,"));
    assert_non_null(strstr(line, "\"tokens\":10,\"reason\":\"signal 11\"}"));

    /* Sent again, it is answered without being computed, its neighbours as ever. */
    struct work *again = submit(&f, 3, 10, POISON - 1);
    run_dry(&f);
    assert_int_equal(check(again, EMBELLAMA_E_CRASHED), 1);
    assert_int_equal(again->job.statuses[1], EMBELLAMA_E_CRASHED);
    assert_int_equal(f.pool.deaths, 2);
    assert_int_equal(dead_letters(&f, line, sizeof line), 1);
    work_free(again);
    for (int i = 0; i < 1000; i++) {
        work_free(w[i]);
    }
    tear_down(&f);
}

/* Suspects are alone at their worker: no other input in the batch, no other batch behind it; the other worker goes on.
 */
static void test_suspects_are_alone(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 2);
    struct work *w = submit(&f, 20, 100, POISON - 3);
    turn(&f);
    assert_true(is_poisoned(f.pool.held[0][0]));
    size_t suspects = f.pool.held[0][0]->inputs;
    assert_int_equal(suspects, 10);
    struct work *other = submit(&f, 100, 100, 10000);
    turn(&f);
    die(&f, 0, EMB_POOL_SUSPECT);
    come(&f, 0);
    size_t alone = 0;
    while (f.pool.deaths < 2) {
        assert_int_equal(f.pool.n_held[0], 1);
        assert_int_equal(f.pool.held[0][0]->inputs, 1);
        alone++;
        if (is_poisoned(f.pool.held[0][0])) {
            die(&f, 0, EMB_POOL_SUSPECT);
        } else {
            finish(&f, 0);
        }
        turn(&f);
    }
    assert_int_equal(alone, 4);
    come(&f, 0);
    run_dry(&f);
    assert_int_equal(check(w, EMBELLAMA_E_CRASHED), 1);
    assert_int_equal(check(other, 0), 0);
    work_free(w);
    work_free(other);
    tear_down(&f);
}

/* A death may have had another reason: nobody is convicted who survives alone. */
static void test_innocent_suspects(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *w = submit(&f, 5, 10, 1000);
    turn(&f);
    die(&f, 0, EMB_POOL_SUSPECT);
    come(&f, 0);
    turn(&f);
    die(&f, 0, EMB_POOL_BLAMELESS); /* killed while a suspect was tried: that says nothing */
    come(&f, 0);
    run_dry(&f);
    assert_int_equal(check(w, 0), 0);
    for (size_t i = 1; i < f.pool.n_log; i++) {
        assert_int_equal(f.pool.inputs[i], 1);
    }
    assert_int_equal(f.pool.n_log, 1 + 1 + 5);
    assert_int_equal(stats_of(&f).quarantined, 0);
    work_free(w);
    tear_down(&f);
}

/* What is wanted of an input is part of what is kept out and of what is recorded. */
static void test_poison_of_a_kind(void **state)
{
    static const struct emb_task score = {EMB_TASK_SCORE, 4};
    static const size_t place = 0;
    (void)state;
    struct fixture f;
    char line[512] = "";
    set_up(&f, 1);
    struct work *w = work_new(&f, 1, 10, POISON);
    w->job.tasks = &score;
    w->job.places = &place;
    assert_int_equal(emb_scheduler_submit(f.scheduler, &w->job), EMB_SUBMIT_QUEUED);
    run_dry(&f);
    assert_int_equal(w->job.statuses[0], EMBELLAMA_E_CRASHED);
    assert_int_equal(f.pool.deaths, 2);
    assert_int_equal(dead_letters(&f, line, sizeof line), 1);
    assert_non_null(strstr(line, "\"reason\":\"signal 11\",\"task\":\"score\",\"second\":4}"));
    struct work *again = work_new(&f, 1, 10, POISON);
    again->job.tasks = &score;
    again->job.places = &place;
    assert_int_equal(emb_scheduler_submit(f.scheduler, &again->job), EMB_SUBMIT_QUEUED);
    run_dry(&f);
    assert_int_equal(again->job.statuses[0], EMBELLAMA_E_CRASHED);
    assert_int_equal(f.pool.deaths, 2);
    struct work *other = submit(&f, 1, 10, POISON);
    run_dry(&f);
    assert_int_equal(check(other, EMBELLAMA_E_CRASHED), 1);
    assert_int_equal(f.pool.deaths, 4);
    assert_int_equal(dead_letters(&f, line, sizeof line), 2);
    assert_null(strstr(line, "task"));
    work_free(w);
    work_free(again);
    work_free(other);
    tear_down(&f);
}

/* All who sent the poison get its error, and only one line is written; also where the batch held nothing else. */
static void test_shared_poison(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *a = submit(&f, 1, 10, POISON), *b = submit(&f, 1, 10, POISON);
    turn(&f);
    assert_int_equal(f.pool.held[0][0]->inputs, 1);
    assert_int_equal(stats_of(&f).shared, 1);
    struct work *c = submit(&f, 1, 10, POISON);
    run_dry(&f);
    assert_int_equal(f.pool.deaths, 2);
    assert_int_equal(check(a, EMBELLAMA_E_CRASHED) + check(b, EMBELLAMA_E_CRASHED) + check(c, EMBELLAMA_E_CRASHED), 3);
    assert_int_equal(stats_of(&f).crashed, 3);
    char line[512];
    assert_int_equal(dead_letters(&f, line, sizeof line), 1);
    work_free(a);
    work_free(b);
    work_free(c);
    tear_down(&f);
}

/* Nobody waits for it any more, but it is put away all the same. */
static void test_poison_of_a_client_that_left(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *a = submit(&f, 1, 10, POISON), *b = submit(&f, 1, 10, 5);
    turn(&f);
    die(&f, 0, EMB_POOL_SUSPECT);
    come(&f, 0);
    turn(&f);
    if (!is_poisoned(f.pool.held[0][0])) {
        finish(&f, 0);
    }
    assert_true(is_poisoned(f.pool.held[0][0]));
    emb_scheduler_cancel(f.scheduler, &a->job);
    work_free(a);
    run_dry(&f);
    check(b, 0);
    assert_int_equal(stats_of(&f).quarantined, 1);
    assert_int_equal(stats_of(&f).crashed, 0);
    work_free(b);
    tear_down(&f);
}

/* A suspect whose client leaves is not tried. */
static void test_suspect_that_left(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *a = submit(&f, 2, 10, POISON);
    turn(&f);
    die(&f, 0, EMB_POOL_SUSPECT);
    emb_scheduler_cancel(f.scheduler, &a->job);
    work_free(a);
    come(&f, 0);
    turn(&f);
    assert_int_equal(f.pool.n_held[0], 0);
    assert_true(emb_scheduler_idle(f.scheduler));
    tear_down(&f);
}

/* ---- Time ---- */

static struct work *submit_until(struct fixture *f, size_t inputs, uint32_t count, int32_t first, unsigned ms)
{
    struct work *w = work_new(f, inputs, count, first);
    w->job.deadline_ns = uv_hrtime() + ms * UINT64_C(1000000);
    assert_int_equal(emb_scheduler_submit(f->scheduler, &w->job), EMB_SUBMIT_QUEUED);
    return w;
}

/* What was computed by the deadline counts; what was not is E_DEADLINE, whether it waited or was being computed. */
static void test_deadlines(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *w = submit_until(&f, 25, 100, 1000, 40), *never = submit(&f, 1, 100, 5);
    turn(&f);
    finish(&f, 0);
    turn(&f);
    assert_int_equal(w->order, 0);
    while (w->order == 0) {
        wait_ms(&f, 5);
    }
    assert_true(uv_hrtime() >= w->job.deadline_ns);
    size_t failed = check(w, EMBELLAMA_E_DEADLINE);
    assert_true(failed >= 15 && failed <= 16);
    assert_int_equal(stats_of(&f).expired, failed);
    assert_true(w->job.queue_ns + w->job.compute_ns >= 39 * UINT64_C(1000000));
    run_dry(&f); /* the batch that was being computed is nobody's */
    check(never, 0);
    work_free(w);
    work_free(never);
    tear_down(&f);
}

/* Without any worker the deadline comes all the same. */
static void test_deadline_without_workers(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, (struct emb_scheduler_setup){.queue_size = 10, .queue_tokens = 1000});
    struct work *w = submit_until(&f, 3, 10, 1000, 20);
    while (w->order == 0) {
        wait_ms(&f, 5);
    }
    assert_int_equal(check(w, EMBELLAMA_E_DEADLINE), 3);
    work_free(w);
    tear_down(&f);
}

static void test_latest_deadline_counts(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *block = submit(&f, 1, 100, 1);
    turn(&f);
    struct work *soon = submit_until(&f, 1, 100, 1000, 15), *later = submit(&f, 1, 100, 1000);
    while (soon->order == 0) {
        wait_ms(&f, 5);
    }
    assert_int_equal(check(soon, EMBELLAMA_E_DEADLINE), 1);
    run_dry(&f);
    assert_int_equal(check(later, 0), 0);
    work_free(block);
    work_free(soon);
    work_free(later);
    tear_down(&f);
}

/* At a thousand tokens a second: 500 of its own; 2,000 ahead and the rest of a batch of 1,000, eight fifths of both. */
static void test_what_cannot_make_it_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    f.pool.ns_per_token = 1000000;
    struct work *first = submit(&f, 1, 500, 1);
    run_dry(&f);
    assert_int_equal(emb_scheduler_retry_after_ms(f.scheduler), 50);
    struct work *large = submit(&f, 4, 500, 1000);
    turn(&f);
    struct work *w = work_new(&f, 1, 500, 5000);
    w->job.deadline_ns = uv_hrtime() + UINT64_C(480000000);
    assert_int_equal(emb_scheduler_submit(f.scheduler, &w->job), EMB_SUBMIT_SLOW);
    w->job.deadline_ns = uv_hrtime() + UINT64_C(5200000000);
    assert_int_equal(emb_scheduler_submit(f.scheduler, &w->job), EMB_SUBMIT_LATE);
    w->job.deadline_ns = uv_hrtime() + UINT64_C(5500000000);
    assert_int_equal(emb_scheduler_submit(f.scheduler, &w->job), EMB_SUBMIT_QUEUED);
    unsigned retry = emb_scheduler_retry_after_ms(f.scheduler);
    assert_true(retry >= 1200 && retry <= 1300);    /* half of what waits */
    struct work *brief = work_new(&f, 1, 10, 6000); /* passes some of it; behind all: 5,610 ms */
    brief->job.client = 7;
    brief->job.deadline_ns = uv_hrtime() + UINT64_C(5200000000);
    assert_int_equal(emb_scheduler_submit(f.scheduler, &brief->job), EMB_SUBMIT_QUEUED);
    assert_int_equal(stats_of(&f).refused[EMB_SUBMIT_LATE], 1);
    run_dry(&f);
    work_free(first);
    work_free(large);
    work_free(w);
    work_free(brief);
    tear_down(&f);
}

/* ---- Batches ---- */

static void test_budget_follows_the_pace(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, (struct emb_scheduler_setup){.target_latency_ms = 200});
    come(&f, 0);
    assert_int_equal(stats_of(&f).batch_tokens, 256);
    f.pool.ns_per_token = 200000; /* 5,000 tokens a second: 500 in half the target */
    struct work *w = submit(&f, 100, 100, 1);
    run_dry(&f);
    assert_int_equal(stats_of(&f).batch_tokens, 500);
    assert_int_equal(f.pool.inputs[0], 2);
    assert_int_equal(f.pool.inputs[4], 5);
    assert_true(stats_of(&f).tokens_per_s > 4999 && stats_of(&f).tokens_per_s < 5001);
    f.pool.ns_per_token = 100; /* never more than a thread's fill */
    struct work *fast = submit(&f, 20000, 100, 1000);
    run_dry(&f);
    assert_int_equal(stats_of(&f).batch_tokens, 1024);
    f.pool.ns_per_token = 100000000; /* nor less than one text */
    struct work *slow = submit(&f, 200, 100, 50000);
    run_dry(&f);
    assert_int_equal(stats_of(&f).batch_tokens, 1);
    assert_int_equal(f.pool.inputs[f.pool.n_log - 1], 1);
    check(w, 0);
    check(fast, 0);
    check(slow, 0);
    work_free(w);
    work_free(fast);
    work_free(slow);
    tear_down(&f);
}

/* The batch behind the one being computed is formed when that one is nearly done, and a short text that came in between
 * is what it begins with, and all it holds. */
static void test_the_next_batch_is_formed_late(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, (struct emb_scheduler_setup){.target_latency_ms = 1000});
    come(&f, 0);
    f.pool.ns_per_token = 1000000;
    struct work *first = submit(&f, 1, 400, 1);
    run_dry(&f);
    struct work *huge = submit(&f, 20, 400, 1000);
    turn(&f);
    finish(&f, 0); /* it is no newcomer any more */
    turn(&f);
    uint64_t began = uv_hrtime();
    assert_int_equal(f.pool.n_held[0], 1);
    struct work *brief = submit(&f, 1, 10, 5000);
    turn(&f);
    if (uv_hrtime() < began + UINT64_C(300000000)) {
        assert_int_equal(f.pool.n_held[0], 1);
    }
    while (f.pool.n_held[0] == 1) {
        wait_ms(&f, 2);
    }
    assert_true(uv_hrtime() >= began + UINT64_C(380000000));
    assert_int_equal(f.pool.held[0][1]->inputs, 1);
    assert_int_equal(f.pool.held[0][1]->ids[0], 5000);
    run_dry(&f);
    assert_int_equal(check(huge, 0) + check(brief, 0), 0);
    work_free(first);
    work_free(huge);
    work_free(brief);
    tear_down(&f);
}

/* ---- The breaker ---- */

static void test_breaker_and_deaths(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *poison = submit(&f, 20, 400, POISON); /* deaths that an input is blamed for do not count */
    for (int i = 0; i < 10; i++) {
        turn(&f);
        die(&f, 0, EMB_POOL_SUSPECT);
        come(&f, 0);
    }
    assert_int_equal(stats_of(&f).breaker, EMB_BREAKER_CLOSED);
    run_dry(&f);
    struct work *w = submit(&f, 1, 10, 1000);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(stats_of(&f).breaker, EMB_BREAKER_CLOSED);
        turn(&f);
        die(&f, 0, EMB_POOL_BLAMELESS);
        come(&f, 0);
    }
    assert_int_equal(stats_of(&f).breaker, EMB_BREAKER_OPEN);
    turn(&f);
    assert_int_equal(f.pool.n_held[0], 0);
    struct work *refused = work_new(&f, 1, 10, 2000);
    assert_int_equal(emb_scheduler_submit(f.scheduler, &refused->job), EMB_SUBMIT_BREAKER);
    unsigned retry = emb_scheduler_retry_after_ms(f.scheduler);
    assert_true(retry >= 50 && retry <= 1000);
    while (f.pool.n_held[0] == 0) {
        wait_ms(&f, 10);
    }
    assert_int_equal(stats_of(&f).breaker, EMB_BREAKER_HALF_OPEN);
    finish(&f, 0);
    assert_int_equal(stats_of(&f).breaker, EMB_BREAKER_CLOSED);
    turn(&f);
    check(w, 0);
    assert_int_equal(stats_of(&f).breaker_opened, 1);
    work_free(poison);
    work_free(w);
    work_free(refused);
    tear_down(&f);
}

/* Half open, one batch at a time is tried, by one of the workers. */
static void test_breaker_and_failures(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 2);
    f.pool.fail = EMBELLAMA_E_NOMEM;
    struct work *w = submit(&f, 40, 400, 1000);
    turn(&f);
    while (stats_of(&f).breaker == EMB_BREAKER_CLOSED) {
        finish(&f, f.pool.n_held[0] > 0 ? 0 : 1);
    }
    assert_int_equal(f.pool.computed, 5);
    while (f.pool.n_held[0] + f.pool.n_held[1] > 0) { /* what was with the workers already */
        finish(&f, f.pool.n_held[0] > 0 ? 0 : 1);
    }
    assert_int_equal(stats_of(&f).breaker, EMB_BREAKER_OPEN);
    while (f.pool.n_held[0] + f.pool.n_held[1] == 0) {
        wait_ms(&f, 10);
    }
    assert_int_equal(f.pool.n_held[0] + f.pool.n_held[1], 1);
    finish(&f, f.pool.n_held[0] > 0 ? 0 : 1); /* the probe fails */
    turn(&f);
    assert_int_equal(f.pool.n_held[0] + f.pool.n_held[1], 0);
    assert_int_equal(stats_of(&f).breaker, EMB_BREAKER_OPEN);
    assert_int_equal(stats_of(&f).breaker_opened, 2);
    emb_scheduler_cancel(f.scheduler, &w->job);
    work_free(w);
    tear_down(&f);
}

/* ---- The rest ---- */

static void test_out_of_memory(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct work *w = work_new(&f, 3, 10, 1000);
    enum emb_submit verdict = EMB_SUBMIT_FULL;
    for (long allowed = 0; verdict != EMB_SUBMIT_QUEUED; allowed++) {
        emb_mem_fail_after(allowed);
        verdict = emb_scheduler_submit(f.scheduler, &w->job);
        emb_mem_fail_after(-1);
        assert_true(verdict == EMB_SUBMIT_FULL || verdict == EMB_SUBMIT_QUEUED);
        assert_true(verdict == EMB_SUBMIT_QUEUED || emb_scheduler_idle(f.scheduler));
        assert_true(allowed < 100);
    }
    run_dry(&f);
    check(w, 0);

    /* Nothing on the way from there takes memory but the record of a culprit, which is then dropped. */
    struct work *poison = submit(&f, 5, 10, POISON);
    turn(&f);
    emb_mem_fail_after(0);
    run_dry(&f);
    emb_mem_fail_after(-1);
    assert_int_equal(check(poison, EMBELLAMA_E_CRASHED), 1);
    work_free(w);
    work_free(poison);
    tear_down(&f);
}

static void test_defaults_from_memory(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, (struct emb_scheduler_setup){0});
    assert_true(stats_of(&f).queue_size >= 4096);
    assert_true(stats_of(&f).queue_tokens >= 16 * CONTEXT);
    tear_down(&f);
}

/* Every kind of event at random: each job is done once unless it was cancelled, good inputs are right, and only poison
 * fails. */
static void test_random(void **state)
{
    (void)state;
    enum { STEPS = 6000, JOBS = 48 };
    struct fixture f;
    set_up(&f, WORKERS);
    struct work *w[JOBS] = {0};
    unsigned seed = 5;
    for (int step = 0; step < STEPS; step++) {
        int i = rand_r(&seed) % JOBS, worker = rand_r(&seed) % WORKERS;
        if (!w[i]) {
            w[i] = work_new(&f, 1 + (size_t)rand_r(&seed) % 30, 1 + (uint32_t)rand_r(&seed) % 50,
                            rand_r(&seed) % 8 ? 1000 + rand_r(&seed) % 300 : POISON - rand_r(&seed) % 20);
            w[i]->job.priority = (enum emb_priority)(rand_r(&seed) % 3);
            w[i]->job.client = (uint64_t)rand_r(&seed) % 4;
            if (emb_scheduler_submit(f.scheduler, &w[i]->job) != EMB_SUBMIT_QUEUED) {
                work_free(w[i]);
                w[i] = NULL;
            }
        } else if (w[i]->order > 0) {
            check(w[i], EMBELLAMA_E_CRASHED);
            for (size_t k = 0; k < w[i]->job.inputs; k++) {
                bool poison = w[i]->job.ids[k * w[i]->job.counts[0]] == POISON;
                assert_int_equal(w[i]->job.statuses[k], poison ? EMBELLAMA_E_CRASHED : EMBELLAMA_OK);
            }
            work_free(w[i]);
            w[i] = NULL;
        } else if (rand_r(&seed) % 30 == 0) {
            emb_scheduler_cancel(f.scheduler, &w[i]->job);
            work_free(w[i]);
            w[i] = NULL;
        }
        if (!f.pool.ready[worker]) {
            come(&f, worker);
        } else if (f.pool.n_held[worker] > 0 && is_poisoned(f.pool.held[worker][0])) {
            die(&f, worker, EMB_POOL_SUSPECT);
        } else if (f.pool.n_held[worker] > 0 && rand_r(&seed) % 40 == 0) {
            die(&f, worker, EMB_POOL_BLAMELESS);
        } else if (f.pool.n_held[worker] > 0) {
            finish(&f, worker);
        }
        if (rand_r(&seed) % 2) {
            turn(&f);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        if (!f.pool.ready[i]) {
            come(&f, i);
        }
    }
    run_dry(&f);
    assert_true(f.pool.deaths > 100);
    for (int i = 0; i < JOBS; i++) {
        if (w[i]) {
            check(w[i], EMBELLAMA_E_CRASHED);
            work_free(w[i]);
        }
    }
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_from_outside),
        cmocka_unit_test(test_lost_come_first),
        cmocka_unit_test(test_lost_from_outside_forever),
        cmocka_unit_test(test_one_culprit_among_a_thousand),
        cmocka_unit_test(test_suspects_are_alone),
        cmocka_unit_test(test_innocent_suspects),
        cmocka_unit_test(test_poison_of_a_kind),
        cmocka_unit_test(test_shared_poison),
        cmocka_unit_test(test_poison_of_a_client_that_left),
        cmocka_unit_test(test_suspect_that_left),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_deadline_without_workers),
        cmocka_unit_test(test_latest_deadline_counts),
        cmocka_unit_test(test_what_cannot_make_it_is_refused),
        cmocka_unit_test(test_budget_follows_the_pace),
        cmocka_unit_test(test_the_next_batch_is_formed_late),
        cmocka_unit_test(test_breaker_and_deaths),
        cmocka_unit_test(test_breaker_and_failures),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_defaults_from_memory),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
