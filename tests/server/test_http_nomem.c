/* Memory that runs out: each allocation of ours and of libuv's fails in turn. There is a reply or the connection ends, the front
 * stays, and nothing leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "front_fixture.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static struct fixture fixture;

/* ---- libuv's allocator ---- */

static atomic_long uv_allowed = -1, uv_live, uv_asked;

static bool uv_permitted(void)
{
    atomic_fetch_add(&uv_asked, 1);
    long left = atomic_load(&uv_allowed);
    while (left > 0 && !atomic_compare_exchange_weak(&uv_allowed, &left, left - 1)) {
    }
    return left != 0;
}

static void *count_live(void *p)
{
    atomic_fetch_add(&uv_live, p != NULL);
    return p;
}

static void *uv_test_malloc(size_t size)
{
    return uv_permitted() ? count_live(malloc(size)) : NULL;
}

static void *uv_test_calloc(size_t n, size_t size)
{
    return uv_permitted() ? count_live(calloc(n, size)) : NULL;
}

static void *uv_test_realloc(void *p, size_t size)
{
    void *grown = uv_permitted() ? realloc(p, size) : NULL;
    atomic_fetch_add(&uv_live, grown && !p);
    return grown;
}

static void uv_test_free(void *p)
{
    atomic_fetch_sub(&uv_live, p != NULL);
    free(p);
}

/* ---- A client ---- */

/* Everything a connection can meet: body in chunks, in one, segments, errors, held, streamed, refused. */
static const char conversation[] =
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Request-Id: me\r\n\r\nhi"
    "GET /models/a HTTP/1.1\r\nHost: a\r\n\r\n"
    "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
    "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
    "POST /release HTTP/1.1\r\nHost: a\r\n\r\n"
    "GET /stream/known HTTP/1.1\r\nHost: a\r\n\r\n"
    "GET /stream/small HTTP/1.1\r\nHost: a\r\n\r\n"
    "GET / HTTP/1.1\r\n\r\n";
enum { REPLIES = 9 };

static void expect_served(void)
{
    int fd = client_open(&fixture);
    client_puts(fd, GET);
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    close(fd);
}

static bool plausible(int status)
{
    return status == 200 || status == 404 || status == 400 || status == 500 || status == 503;
}

/* The conversation's text in two parts, so that something is left unread in between. Returns how many replies came. */
static int converse(void)
{
    int fd = client_open(&fixture), answered = 0;
    client_send(fd, conversation, 200);
    client_puts(fd, conversation + 200);
    while (answered < REPLIES) {
        struct reply r = client_reply(fd, false);
        int status = r.status;
        reply_free(&r);
        if (status == 0) {
            break;
        }
        assert_true(plausible(status));
        answered++;
    }
    close(fd);
    return answered;
}

static void start(void)
{
    struct emb_front_limits limits = emb_front_limits_default();
    fixture_start(&fixture, &limits);
    expect_served(); /* libuv's tables and ours that are made once */
}

/* Waits until nothing that the last client had is left on the server's side. */
static void settle(void)
{
    int fd = client_open(&fixture);
    client_puts(fd, "POST /release HTTP/1.1\r\nHost: a\r\n\r\n");
    struct reply r = client_reply(fd, false);
    reply_free(&r);
    close(fd);
}

static void test_ours(void **state)
{
    (void)state;
    int whole = 0;
    start();
    long before = emb_mem_count();
    assert_int_equal(converse(), REPLIES);
    long needed = emb_mem_count() - before;
    assert_in_range(needed, 20, 400);
    for (long allowed = 0; allowed < needed + 10; allowed++) {
        emb_mem_fail_after(allowed);
        whole += converse() == REPLIES;
        emb_mem_fail_after(-1);
        settle();
        expect_served();
    }
    assert_true(whole >= 5);
    fixture_join(&fixture);
}

/* Whatever libuv still asks for while it serves: it may fail. */
static void test_libuvs(void **state)
{
    (void)state;
    start();
    long before = atomic_load(&uv_asked);
    assert_int_equal(converse(), REPLIES);
    long needed = atomic_load(&uv_asked) - before;
    for (long allowed = 0; allowed <= needed; allowed++) {
        atomic_store(&uv_allowed, allowed);
        converse();
        atomic_store(&uv_allowed, -1);
        settle();
        expect_served();
    }
    fixture_join(&fixture);
    assert_int_equal(atomic_load(&uv_live), 0);
}

/* libuv's table of descriptors has room for all connections from the start: growing it would end the process where memory has
 * run out. */
static void test_many_without_libuvs(void **state)
{
    enum { CLIENTS = 200 };
    int fds[CLIENTS];
    (void)state;
    start();
    atomic_store(&uv_allowed, 0);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(&fixture);
        client_puts(fds[i], GET);
    }
    for (int i = 0; i < CLIENTS; i++) {
        struct reply r = client_reply(fds[i], false);
        assert_int_equal(r.status, 200);
        reply_free(&r);
        close(fds[i]);
    }
    atomic_store(&uv_allowed, -1);
    fixture_join(&fixture);
    assert_int_equal(atomic_load(&uv_live), 0);
}

static void on_opened_stopped(void *arg)
{
    emb_front_free(arg);
}

static void test_opening(void **state)
{
    (void)state;
    int opened = 0;
    int listener, port;
    struct emb_front_options options = {
        .listeners = &listener, .listener_count = 1, .limits = emb_front_limits_default()};
    for (long allowed = 0; allowed < 10; allowed++) {
        uv_loop_t loop;
        embellama_error error;
        struct emb_front *front = NULL;
        assert_int_equal(uv_loop_init(&loop), 0);
        listener = fixture_bind(&port);
        emb_mem_fail_after(allowed);
        int status = emb_front_open(&front, &loop, &options, &error);
        emb_mem_fail_after(-1);
        if (status == 0) {
            opened++;
            emb_front_stop(front, on_opened_stopped, front);
        } else {
            assert_int_equal(status, EMBELLAMA_E_NOMEM);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
    assert_true(opened > 0 && opened < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_libuvs),
        cmocka_unit_test(test_many_without_libuvs),
        cmocka_unit_test(test_opening),
    };
    if (uv_replace_allocator(uv_test_malloc, uv_test_realloc, uv_test_calloc, uv_test_free) != 0) {
        abort();
    }
    signal(SIGPIPE, SIG_IGN);
    emb_log_set_level(EMB_LOG_ERROR);
    return cmocka_run_group_tests_name("http_nomem", tests, NULL, NULL);
}
