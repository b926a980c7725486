/* Replies made piece by piece: their three framings, failures on the way, and how little of them is held. */
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
#include "front_fixture.h"

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

static int ask(const char *kind, const char *version, const char *headers)
{
    char text[256];
    int fd = client_open(&fixture);
    snprintf(text, sizeof text, "GET /stream/%s HTTP/%s\r\nHost: a\r\n%s\r\n", kind, version, headers);
    client_puts(fd, text);
    return fd;
}

/* All bytes up to the end of the connection; a zero follows. */
static char *read_all(int fd, size_t *size)
{
    size_t capacity = 1 << 16;
    char *data = malloc(capacity);
    ssize_t n;
    *size = 0;
    while ((n = recv(fd, data + *size, capacity - *size - 1, 0)) > 0) {
        *size += (size_t)n;
        if (capacity - *size < 2) {
            data = realloc(data, capacity *= 2);
        }
        assert_non_null(data);
    }
    data[*size] = '\0';
    return data;
}

static void assert_streamed(const char *body, size_t size, size_t expected)
{
    assert_int_equal(size, expected);
    for (size_t i = 0; i < size; i++) {
        if (body[i] != fixture_byte(i)) {
            fail_msg("byte %zu is %d", i, body[i]);
        }
    }
}

/* The data of chunks in place; *end is what follows the last one, or NULL where there is none. */
static size_t decode_chunks(char *data, char **end)
{
    char *in = data;
    size_t size = 0;
    *end = NULL;
    for (;;) {
        char *line = in;
        size_t chunk = strtoul(in, &in, 16);
        if (in == line || strncmp(in, "\r\n", 2) != 0) {
            return size;
        }
        in += 2;
        if (chunk == 0) {
            *end = strncmp(in, "\r\n", 2) == 0 ? in + 2 : NULL;
            return size;
        }
        memmove(data + size, in, chunk);
        size += chunk;
        in += chunk;
        assert_memory_equal(in, "\r\n", 2);
        in += 2;
    }
}

static void test_known_length(void **state)
{
    (void)state;
    int fd = ask("known", "1.1", "");
    for (int i = 0; i < 2; i++) {
        struct reply r = client_reply(fd, false);
        assert_int_equal(r.status, 200);
        assert_null(reply_header(&r, "transfer-encoding"));
        assert_string_equal(reply_header(&r, "content-type"), "text/plain");
        assert_streamed(r.body, r.size, BIG_BYTES);
        reply_free(&r);
        assert_true(wait_for(&fixture_over, i + 1));
        client_puts(fd, "GET /stream/known HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    assert_true(client_ended(fd));
    close(fd);
}

/* Chunked, and a second request that waits behind it is answered after. */
static void test_unknown_length(void **state)
{
    (void)state;
    char *end;
    size_t size;
    int fd = ask("unknown", "1.1", "");
    client_puts(fd, "GET /models/abc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    char *data = read_all(fd, &size);
    char *body = strstr(data, "\r\n\r\n");
    assert_non_null(body);
    assert_true(strstr(data, "transfer-encoding: chunked\r\n") < body);
    char *length = strstr(data, "content-length");
    assert_true(!length || length > body);
    body += 4;
    size = decode_chunks(body, &end);
    assert_streamed(body, size, BIG_BYTES);
    assert_non_null(end);
    assert_int_equal(strncmp(end, "HTTP/1.1 200 OK\r\n", 17), 0);
    assert_string_equal(strstr(end, "\r\n\r\n"), "\r\n\r\nabc");
    free(data);
    close(fd);
}

/* HTTP/1.0 knows no chunks: the end of the connection ends the body, and nothing follows it. */
static void test_close_delimited(void **state)
{
    (void)state;
    size_t size;
    int fd = ask("unknown", "1.0", "Connection: keep-alive\r\n");
    client_puts(fd, "GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    char *data = read_all(fd, &size);
    char *body = strstr(data, "\r\n\r\n") + 4;
    body[-2] = '\0';
    assert_non_null(strstr(data, "connection: close\r\n"));
    assert_null(strstr(data, "content-length"));
    assert_null(strstr(data, "chunked"));
    assert_streamed(body, size - (size_t)(body - data), BIG_BYTES);
    free(data);
    close(fd);
}

static void expect_whole(const char *kind, int status, size_t size)
{
    int fd = ask(kind, "1.1", "");
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, status);
    assert_null(reply_header(&r, "transfer-encoding"));
    if (status == 200) {
        assert_streamed(r.body, r.size, size);
    } else {
        assert_string_equal(reply_header(&r, "content-type"), "application/json");
        assert_non_null(strstr(r.body, "\"code\":\"reply_failed\""));
    }
    reply_free(&r);
    client_puts(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    r = client_reply(fd, false);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    close(fd);
}

/* What fits into one piece has a length, and may still become an error. */
static void test_one_piece(void **state)
{
    (void)state;
    expect_whole("small", 200, SMALL_BYTES);
    expect_whole("empty", 200, 0);
    expect_whole("fail-first", 500, 0);
    assert_true(wait_for(&fixture_over, 3));
}

/* A client can tell a broken reply from a whole one. */
static void test_broken(void **state)
{
    (void)state;
    static const char *const kinds[] = {"fail-later", "less", "more"};
    for (int i = 0; i < 3; i++) {
        char *end;
        size_t size;
        int fd = ask(kinds[i], "1.1", "");
        char *data = read_all(fd, &size);
        char *body = strstr(data, "\r\n\r\n");
        assert_non_null(body);
        body += 4;
        if (i == 0) {
            decode_chunks(body, &end);
            assert_null(end);
        } else {
            char *length = strstr(data, "content-length: ");
            assert_non_null(length);
            assert_true(size - (size_t)(body - data) < strtoul(length + 16, NULL, 10));
        }
        assert_true(wait_for(&fixture_over, i + 1));
        free(data);
        close(fd);
    }
}

static void test_head(void **state)
{
    (void)state;
    int fd = client_open(&fixture);
    client_puts(fd, "HEAD /stream/known HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream/unknown HTTP/1.1\r\nHost: a\r\n\r\n");
    struct reply r = client_reply(fd, true);
    assert_int_equal(r.status, 200);
    assert_int_equal(strtoul(reply_header(&r, "content-length"), NULL, 10), BIG_BYTES);
    reply_free(&r);
    r = client_reply(fd, true);
    assert_string_equal(reply_header(&r, "transfer-encoding"), "chunked");
    reply_free(&r);
    assert_true(wait_for(&fixture_over, 2));
    assert_int_equal(atomic_load(&fixture_pieces), 0);
    close(fd);
}

/* Asks no further than the client reads, and stops when it leaves or reads too slowly. */
static void test_bounded(void **state)
{
    (void)state;
    int fd = ask("endless", "1.1", "");
    int before = -1;
    for (int now = 0; now != before || now == 0; now = atomic_load(&fixture_pieces)) {
        before = now;
        usleep(100000);
    }
    assert_in_range(before, 1, 63); /* the kernel holds some MB, we a piece */
    close(fd);
    assert_true(wait_for(&fixture_over, 1));
    struct emb_front_limits limits = emb_front_limits_default();
    limits.write_ms = 200;
    fixture_join(&fixture);
    fixture_start(&fixture, &limits);
    fd = ask("endless", "1.1", "");
    assert_true(wait_for(&fixture_over, 1));
    close(fd);
}

/* One who reads all the time, but hardly anything. */
static void test_trickle(void **state)
{
    (void)state;
    struct emb_front_limits limits = emb_front_limits_default();
    limits.write_ms = 300;
    limits.least_rate = 1 << 20;
    fixture_join(&fixture);
    fixture_start(&fixture, &limits);
    int small = 4096, fd = ask("endless", "1.1", "");
    char block[256];
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 2000 && atomic_load(&fixture_over) == 0; i++) {
        assert_true(recv(fd, block, sizeof block, 0) > 0);
        usleep(5000);
    }
    assert_int_equal(atomic_load(&fixture_over), 1);
    close(fd);
}

static void test_stop_waits_for_it(void **state)
{
    size_t size;
    int fd = ask("known", "1.1", "");
    assert_true(wait_for_least(&fixture_pieces, 1));
    fixture_stop(&fixture);
    char *data = read_all(fd, &size);
    char *body = strstr(data, "\r\n\r\n") + 4;
    assert_streamed(body, size - (size_t)(body - data), BIG_BYTES);
    free(data);
    close(fd);
    fixture_join(&fixture);
    setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_known_length), TEST(test_unknown_length), TEST(test_close_delimited),
        TEST(test_one_piece),    TEST(test_broken),         TEST(test_head),
        TEST(test_bounded),      TEST(test_trickle),        TEST(test_stop_waits_for_it),
    };
    signal(SIGPIPE, SIG_IGN);
    emb_log_set_level(EMB_LOG_ERROR);
    return cmocka_run_group_tests_name("http_stream", tests, NULL, NULL);
}
