/* The queue's structures: a table of units by hash; for each priority turns of clients, and of each client's jobs;
 * lists of what was lost; a heap of deadlines. Memory is allocated only when a job is added. */
#include "server/schedule/queue.h"

#include <string.h>

#include "base/mem.h"
#include "server/schedule/heap.h"
#include "server/schedule/turns.h"

enum {
    UNIT_BUCKETS = 1024, /* at first; doubled as they fill */
    CLIENT_BUCKETS = 1024,
};

/* What a token costs at each priority. Of those that wait the one is next that will have paid least with its next
 * input; one that begins to wait starts at what the last one served had paid (self-clocked fair queueing, Golestani
 * 1994). */
static const unsigned costs[EMB_QUEUE_CLASSES] = {1, 16, 256};

struct priority_class {
    struct emb_turns clients;
    size_t live; /* of these that have jobs */
    uint64_t paid;
};

struct client {
    struct emb_turn turn; /* first: found by it */
    uint64_t id;
    unsigned priority;
    bool known; /* to its priority */
    struct emb_turns jobs;
    struct client *chain;
};

struct emb_queue_waiter {
    struct emb_queue_job *job;
    struct emb_queue_unit *unit; /* NULL once it was popped */
    struct emb_queue_waiter *next, *previous;
    const int32_t *ids;
};

struct emb_queue_job {
    struct emb_turn turn; /* first: found by it */
    struct emb_heap_node deadline;
    bool has_deadline;
    bool active; /* among its client's jobs: cursor < inputs */
    unsigned priority;
    struct client *client;
    uint64_t added_ns;
    struct emb_queue_job *younger, *older; /* active ones, by when they were added */
    size_t inputs, cursor, left;
    void *owner;
    struct emb_queue_waiter waiters[];
};

struct unit_list {
    struct emb_queue_unit *first, *last;
};

struct emb_queue {
    struct emb_siphash_key key;
    struct emb_queue_unit **buckets;
    size_t n_buckets, n_units;
    struct client *clients[CLIENT_BUCKETS];
    uint64_t paid; /* by the priority served last, with what it was served */
    struct priority_class classes[EMB_QUEUE_CLASSES];
    struct emb_queue_job *oldest, *youngest;
    struct unit_list again, suspects;
    struct emb_heap deadlines;
    struct emb_queue_counts counts;
    size_t work_by[EMB_QUEUE_CLASSES];
};

/* ---- Clients ---- */

static struct client **client_bucket(struct emb_queue *q, uint64_t id, unsigned priority)
{
    return &q->clients[((id + priority) * 0x9E3779B97F4A7C15u) >> 54];
}

static struct client *find_client(const struct emb_queue *q, uint64_t id, unsigned priority)
{
    struct client *c = *client_bucket((struct emb_queue *)(uintptr_t)q, id, priority);
    while (c && (c->id != id || c->priority != priority)) {
        c = c->chain;
    }
    return c;
}

static void free_client(struct emb_queue *q, struct client *c)
{
    struct client **at = client_bucket(q, c->id, c->priority);
    while (*at != c) {
        at = &(*at)->chain;
    }
    *at = c->chain;
    emb_turns_leave(&q->classes[c->priority].clients, &c->turn);
    emb_free(c);
}

/* NULL when out of memory. A new one has no jobs yet: it is for the caller to give it one. */
static struct client *need_client(struct emb_queue *q, uint64_t id, unsigned priority)
{
    struct client *c = find_client(q, id, priority);
    if (!c && (c = emb_calloc(1, sizeof *c)) != NULL) {
        struct client **bucket = client_bucket(q, id, priority);
        c->id = id;
        c->priority = priority;
        c->chain = *bucket;
        *bucket = c;
    }
    return c;
}

/* ---- Jobs that have inputs to take ---- */

/* The first fresh unit of a job, or NULL once there is none. */
static struct emb_queue_unit *fresh_unit(struct emb_queue_job *job)
{
    while (job->cursor < job->inputs) {
        struct emb_queue_unit *unit = job->waiters[job->cursor].unit;
        if (unit && unit->state == EMB_QUEUE_FRESH) {
            return unit;
        }
        job->cursor++;
    }
    return NULL;
}

static void activate(struct emb_queue *q, struct emb_queue_job *job, struct client *client)
{
    struct priority_class *c = &q->classes[job->priority];
    if (client->jobs.count == 0) {
        if (c->live++ == 0 && c->paid < q->paid) {
            c->paid = q->paid;
        }
        if (!client->known) {
            emb_turns_join(&c->clients, &client->turn);
            client->known = true;
        }
    }
    job->client = client;
    job->active = true;
    emb_turns_join(&client->jobs, &job->turn);
}

/* A client without jobs keeps its place among the old ones until its turn comes, so that coming back at once does not
 * make it a newcomer; unless nobody else waits. */
static void deactivate(struct emb_queue *q, struct emb_queue_job *job)
{
    struct client *client = job->client;
    struct priority_class *c = &q->classes[job->priority];
    job->active = false;
    emb_turns_leave(&client->jobs, &job->turn);
    if (client->jobs.count > 0) {
        return;
    }
    if (--c->live > 0) {
        emb_turns_put_last(&c->clients, &client->turn);
        return;
    }
    while ((client = (struct client *)emb_turns_next(&c->clients)) != NULL) {
        free_client(q, client);
    }
}

/* The job whose turn it is at a priority where someone waits. */
static struct emb_queue_job *next_of_class(struct emb_queue *q, struct priority_class *c)
{
    struct client *client;
    while ((client = (struct client *)emb_turns_next(&c->clients))->jobs.count == 0) {
        free_client(q, client);
    }
    return (struct emb_queue_job *)emb_turns_next(&client->jobs);
}

static void enter_by_time(struct emb_queue *q, struct emb_queue_job *job)
{
    job->older = q->youngest;
    *(q->youngest ? &q->youngest->younger : &q->oldest) = job;
    q->youngest = job;
}

/* A job without fresh units is nobody's turn any more. */
static void retire(struct emb_queue *q, struct emb_queue_job *job)
{
    deactivate(q, job);
    *(job->older ? &job->older->younger : &q->oldest) = job->younger;
    *(job->younger ? &job->younger->older : &q->youngest) = job->older;
}

/* ---- Units ---- */

static struct emb_queue_unit **unit_bucket(const struct emb_queue *q, struct emb_siphash hash)
{
    return &q->buckets[hash.low & (q->n_buckets - 1)];
}

/* Without memory for it the chains become longer. */
static void grow_table(struct emb_queue *q)
{
    size_t old = q->n_buckets;
    struct emb_queue_unit **before = q->buckets, **after = emb_calloc(old * 2, sizeof(struct emb_queue_unit *));
    if (!after) {
        return;
    }
    q->buckets = after;
    q->n_buckets = old * 2;
    for (size_t i = 0; i < old; i++) {
        for (struct emb_queue_unit *unit = before[i], *next; unit; unit = next) {
            struct emb_queue_unit **bucket = unit_bucket(q, unit->hash);
            next = unit->chain;
            unit->chain = *bucket;
            *bucket = unit;
        }
    }
    emb_free(before);
}

/* A taken unit that everyone left has no ids to compare any more, and is not found. */
static struct emb_queue_unit *find_unit(const struct emb_queue *q, struct emb_siphash hash, struct emb_task task,
                                        const int32_t *ids, uint32_t count)
{
    for (struct emb_queue_unit *unit = *unit_bucket(q, hash); unit; unit = unit->chain) {
        if (unit->hash.low == hash.low && unit->hash.high == hash.high && unit->count == count &&
            unit->task.kind == task.kind && unit->task.second == task.second && unit->first &&
            memcmp(unit->first->ids, ids, count * sizeof *ids) == 0) {
            return unit;
        }
    }
    return NULL;
}

static struct emb_queue_unit *need_unit(struct emb_queue *q, struct emb_task task, const int32_t *ids, uint32_t count,
                                        unsigned priority)
{
    struct emb_siphash hash = emb_queue_hash(q, &task, ids, count);
    struct emb_queue_unit *unit = find_unit(q, hash, task, ids, count);
    if (unit) {
        q->counts.shared++;
        return unit;
    }
    if (q->n_units >= q->n_buckets) {
        grow_table(q);
    }
    unit = emb_calloc(1, sizeof *unit);
    if (unit) {
        struct emb_queue_unit **bucket = unit_bucket(q, hash);
        unit->hash = hash;
        unit->count = count;
        unit->task = task;
        unit->priority = (uint8_t)priority;
        unit->chain = *bucket;
        *bucket = unit;
        q->n_units++;
        q->counts.work += count;
        q->work_by[priority] += count;
    }
    return unit;
}

static void free_unit(struct emb_queue *q, struct emb_queue_unit *unit)
{
    struct emb_queue_unit **at = unit_bucket(q, unit->hash);
    while (*at != unit) {
        at = &(*at)->chain;
    }
    *at = unit->chain;
    q->n_units--;
    emb_free(unit);
}

static struct unit_list *list_of(struct emb_queue *q, const struct emb_queue_unit *unit)
{
    return unit->state == EMB_QUEUE_AGAIN ? &q->again : unit->state == EMB_QUEUE_SUSPECT ? &q->suspects : NULL;
}

static void leave_list(struct emb_queue *q, struct emb_queue_unit *unit)
{
    struct unit_list *list = list_of(q, unit);
    if (list) {
        *(unit->previous ? &unit->previous->next : &list->first) = unit->next;
        *(unit->next ? &unit->next->previous : &list->last) = unit->previous;
        unit->next = unit->previous = NULL;
    }
}

/* ---- Counts ---- */

static void count_waiter(struct emb_queue *q, const struct emb_queue_waiter *w, bool waits)
{
    size_t inputs = waits ? 1 : SIZE_MAX, tokens = waits ? w->unit->count : (size_t)0 - w->unit->count;
    q->counts.inputs += inputs;
    q->counts.tokens += tokens;
    q->counts.inputs_by[w->job->priority] += inputs;
    q->counts.tokens_by[w->job->priority] += tokens;
}

static void count_unit(struct emb_queue *q, const struct emb_queue_unit *unit, bool waits)
{
    size_t tokens = waits ? unit->count : (size_t)0 - unit->count;
    q->counts.work += tokens;
    q->work_by[unit->priority] += tokens;
    for (struct emb_queue_waiter *w = unit->first; w; w = w->next) {
        count_waiter(q, w, waits);
    }
}

/* ---- Waiters ---- */

static void enter_unit(struct emb_queue *q, struct emb_queue_waiter *w, struct emb_queue_unit *unit)
{
    w->unit = unit;
    w->previous = unit->last;
    *(unit->last ? &unit->last->next : &unit->first) = w;
    unit->last = w;
    if (unit->state == EMB_QUEUE_TAKEN) {
        return;
    }
    count_waiter(q, w, true);
    if (w->job->priority < unit->priority) {
        q->work_by[unit->priority] -= unit->count;
        unit->priority = (uint8_t)w->job->priority;
        q->work_by[unit->priority] += unit->count;
    }
}

static void unlink_waiter(struct emb_queue_waiter *w)
{
    struct emb_queue_unit *unit = w->unit;
    *(w->previous ? &w->previous->next : &unit->first) = w->next;
    *(w->next ? &w->next->previous : &unit->last) = w->previous;
    w->next = w->previous = NULL;
    w->unit = NULL;
}

/* The unit goes with its last waiter, unless it is taken: then its taker will see that nobody wants it. */
static void leave_unit(struct emb_queue *q, struct emb_queue_waiter *w)
{
    struct emb_queue_unit *unit = w->unit;
    if (unit->state != EMB_QUEUE_TAKEN) {
        count_waiter(q, w, false);
    }
    unlink_waiter(w);
    if (!unit->first && unit->state != EMB_QUEUE_TAKEN) {
        count_unit(q, unit, false);
        leave_list(q, unit);
        free_unit(q, unit);
    }
}

static void free_job(struct emb_queue *q, struct emb_queue_job *job)
{
    if (job->active) {
        retire(q, job);
    }
    if (job->has_deadline) {
        emb_heap_remove(&q->deadlines, &job->deadline);
    }
    emb_free(job);
}

/* ---- The interface ---- */

struct emb_queue *emb_queue_new(void)
{
    struct emb_queue *q = emb_calloc(1, sizeof *q);
    if (!q) {
        return NULL;
    }
    q->key = emb_siphash_random_key();
    q->n_buckets = UNIT_BUCKETS;
    q->buckets = emb_calloc(q->n_buckets, sizeof(struct emb_queue_unit *));
    if (!q->buckets) {
        emb_free(q);
        return NULL;
    }
    return q;
}

/* Units know their waiters, these their jobs: a job is freed with its last waiter. */
void emb_queue_free(struct emb_queue *q)
{
    if (!q) {
        return;
    }
    for (size_t i = 0; i < q->n_buckets; i++) {
        while (q->buckets[i]) {
            struct emb_queue_unit *unit = q->buckets[i];
            struct emb_queue_waiter *w;
            while ((w = unit->first) != NULL) {
                struct emb_queue_job *job = w->job;
                unlink_waiter(w);
                if (--job->left == 0) {
                    free_job(q, job);
                }
            }
            free_unit(q, unit);
        }
    }
    emb_free(q->buckets);
    emb_free(q);
}

static struct emb_queue_job *new_job(const struct emb_queue_request *request, uint64_t now_ns)
{
    size_t waiters, size;
    if (!emb_mul(request->inputs, sizeof(struct emb_queue_waiter), &waiters) ||
        !emb_add(waiters, sizeof(struct emb_queue_job), &size)) {
        return NULL;
    }
    struct emb_queue_job *job = emb_calloc(1, size);
    if (job) {
        job->priority = request->priority;
        job->added_ns = now_ns;
        job->inputs = job->left = request->inputs;
        job->owner = request->owner;
    }
    return job;
}

static bool add_waiters(struct emb_queue *q, struct emb_queue_job *job, const struct emb_queue_request *request)
{
    const int32_t *ids = request->ids;
    for (size_t i = 0; i < request->inputs; i++) {
        struct emb_queue_waiter *w = &job->waiters[i];
        struct emb_task task = request->tasks ? request->tasks[i] : (struct emb_task){.kind = EMB_TASK_EMBED};
        struct emb_queue_unit *unit = need_unit(q, task, ids, request->counts[i], request->priority);
        if (!unit) {
            return false;
        }
        w->job = job;
        w->ids = ids;
        enter_unit(q, w, unit);
        ids += request->counts[i];
    }
    return true;
}

struct emb_queue_job *emb_queue_add(struct emb_queue *q, const struct emb_queue_request *request, uint64_t now_ns)
{
    struct emb_queue_job *job = new_job(request, now_ns);
    struct client *client = job ? need_client(q, request->client, request->priority) : NULL;
    if (!client) {
        emb_free(job);
        return NULL;
    }
    bool whole = add_waiters(q, job, request);
    activate(q, job, client);
    enter_by_time(q, job);
    if (!whole) {
        emb_queue_remove(q, job);
        return NULL;
    }
    if (request->deadline_ns > 0) {
        job->has_deadline = true;
        emb_heap_push(&q->deadlines, &job->deadline, request->deadline_ns);
    }
    return job;
}

void emb_queue_remove(struct emb_queue *q, struct emb_queue_job *job)
{
    for (size_t i = 0; i < job->inputs; i++) {
        if (job->waiters[i].unit) {
            leave_unit(q, &job->waiters[i]);
        }
    }
    free_job(q, job);
}

/* The job whose turn it is, with a fresh unit; NULL: none waits. */
static struct emb_queue_job *next_job(struct emb_queue *q)
{
    struct emb_queue_job *best = NULL;
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < EMB_QUEUE_CLASSES; i++) {
        struct priority_class *c = &q->classes[i];
        while (c->live > 0) {
            struct emb_queue_job *job = next_of_class(q, c);
            const struct emb_queue_unit *unit = fresh_unit(job);
            if (!unit) {
                retire(q, job);
                continue;
            }
            uint64_t paid = c->paid + (uint64_t)unit->count * costs[i];
            if (paid < least) {
                best = job;
                least = paid;
            }
            break;
        }
    }
    return best;
}

struct emb_queue_unit *emb_queue_peek(struct emb_queue *q)
{
    if (q->again.first) {
        return q->again.first;
    }
    struct emb_queue_job *job = next_job(q);
    return job ? fresh_unit(job) : NULL;
}

struct emb_queue_unit *emb_queue_peek_suspect(const struct emb_queue *q)
{
    return q->suspects.first;
}

void emb_queue_take(struct emb_queue *q, struct emb_queue_unit *unit)
{
    struct emb_queue_job *job = unit->state == EMB_QUEUE_FRESH ? next_job(q) : NULL;
    leave_list(q, unit);
    count_unit(q, unit, false);
    unit->state = EMB_QUEUE_TAKEN;
    if (job) {
        struct priority_class *c = &q->classes[job->priority];
        emb_turns_charge(&job->client->jobs, &job->turn, unit->count);
        emb_turns_charge(&c->clients, &job->client->turn, unit->count);
        c->paid += (uint64_t)unit->count * costs[job->priority];
        q->paid = q->paid < c->paid ? c->paid : q->paid;
        if (!fresh_unit(job)) {
            retire(q, job);
        }
    }
}

void emb_queue_give_back(struct emb_queue *q, struct emb_queue_unit *unit)
{
    if (!unit->first) {
        free_unit(q, unit);
        return;
    }
    unit->state = unit->suspect ? EMB_QUEUE_SUSPECT : EMB_QUEUE_AGAIN;
    struct unit_list *list = list_of(q, unit);
    unit->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = unit;
    list->last = unit;
    count_unit(q, unit, true);
}

const int32_t *emb_queue_ids(const struct emb_queue_unit *unit)
{
    return unit->first->ids;
}

void *emb_queue_first_owner(const struct emb_queue_unit *unit, size_t *input)
{
    const struct emb_queue_waiter *w = unit->first;
    if (!w) {
        return NULL;
    }
    *input = (size_t)(w - w->job->waiters);
    return w->job->owner;
}

bool emb_queue_pop(struct emb_queue *q, struct emb_queue_unit *unit, void **owner, size_t *input)
{
    struct emb_queue_waiter *w = unit->first;
    if (!w) {
        free_unit(q, unit);
        return false;
    }
    struct emb_queue_job *job = w->job;
    *owner = job->owner;
    *input = (size_t)(w - job->waiters);
    unlink_waiter(w);
    if (--job->left == 0) {
        free_job(q, job);
    }
    return true;
}

uint64_t emb_queue_next_deadline(const struct emb_queue *q)
{
    return q->deadlines.root ? q->deadlines.root->key : UINT64_MAX;
}

void *emb_queue_expired(const struct emb_queue *q, uint64_t now_ns)
{
    const struct emb_heap_node *node = q->deadlines.root;
    if (!node || node->key > now_ns) {
        return NULL;
    }
    const char *job = (const char *)node - offsetof(struct emb_queue_job, deadline);
    return ((const struct emb_queue_job *)(const void *)job)->owner;
}

const struct emb_queue_counts *emb_queue_counts(const struct emb_queue *q)
{
    return &q->counts;
}

/* All of higher priorities; of its own, no more than what the others get while it gets its tokens. */
size_t emb_queue_ahead(const struct emb_queue *q, unsigned priority, uint64_t client, size_t tokens)
{
    size_t ahead = 0, fair = tokens > EMB_TURN_QUANTUM ? tokens : EMB_TURN_QUANTUM;
    for (unsigned i = 0; i < priority; i++) {
        ahead += q->work_by[i];
    }
    const struct client *own = find_client(q, client, priority);
    size_t jobs = own ? own->jobs.count + 1 : 1, clients = q->classes[priority].live + (jobs == 1);
    size_t same = q->work_by[priority];
    if (emb_mul(fair, jobs, &fair) && emb_mul(fair, clients, &fair) && fair < same) {
        same = fair;
    }
    return ahead + same;
}

uint64_t emb_queue_oldest(const struct emb_queue *q)
{
    uint64_t oldest = q->oldest ? q->oldest->added_ns : UINT64_MAX;
    const struct emb_queue_unit *lost[] = {q->again.first, q->suspects.first};
    for (size_t i = 0; i < 2; i++) {
        if (lost[i] && lost[i]->first->job->added_ns < oldest) {
            oldest = lost[i]->first->job->added_ns;
        }
    }
    return oldest;
}

struct emb_siphash emb_queue_hash(const struct emb_queue *q, const struct emb_task *task, const int32_t *ids,
                                  size_t count)
{
    struct emb_siphash hash = emb_siphash_of(q->key, ids, count * sizeof *ids);
    if (task->kind == EMB_TASK_EMBED) {
        return hash;
    }
    const uint64_t both[] = {hash.low, hash.high, (uint64_t)task->kind << 32 | task->second};
    return emb_siphash_of(q->key, both, sizeof both);
}
