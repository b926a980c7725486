/* The scheduler over an engine of the test's own, whose workers stop at a gate, so that what waits together is
 * decided here and not by chance. Knows batches by what the engine was given. */
#include "server/schedule/scheduler.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/status.h"
#include "pool/threads.h"

enum { DIM = 3, LABELS = 2, CONTEXT = 4096, BUDGET = 1024, BAD = 666, MOST_BATCHES = 4096 };

/* Value k of those an input gets: of its vector the first id, the count and the sum of the ids; of other kinds something that no other
 * task of the same ids gets. */
static float value_of(const struct emb_task *task, const int32_t *ids, uint32_t count, size_t k)
{
    if (task && task->kind != EMB_TASK_EMBED) {
        return (float)(ids[0] + (int32_t)(task->kind * 100000 + task->second * 1000 + k));
    }
    float sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (float)ids[i];
    }
    return k == 0 ? (float)ids[0] : k == 1 ? (float)count : sum;
}

static size_t values_of(const struct emb_task *task, uint32_t count)
{
    return emb_task_values(task, count, DIM, LABELS);
}

/* The engine. */
struct engine {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int permits; /* batches that may still pass; negative: the gate is open */
    int entered; /* batches that reached the gate */
    size_t batches;
    size_t inputs[MOST_BATCHES];
    size_t tokens[MOST_BATCHES];
    bool tasks[MOST_BATCHES];        /* some were given */
    int32_t firsts[MOST_BATCHES][8]; /* first ids of each batch's first inputs */
    int started, stopped;
    int fail_start; /* the worker whose start fails, counted from 1 */
};

static int engine_start(const void *arg, int threads, void **state, embellama_error *error)
{
    struct engine *e = *(struct engine *const *)arg;
    assert_true(threads > 0);
    if (e->fail_start == e->started + 1) {
        return emb_fail(error, EMBELLAMA_E_NOMEM, "no worker today");
    }
    e->started++;
    *state = e;
    return EMBELLAMA_OK;
}

static void engine_stop(void *state)
{
    struct engine *e = state;
    e->stopped++;
}

static void pass_gate(struct engine *e, const struct emb_pool_batch *batch)
{
    pthread_mutex_lock(&e->lock);
    size_t n = e->batches++;
    assert_true(n < MOST_BATCHES);
    e->inputs[n] = batch->inputs;
    size_t at = 0;
    for (size_t i = 0; i < batch->inputs; i++) {
        if (i < 8) {
            e->firsts[n][i] = batch->ids[at];
        }
        at += batch->counts[i];
    }
    e->tokens[n] = at;
    e->tasks[n] = batch->tasks != NULL;
    e->entered++;
    pthread_cond_broadcast(&e->moved);
    while (e->permits == 0) {
        pthread_cond_wait(&e->moved, &e->lock);
    }
    e->permits -= e->permits > 0;
    pthread_mutex_unlock(&e->lock);
}

static void engine_run(void *state, struct emb_pool_batch *batch)
{
    pass_gate(state, batch);
    const int32_t *ids = batch->ids;
    float *v = batch->vectors;
    for (size_t i = 0; i < batch->inputs; i++) {
        const struct emb_task *task = batch->tasks ? &batch->tasks[i] : NULL;
        size_t n = values_of(task, batch->counts[i]);
        for (size_t k = 0; k < n; k++) {
            *v++ = value_of(task, ids, batch->counts[i], k);
        }
        batch->statuses[i] = ids[0] == BAD ? EMBELLAMA_E_NOT_FINITE : EMBELLAMA_OK;
        ids += batch->counts[i];
    }
}

static void open_gate(struct engine *e, int permits)
{
    pthread_mutex_lock(&e->lock);
    e->permits = permits;
    pthread_cond_broadcast(&e->moved);
    pthread_mutex_unlock(&e->lock);
}

static void wait_entered(struct engine *e, int entered)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    int rc = 0;
    pthread_mutex_lock(&e->lock);
    while (e->entered < entered && rc == 0) {
        rc = pthread_cond_timedwait(&e->moved, &e->lock, &end);
    }
    pthread_mutex_unlock(&e->lock);
    assert_int_equal(rc, 0);
}

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog; /* also keeps the loop alive, as sockets do in the server */
    struct engine engine;
    struct engine *self;
    struct emb_scheduler *scheduler;
    int done;
    pthread_t thread;
};

/* A job of inputs whose ids are first, first + 1, ... for input 0, first + 1, ... for input 1, and so on. */
struct work {
    struct emb_job job;
    struct fixture *f;
    int order;         /* the how-manieth job to be done, from 1 */
    struct work *kill; /* to be cancelled when this one is done */
};

static void work_done(struct emb_job *job)
{
    struct work *w = job->arg;
    assert_true(pthread_equal(w->f->thread, pthread_self()));
    assert_int_equal(w->order, 0);
    w->order = ++w->f->done;
    if (w->kill) {
        emb_scheduler_cancel(w->f->scheduler, &w->kill->job);
    }
}

static struct work *work_new(struct fixture *f, size_t inputs, uint32_t count, int32_t first)
{
    struct work *w = calloc(1, sizeof *w);
    int32_t *ids = calloc(inputs * count, sizeof *ids);
    uint32_t *counts = calloc(inputs, sizeof *counts);
    for (size_t i = 0; i < inputs; i++) {
        counts[i] = count;
        for (size_t k = 0; k < count; k++) {
            ids[i * count + k] = first + (int32_t)(i + k);
        }
    }
    w->f = f;
    w->job = (struct emb_job){.inputs = inputs,
                              .ids = ids,
                              .counts = counts,
                              .vectors = calloc(inputs * DIM, sizeof(float)),
                              .statuses = calloc(inputs, sizeof(int)),
                              .done = work_done,
                              .arg = w};
    return w;
}

static void work_free(struct work *w)
{
    free((void *)(uintptr_t)w->job.ids);
    free((void *)(uintptr_t)w->job.counts);
    free((void *)(uintptr_t)w->job.tasks);
    free((void *)(uintptr_t)w->job.places);
    free(w->job.vectors);
    free(w->job.statuses);
    free(w);
}

/* Gives a job tasks, and room for what they get. */
static void give_tasks(struct work *w, const struct emb_task *tasks)
{
    struct emb_task *own = calloc(w->job.inputs, sizeof *own);
    size_t *places = calloc(w->job.inputs, sizeof *places), values = 0;
    for (size_t i = 0; i < w->job.inputs; i++) {
        own[i] = tasks[i];
        places[i] = values;
        values += values_of(&tasks[i], w->job.counts[i]);
    }
    free(w->job.vectors);
    w->job.tasks = own;
    w->job.places = places;
    w->job.vectors = calloc(values, sizeof(float));
}

static void check_results(const struct work *w)
{
    const int32_t *ids = w->job.ids;
    for (size_t i = 0; i < w->job.inputs; i++) {
        const struct emb_task *task = w->job.tasks ? &w->job.tasks[i] : NULL;
        const float *v = w->job.vectors + (task ? w->job.places[i] : i * DIM);
        size_t n = values_of(task, w->job.counts[i]);
        assert_int_equal(w->job.statuses[i], ids[0] == BAD ? EMBELLAMA_E_NOT_FINITE : EMBELLAMA_OK);
        for (size_t k = 0; k < n; k++) {
            assert_true(v[k] == value_of(task, ids, w->job.counts[i], k));
        }
        ids += w->job.counts[i];
    }
}

static struct emb_pool_engine engine_of(struct fixture *f)
{
    return (struct emb_pool_engine){
        .arg = &f->self, .dim = DIM, .labels = LABELS, .start = engine_start, .run = engine_run, .stop = engine_stop};
}

static void on_timeout(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("the scheduler made no progress for 20 seconds");
}

static void set_up_with(struct fixture *f, int workers, size_t queue_size, size_t batch_tokens)
{
    memset(f, 0, sizeof *f);
    f->self = &f->engine;
    f->thread = pthread_self();
    pthread_mutex_init(&f->engine.lock, NULL);
    pthread_cond_init(&f->engine.moved, NULL);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->watchdog);
    uv_timer_start(&f->watchdog, on_timeout, 20000, 0);
    struct emb_pool_engine engine = engine_of(f);
    struct emb_scheduler_setup setup = {
        .batch_tokens = batch_tokens, .context = CONTEXT, .queue_size = queue_size, .queue_tokens = SIZE_MAX};
    struct emb_pool_layout layout = {.workers = workers, .threads = 1};
    assert_int_equal(emb_thread_pool_new(&setup.pool, &f->loop, &engine, layout, NULL), 0);
    assert_int_equal(emb_scheduler_new(&f->scheduler, &f->loop, &setup, NULL), 0);
    assert_int_equal(f->engine.started, workers);
    uv_run(&f->loop, UV_RUN_ONCE);
}

static void set_up(struct fixture *f, int workers, size_t queue_size)
{
    set_up_with(f, workers, queue_size, 0);
}

static void tear_down(struct fixture *f)
{
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    emb_scheduler_free(f->scheduler);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(f->engine.started, f->engine.stopped);
    pthread_cond_destroy(&f->engine.moved);
    pthread_mutex_destroy(&f->engine.lock);
}

/* Turns the loop once, asleep until something happens. */
static void turn(struct fixture *f)
{
    uv_timer_start(&f->watchdog, on_timeout, 20000, 0);
    uv_run(&f->loop, UV_RUN_ONCE);
}

static void submit(struct fixture *f, struct work *w)
{
    assert_int_equal(emb_scheduler_submit(f->scheduler, &w->job), EMB_SUBMIT_QUEUED);
}

/* Lets the loop form batches of what was submitted, without waiting for results. */
static void settle(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_NOWAIT);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void until_done(struct fixture *f, int done)
{
    while (f->done < done) {
        turn(f);
    }
}

/* Occupies the one worker with an input of id 1 and leaves the gate shut behind it. */
static struct work *occupy(struct fixture *f)
{
    struct work *w = work_new(f, 1, 1, 1);
    submit(f, w);
    settle(f);
    wait_entered(&f->engine, 1);
    return w;
}

static void test_layout(void **state)
{
    (void)state;
    static const struct {
        int cores, workers, threads, want_workers, want_threads;
    } rows[] = {{1, 0, 0, 1, 1},  {2, 0, 0, 1, 2}, {8, 0, 0, 1, 8},  {9, 0, 0, 2, 4},  {16, 0, 0, 2, 8},
                {64, 0, 0, 8, 8}, {8, 3, 0, 3, 2}, {2, 5, 0, 5, 1},  {8, 0, 2, 4, 2},  {2, 0, 16, 1, 16},
                {4, 7, 3, 7, 3},  {0, 0, 0, 1, 1}, {13, 0, 0, 2, 6}, {96, 0, 0, 12, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct emb_pool_layout got = emb_pool_layout(rows[i].cores, rows[i].workers, rows[i].threads);
        assert_int_equal(got.workers, rows[i].want_workers);
        assert_int_equal(got.threads, rows[i].want_threads);
    }
}

static void test_one_job(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 1000);
    f.engine.permits = -1;
    struct work *w = work_new(&f, 700, 7, 10);
    assert_true(emb_scheduler_idle(f.scheduler));
    submit(&f, w);
    assert_false(emb_scheduler_idle(f.scheduler));
    until_done(&f, 1);
    check_results(w);
    assert_true(emb_scheduler_idle(f.scheduler));
    assert_true(w->job.compute_ns > 0);
    assert_int_equal(emb_scheduler_retry_after_ms(f.scheduler), 50);
    work_free(w);
    tear_down(&f);
}

/* What arrives before the loop gets round to it shares the first batch; what arrives while the worker computes
 * shares the next. */
static void test_batches_of_many_jobs(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 100);
    struct work *w[8];
    for (int i = 0; i < 3; i++) {
        submit(&f, w[i] = work_new(&f, 1, 5, 10 * i));
    }
    settle(&f);
    wait_entered(&f.engine, 1);
    assert_int_equal(f.engine.inputs[0], 3);
    for (int i = 3; i < 8; i++) {
        submit(&f, w[i] = work_new(&f, 1, 5, 10 * i));
        settle(&f);
    }
    open_gate(&f.engine, -1);
    until_done(&f, 8);
    assert_int_equal(f.engine.batches, 2);
    assert_int_equal(f.engine.inputs[1], 5);
    for (int i = 0; i < 8; i++) {
        check_results(w[i]);
        work_free(w[i]);
    }
    tear_down(&f);
}

static void test_batch_tokens(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, 1000, 350);
    struct work *first = occupy(&f);
    struct work *w = work_new(&f, 9, 100, 1000);
    submit(&f, w);
    open_gate(&f.engine, -1);
    until_done(&f, 2);
    check_results(w);
    assert_int_equal(f.engine.batches, 1 + 3);
    for (size_t i = 1; i < f.engine.batches; i++) {
        assert_int_equal(f.engine.tokens[i], 300);
    }
    work_free(first);
    work_free(w);
    tear_down(&f);
}

/* A batch behind a busy worker is formed once it is full, and no third one is. */
static void test_one_full_batch_waits(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, 1000, BUDGET);
    struct work *first = occupy(&f);
    struct work *w = work_new(&f, 100, 100, 1000);
    submit(&f, w);
    settle(&f);
    struct emb_scheduler_stats stats = emb_scheduler_stats(f.scheduler);
    assert_int_equal(stats.running, 1 + 10);
    assert_int_equal(stats.waiting, 90);
    open_gate(&f.engine, -1);
    until_done(&f, 2);
    check_results(w);
    for (size_t i = 0; i < f.engine.batches; i++) {
        assert_true(f.engine.tokens[i] <= BUDGET);
    }
    work_free(first);
    work_free(w);
    tear_down(&f);
}

static void test_input_above_the_budget(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 1000);
    f.engine.permits = -1;
    struct work *w = work_new(&f, 3, CONTEXT, 5);
    submit(&f, w);
    until_done(&f, 1);
    check_results(w);
    assert_int_equal(f.engine.batches, 3);
    work_free(w);
    tear_down(&f);
}

static void test_huge_job_does_not_block(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, 10000, BUDGET);
    struct work *huge = work_new(&f, 2000, 100, 0);
    struct work *a = work_new(&f, 1, 90, 50000), *b = work_new(&f, 2, 90, 60000);
    submit(&f, huge);
    settle(&f);
    submit(&f, a);
    submit(&f, b);
    settle(&f);
    open_gate(&f.engine, -1);
    until_done(&f, 3);
    assert_int_equal(a->order, 1);
    assert_int_equal(b->order, 2);
    assert_int_equal(huge->order, 3);
    /* Two batches were formed before they came, as no speed is known yet; both begin the third. */
    assert_int_equal(f.engine.firsts[2][0], 50000);
    assert_int_equal(f.engine.firsts[2][1], 60000);
    check_results(huge);
    check_results(a);
    check_results(b);
    work_free(huge);
    work_free(a);
    work_free(b);
    tear_down(&f);
}

static void test_idle_workers_share(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 2, 100);
    struct work *w = work_new(&f, 8, 10, 0);
    submit(&f, w);
    settle(&f);
    wait_entered(&f.engine, 2);
    assert_int_equal(f.engine.inputs[0], 4);
    assert_int_equal(f.engine.inputs[1], 4);
    open_gate(&f.engine, -1);
    until_done(&f, 1);
    check_results(w);
    work_free(w);
    tear_down(&f);
}

static void refused(struct fixture *f, struct work *w, enum emb_submit verdict)
{
    assert_int_equal(emb_scheduler_submit(f->scheduler, &w->job), verdict);
    assert_int_equal(w->order, 0);
}

static void test_queue_bound(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 10);
    struct work *first = occupy(&f);
    struct work *nine = work_new(&f, 9, 1, 100), *one = work_new(&f, 1, 1, 200), *two = work_new(&f, 2, 1, 300),
                *eleven = work_new(&f, 11, 1, 300);
    refused(&f, eleven, EMB_SUBMIT_TOO_LARGE);
    submit(&f, nine);
    refused(&f, two, EMB_SUBMIT_FULL);
    assert_false(emb_scheduler_full(f.scheduler));
    submit(&f, one);
    assert_true(emb_scheduler_full(f.scheduler));
    refused(&f, two, EMB_SUBMIT_FULL);
    open_gate(&f.engine, -1);
    until_done(&f, 3);
    assert_false(emb_scheduler_full(f.scheduler));
    submit(&f, two);
    until_done(&f, 4);
    check_results(nine);
    check_results(one);
    check_results(two);
    struct emb_scheduler_stats stats = emb_scheduler_stats(f.scheduler);
    assert_int_equal(stats.refused[EMB_SUBMIT_FULL], 2);
    assert_int_equal(stats.refused[EMB_SUBMIT_TOO_LARGE], 1);
    work_free(first);
    work_free(nine);
    work_free(one);
    work_free(two);
    work_free(eleven);
    tear_down(&f);
}

static void test_failure_is_its_own(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, 100, BUDGET); /* one batch, whatever the pace */
    struct work *first = occupy(&f);
    struct work *good = work_new(&f, 4, 3, 10), *bad = work_new(&f, 3, 3, BAD - 1);
    submit(&f, good);
    submit(&f, bad);
    open_gate(&f.engine, -1);
    until_done(&f, 3);
    assert_int_equal(f.engine.batches, 2);
    check_results(good);
    check_results(bad);
    assert_int_equal(bad->job.statuses[1], EMBELLAMA_E_NOT_FINITE);
    assert_int_equal(bad->job.statuses[2], EMBELLAMA_OK);
    work_free(first);
    work_free(good);
    work_free(bad);
    tear_down(&f);
}

static void test_cancel(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 1000);
    struct work *running = occupy(&f);
    struct work *waiting = work_new(&f, 5, 10, 100), *partly = work_new(&f, 30, 100, 200),
                *kept = work_new(&f, 2, 10, 300);
    submit(&f, waiting);
    submit(&f, partly);
    submit(&f, kept);
    emb_scheduler_cancel(f.scheduler, &waiting->job);
    work_free(waiting);
    settle(&f); /* the full batch now waits behind the running one */
    struct emb_scheduler_stats stats = emb_scheduler_stats(f.scheduler);
    assert_true(stats.running > 1);
    assert_true(stats.waiting > 0);
    emb_scheduler_cancel(f.scheduler, &partly->job);
    work_free(partly);
    assert_int_equal(emb_scheduler_stats(f.scheduler).waiting, 0);
    emb_scheduler_cancel(f.scheduler, &running->job);
    work_free(running);
    open_gate(&f.engine, -1);
    until_done(&f, 1);
    assert_int_equal(kept->order, 1);
    check_results(kept);
    assert_true(emb_scheduler_idle(f.scheduler));
    work_free(kept);
    tear_down(&f);
}

/* One job's done cancels another that is complete but was not told yet. */
static void test_cancel_from_done(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 1000);
    struct work *first = occupy(&f);
    struct work *a = work_new(&f, 1, 1, 10), *b = work_new(&f, 1, 1, 20), *c = work_new(&f, 1, 1, 30);
    a->kill = b;
    submit(&f, a);
    submit(&f, b);
    submit(&f, c);
    open_gate(&f.engine, -1);
    until_done(&f, 3);
    assert_int_equal(a->order, 2);
    assert_int_equal(b->order, 0);
    assert_int_equal(c->order, 3);
    work_free(first);
    work_free(a);
    work_free(b);
    work_free(c);
    tear_down(&f);
}

static void test_free_with_work_left(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 1000);
    struct work *first = occupy(&f);
    struct work *w = work_new(&f, 100, 100, 10);
    submit(&f, w);
    settle(&f);
    open_gate(&f.engine, -1);
    tear_down(&f);
    assert_int_equal(w->order, 0);
    work_free(first);
    work_free(w);
}

/* Many jobs of every size over three workers, some cancelled at random moments: the rest are each done once, and
 * right. */
static void test_random(void **state)
{
    (void)state;
    enum { JOBS = 400 };
    struct fixture f;
    set_up(&f, 3, 1u << 20);
    f.engine.permits = -1;
    struct work *w[JOBS];
    int cancelled = 0;
    unsigned seed = 7;
    for (int i = 0; i < JOBS; i++) {
        size_t inputs = 1 + (size_t)rand_r(&seed) % (i % 50 == 0 ? 900 : 12);
        w[i] = work_new(&f, inputs, 1 + (uint32_t)rand_r(&seed) % 90, rand_r(&seed) % 1000 + 1000);
        submit(&f, w[i]);
        int other = rand_r(&seed) % 2 ? i : rand_r(&seed) % (i + 1);
        if (rand_r(&seed) % 5 == 0 && w[other] && w[other]->order == 0) {
            emb_scheduler_cancel(f.scheduler, &w[other]->job);
            work_free(w[other]);
            w[other] = NULL;
            cancelled++;
        }
        if (rand_r(&seed) % 3 == 0) {
            uv_run(&f.loop, UV_RUN_NOWAIT);
        }
    }
    until_done(&f, JOBS - cancelled);
    while (!emb_scheduler_idle(f.scheduler)) {
        turn(&f);
    }
    assert_true(cancelled > 10);
    for (int i = 0; i < JOBS; i++) {
        if (w[i]) {
            assert_true(w[i]->order > 0);
            check_results(w[i]);
            work_free(w[i]);
        }
    }
    tear_down(&f);
}

static int start_three(struct fixture *f, const struct emb_pool_engine *engine, embellama_error *error)
{
    struct emb_scheduler_setup setup = {.context = CONTEXT, .queue_size = 10, .queue_tokens = 100000};
    int rc = emb_thread_pool_new(&setup.pool, &f->loop, engine, (struct emb_pool_layout){3, 1}, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_scheduler_new(&f->scheduler, &f->loop, &setup, error);
        if (rc != EMBELLAMA_OK) {
            emb_pool_free(setup.pool);
        }
    }
    return rc;
}

/* ---- Kinds of work ---- */

/* Several kinds in one batch, each with what it asked for; and the same ids are shared only where the same is wanted of them. */
static void test_tasks(void **state)
{
    static const struct emb_task tasks[] = {{EMB_TASK_TOKENS, 0}, {EMB_TASK_EMBED, 0}, {EMB_TASK_SCORE, 2},
                                            {EMB_TASK_SCORE, 3},  {EMB_TASK_RAW, 0},   {EMB_TASK_SCORE, 2}};
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, 100, BUDGET);
    struct work *first = occupy(&f);
    struct work *mixed = work_new(&f, 6, 5, 10), *plain = work_new(&f, 1, 5, 10), *raw = work_new(&f, 2, 5, 10);
    for (size_t i = 5; i < 30; i++) {
        ((int32_t *)(uintptr_t)mixed->job.ids)[i] = mixed->job.ids[i % 5];
    }
    give_tasks(mixed, tasks);
    give_tasks(raw, (const struct emb_task[]){{EMB_TASK_RAW, 0}, {EMB_TASK_TOKENS, 0}});
    submit(&f, mixed);
    submit(&f, plain);
    submit(&f, raw);
    open_gate(&f.engine, -1);
    until_done(&f, 4);
    assert_int_equal(f.engine.batches, 2);
    assert_int_equal(f.engine.inputs[1], 5 + 1);
    assert_false(f.engine.tasks[0]);
    assert_true(f.engine.tasks[1]);
    assert_int_equal(emb_scheduler_stats(f.scheduler).shared, 3);
    check_results(mixed);
    check_results(plain);
    check_results(raw);
    /* A batch of embeddings after it is one again. */
    struct work *after = work_new(&f, 2, 5, 10);
    submit(&f, after);
    until_done(&f, 5);
    assert_false(f.engine.tasks[2]);
    check_results(after);
    work_free(first);
    work_free(mixed);
    work_free(plain);
    work_free(raw);
    work_free(after);
    tear_down(&f);
}

/* A batch's values are bounded, however many tokens it may have. */
static void test_bounded_values(void **state)
{
    enum { INPUTS = 10, COUNT = 1000 };
    (void)state;
    struct fixture f;
    struct emb_task tasks[INPUTS];
    set_up_with(&f, 1, 100, (size_t)4 * CONTEXT);
    struct work *first = occupy(&f), *rows = work_new(&f, INPUTS, COUNT, 10), *whole = work_new(&f, 1, CONTEXT, 7);
    for (size_t i = 0; i < INPUTS; i++) {
        tasks[i] = (struct emb_task){.kind = EMB_TASK_TOKENS};
    }
    give_tasks(rows, tasks);
    give_tasks(whole, tasks);
    submit(&f, rows);
    submit(&f, whole);
    open_gate(&f.engine, -1);
    until_done(&f, 3);
    for (size_t i = 1; i < f.engine.batches; i++) {
        assert_true(f.engine.tokens[i] <= CONTEXT);
    }
    check_results(rows);
    check_results(whole);
    work_free(first);
    work_free(rows);
    work_free(whole);
    tear_down(&f);
}

/* What comes too late is zeros, as many as were asked for. */
static void test_late_tasks(void **state)
{
    enum { VALUES = 5 * DIM + LABELS };
    static const struct emb_task tasks[] = {{EMB_TASK_TOKENS, 0}, {EMB_TASK_SCORE, 2}};
    (void)state;
    struct fixture f;
    set_up_with(&f, 1, 100, BUDGET);
    struct work *first = occupy(&f), *late = work_new(&f, 2, 5, 10);
    give_tasks(late, tasks);
    for (size_t i = 0; i < VALUES; i++) {
        late->job.vectors[i] = 7;
    }
    late->job.deadline_ns = uv_hrtime() + UINT64_C(20000000);
    submit(&f, late);
    until_done(&f, 1);
    for (size_t i = 0; i < VALUES; i++) {
        assert_true(late->job.vectors[i] == 0);
    }
    assert_int_equal(late->job.statuses[0], EMBELLAMA_E_DEADLINE);
    assert_int_equal(late->job.statuses[1], EMBELLAMA_E_DEADLINE);
    open_gate(&f.engine, -1);
    until_done(&f, 2);
    work_free(first);
    work_free(late);
    tear_down(&f);
}

/* Jobs of all kinds that come, are cancelled and are computed by several workers. */
static void test_random_tasks(void **state)
{
    enum { JOBS = 200, INPUTS = 12 };
    (void)state;
    struct fixture f;
    struct work *w[JOBS];
    unsigned seed = 11;
    int kept = 0;
    set_up(&f, 3, 100000);
    f.engine.permits = -1;
    for (int i = 0; i < JOBS; i++) {
        uint32_t count = 1 + (uint32_t)rand_r(&seed) % 40;
        struct emb_task tasks[INPUTS];
        w[i] = work_new(&f, 1 + (size_t)rand_r(&seed) % INPUTS, count, rand_r(&seed) % 8);
        for (size_t k = 0; k < w[i]->job.inputs; k++) {
            uint32_t kind = (uint32_t)rand_r(&seed) % EMB_TASK_KINDS;
            tasks[k] = (struct emb_task){kind, kind == EMB_TASK_SCORE ? (uint32_t)rand_r(&seed) % (count + 1) : 0};
        }
        if (i % 4 != 0) {
            give_tasks(w[i], tasks);
        }
        submit(&f, w[i]);
        if (i % 7 == 0) {
            settle(&f);
        }
        if (i % 5 == 0 && w[i]->order == 0) {
            emb_scheduler_cancel(f.scheduler, &w[i]->job);
            work_free(w[i]);
            w[i] = NULL;
        }
        kept += w[i] != NULL;
    }
    until_done(&f, kept);
    for (int i = 0; i < JOBS; i++) {
        if (w[i]) {
            check_results(w[i]);
            work_free(w[i]);
        }
    }
    assert_true(emb_scheduler_idle(f.scheduler));
    tear_down(&f);
}

static void test_start_that_fails(void **state)
{
    (void)state;
    struct fixture f;
    memset(&f, 0, sizeof f);
    f.self = &f.engine;
    assert_int_equal(uv_loop_init(&f.loop), 0);
    struct emb_pool_engine engine = engine_of(&f);
    embellama_error error = {0};
    f.engine.fail_start = 3;
    assert_int_equal(start_three(&f, &engine, &error), EMBELLAMA_E_NOMEM);
    assert_string_equal(error.message, "no worker today");
    assert_int_equal(f.engine.stopped, 2);
    f.engine = (struct engine){0};
    int rc = EMBELLAMA_E_NOMEM;
    for (long allowed = 0; rc != EMBELLAMA_OK; allowed++) {
        emb_mem_fail_after(allowed);
        rc = start_three(&f, &engine, &error);
        emb_mem_fail_after(-1);
        assert_true(rc == EMBELLAMA_OK || rc == EMBELLAMA_E_NOMEM);
        assert_true(allowed < 1000);
    }
    emb_scheduler_free(f.scheduler);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    assert_int_equal(f.engine.started, f.engine.stopped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_one_job),
        cmocka_unit_test(test_batches_of_many_jobs),
        cmocka_unit_test(test_batch_tokens),
        cmocka_unit_test(test_one_full_batch_waits),
        cmocka_unit_test(test_input_above_the_budget),
        cmocka_unit_test(test_huge_job_does_not_block),
        cmocka_unit_test(test_idle_workers_share),
        cmocka_unit_test(test_queue_bound),
        cmocka_unit_test(test_failure_is_its_own),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_from_done),
        cmocka_unit_test(test_free_with_work_left),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_bounded_values),
        cmocka_unit_test(test_late_tasks),
        cmocka_unit_test(test_random_tasks),
        cmocka_unit_test(test_start_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
