/* The session of HTTP/2 without sockets: what becomes a request, what is refused and how, and how replies go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "h2_peer.h"

/* ---- Requests ---- */

static const struct h2_field with_body[] = {{"content-type", "a/b"}, {"te", "trailers"}, {NULL, NULL}};

static void check_requests(struct peer *p, size_t step)
{
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    struct body none = {0};
    int status;
    h2_request(&p->send, 1, 0, "POST", "/a/b?c=d", with_body);
    h2_frame(&p->send, H2_DATA, 0, 1, "hel", 3);
    h2_request(&p->send, 3, ENDED, "GET", "/", NULL);
    h2_frame(&p->send, H2_DATA, H2_PADDED, 1, "\x02lo\0\0", 5);
    h2_frame(&p->send, H2_DATA, ENDED, 1, "", 0);
    assert_true(feed_by(p, step));
    assert_true(next_request(p, &r, &status, &stream)); /* the first that was whole */
    assert_int_equal(status, 0);
    assert_string_equal(r->head.data + r->method, "GET");
    assert_string_equal(r->head.data + r->path, "/");
    assert_int_equal(r->body.size, 0);
    emb_http1_request_free(r);
    answer(p, stream, &none);
    assert_true(next_request(p, &r, &status, &stream));
    assert_true(r->parsed && r->keep_alive && !r->old);
    assert_string_equal(r->head.data + r->method, "POST");
    assert_string_equal(r->head.data + r->path, "/a/b");
    assert_string_equal(emb_http1_header(r, "host"), "a");
    assert_string_equal(emb_http1_header(r, "content-type"), "a/b");
    assert_null(emb_http1_header(r, ":path"));
    assert_int_equal(r->body.size, 5);
    assert_memory_equal(r->body.data, "hello", 5);
    for (size_t i = 0; i < emb_http1_padding; i++) {
        assert_int_equal(r->body.data[5 + i], 0);
    }
    emb_http1_request_free(r);
    answer(p, stream, &none);
    assert_false(next_request(p, &r, &status, &stream));
}

static void test_requests(void **state)
{
    struct peer *p = *state;
    struct h2_got got;
    start(p);
    check_requests(p, 1 << 16);
    assert_true(pull(p));
    for (uint32_t id = 3;; id = 1) {
        assert_true(find(p, H2_HEADERS, &got));
        assert_int_equal(got.stream, id);
        assert_int_equal(got.status, 200);
        assert_string_equal(got.head, ":status: 200\nx: y\n");
        assert_int_equal(got.flags, H2_END_HEADERS | H2_END_STREAM);
        assert_non_null(emb_http2_next_closed(p->h));
        if (id == 1) {
            break;
        }
    }
    assert_null(emb_http2_next_closed(p->h));
    assert_int_equal(emb_http2_streams(p->h), 0);
}

static void test_pieces(void **state)
{
    struct peer *p = *state;
    for (size_t step = 1; step < 12; step++) {
        start(p);
        check_requests(p, step);
        finish(p);
    }
}

static void test_settings(void **state)
{
    struct peer *p = *state;
    struct h2_got got;
    start(p);
    exchange(p);
    assert_true(h2_next(&p->reader, &got));
    assert_int_equal(got.type, H2_SETTINGS);
    static const unsigned char sent[] = {0, 3, 0, 0, 0, 10, 0, 4, 0, 1, 0, 0, 0, 6, 0, 0, 128, 0, 0, 9, 0, 0, 0, 1};
    assert_int_equal(got.size, sizeof sent);
    assert_memory_equal(got.data, sent, sizeof sent);
}

static void test_expect(void **state)
{
    struct peer *p = *state;
    static const struct h2_field fields[] = {{"expect", "100-continue"}, {NULL, NULL}};
    struct h2_got got;
    start(p);
    h2_request(&p->send, 1, 0, "POST", "/", fields);
    exchange(p);
    assert_true(find(p, H2_HEADERS, &got));
    assert_int_equal(got.status, 100);
    assert_int_equal(got.flags, H2_END_HEADERS);
}

/* ---- Refusals ---- */

struct refusal {
    const char *name;
    int status; /* 0: the stream is reset as malformed */
    const char *method, *path;
    struct h2_field fields[3];
};

static const struct refusal refusals[] = {
    {"unknown method", 501, "BREW", "/", {{NULL, NULL}}},
    {"connect", 501, "CONNECT", NULL, {{":authority", "a"}}},
    {"no method for all", 0, "GET", "*", {{NULL, NULL}}},
    {"fragment", 400, "GET", "/a#b", {{NULL, NULL}}},
    {"bytes in the path", 400, "GET", "/\xC3\xA4", {{NULL, NULL}}},
    {"another host", 400, "GET", "/", {{"host", "b"}}},
    {"strange expectation", 417, "POST", "/", {{"expect", "more"}}},
    {"too long", 413, "POST", "/", {{"content-length", "99999999"}}},
    {"far too long", 413, "POST", "/", {{"content-length", "9223372036854775807"}}},
    {"control character", 400, "GET", "/", {{"x", "a\001b"}}},
    {"line end", 400, "GET", "/", {{"x", "a\r\nb"}}},
    {"upper case", 0, "GET", "/", {{"X", "a"}}},
    {"connection", 0, "GET", "/", {{"connection", "close"}}},
    {"keep-alive", 0, "GET", "/", {{"keep-alive", "1"}}},
    {"proxy-connection", 0, "GET", "/", {{"proxy-connection", "1"}}},
    {"upgrade", 0, "GET", "/", {{"upgrade", "h2c"}}},
    {"transfer-encoding", 0, "POST", "/", {{"transfer-encoding", "chunked"}}},
    {"te", 0, "POST", "/", {{"te", "gzip"}}},
    {"two lengths", 0, "POST", "/", {{"content-length", "1"}, {"content-length", "1"}}},
    {"no number", 0, "POST", "/", {{"content-length", "+1"}}},
    {"overflow", 0, "POST", "/", {{"content-length", "18446744073709551617"}}},
    {"late pseudo field", 0, "GET", "/", {{"x", "y"}, {":path", "/b"}}},
    {"pseudo field twice", 0, "GET", "/", {{":path", "/b"}}},
    {"reply's pseudo field", 0, "GET", "/", {{":status", "200"}}},
    {"unknown pseudo field", 0, "GET", "/", {{":x", "200"}}},
    {"no path", 0, "GET", "", {{NULL, NULL}}},
    {"not a path", 0, "GET", "http://a/", {{NULL, NULL}}},
};

static void send_refused(struct peer *p, const struct refusal *c, uint32_t id)
{
    struct emb_buf block;
    h2_init(&block);
    if (c->path) {
        h2_request_block(&block, c->method, c->path);
    } else {
        h2_literal(&block, ":method", c->method);
    }
    for (size_t i = 0; i < 3 && c->fields[i].name; i++) {
        h2_literal(&block, c->fields[i].name, c->fields[i].value);
    }
    h2_frame(&p->send, H2_HEADERS, H2_END_HEADERS | (strcmp(c->method, "POST") != 0), id, block.data, block.size);
    emb_buf_deinit(&block);
}

static void test_refusals(void **state)
{
    struct peer *p = *state;
    uint32_t id = 1;
    limits.guard.resets = 100;
    start(p);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++, id += 2) {
        const struct refusal *c = &refusals[i];
        struct emb_http1_request *r;
        struct emb_http2_stream *stream;
        struct h2_got got;
        struct body none = {0};
        int status = 0;
        send_refused(p, c, id);
        exchange(p);
        bool taken = next_request(p, &r, &status, &stream);
        if (taken != (c->status != 0) || status != c->status) {
            fail_msg("%s: %d, not %d", c->name, status, c->status);
        }
        if (taken) {
            emb_http1_request_free(r);
            answer(p, stream, &none);
            exchange(p);
            assert_true(find(p, H2_HEADERS, &got));
            assert_non_null(emb_http2_next_closed(p->h));
        } else if (!find(p, H2_RST_STREAM, &got) || got.code != H2_PROTOCOL_ERROR || got.stream != id) {
            fail_msg("%s: not reset", c->name);
        }
        assert_int_equal(emb_http2_streams(p->h), 0);
    }
}

/* A length that the bytes do not have. */
static void test_lengths(void **state)
{
    struct peer *p = *state;
    static const struct h2_field three[] = {{"content-length", "3"}, {NULL, NULL}};
    static const size_t sizes[] = {2, 3, 4};
    struct h2_got got;
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    int status;
    start(p);
    for (uint32_t i = 0; i < 3; i++) {
        h2_request(&p->send, 2 * i + 1, 0, "POST", "/", three);
        h2_frame(&p->send, H2_DATA, ENDED, 2 * i + 1, "abcd", sizes[i]);
        exchange(p);
        assert_int_equal(next_request(p, &r, &status, &stream), sizes[i] == 3);
        if (sizes[i] == 3) {
            emb_http1_request_free(r);
            emb_http2_set_user(stream, p);
        } else {
            assert_true(find(p, H2_RST_STREAM, &got));
            assert_int_equal(got.code, H2_PROTOCOL_ERROR);
        }
    }
}

/* Too much of a body: refused before it ends, and after the answer no more of it is wanted. */
static void test_too_large(void **state)
{
    struct peer *p = *state;
    struct h2_got got;
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    struct body none = {0};
    int status;
    limits.http1.body = 1000;
    start(p);
    h2_request(&p->send, 1, 0, "POST", "/", NULL);
    h2_frame(&p->send, H2_DATA, 0, 1, letters, 1000);
    exchange(p);
    assert_false(next_request(p, &r, &status, &stream));
    h2_frame(&p->send, H2_DATA, 0, 1, letters, 1);
    exchange(p);
    assert_true(next_request(p, &r, &status, &stream));
    assert_int_equal(status, 413);
    emb_http1_request_free(r);
    answer(p, stream, &none);
    h2_frame(&p->send, H2_DATA, 0, 1, letters, 500);
    exchange(p);
    assert_true(find(p, H2_HEADERS, &got));
    assert_true(find(p, H2_RST_STREAM, &got));
    assert_int_equal(got.code, H2_NO_ERROR);
    assert_non_null(emb_http2_next_closed(p->h));
}

static void test_trailers(void **state)
{
    struct peer *p = *state;
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    struct emb_buf block;
    int status;
    limits.http1.framing = 100;
    start(p);
    for (uint32_t id = 1; id <= 3; id += 2) {
        h2_init(&block);
        for (uint32_t i = 0; i < id; i++) {
            h2_literal(&block, "x-checksum", "0123456789");
        }
        h2_request(&p->send, id, 0, "POST", "/", NULL);
        h2_frame(&p->send, H2_DATA, 0, id, "a", 1);
        h2_frame(&p->send, H2_HEADERS, H2_END_HEADERS | ENDED, id, block.data, block.size);
        emb_buf_deinit(&block);
        exchange(p);
        assert_true(next_request(p, &r, &status, &stream));
        assert_int_equal(status, id == 1 ? 0 : 431);
        assert_null(emb_http1_header(r, "x-checksum"));
        emb_http1_request_free(r);
        emb_http2_set_user(stream, p);
    }
}

/* ---- Replies ---- */

/* Bytes of a stream's DATA so far; *ended: its last came. */
static size_t collect(struct peer *p, uint32_t id, bool *ended)
{
    struct h2_got got;
    size_t size = 0;
    while (h2_next(&p->reader, &got)) {
        if (got.type == H2_DATA && got.stream == id) {
            size += got.size;
            *ended |= (got.flags & H2_END_STREAM) != 0;
        }
    }
    return size;
}

static void test_windows(void **state)
{
    struct peer *p = *state;
    struct body body = {.size = 300000};
    bool ended = false;
    start(p);
    answer(p, ask(p, 1), &body);
    assert_true(pull(p));
    assert_true(p->most_out <= (1 << 14) + (1 << 14) + 18);
    size_t got = collect(p, 1, &ended);
    assert_int_equal(got, 65535);
    assert_int_equal(body.at, 65535);
    h2_window(&p->send, 1, 1000000);
    exchange(p);
    assert_int_equal(body.at, 65535); /* the connection's is still shut */
    h2_window(&p->send, 0, 1000000);
    exchange(p);
    got += collect(p, 1, &ended);
    assert_int_equal(got, 300000);
    assert_true(ended);
    assert_ptr_equal(emb_http2_next_closed(p->h), &body);
}

static void test_broken_reply(void **state)
{
    struct peer *p = *state;
    struct body body = {.size = 100000, .fails = true};
    struct h2_got got;
    start(p);
    answer(p, ask(p, 1), &body);
    assert_true(pull(p));
    assert_true(find(p, H2_RST_STREAM, &got));
    assert_int_equal(got.code, H2_INTERNAL_ERROR);
    assert_ptr_equal(emb_http2_next_closed(p->h), &body);
}

static void test_gone(void **state)
{
    struct peer *p = *state;
    start(p);
    struct emb_http2_stream *stream = ask(p, 1);
    emb_http2_set_user(stream, p);
    h2_reset(&p->send, 1, H2_CANCEL);
    assert_true(feed_by(p, 1 << 16));
    assert_true(emb_http2_reply(p->h, stream, 200, NULL, 0, false, p->now)); /* the news came too late */
    assert_ptr_equal(emb_http2_next_closed(p->h), p);
    exchange(p);
}

/* ---- The end ---- */

static void test_stop(void **state)
{
    struct peer *p = *state;
    struct body body = {.size = 10};
    struct h2_got got;
    uint64_t since;
    start(p);
    struct emb_http2_stream *stream = ask(p, 1);
    emb_http2_warn(p->h);
    exchange(p);
    assert_true(find(p, H2_GOAWAY, &got));
    assert_int_equal(got.data[0], 0x7F);
    struct emb_http2_stream *late = ask(p, 3); /* it was on its way */
    emb_http2_stop(p->h);
    exchange(p);
    assert_true(find(p, H2_GOAWAY, &got));
    assert_int_equal(got.data[3], 3);
    assert_int_equal(got.code, H2_NO_ERROR);
    h2_request(&p->send, 5, ENDED, "GET", "/", NULL);
    exchange(p);
    assert_false(emb_http2_waiting(p->h));
    assert_int_equal(emb_http2_streams(p->h), 2);
    assert_false(emb_http2_over(p->h));
    assert_false(emb_http2_partial(p->h, &since));
    answer(p, stream, &body);
    answer(p, late, &body);
    exchange(p);
    assert_non_null(emb_http2_next_closed(p->h));
    assert_non_null(emb_http2_next_closed(p->h));
    assert_true(emb_http2_over(p->h));
}

static void test_partial(void **state)
{
    struct peer *p = *state;
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    uint64_t since;
    int status;
    start(p);
    exchange(p);
    assert_false(emb_http2_partial(p->h, &since));
    h2_request(&p->send, 1, 0, "POST", "/", NULL);
    exchange(p);
    assert_true(emb_http2_partial(p->h, &since));
    assert_int_equal(since, p->now);
    emb_http2_refuse_partial(p->h, 503, "no");
    assert_true(next_request(p, &r, &status, &stream));
    assert_int_equal(status, 503);
    emb_http1_request_free(r);
    emb_http2_set_user(stream, p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_requests), TEST(test_pieces),    TEST(test_settings), TEST(test_expect),  TEST(test_refusals),
        TEST(test_lengths),  TEST(test_too_large), TEST(test_trailers), TEST(test_windows), TEST(test_broken_reply),
        TEST(test_gone),     TEST(test_stop),      TEST(test_partial),
    };
    return cmocka_run_group_tests_name("http2", tests, NULL, NULL);
}
