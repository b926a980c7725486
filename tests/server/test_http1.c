/* The request parser alone: every case whole, byte by byte and cut at every place; limits; what a request looks like; memory that
 * runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "http1_cases.h"
#include "server/http/http1.h"

struct outcome {
    int requests;
    int refused;
    int continues;
    size_t body_bytes;
};

/* Feeds data[0..size) and counts what comes; stops at a refusal. */
static void feed(struct emb_http1 *p, const char *data, size_t size, struct outcome *out)
{
    size_t at = 0, used;
    while (!out->refused) {
        enum emb_http1_event event = emb_http1_feed(p, data + at, size - at, &used);
        at += used;
        assert_true(at <= size);
        if (event == EMB_HTTP1_MORE) {
            assert_int_equal(at, size);
            return;
        }
        if (event == EMB_HTTP1_CONTINUE) {
            out->continues++;
        } else if (event == EMB_HTTP1_REQUEST) {
            struct emb_http1_request *r = emb_http1_take(p);
            out->requests++;
            out->body_bytes += r->body.size;
            for (size_t i = 0; i < emb_http1_padding; i++) {
                assert_int_equal(r->body.data[r->body.size + i], 0);
            }
            emb_http1_request_free(r);
        } else {
            out->refused = emb_http1_status(p);
            assert_non_null(emb_http1_message(p));
            emb_http1_request_free(emb_http1_take(p));
        }
    }
}

/* In pieces: the first of cut bytes, then pieces of step bytes. */
static struct outcome run(const char *data, size_t size, size_t cut, size_t step)
{
    struct emb_http1_limits limits = emb_http1_limits_default();
    struct emb_http1 *p = emb_http1_new(&limits);
    struct outcome out = {0};
    assert_non_null(p);
    feed(p, data, cut, &out);
    for (size_t at = cut; at < size; at += step) {
        feed(p, data + at, size - at < step ? size - at : step, &out);
    }
    emb_http1_free(p);
    return out;
}

static void expect_case(const struct http1_case *c, struct outcome out, const char *how, size_t cut)
{
    if (out.requests != c->requests || out.refused != c->refused) {
        fail_msg("%s (%s, cut %zu): %d requests, refused %d; expected %d, %d", c->name, how, cut, out.requests,
                 out.refused, c->requests, c->refused);
    }
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < HTTP1_CASES; i++) {
        const struct http1_case *c = &http1_cases[i];
        struct outcome whole = run(c->bytes, c->size, c->size, 1);
        expect_case(c, whole, "whole", c->size);
        struct outcome bytes = run(c->bytes, c->size, 0, 1);
        expect_case(c, bytes, "byte by byte", 0);
        assert_int_equal(whole.body_bytes, bytes.body_bytes);
        for (size_t cut = 0; cut <= c->size; cut++) {
            struct outcome two = run(c->bytes, c->size, cut, c->size);
            expect_case(c, two, "in two", cut);
            assert_int_equal(two.body_bytes, whole.body_bytes);
        }
    }
}

static struct emb_http1_request *parse_one(const char *bytes)
{
    struct emb_http1_limits limits = emb_http1_limits_default();
    struct emb_http1 *p = emb_http1_new(&limits);
    size_t used;
    assert_int_equal(emb_http1_feed(p, bytes, strlen(bytes), &used), EMB_HTTP1_REQUEST);
    struct emb_http1_request *r = emb_http1_take(p);
    emb_http1_free(p);
    return r;
}

static void test_request(void **state)
{
    (void)state;
    struct emb_http1_request *r = parse_one("POST /v1/x%2Fy?q=1 HTTP/1.1\r\nHoSt: a:1\r\nX-Two:  first \t\r\n"
                                            "x-two: second\r\nX-Empty:\r\nContent-Length: 5\r\n\r\nhello");
    assert_string_equal(r->head.data + r->method, "POST");
    assert_string_equal(r->head.data + r->path, "/v1/x%2Fy");
    assert_string_equal(emb_http1_header(r, "host"), "a:1");
    assert_string_equal(emb_http1_header(r, "x-two"), "first");
    assert_string_equal(emb_http1_header(r, "x-empty"), "");
    assert_null(emb_http1_header(r, "x"));
    assert_int_equal(r->body.size, 5);
    assert_memory_equal(r->body.data, "hello", 6);
    assert_true(r->keep_alive);
    emb_http1_request_free(r);
}

static void test_keep_alive(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        bool keep;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct emb_http1_request *r = parse_one(cases[i].bytes);
        assert_int_equal(r->keep_alive, cases[i].keep);
        emb_http1_request_free(r);
    }
}

static void test_continue(void **state)
{
    (void)state;
    const char *with = POST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";
    const char *without = POST "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n";
    const char *old = "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";
    assert_int_equal(run(with, strlen(with), 0, 1).continues, 1);
    assert_int_equal(run(without, strlen(without), 0, 1).continues, 0);
    assert_int_equal(run(old, strlen(old), 0, 1).continues, 0);
}

static void fill(struct emb_buf *out, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++) {
        emb_buf_puts(out, text);
    }
}

static int refusal_of(struct emb_buf *b)
{
    struct outcome whole = run(b->data, b->size, b->size, 1), pieces = run(b->data, b->size, 0, 7);
    assert_int_equal(whole.refused, pieces.refused);
    assert_int_equal(whole.requests, pieces.requests);
    emb_buf_deinit(b);
    return whole.refused ? whole.refused : whole.requests;
}

static void test_limits(void **state)
{
    (void)state;
    struct emb_buf b;
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, "GET /");
    fill(&b, "a", 8191);
    emb_buf_puts(&b, " HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(refusal_of(&b), 1);
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, "GET /");
    fill(&b, "a", 8192);
    emb_buf_puts(&b, " HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(refusal_of(&b), 414);
    emb_buf_init(&b, 1 << 22);
    fill(&b, "a", 200000);
    assert_int_equal(refusal_of(&b), 414);
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, GET);
    fill(&b, "X: y\r\n", 99);
    emb_buf_puts(&b, "\r\n");
    assert_int_equal(refusal_of(&b), 1);
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, GET);
    fill(&b, "X: y\r\n", 100);
    emb_buf_puts(&b, "\r\n");
    assert_int_equal(refusal_of(&b), 431);
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, GET "X: ");
    fill(&b, "y", 200000);
    assert_int_equal(refusal_of(&b), 431);
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, CHUNKED);
    fill(&b, "1\r\na\r\n", 20000);
    emb_buf_puts(&b, "0\r\n\r\n");
    assert_int_equal(refusal_of(&b), 1);
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, CHUNKED);
    fill(&b, "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=b\r\na\r\n", 2000);
    assert_int_equal(refusal_of(&b), 400);
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, CHUNKED);
    fill(&b, "0", 100000);
    assert_int_equal(refusal_of(&b), 400);
    emb_buf_init(&b, 1 << 22);
    emb_buf_puts(&b, CHUNKED "0\r\n");
    fill(&b, "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 2000);
    assert_int_equal(refusal_of(&b), 431);
}

/* A length is no reason to allocate it. */
static void test_memory_grows_with_bytes(void **state)
{
    (void)state;
    struct emb_http1_limits limits = emb_http1_limits_default();
    struct emb_http1 *p = emb_http1_new(&limits);
    const char *head = POST "Content-Length: 10000000\r\n\r\nabc";
    size_t used;
    assert_int_equal(emb_http1_feed(p, head, strlen(head), &used), EMB_HTTP1_MORE);
    assert_int_equal(emb_http1_phase(p), EMB_HTTP1_BODY);
    assert_true(emb_http1_held(p) < 100000);
    emb_http1_free(p);
}

static void test_no_memory(void **state)
{
    (void)state;
    const char *bytes = CHUNKED "5\r\nhello\r\n0\r\nX: y\r\n\r\n" POST "Content-Length: 3\r\n\r\nabc";
    bool whole = false;
    for (long allowed = 0; allowed < 40 && !whole; allowed++) {
        struct emb_http1_limits limits = emb_http1_limits_default();
        struct outcome out = {0};
        emb_mem_fail_after(allowed);
        struct emb_http1 *p = emb_http1_new(&limits);
        if (p) {
            feed(p, bytes, strlen(bytes), &out);
        }
        emb_mem_fail_after(-1);
        emb_http1_free(p);
        assert_true(!p || out.refused == 503 || out.requests == 2);
        whole = out.requests == 2;
    }
    assert_true(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),      cmocka_unit_test(test_request),
        cmocka_unit_test(test_keep_alive), cmocka_unit_test(test_continue),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_memory_grows_with_bytes),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("http1", tests, NULL, NULL);
}
