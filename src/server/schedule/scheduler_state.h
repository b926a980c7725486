/* The scheduler's inside, shared by its three files: scheduler.c (jobs in, answers out, time), batches.c (what the
 * workers get) and outcome.c (what became of it). */
#ifndef EMB_SCHEDULER_STATE_H
#define EMB_SCHEDULER_STATE_H

#include "server/schedule/breaker.h"
#include "server/schedule/dead_letter.h"
#include "server/schedule/pace.h"
#include "server/schedule/quarantine.h"
#include "server/schedule/queue.h"
#include "server/schedule/scheduler.h"

struct emb_batch {
    struct emb_pool_batch plain;
    struct emb_queue_unit **units; /* [EMB_BATCH_INPUTS] */
    struct emb_task *tasks;        /* [EMB_BATCH_INPUTS]: plain's, where one is not EMBED */
    size_t tokens, values;
    int worker;
    uint64_t sent_ns;
    bool busy;
    bool alone; /* one suspect, tried by itself */
};

/* Inputs of a batch. Its values are at most what so many vectors have, or as many as the longest input has tokens if that is
 * more: so much memory is set aside for each batch, and what was never needed of it is never touched. */
enum { EMB_BATCH_INPUTS = 256 };

struct emb_worker {
    bool ready;
    bool dying;  /* a batch was lost with it; until it is gone */
    bool blamed; /* and an input may be the reason */
    int held;
    struct emb_batch *batches[EMB_POOL_DEPTH]; /* [held], in the order they are computed in */
    uint64_t began_ns;                         /* when it can have begun the first of them */
};

struct emb_scheduler {
    uv_loop_t *loop;
    uv_check_t gathered; /* everything that had arrived was read: time to form batches and to answer */
    uv_idle_t hurry;     /* active while something waits for that, so that the loop does not sleep first */
    uv_timer_t clock;    /* deadlines, and moments at which batches are to be formed */
    int handles;         /* open ones */
    struct emb_pool *pool;
    struct emb_pool_layout layout;
    size_t dim, labels;
    size_t context;
    size_t batch_values; /* the most of a batch */
    char *model;
    size_t queue_size, queue_tokens;
    size_t fixed_budget; /* 0: by the pace */
    uint64_t target_ns;

    struct emb_queue *queue;
    struct emb_pace pace;
    struct emb_breaker breaker;
    struct emb_quarantine quarantine;
    struct emb_dead_letter *dead_letter; /* or NULL */
    struct emb_job *finished;            /* ring of jobs whose done is about to be called */

    struct emb_batch *batches; /* [workers * EMB_POOL_DEPTH] */
    struct emb_worker *workers;
    int ready;            /* workers */
    uint64_t helpless_ns; /* since when none is, though one was; 0: one is, or none was yet */
    size_t running, running_tokens;

    struct emb_histogram batch_inputs, batch_tokens, queue_s, compute_s, to_worker_s, from_worker_s;
    uint64_t computed_batches, computed_tokens;
    uint64_t refused[EMB_SUBMITS];
    uint64_t expired, cancelled, crashed, retried;
};

/* ---- batches.c ---- */

bool emb_batches_init(struct emb_scheduler *s); /* false: out of memory; deinit is for the caller all the same */
void emb_batches_deinit(struct emb_scheduler *s);

/* Tokens of a batch now. */
size_t emb_batches_budget(const struct emb_scheduler *s);

/* Gives the workers what they can take. */
void emb_batches_dispatch(struct emb_scheduler *s, uint64_t now_ns);

/* When a worker that is busy now is to get its next batch; UINT64_MAX: not before it is done. */
uint64_t emb_batches_next_ns(const struct emb_scheduler *s);

/* ---- outcome.c ---- */

/* Answers all who wait for a taken unit, with its values or, where that is NULL, with zeros. */
void emb_outcome_settle(struct emb_scheduler *s, struct emb_queue_unit *unit, int status, const float *values,
                        uint64_t started_ns, uint64_t now_ns);
void emb_outcome_done(struct emb_scheduler *s, struct emb_batch *batch, uint64_t now_ns);
void emb_outcome_lost(struct emb_scheduler *s, struct emb_batch *batch, enum emb_pool_loss loss, const char *reason,
                      uint64_t now_ns);

/* ---- scheduler.c ---- */

/* The job has all its statuses: done will be called for it soon. */
void emb_scheduler_finish(struct emb_scheduler *s, struct emb_job *job);

/* Where input i of a job has its values, and how many. */
float *emb_scheduler_values(const struct emb_scheduler *s, const struct emb_job *job, size_t i, size_t *n);

#endif
