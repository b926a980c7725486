/* The front through real sockets: every hostile case, order, keep-alive, limits, time limits, clients that leave, and the stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "front_fixture.h"
#include "http1_cases.h"

static struct fixture fixture;

static int setup(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    fixture_start(&fixture, &limits);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_join(&fixture);
    return 0;
}

/* With other limits than setup's. */
static void restart(const struct emb_front_limits *limits)
{
    fixture_join(&fixture);
    fixture_start(&fixture, limits);
}

static void expect_reply(int fd, int status, const char *body)
{
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, status);
    if (body) {
        assert_string_equal(r.body, body);
    }
    reply_free(&r);
}

static bool is_uuid4(const char *id)
{
    if (!id || strlen(id) != 36 || id[14] != '4' || !strchr("89ab", id[19])) {
        return false;
    }
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? id[i] != '-' : !strchr("0123456789abcdef", id[i])) {
            return false;
        }
    }
    return true;
}

/* Each case: as many replies as requests, then the refusal with its envelope and the end. */
static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < HTTP1_CASES; i++) {
        const struct http1_case *c = &http1_cases[i];
        int fd = client_open(&fixture);
        client_send(fd, c->bytes, c->size);
        for (int k = 0; k < c->requests; k++) {
            struct reply r = client_reply(fd, false);
            if (r.status == 100) {
                reply_free(&r);
                r = client_reply(fd, false);
            }
            if (r.status != 200 && r.status != 204 && r.status != 404) {
                fail_msg("%s: reply %d is %d", c->name, k, r.status);
            }
            assert_true(is_uuid4(reply_header(&r, "x-request-id")));
            reply_free(&r);
        }
        if (c->refused) {
            struct reply r = client_reply(fd, false);
            if (r.status != c->refused) {
                fail_msg("%s: refused with %d, not %d", c->name, r.status, c->refused);
            }
            char id[64];
            snprintf(id, sizeof id, "\"request_id\":\"%s\"}", reply_header(&r, "x-request-id"));
            assert_non_null(strstr(r.body, id));
            assert_non_null(strstr(r.body, "{\"error\":{\"message\":\""));
            assert_string_equal(reply_header(&r, "connection"), "close");
            assert_string_equal(reply_header(&r, "content-type"), "application/json");
            reply_free(&r);
            if (!client_ended(fd)) {
                fail_msg("%s: something follows the refusal", c->name);
            }
        }
        close(fd);
    }
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    const char *bytes = POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n" GET "\r\n";
    int fd = client_open(&fixture);
    for (size_t i = 0; bytes[i]; i++) {
        client_send(fd, bytes + i, 1);
    }
    expect_reply(fd, 200, "abcde");
    expect_reply(fd, 200, "");
    close(fd);
}

static void test_headers(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    client_puts(fd, "GET /models/org%2Fna%20me HTTP/1.1\r\nHost: a\r\n\r\n");
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "org/na me");
    assert_string_equal(reply_header(&r, "keep-alive"), "timeout=70");
    assert_string_equal(reply_header(&r, "connection"), "keep-alive");
    assert_string_equal(reply_header(&r, "x-good"), "a\tb");
    assert_null(reply_header(&r, "x-bad"));
    assert_null(reply_header(&r, "x-smuggled"));
    assert_non_null(strstr(reply_header(&r, "date"), " GMT"));
    reply_free(&r);
    client_puts(fd, "HEAD /models/abc HTTP/1.1\r\nHost: a\r\n\r\n" GET "\r\n");
    r = client_reply(fd, true);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_header(&r, "content-length"), "3");
    reply_free(&r);
    expect_reply(fd, 200, "");
    client_puts(fd, GET "Connection: close\r\n\r\n");
    r = client_reply(fd, false);
    assert_string_equal(reply_header(&r, "connection"), "close");
    reply_free(&r);
    assert_true(client_ended(fd));
    close(fd);
    fd = client_open(&fixture);
    client_puts(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    r = client_reply(fd, false);
    assert_string_equal(reply_header(&r, "connection"), "keep-alive");
    reply_free(&r);
    r = client_reply(fd, false);
    assert_string_equal(reply_header(&r, "connection"), "close");
    reply_free(&r);
    assert_true(client_ended(fd));
    close(fd);
}

/* A client's id is kept where it is sane, on refusals too; a valid trace context is answered with the server's span. */
static void test_ids(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    client_puts(fd,
                GET "X-Request-Id: my-id.1\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\nx-request-id: again\r\n\r\n" GET
                    "X-Request-Id: <script>\r\n\r\n");
    struct reply r = client_reply(fd, false);
    assert_string_equal(reply_header(&r, "x-request-id"), "my-id.1");
    reply_free(&r);
    r = client_reply(fd, false);
    assert_string_equal(reply_header(&r, "x-request-id"), "again");
    assert_non_null(strstr(r.body, "\"request_id\":\"again\"}"));
    reply_free(&r);
    r = client_reply(fd, false);
    assert_true(is_uuid4(reply_header(&r, "x-request-id")));
    reply_free(&r);
    client_puts(fd, GET "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n" GET
                        "Traceparent: 00-0-0-01\r\n\r\n");
    r = client_reply(fd, false);
    const char *trace = reply_header(&r, "traceresponse");
    assert_non_null(trace);
    assert_int_equal(strlen(trace), 55);
    assert_memory_equal(trace, "00-0af7651916cd43dd8448eb211c80319c-", 36);
    assert_memory_not_equal(trace + 36, "b7ad6b7169203331", 16);
    assert_string_equal(trace + 52, "-01");
    reply_free(&r);
    r = client_reply(fd, false);
    assert_null(reply_header(&r, "traceresponse"));
    reply_free(&r);
    close(fd);
}

static void expect_route(const char *line, int status, const char *allow)
{
    char text[256];
    int fd = client_open(&fixture);
    snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: a\r\n\r\n", line);
    client_puts(fd, text);
    struct reply r = client_reply(fd, false);
    const char *allowed = reply_header(&r, "allow");
    if (r.status != status) {
        fail_msg("%s: %d", line, r.status);
    }
    assert_string_equal(allowed ? allowed : "", allow);
    reply_free(&r);
    close(fd);
}

static void test_routes(void **state)
{
    (void)state;
    expect_route("GET /nowhere", 404, "");
    expect_route("GET /big/", 404, "");
    expect_route("GET /models/", 404, "");
    expect_route("GET /models/a/b", 404, "");
    expect_route("GET //", 404, "");
    expect_route("GET /Models/a", 404, "");
    expect_route("GET /%6dodels/a", 200, "");
    expect_route("GET /models/%zz", 400, "");
    expect_route("GET /models/%0", 400, "");
    expect_route("GET /models/%", 400, "");
    expect_route("GET /models/a%00b", 400, "");
    expect_route("GET /models/a%0d%0ab", 200, "");
    expect_route("POST /models/a", 405, "GET, HEAD, OPTIONS");
    expect_route("DELETE /", 405, "GET, HEAD, POST, OPTIONS");
    expect_route("OPTIONS /hold", 204, "GET, HEAD, POST, OPTIONS");
    expect_route("OPTIONS /nowhere", 404, "");
    expect_route("TRACE /", 405, "GET, HEAD, POST, OPTIONS");
}

static int release_held(void)
{
    int fd = client_open(&fixture);
    client_puts(fd, "POST /release HTTP/1.1\r\nHost: a\r\n\r\n");
    struct reply r = client_reply(fd, false);
    int n = (int)strtol(r.body, NULL, 10);
    reply_free(&r);
    close(fd);
    return n;
}

/* Answered in the wrong order, sent in the right one. */
/* What goes wrong on a dialect's path is told as its clients expect, the wrong method included; other paths stay as they are. */
static void test_error_style(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int status;
        const char *begin;
    } cases[] = {
        {"POST /flat", 422, "{\"why\":\"wrong\",\"id\":\""},
        {"PUT /flat", 405, "{\"why\":\"method_not_allowed\",\"id\":\""},
        {"POST /flat/", 404, "{\"error\":{\"message\":"},
        {"PUT /hold", 405, "{\"error\":{\"message\":"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        int fd = client_open(&fixture);
        snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", cases[i].line);
        client_puts(fd, text);
        struct reply r = client_reply(fd, false);
        assert_int_equal(r.status, cases[i].status);
        assert_memory_equal(r.body, cases[i].begin, strlen(cases[i].begin));
        assert_string_equal(reply_header(&r, "content-type"), "application/json");
        reply_free(&r);
        close(fd);
    }
}

static void test_pipelined_order(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    client_puts(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" POST "Content-Length: 2\r\n\r\nhi"
                    "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(wait_for(&fixture_held, 2));
    assert_int_equal(release_held(), 2);
    expect_reply(fd, 200, "held 0");
    expect_reply(fd, 200, "hi");
    expect_reply(fd, 200, "held 1");
    expect_reply(fd, 404, NULL);
    close(fd);
}

/* More requests than are taken at once: reading stops, nothing is lost, and the rest follows. */
static void test_pipeline_depth(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    for (int i = 0; i < 40; i++) {
        client_puts(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    int answered = 0;
    for (int round = 0; answered < 40; round++) {
        int due = 40 - answered < 16 ? 40 - answered : 16;
        assert_true(wait_for(&fixture_held, due));
        usleep(20000);
        assert_int_equal(atomic_load(&fixture_held), due);
        assert_int_equal(release_held(), due);
        for (int i = 0; i < due; i++) {
            expect_reply(fd, 200, NULL);
        }
        answered += due;
    }
    close(fd);
}

static void test_continue(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    client_puts(fd, POST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    expect_reply(fd, 100, NULL);
    client_puts(fd, "hello");
    expect_reply(fd, 200, "hello");
    client_puts(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(wait_for(&fixture_held, 1));
    client_puts(fd, POST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    usleep(50000);
    assert_int_equal(release_held(), 1);
    expect_reply(fd, 200, "held 0");
    expect_reply(fd, 100, NULL);
    client_puts(fd, "hi");
    expect_reply(fd, 200, "hi");
    close(fd);
}

/* The reply comes while the client still sends. */
static void test_too_large(void **state)
{
    (void)state;
    static char block[1 << 20];
    memset(block, 'x', sizeof block);
    int fd = client_open(&fixture);
    client_puts(fd, POST "Content-Length: 30000000\r\n\r\n");
    for (int i = 0; i < 28; i++) {
        client_send(fd, block, sizeof block);
    }
    expect_reply(fd, 413, NULL);
    assert_true(client_ended(fd));
    close(fd);
}

static void test_large_body(void **state)
{
    (void)state;
    static char body[5000000];
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (char)('a' + i % 26);
    }
    int fd = client_open(&fixture);
    client_puts(fd, POST "Content-Length: 5000000\r\n\r\n");
    client_send(fd, body, sizeof body);
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.size, sizeof body);
    assert_memory_equal(r.body, body, sizeof body);
    reply_free(&r);
    close(fd);
}

static void test_gone(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    client_puts(fd,
                "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nPOST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_true(wait_for(&fixture_held, 2));
    close(fd);
    assert_true(wait_for(&fixture_gone, 2));
    assert_int_equal(release_held(), 0);
    fd = client_open(&fixture);
    client_puts(fd, "GET /keep HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(wait_for(&fixture_held, 1));
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    usleep(50000);
    assert_int_equal(release_held(), 1);
}

/* A client that shuts its side down has gone: what is pending is dropped, what was answered before still goes out. */
static void test_half_closed_is_gone(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    client_puts(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /hold HTTP/1.1\r\nHost: a\r\n\r\n" GET "\r\n");
    assert_true(wait_for(&fixture_held, 1));
    shutdown(fd, SHUT_WR);
    assert_true(wait_for(&fixture_gone, 1));
    assert_int_equal(release_held(), 0);
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.size, BIG_BYTES);
    reply_free(&r);
    assert_true(client_ended(fd));
    close(fd);
}

/* Where that is allowed it still gets its answer, however late. */
static void test_half_closed(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    limits.half_close = true;
    restart(&limits);
    int fd = client_open(&fixture);
    client_puts(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(fd, SHUT_WR);
    assert_true(wait_for(&fixture_held, 2));
    usleep(20000);
    assert_int_equal(release_held(), 2);
    expect_reply(fd, 200, "held 0");
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "held 1");
    assert_string_equal(reply_header(&r, "connection"), "close");
    reply_free(&r);
    assert_true(client_ended(fd));
    close(fd);
}

/* Sends a byte now and then until the server has enough; returns the status it answers. */
static int dribble(int fd, const char *text)
{
    for (int i = 0; i < 1000; i++) {
        struct reply r = {0};
        char byte;
        client_send(fd, text, 1);
        usleep(10000);
        if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != -1) {
            r = client_reply(fd, false);
            reply_free(&r);
            return r.status;
        }
    }
    return -1;
}

static void test_slow_senders(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    limits.head_ms = limits.body_ms = 150;
    limits.idle_ms = 300;
    restart(&limits);
    int fd = client_open(&fixture);
    client_puts(fd, GET "X: ");
    assert_int_equal(dribble(fd, "y"), 408);
    close(fd);
    fd = client_open(&fixture);
    client_puts(fd, POST "Content-Length: 100000\r\n\r\n");
    assert_int_equal(dribble(fd, "y"), 408);
    close(fd);
    fd = client_open(&fixture);
    client_puts(fd, POST "Content-Length: 100000\r\n\r\nabc");
    expect_reply(fd, 408, NULL);
    close(fd);
    fd = client_open(&fixture);
    assert_true(client_ended(fd));
    close(fd);
    fd = client_open(&fixture);
    client_puts(fd, GET "\r\n");
    expect_reply(fd, 200, "");
    assert_true(client_ended(fd));
    close(fd);
}

/* Replies nobody reads are kept to a bound, and the connection ends. */
static void test_slow_reader(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    limits.write_ms = 200;
    limits.unanswered = 1 << 20;
    restart(&limits);
    int fd = client_open(&fixture);
    for (int i = 0; i < 16; i++) {
        client_puts(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    usleep(1000000);
    assert_in_range(atomic_load(&fixture_big), 1, 8);
    size_t total = 0;
    static char block[1 << 16];
    ssize_t n;
    while ((n = recv(fd, block, sizeof block, 0)) > 0) {
        total += (size_t)n;
    }
    assert_true(total < 2 * BIG_BYTES);
    close(fd);
}

static void test_connection_limit(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    limits.connections = 3;
    restart(&limits);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(&fixture);
        client_puts(fds[i], GET "\r\n");
        expect_reply(fds[i], 200, "");
    }
    int fd = client_open(&fixture);
    client_puts(fd, GET "\r\n");
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, 503);
    assert_string_equal(reply_header(&r, "connection"), "close");
    assert_string_equal(reply_header(&r, "retry-after"), "1");
    reply_free(&r);
    assert_true(client_ended(fd));
    close(fd);
    close(fds[0]);
    for (int i = 0, status = 503; status != 200; i++) {
        assert_true(i < 1000);
        fds[0] = client_open(&fixture);
        client_puts(fds[0], GET "\r\n");
        r = client_reply(fds[0], false);
        status = r.status;
        reply_free(&r);
        close(fds[0]);
        usleep(5000);
    }
    close(fds[1]);
    close(fds[2]);
}

/* A refused client that stays is shown the door. */
static void test_linger(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    limits.connections = 1;
    limits.linger_ms = 50;
    restart(&limits);
    int fd = client_open(&fixture), status = 503;
    client_puts(fd, "GET /\r\n\r\n");
    expect_reply(fd, 400, NULL);
    for (int i = 0; status != 200; i++) {
        assert_true(i < 500);
        int other = client_open(&fixture);
        client_puts(other, GET "\r\n");
        struct reply r = client_reply(other, false);
        status = r.status;
        reply_free(&r);
        close(other);
        usleep(5000);
    }
    close(fd);
}

static void test_held_limit(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    limits.held = 200000;
    restart(&limits);
    static char block[500000];
    memset(block, 'x', sizeof block);
    int fd = client_open(&fixture);
    client_puts(fd, POST "Content-Length: 500000\r\n\r\n");
    client_send(fd, block, sizeof block);
    expect_reply(fd, 503, NULL);
    close(fd);
    fd = client_open(&fixture);
    client_puts(fd, POST "Content-Length: 2\r\n\r\nhi");
    expect_reply(fd, 200, "hi");
    close(fd);
}

/* Each allocation of the front fails in turn: there is a reply, or the connection ends, and the next client is served. */
static void test_no_memory(void **state)
{
    static const char bytes[] =
        POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
             "GET /models/a HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";
    (void)state;
    int whole = 0;
    for (long allowed = 0; allowed < 60; allowed++) {
        emb_mem_fail_after(allowed);
        int fd = client_open(&fixture), answered = 0;
        client_puts(fd, bytes);
        usleep(3000);
        emb_mem_fail_after(-1);
        for (; answered < 3; answered++) {
            struct reply r = client_reply(fd, false);
            int status = r.status;
            reply_free(&r);
            if (status == 0) {
                break;
            }
            assert_true(status == 200 || status == 404 || status == 500 || status == 503);
        }
        whole += answered == 3;
        close(fd);
        fd = client_open(&fixture);
        client_puts(fd, GET "\r\n");
        expect_reply(fd, 200, "");
        close(fd);
    }
    assert_true(whole > 10);
}

static void test_stop(void **state)
{
    (void)state;
    int held = client_open(&fixture), idle = client_open(&fixture), partial = client_open(&fixture);
    client_puts(held, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    client_puts(idle, GET "\r\n");
    expect_reply(idle, 200, "");
    client_puts(partial, POST "Content-Length: 10\r\n\r\nhello");
    int releaser = client_open(&fixture);
    client_puts(releaser, "POST /release HTTP/1.1\r\n");
    assert_true(wait_for(&fixture_held, 2));
    usleep(20000);
    fixture_stop(&fixture);
    assert_true(client_ended(idle));
    client_puts(partial, "world");
    struct reply r = client_reply(partial, false);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "helloworld");
    assert_string_equal(reply_header(&r, "connection"), "close");
    reply_free(&r);
    client_puts(releaser, "Host: a\r\n\r\n");
    expect_reply(releaser, 200, "2");
    expect_reply(held, 200, "held 0");
    r = client_reply(held, false);
    assert_string_equal(r.body, "held 1");
    assert_string_equal(reply_header(&r, "connection"), "close");
    reply_free(&r);
    assert_true(client_ended(held));
    uv_thread_join(&fixture.thread);
    assert_true(atomic_load(&fixture.stopped));
    assert_int_equal(uv_loop_close(&fixture.loop), 0);
    close(held);
    close(idle);
    close(partial);
    close(releaser);
    setup(state);
}

/* A request that never comes whole does not hold the stop up. */
static void test_stop_with_partial(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    limits.stop_partial_ms = 100;
    restart(&limits);
    int fd = client_open(&fixture);
    client_puts(fd, POST "Content-Length: 10\r\n\r\nhello");
    usleep(20000);
    fixture_stop(&fixture);
    expect_reply(fd, 503, NULL);
    close(fd);
    fixture_join(&fixture);
    setup(state);
}

/* What cannot be listened on is an error, and closed. */
static void test_bad_listener(void **state)
{
    (void)state;
    uv_loop_t loop;
    embellama_error error;
    struct emb_front *front = NULL;
    int port, listeners[2] = {fixture_bind(&port), socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    struct emb_front_options options = {
        .listeners = listeners, .listener_count = 2, .limits = emb_front_limits_default()};
    uv_loop_init(&loop);
    assert_int_equal(emb_front_open(&front, &loop, &options, &error), EMBELLAMA_E_IO);
    assert_non_null(strstr(error.message, "cannot listen: "));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(fcntl(listeners[0], F_GETFD), -1);
    assert_int_equal(fcntl(listeners[1], F_GETFD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_cases),
        TEST(test_byte_by_byte),
        TEST(test_headers),
        TEST(test_ids),
        TEST(test_routes),
        TEST(test_error_style),
        TEST(test_pipelined_order),
        TEST(test_pipeline_depth),
        TEST(test_continue),
        TEST(test_too_large),
        TEST(test_large_body),
        TEST(test_gone),
        TEST(test_half_closed_is_gone),
        TEST(test_half_closed),
        TEST(test_slow_senders),
        TEST(test_slow_reader),
        TEST(test_connection_limit),
        TEST(test_linger),
        TEST(test_held_limit),
        TEST(test_no_memory),
        TEST(test_stop),
        TEST(test_stop_with_partial),
        TEST(test_bad_listener),
    };
    signal(SIGPIPE, SIG_IGN);
    emb_log_set_level(EMB_LOG_ERROR);
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
