/* HTTP/2 through the front: what handlers see and what clients get, over sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "front_fixture.h"
#include "h2_client.h"
#include "server/http/http2.h"

#define WIDE 0x7FFF0000
#define END H2_END_STREAM

static struct fixture fixture;
static struct emb_front_limits limits;

static int setup(void **state)
{
    (void)state;
    limits = emb_front_limits_default();
    fixture_start(&fixture, &limits);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_join(&fixture);
    return 0;
}

static void restart(void)
{
    fixture_join(&fixture);
    fixture_start(&fixture, &limits);
}

struct client {
    int fd;
    struct h2_reader reader;
    struct emb_buf send;
};

/* window: of all streams together and each. */
static struct client client_new(uint32_t window)
{
    struct client c = {.fd = client_open(&fixture)};
    h2_reader_init(&c.reader);
    h2_init(&c.send);
    h2_open(&c.send);
    if (window > 0) {
        h2_setting(&c.send, 4, window);
        h2_window(&c.send, 0, window);
    }
    return c;
}

static void client_free(struct client *c)
{
    close(c->fd);
    h2_reader_deinit(&c->reader);
    emb_buf_deinit(&c->send);
}

static void flush(struct client *c)
{
    client_send(c->fd, c->send.data, c->send.size);
    emb_buf_clear(&c->send);
}

struct answer {
    int status;     /* 0: none; -1: the connection ended */
    uint32_t reset; /* code + 1, where it was */
    char head[4096];
    char *body;
    size_t size;
};

/* Sends what was made and reads until that stream is over. */
static struct answer wait_answer(struct client *c, uint32_t stream)
{
    struct answer a = {0};
    struct h2_got got;
    flush(c);
    for (;;) {
        if (!h2_receive(&c->reader, c->fd, &got)) {
            a.status = -1;
            return a;
        }
        if (got.stream != stream) {
            continue;
        }
        if (got.type == H2_HEADERS && got.status != 100) {
            a.status = got.status;
            snprintf(a.head, sizeof a.head, "%s", got.head);
        } else if (got.type == H2_DATA) {
            a.body = realloc(a.body, a.size + got.size + 1);
            memcpy(a.body + a.size, got.data, got.size);
            a.size += got.size;
            a.body[a.size] = '\0';
        } else if (got.type == H2_RST_STREAM) {
            a.reset = got.code + 1;
            return a;
        }
        if ((got.type == H2_HEADERS || got.type == H2_DATA) && (got.flags & END)) {
            return a;
        }
    }
}

static void expect_answer(struct client *c, uint32_t stream, int status, const char *body)
{
    struct answer a = wait_answer(c, stream);
    assert_int_equal(a.status, status);
    assert_int_equal(a.reset, 0);
    if (body) {
        assert_int_equal(a.size, strlen(body));
        assert_memory_equal(a.body ? a.body : "", body, a.size);
    }
    free(a.body);
}

static void expect_served(void)
{
    struct client c = client_new(0);
    h2_request(&c.send, 1, END, "GET", "/models/abc", NULL);
    expect_answer(&c, 1, 200, "abc");
    client_free(&c);
}

/* ---- Requests and replies ---- */

static void test_reply(void **state)
{
    (void)state;
    struct client c = client_new(0);
    static const struct h2_field fields[] = {{"x-request-id", "mine"}, {NULL, NULL}};
    h2_request(&c.send, 1, END, "GET", "/models/a%20b?x", fields);
    struct answer a = wait_answer(&c, 1);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "a b");
    assert_non_null(strstr(a.head, "\ndate: "));
    assert_non_null(strstr(a.head, "\nx-request-id: mine\n"));
    assert_non_null(strstr(a.head, "\ncontent-length: 3\n"));
    assert_non_null(strstr(a.head, "\ncontent-type: text/plain\n"));
    assert_non_null(strstr(a.head, "\nx-good: a\tb\n"));
    assert_null(strstr(a.head, "x-bad"));
    assert_null(strstr(a.head, "connection"));
    assert_null(strstr(a.head, "keep-alive"));
    free(a.body);
    h2_request(&c.send, 3, 0, "POST", "/", NULL);
    h2_frame(&c.send, H2_DATA, 0, 3, "hel", 3);
    h2_frame(&c.send, H2_DATA, END, 3, "lo", 2);
    expect_answer(&c, 3, 200, "hello");
    client_free(&c);
}

static void test_errors(void **state)
{
    (void)state;
    struct client c = client_new(0);
    h2_request(&c.send, 1, END, "GET", "/nowhere", NULL);
    struct answer a = wait_answer(&c, 1);
    assert_int_equal(a.status, 404);
    assert_non_null(strstr(a.body, "\"code\":\"unknown_url\""));
    free(a.body);
    h2_request(&c.send, 3, END, "DELETE", "/", NULL);
    a = wait_answer(&c, 3);
    assert_int_equal(a.status, 405);
    assert_non_null(strstr(a.head, "\nallow: GET, HEAD, POST, OPTIONS\n"));
    free(a.body);
    h2_request(&c.send, 5, END, "OPTIONS", "/", NULL);
    a = wait_answer(&c, 5);
    assert_int_equal(a.status, 204);
    assert_int_equal(a.size, 0);
    assert_null(strstr(a.head, "content-length"));
    assert_non_null(strstr(a.head, "\nallow: "));
    h2_request(&c.send, 7, END, "HEAD", "/models/abc", NULL);
    a = wait_answer(&c, 7);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.size, 0);
    assert_non_null(strstr(a.head, "\ncontent-length: 3\n"));
    h2_request(&c.send, 9, END, "BREW", "/", NULL);
    a = wait_answer(&c, 9);
    assert_int_equal(a.status, 501);
    assert_non_null(strstr(a.body, "\"code\":\"malformed_request\""));
    free(a.body);
    client_free(&c);
}

/* All at once, answered in another order. */
static void test_streams(void **state)
{
    (void)state;
    struct client c = client_new(0);
    for (uint32_t i = 0; i < 40; i++) {
        h2_request(&c.send, 2 * i + 1, END, "GET", "/hold", NULL);
    }
    flush(&c);
    assert_true(wait_for(&fixture_held, 40));
    h2_request(&c.send, 81, END, "GET", "/models/quick", NULL);
    expect_answer(&c, 81, 200, "quick");
    h2_request(&c.send, 83, 0, "POST", "/release", NULL);
    h2_frame(&c.send, H2_DATA, END, 83, "", 0);
    flush(&c);
    struct h2_got got;
    int answered = 0;
    while (answered < 41 && h2_receive(&c.reader, c.fd, &got)) {
        answered += got.type == H2_HEADERS && got.status == 200;
    }
    assert_int_equal(answered, 41);
    client_free(&c);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    struct client c = client_new(0);
    h2_request(&c.send, 1, 0, "POST", "/", NULL);
    h2_frame(&c.send, H2_DATA, END, 1, "hello", 5);
    for (size_t i = 0; i < c.send.size; i++) {
        client_send(c.fd, c.send.data + i, 1);
    }
    emb_buf_clear(&c.send);
    expect_answer(&c, 1, 200, "hello");
    client_free(&c);
}

static void test_continue(void **state)
{
    (void)state;
    static const struct h2_field fields[] = {{"expect", "100-continue"}, {NULL, NULL}};
    struct client c = client_new(0);
    struct h2_got got;
    h2_request(&c.send, 1, 0, "POST", "/", fields);
    flush(&c);
    while (h2_receive(&c.reader, c.fd, &got) && got.type != H2_HEADERS) {
    }
    assert_int_equal(got.status, 100);
    h2_frame(&c.send, H2_DATA, END, 1, "hello", 5);
    expect_answer(&c, 1, 200, "hello");
    client_free(&c);
}

/* An offer to change the protocol within HTTP/1.1, as Java's client makes with every request, is not taken up. */
static void test_upgrade(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    for (int i = 0; i < 2; i++) {
        client_puts(fd, "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nContent-Length: 2\r\n\r\nhi");
        struct reply r = client_reply(fd, false);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, "hi");
        assert_string_equal(reply_header(&r, "connection"), "keep-alive");
        reply_free(&r);
    }
    close(fd);
}

/* ---- Replies in pieces ---- */

static void expect_streamed(const char *kind, const char *length)
{
    char path[64], line[64];
    struct client c = client_new(WIDE);
    snprintf(path, sizeof path, "/stream/%s", kind);
    h2_request(&c.send, 1, END, "GET", path, NULL);
    struct answer a = wait_answer(&c, 1);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.reset, 0);
    snprintf(line, sizeof line, "\ncontent-length: %s\n", length);
    assert_int_equal(strstr(a.head, line) != NULL, length[0] != '\0');
    for (size_t i = 0; i < a.size; i++) {
        if (a.body[i] != fixture_byte(i)) {
            fail_msg("byte %zu is %d", i, a.body[i]);
        }
    }
    assert_int_equal(a.size, strcmp(kind, "small") == 0 ? SMALL_BYTES : strcmp(kind, "empty") == 0 ? 0 : BIG_BYTES);
    free(a.body);
    client_free(&c);
}

static void test_pieces(void **state)
{
    (void)state;
    expect_streamed("known", "8388608");
    expect_streamed("unknown", "");
    expect_streamed("small", "1000");
    expect_streamed("empty", "0");
    assert_true(wait_for(&fixture_over, 4));
}

static void test_broken_pieces(void **state)
{
    (void)state;
    static const char *const kinds[] = {"fail-later", "less", "more", "fail-first"};
    struct client c = client_new(WIDE);
    for (uint32_t i = 0; i < 4; i++) {
        char path[64];
        snprintf(path, sizeof path, "/stream/%s", kinds[i]);
        h2_request(&c.send, 2 * i + 1, END, "GET", path, NULL);
        struct answer a = wait_answer(&c, 2 * i + 1);
        assert_int_equal(a.status, i < 3 ? 200 : 500);
        assert_int_equal(a.reset, i < 3 ? H2_INTERNAL_ERROR + 1 : 0);
        free(a.body);
        assert_true(wait_for(&fixture_over, (int)i + 1));
    }
    expect_served();
    client_free(&c);
}

/* No more is made than the client's windows take. */
static void test_bounded(void **state)
{
    (void)state;
    struct client c = client_new(0);
    h2_request(&c.send, 1, END, "GET", "/stream/endless", NULL);
    flush(&c);
    assert_true(wait_for_least(&fixture_pieces, 1));
    h2_request(&c.send, 3, END, "GET", "/models/abc", NULL);
    flush(&c);
    usleep(100000);
    assert_int_equal(atomic_load(&fixture_pieces), 1);
    h2_window(&c.send, 0, 600000);
    h2_window(&c.send, 1, 600000);
    flush(&c);
    assert_true(wait_for_least(&fixture_pieces, 3));
    usleep(100000);
    assert_int_equal(atomic_load(&fixture_pieces), 3);
    h2_reset(&c.send, 1, H2_CANCEL);
    flush(&c);
    assert_true(wait_for(&fixture_over, 1));
    client_free(&c);
}

/* One who has opened all windows and reads nothing: the socket's write is late, as with HTTP/1.1. */
static void test_unread(void **state)
{
    (void)state;
    limits.write_ms = 300;
    restart();
    struct client c = client_new(WIDE);
    h2_request(&c.send, 1, END, "GET", "/stream/endless", NULL);
    flush(&c);
    assert_true(wait_for(&fixture_over, 1));
    assert_in_range(atomic_load(&fixture_pieces), 1, 63);
    client_free(&c);
}

/* ---- Clients that leave ---- */

static void test_gone(void **state)
{
    (void)state;
    struct client c = client_new(0);
    for (uint32_t i = 0; i < 3; i++) {
        h2_request(&c.send, 2 * i + 1, END, "GET", "/hold", NULL);
    }
    flush(&c);
    assert_true(wait_for(&fixture_held, 3));
    h2_reset(&c.send, 3, H2_CANCEL);
    flush(&c);
    assert_true(wait_for(&fixture_gone, 1));
    h2_request(&c.send, 7, END, "GET", "/models/abc", NULL);
    expect_answer(&c, 7, 200, "abc");
    client_free(&c);
    assert_true(wait_for(&fixture_gone, 3));
    assert_int_equal(atomic_load(&fixture_held), 0);
}

/* Work that goes on although nobody waits for it any more counts as a stream: else a client could have any amount of it. */
static void test_unfinished(void **state)
{
    (void)state;
    limits.http2.streams = 10;
    restart();
    struct client c = client_new(0);
    for (uint32_t i = 0; i < 10; i++) {
        h2_request(&c.send, 2 * i + 1, END, "GET", "/keep", NULL);
    }
    flush(&c);
    assert_true(wait_for(&fixture_held, 10));
    for (uint32_t i = 0; i < 8; i++) {
        h2_reset(&c.send, 2 * i + 1, H2_CANCEL);
    }
    flush(&c);
    h2_frame(&c.send, H2_PING, 0, 0, "12345678", 8);
    flush(&c);
    struct h2_got got;
    while (h2_receive(&c.reader, c.fd, &got) && !(got.type == H2_PING && (got.flags & H2_ACK))) {
    }
    h2_request(&c.send, 101, END, "GET", "/", NULL);
    struct answer a = wait_answer(&c, 101);
    assert_int_equal(a.reset, H2_REFUSED_STREAM + 1);
    struct client other = client_new(0);
    h2_request(&other.send, 1, END, "POST", "/release", NULL);
    expect_answer(&other, 1, 200, NULL);
    client_free(&other);
    h2_request(&c.send, 103, END, "GET", "/models/abc", NULL);
    expect_answer(&c, 103, 200, "abc");
    client_free(&c);
}

/* Orphans that outlive their connection. */
static void test_orphans(void **state)
{
    (void)state;
    struct client c = client_new(0);
    h2_request(&c.send, 1, END, "GET", "/keep", NULL);
    h2_request(&c.send, 3, END, "GET", "/keep", NULL);
    flush(&c);
    assert_true(wait_for(&fixture_held, 2));
    h2_reset(&c.send, 1, H2_CANCEL);
    flush(&c);
    client_free(&c);
    expect_served();
    c = client_new(0);
    h2_request(&c.send, 1, END, "POST", "/release", NULL);
    expect_answer(&c, 1, 200, "2");
    client_free(&c);
}

/* ---- Limits ---- */

/* More than a connection may have unanswered: later requests wait until replies went out. */
static void test_crowded(void **state)
{
    (void)state;
    limits.unanswered = 200000;
    restart();
    static char body[60000];
    struct client c = client_new(WIDE);
    memset(body, 'b', sizeof body);
    for (uint32_t i = 0; i < 12; i++) {
        h2_request(&c.send, 2 * i + 1, 0, "POST", "/hold", NULL);
        for (size_t at = 0; at < sizeof body; at += 15000) {
            h2_frame(&c.send, H2_DATA, at + 15000 == sizeof body ? END : 0, 2 * i + 1, body + at, 15000);
        }
    }
    flush(&c);
    assert_true(wait_for_least(&fixture_held, 2));
    usleep(100000);
    assert_in_range(atomic_load(&fixture_held), 2, 4); /* by the room their buffers have */
    struct client other = client_new(0);
    for (uint32_t id = 1; atomic_load(&fixture_held) > 0 || id < 9; id += 2) {
        h2_request(&other.send, id, END, "POST", "/release", NULL);
        expect_answer(&other, id, 200, NULL);
        usleep(20000);
        assert_true(id < 1000);
    }
    client_free(&other);
    for (uint32_t i = 0; i < 12; i++) {
        struct h2_got got;
        do {
            assert_true(h2_receive(&c.reader, c.fd, &got));
        } while (got.type != H2_HEADERS);
        assert_int_equal(got.status, 200);
    }
    client_free(&c);
}

static void test_full(void **state)
{
    (void)state;
    limits.held = 90000;
    restart();
    struct client c = client_new(0);
    static char body[16000];
    h2_request(&c.send, 1, 0, "POST", "/", NULL);
    for (int i = 0; i < 7; i++) {
        h2_frame(&c.send, H2_DATA, 0, 1, body, sizeof body);
        flush(&c);
    }
    struct answer a = wait_answer(&c, 1);
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.head, "\nretry-after: 1\n"));
    free(a.body);
    client_free(&c);
    expect_served();
}

/* ---- Stopping ---- */

static void test_stop(void **state)
{
    (void)state;
    struct h2_got got;
    int goaways = 0, answered = 0;
    struct client c = client_new(0), idle = client_new(0);
    h2_request(&idle.send, 1, END, "GET", "/models/abc", NULL);
    expect_answer(&idle, 1, 200, "abc");
    h2_request(&c.send, 1, END, "GET", "/keep", NULL);
    flush(&c);
    assert_true(wait_for(&fixture_held, 1));
    fixture_stop(&fixture);
    while (goaways < 1 && h2_receive(&c.reader, c.fd, &got)) {
        goaways += got.type == H2_GOAWAY;
    }
    assert_int_equal(got.data[0], 0x7F);
    h2_request(&c.send, 3, END, "POST", "/release", NULL); /* it comes before the second */
    flush(&c);
    while (h2_receive(&c.reader, c.fd, &got)) {
        answered += got.type == H2_HEADERS && got.status == 200;
        goaways += got.type == H2_GOAWAY;
    }
    assert_int_equal(goaways, 2);
    assert_int_equal(answered, 2);
    while (h2_receive(&idle.reader, idle.fd, &got)) {
        goaways += got.type == H2_GOAWAY;
    }
    assert_int_equal(goaways, 4);
    client_free(&c);
    client_free(&idle);
    fixture_join(&fixture);
    setup(state);
}

static void test_stop_partial(void **state)
{
    (void)state;
    limits.stop_partial_ms = 100;
    restart();
    struct client c = client_new(0);
    h2_request(&c.send, 1, 0, "POST", "/", NULL);
    h2_request(&c.send, 3, END, "GET", "/models/abc", NULL);
    expect_answer(&c, 3, 200, "abc");
    fixture_stop(&fixture);
    expect_answer(&c, 1, 503, NULL);
    client_free(&c);
    fixture_join(&fixture);
    setup(state);
}

/* ---- Memory ---- */

/* Whatever fails, the front stays, and nothing leaks: fixture_join looks. */
static void test_nomem(void **state)
{
    (void)state;
    int whole = 0, tries = 0;
    for (long allowed = 0; whole < 5; allowed++, tries++) {
        struct client c = client_new(WIDE);
        h2_request(&c.send, 1, 0, "POST", "/", NULL);
        h2_frame(&c.send, H2_DATA, END, 1, "hello", 5);
        h2_request(&c.send, 3, END, "GET", "/stream/small", NULL);
        h2_request(&c.send, 5, END, "GET", "/models/abc", NULL);
        h2_request(&c.send, 7, END, "GET", "/nowhere", NULL);
        struct emb_buf script = c.send;
        int answered = 0, ended = 0;
        struct h2_got got;
        emb_mem_fail_after(allowed);
        client_send(c.fd, script.data, script.size);
        char buffer[8192];
        ssize_t n;
        struct emb_buf in = {0};
        emb_mem_fail_after(allowed);
        while (ended == 0 && (n = recv(c.fd, buffer, sizeof buffer, 0)) > 0) {
            emb_mem_fail_after(-1);
            h2_reader_add(&c.reader, buffer, (size_t)n);
            while (h2_next(&c.reader, &got)) {
                answered += got.type == H2_HEADERS && (got.status == 200 || got.status == 404);
                ended += got.type == H2_GOAWAY || got.type == H2_RST_STREAM || got.status >= 500;
            }
            ended += answered == 4;
        }
        emb_mem_fail_after(-1);
        emb_buf_deinit(&in);
        whole += answered == 4;
        client_free(&c);
        assert_true(tries < 500);
    }
    assert_true(tries > 20);
    expect_served();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_reply),        TEST(test_errors),  TEST(test_streams), TEST(test_byte_by_byte),
        TEST(test_continue),     TEST(test_upgrade), TEST(test_pieces),  TEST(test_broken_pieces),
        TEST(test_bounded),      TEST(test_unread),  TEST(test_gone),    TEST(test_unfinished),
        TEST(test_orphans),      TEST(test_crowded), TEST(test_full),    TEST(test_stop),
        TEST(test_stop_partial), TEST(test_nomem),
    };
    signal(SIGPIPE, SIG_IGN);
    emb_log_set_level(EMB_LOG_ERROR);
    return cmocka_run_group_tests_name("http2_front", tests, NULL, NULL);
}
