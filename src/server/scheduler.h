/* The queue of inputs and the batches made of it.
 *
 * The unit of work is an input, not a request. A request's inputs form a job; jobs take turns, one input each, so
 * that a huge request never blocks a small one, and inputs of different requests share a batch. Nothing waits for
 * company: a batch is formed as soon as a worker is idle. Owns the worker pool. Everything here is called on the
 * loop's thread. */
#ifndef EMB_SCHEDULER_H
#define EMB_SCHEDULER_H

#include <uv.h>

#include "embellama/embellama.h"
#include "pool/pool.h"
#include "server/server.h"

struct emb_scheduler;

/* The inputs of one request. The caller owns it and all it points to, until done is called or it was cancelled. */
struct emb_job {
    size_t inputs;          /* at least 1 */
    const int32_t *ids;     /* all inputs' tokens, one input after the other, special tokens included */
    const uint32_t *counts; /* [inputs] tokens of each: 1 to the model's context length */
    float *vectors;         /* [inputs, dim], written */
    int *statuses;          /* [inputs], written: an embellama_status each; one that failed has zeros as its vector */
    void (*done)(struct emb_job *job); /* every input has its status */
    void *arg;

    uint64_t queue_ns;   /* written: from submission until a worker took up the first input */
    uint64_t compute_ns; /* written: from there until the last vector was there */

    /* The scheduler's own. */
    struct emb_job *next, *previous; /* jobs with inputs not yet handed to a worker, in a ring */
    size_t taken;                    /* inputs handed to workers */
    size_t taken_tokens;
    size_t finished;
    uint64_t submitted_ns;
};

/* Starts the workers. The model must outlive the scheduler; options is read here only. Errors: E_INVALID for
 * pooling none, which gives no single vector to an input; E_NOMEM. */
int emb_scheduler_new(struct emb_scheduler **out, uv_loop_t *loop, const embellama_model *model,
                      const struct emb_server_options *options, embellama_error *error);

/* The same over any engine and layout. */
struct emb_scheduler_setup {
    const struct emb_pool_engine *engine;
    struct emb_pool_layout layout;
    size_t batch_tokens; /* that a worker takes at once, though always an input; 0: automatic */
    size_t context;      /* most tokens of an input */
    size_t queue_size;
};
int emb_scheduler_new_over(struct emb_scheduler **out, uv_loop_t *loop, const struct emb_scheduler_setup *setup,
                           embellama_error *error);

/* Tokens that a worker of so many threads takes at once where nobody says otherwise. */
size_t emb_scheduler_batch_tokens(int threads);

/* Waits for the workers to finish what they compute, forgets what still waits (done is not called for it), and
 * closes its handles: the loop must run once more before it is closed. NULL is allowed. */
void emb_scheduler_free(struct emb_scheduler *scheduler);

/* True when no input waits or is being computed. Its handles never keep the loop alive. */
bool emb_scheduler_idle(const struct emb_scheduler *scheduler);

/* Queues a job. Refused at once (returns false, nothing is kept) when the inputs that wait and these would be more
 * than queue_size; into an empty queue a job of any size fits, so that a request is never too large by itself. */
bool emb_scheduler_submit(struct emb_scheduler *scheduler, struct emb_job *job);

/* Forgets a submitted job that is not done: its waiting inputs are dropped, and what workers still compute of it
 * is ignored. The job may be freed at once; done is not called. */
void emb_scheduler_cancel(struct emb_scheduler *scheduler, struct emb_job *job);

/* True when the queue would refuse even one more input. */
bool emb_scheduler_full(const struct emb_scheduler *scheduler);

/* Seconds after which a refused request has a chance, from the measured rate: 1 to 60. */
unsigned emb_scheduler_retry_after(const struct emb_scheduler *scheduler);

struct emb_scheduler_stats {
    int workers;
    int threads;
    size_t waiting; /* inputs not yet handed to a worker */
    size_t running; /* inputs with the workers */
    size_t queue_size;
};
struct emb_scheduler_stats emb_scheduler_stats(const struct emb_scheduler *scheduler);

uv_loop_t *emb_scheduler_loop(const struct emb_scheduler *scheduler);

#endif
