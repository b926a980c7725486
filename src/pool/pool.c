/* What all kinds of pools share: who gets how many cores, how many values an input gets, and the calls
 * through the table. */
#include "pool/pool.h"

size_t emb_task_values(const struct emb_task *task, size_t tokens, size_t dim, size_t labels)
{
    switch (task ? task->kind : EMB_TASK_EMBED) {
    case EMB_TASK_TOKENS: return tokens * dim;
    case EMB_TASK_SCORE: return labels;
    default: return dim;
    }
}

size_t emb_task_values_of(const struct emb_task *tasks, const uint32_t *counts, size_t inputs, size_t dim,
                          size_t labels)
{
    size_t values = tasks ? 0 : inputs * dim;
    for (size_t i = 0; tasks && i < inputs; i++) {
        values += emb_task_values(&tasks[i], counts[i], dim, labels);
    }
    return values;
}

/* Cores one forward pass still uses well: beyond, its threads wait for each other more than another worker would
 * cost. */
enum { CORES_PER_WORKER = 8 };

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

void emb_pool_watch(struct emb_pool *pool, const struct emb_pool_events *events)
{
    pool->events = *events;
    pool->kind->watch(pool);
}

struct emb_pool_layout emb_pool_layout_of(const struct emb_pool *pool)
{
    return pool->layout;
}

size_t emb_pool_dim(const struct emb_pool *pool)
{
    return pool->dim;
}

size_t emb_pool_labels(const struct emb_pool *pool)
{
    return pool->labels;
}

void emb_pool_submit(struct emb_pool *pool, int worker, struct emb_pool_batch *batch)
{
    pool->kind->submit(pool, worker, batch);
}

void emb_pool_stats(const struct emb_pool *pool, int worker, struct emb_pool_worker_stats *out)
{
    pool->kind->stats(pool, worker, out);
}

void emb_pool_free(struct emb_pool *pool)
{
    if (pool) {
        pool->kind->free(pool);
    }
}
