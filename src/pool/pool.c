/* The pool of worker threads: who gets how many cores, and the hand-over of batches. What a batch is computed with
 * is worker.c's. */
#include "pool/pool.h"

#include <pthread.h>
#include <time.h>

#include "base/mem.h"
#include "base/status.h"

/* Cores one forward pass still uses well: beyond, its threads wait for each other more than another worker would
 * cost. */
enum { CORES_PER_WORKER = 8 };

struct worker {
    struct emb_pool *pool;
    void *state;
    bool running; /* the thread exists */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct emb_pool_batch *waiting[EMB_POOL_DEPTH]; /* oldest first, under lock, like the two below */
    int depth;
    bool stopping;
};

struct emb_pool {
    struct emb_pool_engine engine;
    int size;
    struct worker *workers;
};

struct emb_pool_layout emb_pool_layout(int cores, int workers, int threads)
{
    if (cores < 1) {
        cores = 1;
    }
    if (workers <= 0 && threads <= 0) {
        workers = (cores + CORES_PER_WORKER - 1) / CORES_PER_WORKER;
    } else if (workers <= 0) {
        workers = threads < cores ? cores / threads : 1;
    }
    if (threads <= 0) {
        threads = workers < cores ? cores / workers : 1;
    }
    return (struct emb_pool_layout){.workers = workers, .threads = threads};
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct emb_pool_batch *take(struct worker *w)
{
    struct emb_pool_batch *batch = NULL;
    pthread_mutex_lock(&w->lock);
    while (w->depth == 0 && !w->stopping) {
        pthread_cond_wait(&w->wake, &w->lock);
    }
    if (w->depth > 0) {
        batch = w->waiting[0];
        w->depth--;
        for (int i = 0; i < w->depth; i++) {
            w->waiting[i] = w->waiting[i + 1];
        }
    }
    pthread_mutex_unlock(&w->lock);
    return batch;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct emb_pool_batch *batch;
    while ((batch = take(w)) != NULL) {
        batch->started_ns = now_ns();
        w->pool->engine.run(w->state, batch);
        batch->compute_ns = now_ns() - batch->started_ns;
        batch->done(batch);
    }
    return NULL;
}

static int start_worker(struct worker *w, struct emb_pool *pool, int threads, embellama_error *error)
{
    int rc = pool->engine.start(pool->engine.arg, threads, &w->state, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    w->pool = pool;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (pthread_create(&w->thread, NULL, work, w) != 0) {
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        pool->engine.stop(w->state);
        return emb_fail(error, EMBELLAMA_E_NOMEM, "cannot start a worker's thread");
    }
    w->running = true;
    return EMBELLAMA_OK;
}

int emb_pool_new(struct emb_pool **out, const struct emb_pool_engine *engine, struct emb_pool_layout layout,
                 embellama_error *error)
{
    struct emb_pool *pool = emb_calloc(1, sizeof *pool);
    int rc = EMBELLAMA_OK;
    if (!pool) {
        return emb_fail_nomem(error);
    }
    pool->engine = *engine;
    pool->workers = emb_calloc((size_t)layout.workers, sizeof *pool->workers);
    if (!pool->workers) {
        rc = emb_fail_nomem(error);
        goto fail;
    }
    pool->size = layout.workers;
    for (int i = 0; i < pool->size; i++) {
        rc = start_worker(&pool->workers[i], pool, layout.threads, error);
        if (rc != EMBELLAMA_OK) {
            goto fail;
        }
    }
    *out = pool;
    return EMBELLAMA_OK;
fail:
    emb_pool_free(pool);
    return rc;
}

void emb_pool_free(struct emb_pool *pool)
{
    if (!pool) {
        return;
    }
    for (int i = 0; i < pool->size; i++) {
        struct worker *w = &pool->workers[i];
        if (w->running) {
            pthread_mutex_lock(&w->lock);
            w->stopping = true;
            pthread_cond_signal(&w->wake);
            pthread_mutex_unlock(&w->lock);
        }
    }
    for (int i = 0; i < pool->size; i++) {
        struct worker *w = &pool->workers[i];
        if (w->running) {
            pthread_join(w->thread, NULL);
            pthread_cond_destroy(&w->wake);
            pthread_mutex_destroy(&w->lock);
            pool->engine.stop(w->state);
        }
    }
    emb_free(pool->workers);
    emb_free(pool);
}

void emb_pool_submit(struct emb_pool *pool, int worker, struct emb_pool_batch *batch)
{
    struct worker *w = &pool->workers[worker];
    pthread_mutex_lock(&w->lock);
    w->waiting[w->depth++] = batch;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}
