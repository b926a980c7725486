/* Who is next: the inputs that wait, in the order in which they are to be computed.
 *
 * A unit is one computation. Identical inputs of which the same is wanted, of one job or of several, are one unit with several
 * waiters: computed once, dropped when the last waiter leaves, as urgent as the most urgent of them. Inputs are compared in
 * full; a hash that cannot be steered from outside only finds candidates.
 *
 * Order: what was lost with its worker comes first. The rest by tokens: between the priorities that wait 256 to 16 to
 * 1; then between the clients of a priority, and between the jobs of a client, newcomers first and the others in turn
 * (turns.h). So a small job passes huge ones, small ones are served as they came, and nothing starves.
 *
 * Knows neither batches nor workers, no clock and no event loop. Every call costs O(log jobs) an input or less. */
#ifndef EMB_QUEUE_H
#define EMB_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/pool.h"
#include "server/siphash.h"

enum { EMB_QUEUE_CLASSES = 3 }; /* priorities: 0 is the highest */

struct emb_queue;
struct emb_queue_job;
struct emb_queue_waiter;

enum emb_queue_state {
    EMB_QUEUE_FRESH,   /* waits for its turn */
    EMB_QUEUE_TAKEN,   /* its taker has it */
    EMB_QUEUE_AGAIN,   /* was lost: waits before all fresh ones */
    EMB_QUEUE_SUSPECT, /* was lost, and may be the reason: waits to be taken alone */
};

struct emb_queue_unit {
    struct emb_siphash hash;
    uint32_t count; /* tokens */
    struct emb_task task;
    uint8_t priority;
    enum emb_queue_state state;
    struct emb_queue_waiter *first, *last; /* none: nobody wants it any more */
    struct emb_queue_unit *chain;          /* units with a like hash */
    struct emb_queue_unit *next, *previous;

    /* The taker's own. */
    bool suspect;
    unsigned losses;
};

struct emb_queue *emb_queue_new(void);        /* NULL when out of memory */
void emb_queue_free(struct emb_queue *queue); /* NULL is allowed */

/* ids, counts and tasks are the owner's and stay until every input was popped or the job removed. */
struct emb_queue_request {
    size_t inputs;
    const int32_t *ids;
    const uint32_t *counts;
    const struct emb_task *tasks; /* [inputs]; NULL: all EMBED */
    unsigned priority;
    uint64_t client;
    uint64_t deadline_ns; /* 0: none */
    void *owner;
};

/* Adds a job at a time. NULL when out of memory: nothing changed. */
struct emb_queue_job *emb_queue_add(struct emb_queue *queue, const struct emb_queue_request *request, uint64_t now_ns);

/* Drops what is left of a job: its waiters leave their units. */
void emb_queue_remove(struct emb_queue *queue, struct emb_queue_job *job);

/* The unit whose turn it is, not yet taken; NULL: none waits. Suspects are not among them. */
struct emb_queue_unit *emb_queue_peek(struct emb_queue *queue);

/* A suspect that waits, or NULL. */
struct emb_queue_unit *emb_queue_peek_suspect(const struct emb_queue *queue);

/* Takes the unit that one of the two gave last. */
void emb_queue_take(struct emb_queue *queue, struct emb_queue_unit *unit);

/* Gives back a taken unit that was lost: it waits again, among the suspects where unit->suspect. Frees it where nobody
 * wants it any more. */
void emb_queue_give_back(struct emb_queue *queue, struct emb_queue_unit *unit);

/* The ids of a unit that has waiters. */
const int32_t *emb_queue_ids(const struct emb_queue_unit *unit);

/* The owner of the job that has waited for a unit longest, and which of its inputs it is; NULL: nobody wants it any
 * more. */
void *emb_queue_first_owner(const struct emb_queue_unit *unit, size_t *input);

/* Takes one waiter off a taken unit: true, with its job's owner and which of its inputs it is. The job is gone after
 * the last of its inputs. False: there are no more, and the unit is gone. */
bool emb_queue_pop(struct emb_queue *queue, struct emb_queue_unit *unit, void **owner, size_t *input);

/* The next deadline of all jobs; UINT64_MAX: none. And the owner of a job past its own, or NULL. */
uint64_t emb_queue_next_deadline(const struct emb_queue *queue);
void *emb_queue_expired(const struct emb_queue *queue, uint64_t now_ns);

/* Inputs of all jobs that are not taken, and their tokens, by the priority they came with. work: the tokens that are to
 * be computed for them. */
struct emb_queue_counts {
    size_t inputs, tokens;
    size_t inputs_by[EMB_QUEUE_CLASSES], tokens_by[EMB_QUEUE_CLASSES];
    size_t work;
    uint64_t shared; /* inputs that joined a unit, ever */
};
const struct emb_queue_counts *emb_queue_counts(const struct emb_queue *queue);

/* Tokens that will be computed before a job of so many tokens would be, if it came now and nothing came after it. */
size_t emb_queue_ahead(const struct emb_queue *queue, unsigned priority, uint64_t client, size_t tokens);

/* When the job was added that has waited longest; UINT64_MAX: nothing waits. */
uint64_t emb_queue_oldest(const struct emb_queue *queue);

/* Of an input and what is wanted of it. */
struct emb_siphash emb_queue_hash(const struct emb_queue *queue, const struct emb_task *task, const int32_t *ids,
                                  size_t count);

#endif
