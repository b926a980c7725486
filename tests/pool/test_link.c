/* The front's side of the wire, with workers that the test plays by hand over real sockets: what they answer, when they die, what
 * verdict comes when, and what is lost how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "pool/link.h"
#include "pool/sockets.h"

enum { WORKERS = 2, DIM = 3, PID = 4242 };

struct fixture {
    uv_loop_t loop;
    uv_timer_t alive; /* keeps the loop alive, as sockets do in the server */
    struct emb_pool *pool;
    char name[32];
    uint8_t token[EMB_TOKEN_BYTES];
    char events[512]; /* "r0 d5 l5:2 g0 ": ready, done, lost (and how), gone */
    char reason[64];
    int firsts;
};

struct batch {
    struct emb_pool_batch plain;
    int32_t ids[8];
    uint32_t counts[2];
    float vectors[2 * DIM];
    int statuses[2];
    int number;
};

__attribute__((format(printf, 2, 3))) static void note(struct fixture *f, const char *format, ...)
{
    size_t used = strlen(f->events);
    va_list args;
    va_start(args, format);
    vsnprintf(f->events + used, sizeof f->events - used, format, args);
    va_end(args);
}

static void on_ready(void *arg, int worker)
{
    note(arg, "r%d ", worker);
}

static void on_done(void *arg, struct emb_pool_batch *plain)
{
    note(arg, "d%d ", ((struct batch *)plain->arg)->number);
}

static void on_lost(void *arg, struct emb_pool_batch *plain, enum emb_pool_loss loss, const char *reason)
{
    struct fixture *f = arg;
    static const char *const names[] = {"unstarted", "blameless", "suspect"};
    note(f, "l%d:%s ", ((struct batch *)plain->arg)->number, names[loss]);
    snprintf(f->reason, sizeof f->reason, "%s", reason);
}

static void on_gone(void *arg, int worker)
{
    note(arg, "g%d ", worker);
}

static void on_first(void *arg)
{
    ((struct fixture *)arg)->firsts++;
}

/* Turns the loop until the events are these. */
static void expect(struct fixture *f, const char *events)
{
    for (int i = 0; i < 4000 && strcmp(f->events, events) != 0; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    assert_string_equal(f->events, events);
    f->events[0] = '\0';
}

/* Turns it for a while; nothing may happen. */
static void expect_nothing(struct fixture *f)
{
    for (int i = 0; i < 50; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    assert_string_equal(f->events, "");
}

static void on_alive(uv_timer_t *timer)
{
    (void)timer;
}

static int setup(void **state)
{
    static const int32_t probe[] = {101, 102};
    struct fixture *f = calloc(1, sizeof *f);
    struct emb_link_options options = {.layout = {.workers = WORKERS, .threads = 1},
                                       .dim = DIM,
                                       .probe = probe,
                                       .probe_count = 2,
                                       .verdict_ms = 300,
                                       .ready = on_first,
                                       .arg = f};
    struct emb_pool_events events = {f, on_ready, on_done, on_lost, on_gone};
    uv_loop_init(&f->loop);
    uv_timer_init(&f->loop, &f->alive);
    uv_timer_start(&f->alive, on_alive, 1000, 1000);
    assert_int_equal(emb_link_listen(&options.listener, f->name, f->token, NULL), 0);
    options.token = f->token;
    assert_int_equal(emb_link_pool_new(&f->pool, &f->loop, &options, NULL), 0);
    emb_pool_watch(f->pool, &events);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    emb_pool_free(f->pool);
    uv_close((uv_handle_t *)&f->alive, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

/* ---- Workers ---- */

static void say(int fd, struct emb_wire_header header, const void *payload)
{
    assert_int_equal(send(fd, &header, sizeof header, MSG_NOSIGNAL), sizeof header);
    assert_int_equal(send(fd, payload, header.payload, MSG_NOSIGNAL), (ssize_t)header.payload);
}

static int dial(struct fixture *f, int worker)
{
    int fd = emb_link_dial(f->name);
    struct emb_wire_hello hello = {.worker = worker, .threads = 1, .dim = DIM};
    assert_true(fd >= 0);
    memcpy(hello.token, f->token, sizeof hello.token);
    say(fd, emb_wire_hello_header(), &hello);
    return fd;
}

/* Reads a batch, turning the loop meanwhile. */
static struct emb_wire_header hear(struct fixture *f, int fd)
{
    struct emb_wire_header header;
    char payload[256];
    ssize_t n = -1;
    for (int i = 0; i < 4000 && n < 0; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        n = recv(fd, &header, sizeof header, MSG_DONTWAIT);
        usleep(n < 0 ? 500 : 0);
    }
    assert_int_equal(n, sizeof header);
    assert_int_equal(header.kind, EMB_WIRE_BATCH);
    assert_true(header.payload <= sizeof payload);
    assert_int_equal(recv(fd, payload, header.payload, MSG_WAITALL), (ssize_t)header.payload);
    return header;
}

static void answer(int fd, const struct emb_wire_header *batch, int status, float value)
{
    struct emb_wire_header header = emb_wire_answer_header(batch->sequence, batch->inputs, batch->inputs * DIM);
    struct {
        int32_t statuses[2];
        float vectors[2 * DIM];
    } both = {{status, status}, {0}};
    char payload[sizeof both];
    for (int i = 0; i < 2 * DIM; i++) {
        both.vectors[i] = value;
    }
    memcpy(payload, both.statuses, batch->inputs * sizeof(int32_t));
    memcpy(payload + batch->inputs * sizeof(int32_t), both.vectors, batch->inputs * DIM * sizeof(float));
    say(fd, header, payload);
}

/* One that has answered the probe. */
static int arrive(struct fixture *f, int worker)
{
    char expected[8];
    int fd = dial(f, worker);
    struct emb_wire_header probe = hear(f, fd);
    assert_int_equal(probe.inputs, 1);
    assert_int_equal(probe.tokens, 2);
    answer(fd, &probe, EMBELLAMA_OK, 1);
    snprintf(expected, sizeof expected, "r%d ", worker);
    expect(f, expected);
    return fd;
}

static struct batch *batch(int number)
{
    struct batch *b = calloc(1, sizeof *b);
    *b = (struct batch){.ids = {1, 2, 3, 4, 5}, .counts = {2, 3}, .number = number};
    b->plain = (struct emb_pool_batch){
        .inputs = 2, .ids = b->ids, .counts = b->counts, .vectors = b->vectors, .statuses = b->statuses, .arg = b};
    return b;
}

/* ---- Tests ---- */

static void test_ready_once_it_answered(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f, 1);
    struct emb_wire_header probe = hear(f, fd);
    expect_nothing(f);
    assert_int_equal(f->firsts, 0);
    answer(fd, &probe, EMBELLAMA_OK, 1);
    expect(f, "r1 ");
    assert_int_equal(f->firsts, 1);
    struct emb_pool_worker_stats stats;
    emb_pool_stats(f->pool, 1, &stats);
    assert_true(stats.ready);
    assert_int_equal(stats.pid, getpid());
    assert_int_equal(stats.batches, 0);
    close(fd);
    expect(f, "g1 ");
}

static void test_batches_in_order(void **state)
{
    struct fixture *f = *state;
    int fd = arrive(f, 0);
    struct batch *a = batch(1), *b = batch(2);
    emb_pool_submit(f->pool, 0, &a->plain);
    emb_pool_submit(f->pool, 0, &b->plain);
    struct emb_wire_header first = hear(f, fd), second = hear(f, fd);
    answer(fd, &first, EMBELLAMA_OK, 3);
    answer(fd, &second, EMBELLAMA_E_NOT_FINITE, 0);
    expect(f, "d1 d2 ");
    assert_true(a->vectors[0] == 3 && a->vectors[2 * DIM - 1] == 3);
    assert_int_equal(b->statuses[1], EMBELLAMA_E_NOT_FINITE);
    close(fd);
    expect(f, "g0 ");
    free(a);
    free(b);
}

/* The end is seen first, then the verdict; then the other way round. */
static void test_verdict(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 4; round++) {
        bool blamed = round % 2 != 0, early = round >= 2;
        int fd = arrive(f, 0);
        struct batch *a = batch(1), *b = batch(2);
        emb_pool_submit(f->pool, 0, &a->plain);
        emb_pool_submit(f->pool, 0, &b->plain);
        if (early) {
            emb_link_pool_verdict(f->pool, 0, getpid(), blamed, "because");
            expect_nothing(f);
            close(fd);
        } else {
            close(fd);
            expect_nothing(f);
            emb_link_pool_verdict(f->pool, 0, PID, !blamed, "somebody else");
            expect_nothing(f);
            emb_link_pool_verdict(f->pool, 0, getpid(), blamed, "because");
        }
        expect(f, blamed ? "l1:suspect l2:unstarted g0 " : "l1:blameless l2:unstarted g0 ");
        assert_string_equal(f->reason, "because");
        emb_link_pool_verdict(f->pool, 0, PID, false, ""); /* of another: the next round's end has none yet */
        free(a);
        free(b);
    }
}

static void test_no_verdict(void **state)
{
    struct fixture *f = *state;
    int fd = arrive(f, 0);
    struct batch *a = batch(1);
    emb_pool_submit(f->pool, 0, &a->plain);
    close(fd);
    expect(f, "l1:suspect g0 ");
    free(a);
}

/* What was answered before the end is not lost. */
static void test_answered_then_dead(void **state)
{
    struct fixture *f = *state;
    int fd = arrive(f, 0);
    struct batch *a = batch(1), *b = batch(2);
    emb_pool_submit(f->pool, 0, &a->plain);
    emb_pool_submit(f->pool, 0, &b->plain);
    struct emb_wire_header first = hear(f, fd);
    hear(f, fd);
    answer(fd, &first, EMBELLAMA_OK, 3);
    emb_link_pool_verdict(f->pool, 0, getpid(), true, "crash");
    close(fd);
    expect(f, "d1 l2:suspect g0 ");
    free(a);
    free(b);
}

/* Between the end and the verdict the scheduler may still submit: such a batch was never started. The next process waits until the
 * fate of what the last one held is known. */
static void test_submitted_meanwhile_and_successor(void **state)
{
    struct fixture *f = *state;
    int fd = arrive(f, 0);
    struct batch *a = batch(1), *b = batch(2);
    emb_pool_submit(f->pool, 0, &a->plain);
    close(fd);
    expect_nothing(f);
    emb_pool_submit(f->pool, 0, &b->plain);
    int next = dial(f, 0);
    expect_nothing(f);
    emb_link_pool_verdict(f->pool, 0, getpid(), false, "killed");
    expect(f, "l1:blameless l2:unstarted g0 ");
    emb_link_pool_verdict(f->pool, 0, PID, false, "");
    struct emb_wire_header probe = hear(f, next);
    answer(next, &probe, EMBELLAMA_OK, 1);
    expect(f, "r0 ");
    close(next);
    expect(f, "g0 ");
    free(a);
    free(b);
}

/* A probe that fails is tried again; the worker is not ready meanwhile. */
static void test_unfit(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f, 0);
    struct emb_wire_header probe = hear(f, fd);
    answer(fd, &probe, EMBELLAMA_E_NOMEM, 0);
    expect_nothing(f);
    probe = hear(f, fd);
    answer(fd, &probe, EMBELLAMA_OK, 1);
    expect(f, "r0 ");
    close(fd);
    expect(f, "g0 ");
}

static bool ended(struct fixture *f, int fd)
{
    char byte;
    ssize_t n = -1;
    for (int i = 0; i < 4000 && n < 0; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        n = recv(fd, &byte, 1, MSG_DONTWAIT);
        if (n < 0 && errno == ECONNRESET) {
            n = 0;
        }
        usleep(n < 0 ? 500 : 0);
    }
    close(fd);
    return n == 0;
}

static void test_strangers(void **state)
{
    struct fixture *f = *state;
    struct emb_wire_hello hello = {.worker = 0, .threads = 1, .dim = DIM};
    for (int i = 0; i < 6; i++) {
        struct emb_wire_hello bad = hello;
        struct emb_wire_header header = emb_wire_hello_header();
        memcpy(bad.token, f->token, sizeof bad.token);
        if (i == 0) {
            bad.token[3] ^= 1;
        } else if (i == 1) {
            bad.worker = WORKERS;
        } else if (i == 2) {
            bad.worker = -1;
        } else if (i == 3) {
            bad.dim = DIM + 1;
        } else if (i == 4) {
            bad.labels = 1;
        } else {
            header.magic ^= 1;
        }
        int fd = emb_link_dial(f->name);
        say(fd, header, &bad);
        assert_true(ended(f, fd));
    }
    int fd = emb_link_dial(f->name);
    struct emb_wire_header early = emb_wire_answer_header(1, 1, DIM);
    char payload[(1 + DIM) * 4] = {0};
    say(fd, early, payload);
    assert_true(ended(f, fd));
    expect_nothing(f);
}

/* An answer to nothing, to another batch, or of another size ends the connection; the batch is suspect. */
static void test_nonsense(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        int fd = arrive(f, 0);
        struct batch *a = batch(1);
        emb_pool_submit(f->pool, 0, &a->plain);
        struct emb_wire_header h = hear(f, fd);
        if (i == 0) {
            h.sequence++;
        } else if (i == 1) {
            h.inputs = 1;
        }
        answer(fd, &h, i == 2 ? 77 : EMBELLAMA_OK, 1);
        expect(f, "l1:suspect g0 ");
        assert_true(ended(f, fd));
        free(a);
    }
}

/* An answer to a batch of which the socket has not taken all yet: what is left is still read from the batch's memory, so it is not
 * given back. */
static void test_answered_too_early(void **state)
{
    enum { TOKENS = 1 << 20 };
    struct fixture *f = *state;
    int fd = arrive(f, 0);
    struct batch *a = batch(1);
    struct emb_wire_header h;
    a->plain.inputs = 1;
    a->plain.ids = calloc(TOKENS, sizeof *a->plain.ids);
    a->counts[0] = TOKENS;
    emb_pool_submit(f->pool, 0, &a->plain);
    assert_int_equal(recv(fd, &h, sizeof h, MSG_WAITALL), sizeof h);
    answer(fd, &h, EMBELLAMA_OK, 1);
    expect(f, "l1:suspect g0 ");
    close(fd);
    free(a->plain.ids);
    free(a);
}

/* A large batch goes out in pieces and is answered as any other. */
static void test_large_batch(void **state)
{
    enum { TOKENS = 1 << 20 };
    struct fixture *f = *state;
    int fd = arrive(f, 0);
    struct batch *a = batch(1);
    struct emb_wire_header h;
    char piece[1 << 16];
    a->plain.inputs = 1;
    a->plain.ids = calloc(TOKENS, sizeof *a->plain.ids);
    a->counts[0] = TOKENS;
    emb_pool_submit(f->pool, 0, &a->plain);
    assert_int_equal(recv(fd, &h, sizeof h, MSG_WAITALL), sizeof h);
    for (uint64_t left = h.payload; left > 0;) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        ssize_t n = recv(fd, piece, left < sizeof piece ? left : sizeof piece, MSG_DONTWAIT);
        left -= n > 0 ? (uint64_t)n : 0;
    }
    answer(fd, &h, EMBELLAMA_OK, 1);
    expect(f, "d1 ");
    close(fd);
    expect(f, "g0 ");
    free(a->plain.ids);
    free(a);
}

/* A batch of several kinds: its tasks go along, and an answer of any other length than they ask for is none. */
static void test_tasks(void **state)
{
    static const struct emb_task tasks[] = {{EMB_TASK_RAW, 0}, {EMB_TASK_TOKENS, 0}};
    enum { VALUES = DIM + 3 * DIM };
    struct fixture *f = *state;
    for (int off = -1; off <= 1; off++) {
        int fd = arrive(f, 0);
        struct batch *a = batch(1);
        float vectors[VALUES] = {0};
        struct {
            int32_t statuses[2];
            float values[VALUES + 1];
        } payload = {{0}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
        a->plain.tasks = tasks;
        a->plain.vectors = vectors;
        emb_pool_submit(f->pool, 0, &a->plain);
        struct emb_wire_header h = hear(f, fd);
        assert_int_equal(h.tasks, 2);
        assert_int_equal(h.payload, (2 + 5) * 4 + sizeof tasks);
        say(fd, emb_wire_answer_header(h.sequence, 2, (size_t)(VALUES + off)), &payload);
        expect(f, off == 0 ? "d1 " : "l1:suspect g0 ");
        assert_true(off != 0 || memcmp(vectors, payload.values, sizeof vectors) == 0);
        close(fd);
        if (off == 0) {
            expect(f, "g0 ");
        }
        free(a);
    }
}

/* A model that scores is asked for a score before its worker counts as ready. */
static void test_scorer(void **state)
{
    static const int32_t ids[] = {101, 102};
    struct fixture *f = *state;
    char name[32];
    uint8_t token[EMB_TOKEN_BYTES];
    struct emb_link_options options = {.layout = {.workers = 1, .threads = 1},
                                       .dim = DIM,
                                       .labels = 2,
                                       .probe = ids,
                                       .probe_count = 2,
                                       .ready = on_first,
                                       .arg = f};
    struct emb_pool *pool;
    assert_int_equal(emb_link_listen(&options.listener, name, token, NULL), 0);
    options.token = token;
    assert_int_equal(emb_link_pool_new(&pool, &f->loop, &options, NULL), 0);
    assert_int_equal(emb_pool_labels(pool), 2);
    int fd = emb_link_dial(name);
    struct emb_wire_hello hello = {.dim = DIM, .labels = 2, .threads = 1};
    memcpy(hello.token, token, sizeof hello.token);
    say(fd, emb_wire_hello_header(), &hello);
    struct emb_wire_header h = {0};
    for (int i = 0; i < 4000 && recv(fd, &h, sizeof h, MSG_DONTWAIT) < 0; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    struct {
        uint32_t count;
        int32_t ids[2];
        struct emb_task task;
    } asked;
    assert_int_equal(h.tasks, 1);
    assert_int_equal(h.payload, sizeof asked);
    assert_int_equal(recv(fd, &asked, sizeof asked, MSG_WAITALL), sizeof asked);
    assert_int_equal(asked.task.kind, EMB_TASK_SCORE);
    assert_int_equal(asked.task.second, 2);
    const struct {
        int32_t status;
        float logits[2];
    } payload = {EMBELLAMA_OK, {1, 2}};
    say(fd, emb_wire_answer_header(h.sequence, 1, 2), &payload);
    for (int i = 0; i < 4000 && f->firsts == 0; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    assert_int_equal(f->firsts, 1);
    emb_pool_free(pool);
    close(fd);
}

/* Times that cannot be are not believed. */
static void test_times(void **state)
{
    struct fixture *f = *state;
    int fd = arrive(f, 0);
    struct batch *a = batch(1);
    char payload[2 * (1 + DIM) * 4] = {0};
    emb_pool_submit(f->pool, 0, &a->plain);
    struct emb_wire_header asked = hear(f, fd),
                           h = emb_wire_answer_header(asked.sequence, asked.inputs, asked.inputs * DIM);
    uint64_t before = uv_hrtime();
    h.started_ns = before - 1000;
    h.compute_ns = UINT64_MAX;
    say(fd, h, payload);
    expect(f, "d1 ");
    assert_true(a->plain.started_ns == before - 1000 && a->plain.started_ns + a->plain.compute_ns <= uv_hrtime());
    emb_pool_submit(f->pool, 0, &a->plain);
    asked = hear(f, fd);
    h.sequence = asked.sequence;
    h.started_ns = UINT64_MAX;
    say(fd, h, payload);
    expect(f, "d1 ");
    assert_true(a->plain.started_ns <= uv_hrtime() && a->plain.compute_ns == 0);
    close(fd);
    expect(f, "g0 ");
    free(a);
}

/* The pool is freed while a worker computes: nothing is called, nothing is left. */
static void test_freed_busy(void **state)
{
    struct fixture *f = *state;
    int fd = arrive(f, 0), other = dial(f, 1);
    struct batch *a = batch(1);
    emb_pool_submit(f->pool, 0, &a->plain);
    hear(f, other);
    teardown(state);
    setup(state);
    free(a);
    close(fd);
    close(other);
}

/* Watched late: ready comes for those that were there. */
static void test_watched_late(void **state)
{
    struct fixture *f = *state;
    int fd = arrive(f, 0);
    struct emb_pool_events events = f->pool->events;
    emb_pool_watch(f->pool, &events);
    assert_string_equal(f->events, "");
    expect(f, "r0 ");
    close(fd);
    expect(f, "g0 ");
}

static void test_out_of_memory(void **state)
{
    struct fixture *f = *state;
    int opened = 0;
    for (long allowed = 0; allowed < 20; allowed++) {
        static const int32_t probe[] = {1};
        struct emb_link_options options = {
            .token = f->token, .layout = {.workers = 2, .threads = 1}, .dim = DIM, .probe = probe, .probe_count = 1};
        struct emb_pool *pool;
        char name[32];
        uint8_t token[EMB_TOKEN_BYTES];
        assert_int_equal(emb_link_listen(&options.listener, name, token, NULL), 0);
        emb_mem_fail_after(allowed);
        int rc = emb_link_pool_new(&pool, &f->loop, &options, NULL);
        emb_mem_fail_after(-1);
        assert_true(rc == EMBELLAMA_OK || rc == EMBELLAMA_E_NOMEM);
        if (rc == EMBELLAMA_OK) {
            opened++;
            emb_pool_free(pool);
        }
    }
    assert_true(opened > 0 && opened < 20);
    /* No memory for a connection: it is taken when there is some again. */
    emb_mem_fail_after(0);
    int fd = dial(f, 0);
    expect_nothing(f);
    emb_mem_fail_after(-1);
    struct emb_wire_header h = hear(f, fd);
    answer(fd, &h, EMBELLAMA_OK, 1);
    expect(f, "r0 ");
    close(fd);
    expect(f, "g0 ");
}

int main(void)
{
    emb_log_set_level(EMB_LOG_OFF);
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_ready_once_it_answered),
        TEST(test_batches_in_order),
        TEST(test_verdict),
        TEST(test_no_verdict),
        TEST(test_answered_then_dead),
        TEST(test_submitted_meanwhile_and_successor),
        TEST(test_unfit),
        TEST(test_strangers),
        TEST(test_nonsense),
        TEST(test_answered_too_early),
        TEST(test_large_batch),
        TEST(test_tasks),
        TEST(test_scorer),
        TEST(test_times),
        TEST(test_freed_busy),
        TEST(test_watched_late),
        TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
