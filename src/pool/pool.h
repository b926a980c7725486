/* Workers that compute: the seam between serving and the engine.
 *
 * What crosses it is plain data that a socket could carry: token ids in, vectors and statuses out. A pool knows nothing
 * of requests, HTTP or JSON, and decides nothing about what belongs together in a batch. There are two kinds: threads
 * of this process (threads.h) and processes (link.h). Everything here, events included, is on the loop's thread. */
#ifndef EMB_POOL_H
#define EMB_POOL_H

#include "embellama/embellama.h"

struct emb_pool;

/* What is computed of an input. */
enum emb_task_kind {
    EMB_TASK_EMBED,  /* its vector, dim values */
    EMB_TASK_RAW,    /* its vector, not normalised */
    EMB_TASK_TOKENS, /* a row of dim values a token, not normalised */
    EMB_TASK_SCORE,  /* the logits of a model that has labels */
};
enum { EMB_TASK_KINDS = 4 };

/* The most values that a batch's inputs may get in all. */
#define EMB_POOL_VALUES_MAX ((size_t)1 << 28)

struct emb_task {
    uint32_t kind;   /* enum emb_task_kind */
    uint32_t second; /* SCORE: index of the first token of the second text, or the number of tokens where there is none;
                      * 0 for all other kinds */
};

/* How many values an input of so many tokens gets. task NULL: EMBED. */
size_t emb_task_values(const struct emb_task *task, size_t tokens, size_t dim, size_t labels);

/* Of a whole batch. */
size_t emb_task_values_of(const struct emb_task *tasks, const uint32_t *counts, size_t inputs, size_t dim,
                          size_t labels);

/* The submitter's, untouched by it from submission until done or lost is called, or the pool is freed. */
struct emb_pool_batch {
    size_t inputs;
    int32_t *ids;                 /* all inputs' tokens, one input after the other, special tokens included */
    uint32_t *counts;             /* [inputs] tokens of each */
    const struct emb_task *tasks; /* [inputs]; NULL: all EMBED */
    float *vectors;      /* written: each input's values (emb_task_values) behind the other's; zeros where it failed */
    int *statuses;       /* [inputs], written: an embellama_status each */
    uint64_t started_ns; /* written: when the worker took it up (CLOCK_MONOTONIC), and how long it computed */
    uint64_t compute_ns;
    void *arg; /* the submitter's */
};

/* How a batch was lost, none of it computed. */
enum emb_pool_loss {
    EMB_POOL_UNSTARTED, /* it still waited for the worker */
    EMB_POOL_BLAMELESS, /* being computed when the worker was ended from outside */
    EMB_POOL_SUSPECT,   /* being computed when the worker died by itself: one of its inputs may be the reason */
};

struct emb_pool_events {
    void *arg;
    void (*ready)(void *arg, int worker); /* it takes batches from now on */
    void (*done)(void *arg, struct emb_pool_batch *batch);
    void (*lost)(void *arg, struct emb_pool_batch *batch, enum emb_pool_loss loss, const char *reason);
    void (*gone)(void *arg, int worker); /* it takes none until it is ready; its batches were lost before */
};

/* Batches a worker may hold: the one it computes, and one that waits so that it need not idle in between. */
enum { EMB_POOL_DEPTH = 2 };

struct emb_pool_layout {
    int workers;
    int threads; /* of each worker */
};

struct emb_pool_worker_stats {
    bool ready;
    unsigned restarts;
    uint64_t busy_ns, batches;
    int pid;
};

/* What a kind of pool does. */
struct emb_pool_kind {
    void (*watch)(struct emb_pool *pool); /* pool->events were just set */
    void (*submit)(struct emb_pool *pool, int worker, struct emb_pool_batch *batch);
    void (*stats)(const struct emb_pool *pool, int worker, struct emb_pool_worker_stats *out);
    void (*free)(struct emb_pool *pool);
};

/* The first member of every kind's own struct. */
struct emb_pool {
    const struct emb_pool_kind *kind;
    struct emb_pool_layout layout;
    size_t dim;
    size_t labels; /* of the model; 0: it makes vectors only */
    struct emb_pool_events events;
};

/* Shares cores out. 0 means automatic for either number: up to 8 cores make one worker, more cores make as many
 * equal workers as keep each at 8 or below; a number that is given decides the other. Automatic numbers never
 * multiply to more than cores. */
struct emb_pool_layout emb_pool_layout(int cores, int workers, int threads);

/* Once, before anything is submitted. ready comes from the loop also for workers that were there already. */
void emb_pool_watch(struct emb_pool *pool, const struct emb_pool_events *events);

struct emb_pool_layout emb_pool_layout_of(const struct emb_pool *pool);
size_t emb_pool_dim(const struct emb_pool *pool);
size_t emb_pool_labels(const struct emb_pool *pool);

/* Hands a batch to a worker that is ready and holds fewer than EMB_POOL_DEPTH. No event comes from within. One that is
 * dead but not yet said to be gone loses it later, unstarted. */
void emb_pool_submit(struct emb_pool *pool, int worker, struct emb_pool_batch *batch);

void emb_pool_stats(const struct emb_pool *pool, int worker, struct emb_pool_worker_stats *out);

/* Ends the workers. No event comes any more and no batch is touched; the loop must run once more to close its handles.
 * NULL is allowed. */
void emb_pool_free(struct emb_pool *pool);

#endif
