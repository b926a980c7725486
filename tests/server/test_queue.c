/* The queue: order, shares, sharing of identical inputs, cancelling. */
#include "server/schedule/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/schedule/heap.h"

/* Inputs of one length whose first ids are first, first + 1, ... */
struct work {
    struct emb_queue_job *job;
    int32_t *ids;
    uint32_t *counts;
    size_t inputs;
    size_t settled;
    bool *done; /* [inputs] */
};

static struct work *add(struct emb_queue *q, size_t inputs, uint32_t count, int32_t first, unsigned priority,
                        uint64_t client, uint64_t deadline, uint64_t now)
{
    struct work *w = calloc(1, sizeof *w);
    w->ids = calloc(inputs * count, sizeof *w->ids);
    w->counts = calloc(inputs, sizeof *w->counts);
    w->done = calloc(inputs, sizeof *w->done);
    w->inputs = inputs;
    for (size_t i = 0; i < inputs; i++) {
        w->counts[i] = count;
        w->ids[i * count] = first + (int32_t)i;
    }
    struct emb_queue_request request = {.inputs = inputs,
                                        .ids = w->ids,
                                        .counts = w->counts,
                                        .priority = priority,
                                        .client = client,
                                        .deadline_ns = deadline,
                                        .owner = w};
    w->job = emb_queue_add(q, &request, now);
    return w;
}

static struct work *add_plain(struct emb_queue *q, size_t inputs, uint32_t count, int32_t first)
{
    struct work *w = add(q, inputs, count, first, 1, 0, 0, 0);
    assert_non_null(w->job);
    return w;
}

static void work_free(struct work *w)
{
    free(w->ids);
    free(w->counts);
    free(w->done);
    free(w);
}

/* Answers a taken unit; returns how many waited for it. */
static size_t pop_all(struct emb_queue *q, struct emb_queue_unit *unit)
{
    void *owner;
    size_t input, n = 0;
    while (emb_queue_pop(q, unit, &owner, &input)) {
        struct work *w = owner;
        assert_true(input < w->inputs);
        assert_false(w->done[input]);
        w->done[input] = true;
        w->settled++;
        n++;
    }
    return n;
}

/* Takes the next, answers it, and returns its first id; -1: none. */
static int32_t next(struct emb_queue *q)
{
    struct emb_queue_unit *unit = emb_queue_peek(q);
    if (!unit) {
        return -1;
    }
    int32_t id = emb_queue_ids(unit)[0];
    emb_queue_take(q, unit);
    pop_all(q, unit);
    return id;
}

static void check_empty(struct emb_queue *q)
{
    const struct emb_queue_counts *counts = emb_queue_counts(q);
    assert_null(emb_queue_peek(q));
    assert_null(emb_queue_peek_suspect(q));
    assert_int_equal(counts->inputs, 0);
    assert_int_equal(counts->tokens, 0);
    assert_int_equal(counts->work, 0);
    for (unsigned i = 0; i < EMB_QUEUE_CLASSES; i++) {
        assert_int_equal(counts->inputs_by[i], 0);
        assert_int_equal(counts->tokens_by[i], 0);
    }
    assert_true(emb_queue_next_deadline(q) == UINT64_MAX);
    assert_true(emb_queue_oldest(q) == UINT64_MAX);
}

static void test_heap(void **state)
{
    (void)state;
    enum { NODES = 2000 };
    static struct emb_heap_node nodes[NODES];
    static bool in[NODES];
    struct emb_heap heap = {0};
    unsigned seed = 3;
    for (int step = 0; step < 40000; step++) {
        int i = rand_r(&seed) % NODES;
        if (in[i]) {
            emb_heap_remove(&heap, &nodes[i]);
        } else {
            emb_heap_push(&heap, &nodes[i], (uint64_t)(rand_r(&seed) % 50));
        }
        in[i] = !in[i];
    }
    uint64_t key = 0, turn = 0;
    while (heap.root) {
        struct emb_heap_node *least = heap.root;
        assert_true(least->key > key || (least->key == key && least->turn >= turn));
        key = least->key;
        turn = least->turn;
        emb_heap_remove(&heap, least);
        in[least - nodes] = false;
    }
    assert_int_equal(heap.count, 0);
    for (int i = 0; i < NODES; i++) {
        assert_false(in[i]);
    }
}

static void test_first_come_first_served(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *w[50];
    for (int i = 0; i < 50; i++) {
        w[i] = add_plain(q, 1, 7, 100 + i);
    }
    assert_int_equal(emb_queue_counts(q)->inputs, 50);
    assert_int_equal(emb_queue_counts(q)->tokens, 350);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(next(q), 100 + i);
        assert_int_equal(w[i]->settled, 1);
        work_free(w[i]);
    }
    check_empty(q);
    emb_queue_free(q);
}

static void test_priorities(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *low = add(q, 2, 5, 300, 2, 0, 0, 0), *normal = add(q, 2, 5, 200, 1, 0, 0, 0),
                *high = add(q, 2, 5, 100, 0, 0, 0, 0);
    const int32_t want[] = {100, 101, 200, 201, 300, 301};
    assert_int_equal(emb_queue_counts(q)->inputs_by[2], 2);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(next(q), want[i]);
    }
    check_empty(q);
    work_free(low);
    work_free(normal);
    work_free(high);
    emb_queue_free(q);
}

/* More urgent ones keep coming, more than can be served: what is less urgent gets its part all the same. */
static void test_low_is_not_starved(void **state)
{
    (void)state;
    enum { STEPS = 6000 };
    struct emb_queue *q = emb_queue_new();
    struct work *low = add(q, 100, 5, 1000000, 2, 7, 0, 0), *normal = add(q, 1000, 5, 2000000, 1, 7, 0, 0);
    struct work **high = calloc(STEPS, sizeof *high);
    for (int i = 0; i < STEPS; i++) {
        high[i] = add(q, 1, 5, i, 0, 1 + (uint64_t)i % 2, 0, 0);
        if (i >= 4) {
            next(q);
        }
    }
    assert_true(low->settled >= STEPS / 256 / 2);
    assert_true(low->settled <= STEPS / 256 * 2);
    assert_true(normal->settled >= STEPS / 16 / 2);
    assert_true(normal->settled <= STEPS / 16 * 2);
    while (next(q) >= 0) {
    }
    check_empty(q);
    work_free(low);
    work_free(normal);
    for (int i = 0; i < STEPS; i++) {
        work_free(high[i]);
    }
    free(high);
    emb_queue_free(q);
}

/* Clients with as many tokens in hand get as many tokens, however long their texts are and however many jobs they have.
 */
static void test_clients_share_fairly(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *w[12];
    w[0] = add(q, 1000, 500, 0, 1, 1, 0, 0);
    w[1] = add(q, 9000, 20, 10000, 1, 2, 0, 0);
    for (int i = 2; i < 12; i++) {
        w[i] = add(q, 500, 100, 100000 * i, 1, 3, 0, 0);
    }
    size_t tokens[3] = {0};
    while (tokens[0] + tokens[1] + tokens[2] < 120000) {
        int32_t id = next(q);
        tokens[id < 10000 ? 0 : id < 100000 ? 1 : 2] += id < 10000 ? 500 : id < 100000 ? 20 : 100;
    }
    for (int i = 0; i < 3; i++) {
        assert_true(tokens[i] >= 120000 / 3 - 1600);
        assert_true(tokens[i] <= 120000 / 3 + 1600);
    }
    for (int i = 2; i < 12; i++) { /* and its jobs share what is the third's */
        assert_true(w[i]->settled * 100 >= tokens[2] / 10 - 1100);
        assert_true(w[i]->settled * 100 <= tokens[2] / 10 + 1100);
    }
    for (int i = 0; i < 12; i++) {
        emb_queue_remove(q, w[i]->job);
        work_free(w[i]);
    }
    check_empty(q);
    emb_queue_free(q);
}

/* A short text beside huge jobs of its client and of others is next, at whatever moment it comes. */
static void test_newcomers_are_next(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *huge[30];
    for (int i = 0; i < 30; i++) {
        huge[i] = add(q, 300, 512, 1000 * (i + 1), 1, (uint64_t)i % 3, 0, 0);
    }
    for (int i = 0; i < 60; i++) { /* a quantum each: none of them is a newcomer any more */
        assert_true(next(q) >= 1000);
    }
    for (int i = 0; i < 200; i++) {
        for (int k = 0; k < i % 3; k++) {
            assert_true(next(q) >= 1000);
        }
        struct work *brief = add(q, 1, 16, i, 1, i % 2 ? 0 : 99, 0, 1);
        if (i % 2 == 0) {
            assert_int_equal(next(q), i);
        } else { /* of a client that has huge jobs: first of these, once it is the client's turn */
            int before = 0;
            while (next(q) != i) {
                before++;
            }
            assert_true(before <= 3);
        }
        work_free(brief);
    }
    for (int i = 0; i < 30; i++) {
        emb_queue_remove(q, huge[i]->job);
        work_free(huge[i]);
    }
    check_empty(q);
    emb_queue_free(q);
}

/* Short and long texts that come by the same client, more than can be served: as they came. */
static void test_lengths_do_not_matter(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *w[300];
    for (int i = 0; i < 300; i++) {
        w[i] = add_plain(q, 1, 10 + (uint32_t)i * 37 % 300, 1000 + i);
    }
    for (int i = 0; i < 300; i++) {
        assert_int_equal(next(q), 1000 + i);
        work_free(w[i]);
    }
    check_empty(q);
    emb_queue_free(q);
}

/* More short texts than can be served all the time: the huge job still gets on. */
static void test_huge_is_not_starved(void **state)
{
    (void)state;
    enum { STEPS = 3000 };
    struct emb_queue *q = emb_queue_new();
    struct work *huge = add_plain(q, 100, 512, 1000000), *brief[STEPS];
    for (int i = 0; i < STEPS; i++) {
        brief[i] = add_plain(q, 1, 16, i);
        if (i >= 8) {
            next(q);
        }
    }
    assert_true(huge->settled >= 10);
    assert_true(huge->settled <= 40);
    while (next(q) >= 0) {
    }
    for (int i = 0; i < STEPS; i++) {
        work_free(brief[i]);
    }
    work_free(huge);
    check_empty(q);
    emb_queue_free(q);
}

/* A client that has one text at a time gets no more than one that has them all waiting, though it leaves in between. */
static void test_coming_back_gains_nothing(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *steady = add(q, 2000, 100, 0, 1, 1, 0, 0);
    int other = 0;
    while (steady->settled < 500) {
        struct work *one = add(q, 1, 100, 5000 + other, 1, 2, 0, 0);
        while (one->settled == 0 && steady->settled < 500) {
            next(q);
        }
        other += one->settled == 1;
        if (one->settled == 0) {
            emb_queue_remove(q, one->job);
        }
        work_free(one);
    }
    assert_true(other >= 80); /* a turn for each quantum of the other's */
    assert_true(other <= 550);
    emb_queue_remove(q, steady->job);
    work_free(steady);
    check_empty(q);
    emb_queue_free(q);
}

static void test_identical_inputs(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *a = add(q, 3, 4, 10, 2, 1, 0, 0), *b = add(q, 3, 4, 11, 2, 2, 0, 0), *c = add(q, 1, 4, 12, 0, 3, 0, 0);
    assert_int_equal(emb_queue_counts(q)->inputs, 7);
    assert_int_equal(emb_queue_counts(q)->work, 4 * 4); /* 10, 11, 12, 13 */
    assert_int_equal(emb_queue_counts(q)->shared, 3);
    assert_int_equal(next(q), 12); /* c's priority counts for all */
    assert_int_equal(a->settled + b->settled + c->settled, 3);
    emb_queue_remove(q, a->job); /* 11 stays for b, 10 goes */
    assert_int_equal(emb_queue_counts(q)->work, 2 * 4);
    assert_int_equal(next(q), 11);
    assert_int_equal(next(q), 13);
    assert_int_equal(b->settled, 3);
    check_empty(q);
    work_free(a);
    work_free(b);
    work_free(c);
    emb_queue_free(q);
}

/* Of the same ids the same must be wanted. */
static void test_identical_tasks(void **state)
{
    static const struct emb_task tasks[] = {{EMB_TASK_SCORE, 1},  {EMB_TASK_SCORE, 2}, {EMB_TASK_RAW, 0},
                                            {EMB_TASK_TOKENS, 0}, {EMB_TASK_EMBED, 0}, {EMB_TASK_SCORE, 1}};
    static const int32_t ids[] = {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2};
    static const uint32_t counts[] = {2, 2, 2, 2, 2, 2};
    enum { INPUTS = 6 };
    (void)state;
    struct emb_queue *q = emb_queue_new();
    bool done[INPUTS + 1] = {false};
    struct work w = {.inputs = INPUTS, .done = done};
    struct emb_queue_request request = {
        .inputs = INPUTS, .ids = ids, .counts = counts, .tasks = tasks, .priority = 1, .owner = &w};
    assert_non_null(emb_queue_add(q, &request, 0));
    assert_int_equal(emb_queue_counts(q)->shared, 1);
    /* A job of embeddings alone joins the one among them. */
    struct work plain = {.inputs = 1, .done = done + INPUTS};
    request = (struct emb_queue_request){.inputs = 1, .ids = ids, .counts = counts, .priority = 1, .owner = &plain};
    assert_non_null(emb_queue_add(q, &request, 0));
    assert_int_equal(emb_queue_counts(q)->shared, 2);
    size_t units = 0, waiters = 0;
    for (struct emb_queue_unit *unit; (unit = emb_queue_peek(q)) != NULL; units++) {
        struct emb_siphash hash = emb_queue_hash(q, &unit->task, ids, 2);
        assert_true(hash.low == unit->hash.low && hash.high == unit->hash.high);
        emb_queue_take(q, unit);
        waiters += pop_all(q, unit);
    }
    assert_int_equal(units, 5);
    assert_int_equal(waiters, INPUTS + 1);
    check_empty(q);
    emb_queue_free(q);
}

/* The ids that are read are those of someone who still waits. */
static void test_ids_of_who_left(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *a = add_plain(q, 1, 4, 10), *b = add_plain(q, 1, 4, 10);
    emb_queue_remove(q, a->job);
    work_free(a);
    struct emb_queue_unit *unit = emb_queue_peek(q);
    assert_ptr_equal(emb_queue_ids(unit), b->ids);
    emb_queue_take(q, unit);
    emb_queue_remove(q, b->job); /* while it is taken */
    work_free(b);
    struct work *c = add_plain(q, 1, 4, 10); /* not the taken one's: nobody has its ids any more */
    assert_int_equal(emb_queue_counts(q)->work, 4);
    assert_int_equal(pop_all(q, unit), 0);
    assert_int_equal(next(q), 10);
    work_free(c);
    check_empty(q);
    emb_queue_free(q);
}

static void test_joins_what_is_taken(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *a = add_plain(q, 1, 4, 10);
    struct emb_queue_unit *unit = emb_queue_peek(q);
    emb_queue_take(q, unit);
    struct work *b = add_plain(q, 1, 4, 10);
    assert_int_equal(emb_queue_counts(q)->inputs, 0);
    assert_null(emb_queue_peek(q));
    emb_queue_give_back(q, unit); /* lost: both wait again */
    assert_int_equal(emb_queue_counts(q)->inputs, 2);
    assert_int_equal(next(q), 10);
    assert_int_equal(a->settled + b->settled, 2);
    work_free(a);
    work_free(b);
    check_empty(q);
    emb_queue_free(q);
}

static void test_lost_come_first(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *low = add(q, 3, 4, 10, 2, 1, 0, 5), *high = add(q, 2, 4, 20, 0, 1, 0, 7);
    struct emb_queue_unit *units[5];
    for (int i = 0; i < 5; i++) {
        units[i] = emb_queue_peek(q);
        emb_queue_take(q, units[i]);
    }
    assert_null(emb_queue_peek(q));
    assert_true(emb_queue_oldest(q) == UINT64_MAX);
    emb_queue_give_back(q, units[3]); /* 11 */
    units[2]->suspect = true;
    emb_queue_give_back(q, units[2]); /* 10 */
    assert_true(emb_queue_oldest(q) == 5);
    struct work *other = add(q, 1, 4, 30, 0, 1, 0, 9);
    assert_int_equal(next(q), 11);
    assert_int_equal(next(q), 30);
    assert_null(emb_queue_peek(q));
    assert_ptr_equal(emb_queue_peek_suspect(q), units[2]);
    emb_queue_take(q, units[2]);
    assert_null(emb_queue_peek_suspect(q));
    emb_queue_remove(q, low->job);
    emb_queue_give_back(q, units[2]); /* nobody wants it any more */
    assert_null(emb_queue_peek_suspect(q));
    assert_int_equal(pop_all(q, units[0]) + pop_all(q, units[1]) + pop_all(q, units[4]), 2);
    work_free(low);
    work_free(high);
    work_free(other);
    check_empty(q);
    emb_queue_free(q);
}

static void test_deadlines(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *a = add(q, 2, 4, 10, 1, 1, 300, 0), *b = add(q, 1, 4, 20, 1, 1, 100, 0),
                *c = add(q, 1, 4, 30, 1, 1, 200, 0), *d = add(q, 1, 4, 40, 1, 1, 0, 0);
    assert_true(emb_queue_next_deadline(q) == 100);
    assert_null(emb_queue_expired(q, 99));
    assert_ptr_equal(emb_queue_expired(q, 100), b);
    emb_queue_remove(q, b->job);
    assert_null(emb_queue_expired(q, 100));
    emb_queue_remove(q, c->job);
    assert_true(emb_queue_next_deadline(q) == 300);
    while (next(q) >= 0) {
    }
    assert_int_equal(a->settled + d->settled, 3);
    work_free(a);
    work_free(b);
    work_free(c);
    work_free(d);
    check_empty(q);
    emb_queue_free(q);
}

static void test_ahead(void **state)
{
    (void)state;
    struct emb_queue *q = emb_queue_new();
    struct work *high = add(q, 1, 50, 1, 0, 9, 0, 0), *huge = add(q, 100, 100, 100, 1, 1, 0, 0);
    assert_int_equal(emb_queue_ahead(q, 0, 5, 10000), 50);
    assert_int_equal(emb_queue_ahead(q, 1, 5, 1000000), 50 + 10000);
    assert_int_equal(emb_queue_ahead(q, 1, 1, 10), 50 + 512 * 2);
    assert_int_equal(emb_queue_ahead(q, 2, 1, 10), 50 + 10000);
    emb_queue_remove(q, high->job);
    emb_queue_remove(q, huge->job);
    work_free(high);
    work_free(huge);
    check_empty(q);
    emb_queue_free(q);
}

/* Whatever allocation fails, nothing changes. */
static void test_out_of_memory(void **state)
{
    (void)state;
    emb_mem_fail_after(0);
    assert_null(emb_queue_new());
    emb_mem_fail_after(1);
    assert_null(emb_queue_new());
    emb_mem_fail_after(-1);
    struct emb_queue *q = emb_queue_new();
    struct work *other = add_plain(q, 2, 3, 1), *w = NULL;
    for (long allowed = 0; !w; allowed++) {
        emb_mem_fail_after(allowed);
        struct work *tried = add(q, 3, 3, 2, 1, 8, 5, 0); /* its first input is the other's second */
        emb_mem_fail_after(-1);
        if (tried->job) {
            w = tried;
            assert_true(allowed >= 3); /* job, two units; the client is known from a try before */
        } else {
            assert_int_equal(emb_queue_counts(q)->inputs, 2);
            assert_int_equal(emb_queue_counts(q)->work, 6);
            assert_true(emb_queue_next_deadline(q) == UINT64_MAX);
            work_free(tried);
        }
    }
    while (next(q) >= 0) {
    }
    assert_int_equal(other->settled + w->settled, 5);
    work_free(other);
    work_free(w);
    check_empty(q);
    emb_queue_free(q);
}

/* Everything at random, against counts kept here; freed with work left at the end. */
static void test_random(void **state)
{
    (void)state;
    enum { STEPS = 30000, JOBS = 64, HELD = 32 };
    struct emb_queue *q = emb_queue_new();
    struct work *w[JOBS] = {0};
    struct emb_queue_unit *held[HELD] = {0};
    unsigned seed = 11;
    for (uint64_t now = 1; now < STEPS; now++) {
        int i = rand_r(&seed) % JOBS, k = rand_r(&seed) % HELD;
        if (!w[i]) {
            w[i] = add(q, 1 + (size_t)rand_r(&seed) % 20, 1 + (uint32_t)rand_r(&seed) % 3, rand_r(&seed) % 40,
                       (unsigned)rand_r(&seed) % 3, (uint64_t)rand_r(&seed) % 5, now + 200, now);
        } else if (w[i]->settled == w[i]->inputs || rand_r(&seed) % 20 == 0) {
            if (w[i]->settled < w[i]->inputs) {
                emb_queue_remove(q, w[i]->job);
            }
            work_free(w[i]);
            w[i] = NULL;
        }
        if (!held[k]) {
            held[k] = rand_r(&seed) % 4 ? emb_queue_peek(q) : emb_queue_peek_suspect(q);
            if (held[k]) {
                emb_queue_take(q, held[k]);
            }
        } else {
            held[k]->suspect = rand_r(&seed) % 2;
            if (rand_r(&seed) % 4 == 0) {
                emb_queue_give_back(q, held[k]);
            } else {
                pop_all(q, held[k]);
            }
            held[k] = NULL;
        }
        struct work *late;
        while ((late = emb_queue_expired(q, now)) != NULL) {
            emb_queue_remove(q, late->job);
            late->settled = late->inputs;
        }
        size_t tokens = 0;
        for (unsigned p = 0; p < EMB_QUEUE_CLASSES; p++) {
            tokens += emb_queue_counts(q)->tokens_by[p];
        }
        assert_int_equal(tokens, emb_queue_counts(q)->tokens);
        assert_true(emb_queue_counts(q)->work <= tokens);
    }
    emb_queue_free(q);
    for (int i = 0; i < JOBS; i++) {
        if (w[i]) {
            work_free(w[i]);
        }
    }
}

/* A hundred thousand inputs of ten thousand clients: bounded by the test's time limit, were it O(queue) an input. */
static void test_large(void **state)
{
    (void)state;
    enum { INPUTS = 100000, EACH = 10 };
    struct emb_queue *q = emb_queue_new();
    struct work **w = calloc(INPUTS / EACH, sizeof *w);
    for (int i = 0; i < INPUTS / EACH; i++) {
        w[i] = add(q, EACH, 8, i * EACH, (unsigned)i % 3, (uint64_t)i, 1000000 + (uint64_t)i, (uint64_t)i / 10);
    }
    for (int i = 0; i < INPUTS / EACH; i += 2) {
        emb_queue_remove(q, w[i]->job);
    }
    int n = 0;
    while (next(q) >= 0) {
        n++;
    }
    assert_int_equal(n, INPUTS / 2);
    check_empty(q);
    for (int i = 0; i < INPUTS / EACH; i++) {
        work_free(w[i]);
    }
    free(w);
    emb_queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap),
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_low_is_not_starved),
        cmocka_unit_test(test_clients_share_fairly),
        cmocka_unit_test(test_newcomers_are_next),
        cmocka_unit_test(test_lengths_do_not_matter),
        cmocka_unit_test(test_huge_is_not_starved),
        cmocka_unit_test(test_coming_back_gains_nothing),
        cmocka_unit_test(test_identical_inputs),
        cmocka_unit_test(test_identical_tasks),
        cmocka_unit_test(test_ids_of_who_left),
        cmocka_unit_test(test_joins_what_is_taken),
        cmocka_unit_test(test_lost_come_first),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
