/* The queue of inputs and the batches made of it.
 *
 * The unit of work is an input, not a request. A request's inputs form a job. Who is next is the queue's to say
 * (queue.h): priorities, fair shares between clients, turns between a client's jobs. A batch is formed the moment a
 * worker is idle, never by waiting for company, up to a budget of tokens that follows from the measured speed and the
 * latency wanted. Inputs whose worker died are computed again; one that kills workers is found, answered with E_CRASHED
 * and kept out.
 *
 * Owns its pool. Everything here is called on the loop's thread, and calls back on it. */
#ifndef EMB_SCHEDULER_H
#define EMB_SCHEDULER_H

#include <uv.h>

#include "embellama/embellama.h"
#include "pool/pool.h"
#include "server/observe/histogram.h"

struct emb_scheduler;

enum emb_priority { EMB_PRIORITY_HIGH, EMB_PRIORITY_NORMAL, EMB_PRIORITY_LOW };
enum { EMB_PRIORITIES = 3 };

/* The inputs of one request. The caller owns it and all it points to, until done is called or it was cancelled. */
struct emb_job {
    size_t inputs;                /* at least 1 */
    const int32_t *ids;           /* all inputs' tokens, one input after the other, special tokens included */
    const uint32_t *counts;       /* [inputs] tokens of each: 1 to the model's context length */
    const struct emb_task *tasks; /* [inputs]; NULL: all EMBED */
    const size_t *places;         /* [inputs] where in vectors each one's values begin; NULL where tasks is */
    float *vectors;               /* written: each input's values (emb_task_values) behind the other's */
    int *statuses; /* [inputs], written: an embellama_status each; one that failed has zeros as its values */
    void (*done)(struct emb_job *job); /* every input has its status; never called from within submit */
    void *arg;
    enum emb_priority priority;
    uint64_t client;      /* whose it is: clients share the workers fairly */
    uint64_t deadline_ns; /* of uv_hrtime; 0: none. What is not computed by then gets E_DEADLINE, and done is called */
    bool partial;         /* what is ready by then will do: never EMB_SUBMIT_LATE */
    const char *request_id; /* for the log and the dead-letter file; may be NULL */

    uint64_t queue_ns;   /* written: from submission until a worker took up the first input */
    uint64_t compute_ns; /* written: from there until the last vector was there */

    /* The scheduler's own. */
    struct emb_queue_job *queued;    /* until every input has its status */
    struct emb_job *next, *previous; /* jobs whose done is about to be called, in a ring */
    size_t finished;
    uint64_t submitted_ns;
};

struct emb_scheduler_setup {
    struct emb_pool *pool;
    const char *model;   /* its name, for logs and the dead-letter file */
    size_t context;      /* most tokens of an input */
    size_t queue_size;   /* inputs that may wait; 0: what a share of memory holds, like the next */
    size_t queue_tokens; /* tokens that may wait */
    size_t batch_tokens; /* that a worker takes at once, though always an input; 0: what target_latency_ms allows */
    unsigned target_latency_ms; /* 0: EMB_TARGET_LATENCY_MS */
    const char *dead_letter;    /* file for inputs that end workers, or NULL */
    bool dead_letter_text;      /* with their token ids, from which the text can be read */
};

enum { EMB_TARGET_LATENCY_MS = 100 };

/* Takes the pool over, when it succeeds. Errors: E_NOMEM, E_IO. */
int emb_scheduler_new(struct emb_scheduler **out, uv_loop_t *loop, const struct emb_scheduler_setup *setup,
                      embellama_error *error);

/* The most tokens that workers of so many threads take at once where nobody says otherwise. */
size_t emb_scheduler_batch_tokens(int threads);

/* Frees the pool, forgets what waits or is being computed (done is not called for it), and closes its handles: the loop
 * must run once more before it is closed. NULL is allowed. */
void emb_scheduler_free(struct emb_scheduler *scheduler);

/* True when no input waits or is being computed. Its handles never keep the loop alive. */
bool emb_scheduler_idle(const struct emb_scheduler *scheduler);

enum emb_submit {
    EMB_SUBMIT_QUEUED,
    EMB_SUBMIT_FULL,      /* more inputs or tokens than may wait, now, or no memory for them */
    EMB_SUBMIT_LATE,      /* it would not be ready by its deadline, at the speed measured, after what waits */
    EMB_SUBMIT_SLOW,      /* nor would it be if nothing waited */
    EMB_SUBMIT_TOO_LARGE, /* more inputs or tokens than may ever wait */
    EMB_SUBMIT_BREAKER,   /* nothing can be computed: the workers keep dying, or all they compute fails */
};
enum { EMB_SUBMITS = 6 };

/* Queues a job, or refuses it at once: then nothing is kept. An input that is known to end workers gets E_CRASHED
 * without being computed. */
enum emb_submit emb_scheduler_submit(struct emb_scheduler *scheduler, struct emb_job *job);

/* Forgets a submitted job that is not done: its waiting inputs are dropped, and what workers still compute of it
 * is ignored. The job may be freed at once; done is not called. */
void emb_scheduler_cancel(struct emb_scheduler *scheduler, struct emb_job *job);

/* True when the queue would refuse even one more input. */
bool emb_scheduler_full(const struct emb_scheduler *scheduler);

/* After how long a refused request has a chance: half of what waits is then computed, at the rate measured, or the
 * breaker lets one through. 50 to 60,000. */
unsigned emb_scheduler_retry_after_ms(const struct emb_scheduler *scheduler);

enum emb_breaker_state { EMB_BREAKER_CLOSED, EMB_BREAKER_OPEN, EMB_BREAKER_HALF_OPEN };

struct emb_scheduler_stats {
    int workers;
    int threads;
    int workers_ready;
    size_t waiting; /* inputs not yet handed to a worker, of all requests, and their tokens */
    size_t waiting_tokens;
    size_t waiting_by[EMB_PRIORITIES];
    size_t waiting_tokens_by[EMB_PRIORITIES];
    size_t running; /* inputs with the workers */
    size_t queue_size;
    size_t queue_tokens;
    size_t batch_tokens; /* the budget of a batch now */
    uint64_t oldest_wait_ns;
    double tokens_per_s;      /* of all workers that are ready, measured; 0 until then */
    uint64_t batches, tokens; /* computed */
    const struct emb_histogram *batch_inputs, *batch_tokens_each;
    const struct emb_histogram *queue_s, *compute_s; /* an input's wait; a batch's time */
    /* Seconds that a batch lay between the loop and a worker, the wait behind another included, and its vectors on the
     * way back. */
    const struct emb_histogram *to_worker_s, *from_worker_s;
    uint64_t refused[EMB_SUBMITS]; /* requests, by reason */
    uint64_t expired;              /* inputs that met their deadline */
    uint64_t cancelled;            /* inputs of clients that left */
    uint64_t shared;               /* inputs that were computed together with an identical one */
    uint64_t crashed;              /* inputs answered E_CRASHED */
    uint64_t retried;              /* inputs computed again because their worker died */
    size_t quarantined;            /* inputs known to end workers */
    enum emb_breaker_state breaker;
    uint64_t breaker_opened; /* times */
};
struct emb_scheduler_stats emb_scheduler_stats(const struct emb_scheduler *scheduler);

/* Of one worker. */
void emb_scheduler_worker_stats(const struct emb_scheduler *scheduler, int worker, struct emb_pool_worker_stats *out);

uv_loop_t *emb_scheduler_loop(const struct emb_scheduler *scheduler);

#endif
