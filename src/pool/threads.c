/* Worker threads. Each has a short list of batches to compute; what is computed comes back to the loop over one list
 * and one uv_async. What a batch is computed with is worker.h's. */
#include "pool/threads.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"

struct thread_pool;

struct worker {
    struct thread_pool *pool;
    void *state;
    bool running; /* the thread exists */
    pthread_t thread;
    pthread_cond_t wake;
    struct emb_pool_batch *waiting[EMB_POOL_DEPTH]; /* oldest first, under the pool's lock, like what follows */
    int depth;
    uint64_t busy_ns, batches;
};

struct thread_pool {
    struct emb_pool base;
    struct emb_pool_engine engine;
    struct worker *workers;
    bool announced; /* ready was called for all */
    uv_async_t wake;

    pthread_mutex_t lock;
    bool stopping;
    struct emb_pool_batch **computed; /* [workers * EMB_POOL_DEPTH], oldest first */
    size_t n_computed;
};

/* ---- On the workers' threads ---- */

static struct emb_pool_batch *take(struct worker *w)
{
    struct thread_pool *pool = w->pool;
    struct emb_pool_batch *batch = NULL;
    pthread_mutex_lock(&pool->lock);
    while (w->depth == 0 && !pool->stopping) {
        pthread_cond_wait(&w->wake, &pool->lock);
    }
    if (!pool->stopping) {
        batch = w->waiting[0];
        w->depth--;
        for (int i = 0; i < w->depth; i++) {
            w->waiting[i] = w->waiting[i + 1];
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return batch;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct thread_pool *pool = w->pool;
    struct emb_pool_batch *batch;
    while ((batch = take(w)) != NULL) {
        batch->started_ns = emb_clock_ns();
        pool->engine.run(w->state, batch);
        batch->compute_ns = emb_clock_ns() - batch->started_ns;
        pthread_mutex_lock(&pool->lock);
        w->busy_ns += batch->compute_ns;
        w->batches++;
        pool->computed[pool->n_computed++] = batch;
        pthread_mutex_unlock(&pool->lock);
        uv_async_send(&pool->wake);
    }
    return NULL;
}

/* ---- On the loop's ---- */

static struct emb_pool_batch *first_computed(struct thread_pool *pool)
{
    struct emb_pool_batch *batch = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->n_computed > 0) {
        batch = pool->computed[0];
        pool->n_computed--;
        for (size_t i = 0; i < pool->n_computed; i++) {
            pool->computed[i] = pool->computed[i + 1];
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return batch;
}

static void on_wake(uv_async_t *handle)
{
    struct thread_pool *pool = handle->data;
    struct emb_pool_events *events = &pool->base.events;
    if (!pool->announced && events->ready) {
        pool->announced = true;
        for (int i = 0; i < pool->base.layout.workers; i++) {
            events->ready(events->arg, i);
        }
    }
    struct emb_pool_batch *batch;
    while ((batch = first_computed(pool)) != NULL) {
        events->done(events->arg, batch);
    }
}

static void watch(struct emb_pool *base)
{
    uv_async_send(&((struct thread_pool *)base)->wake);
}

static void submit(struct emb_pool *base, int worker, struct emb_pool_batch *batch)
{
    struct thread_pool *pool = (struct thread_pool *)base;
    struct worker *w = &pool->workers[worker];
    pthread_mutex_lock(&pool->lock);
    w->waiting[w->depth++] = batch;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&pool->lock);
}

static void stats(const struct emb_pool *base, int worker, struct emb_pool_worker_stats *out)
{
    struct thread_pool *pool = (struct thread_pool *)(uintptr_t)base;
    pthread_mutex_lock(&pool->lock);
    *out = (struct emb_pool_worker_stats){.ready = pool->announced,
                                          .busy_ns = pool->workers[worker].busy_ns,
                                          .batches = pool->workers[worker].batches,
                                          .pid = getpid()};
    pthread_mutex_unlock(&pool->lock);
}

static void stop_workers(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    for (int i = 0; i < pool->base.layout.workers; i++) {
        if (pool->workers[i].running) {
            pthread_cond_signal(&pool->workers[i].wake);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->base.layout.workers; i++) {
        struct worker *w = &pool->workers[i];
        if (w->running) {
            pthread_join(w->thread, NULL);
            pthread_cond_destroy(&w->wake);
            pool->engine.stop(w->state);
        }
    }
}

static void destroy(struct thread_pool *pool)
{
    pthread_mutex_destroy(&pool->lock);
    emb_free(pool->computed);
    emb_free(pool->workers);
    emb_free(pool);
}

static void on_closed(uv_handle_t *handle)
{
    destroy(handle->data);
}

/* What waits is not computed any more. */
static void free_pool(struct emb_pool *base)
{
    struct thread_pool *pool = (struct thread_pool *)base;
    stop_workers(pool);
    uv_close((uv_handle_t *)&pool->wake, on_closed);
}

static const struct emb_pool_kind threads_kind = {.watch = watch, .submit = submit, .stats = stats, .free = free_pool};

static int start_worker(struct thread_pool *pool, struct worker *w, embellama_error *error)
{
    int rc = pool->engine.start(pool->engine.arg, pool->base.layout.threads, &w->state, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    w->pool = pool;
    pthread_cond_init(&w->wake, NULL);
    if (pthread_create(&w->thread, NULL, work, w) != 0) {
        pthread_cond_destroy(&w->wake);
        pool->engine.stop(w->state);
        return emb_fail(error, EMBELLAMA_E_NOMEM, "cannot start a worker's thread");
    }
    w->running = true;
    return EMBELLAMA_OK;
}

int emb_thread_pool_new(struct emb_pool **out, uv_loop_t *loop, const struct emb_pool_engine *engine,
                        struct emb_pool_layout layout, embellama_error *error)
{
    struct thread_pool *pool = emb_calloc(1, sizeof *pool);
    if (!pool) {
        return emb_fail_nomem(error);
    }
    pool->base =
        (struct emb_pool){.kind = &threads_kind, .layout = layout, .dim = engine->dim, .labels = engine->labels};
    pool->engine = *engine;
    pthread_mutex_init(&pool->lock, NULL);
    pool->workers = emb_calloc((size_t)layout.workers, sizeof *pool->workers);
    pool->computed = emb_calloc((size_t)layout.workers * EMB_POOL_DEPTH, sizeof(struct emb_pool_batch *));
    if (!pool->workers || !pool->computed) {
        destroy(pool);
        return emb_fail_nomem(error);
    }
    int uv = uv_async_init(loop, &pool->wake, on_wake);
    if (uv != 0) {
        destroy(pool);
        return emb_fail(error, EMBELLAMA_E_IO, "cannot set up the workers: %s", uv_strerror(uv));
    }
    pool->wake.data = pool;
    uv_unref((uv_handle_t *)&pool->wake);
    for (int i = 0; i < layout.workers; i++) {
        int rc = start_worker(pool, &pool->workers[i], error);
        if (rc != EMBELLAMA_OK) {
            free_pool(&pool->base);
            return rc;
        }
    }
    *out = &pool->base;
    return EMBELLAMA_OK;
}
