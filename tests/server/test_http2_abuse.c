/* What a client of HTTP/2 may not do to a session: heads and floods that are too much, windows that stay shut, time that passes, memory
 * that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "h2_peer.h"

static const struct h2_field with_body[] = {{"content-type", "a/b"}, {"te", "trailers"}, {NULL, NULL}};

/* ---- Heads that are too much ---- */

/* A field that is sent once and then named a thousand times, by a byte each. */
static void test_bomb(void **state)
{
    struct peer *p = *state;
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    struct emb_buf block;
    char value[3001];
    int status;
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    start(p);
    h2_init(&block);
    h2_request_block(&block, "GET", "/");
    size_t at = block.size;
    h2_literal(&block, "x", value);
    block.data[at] = 0x40; /* to be indexed */
    for (int i = 0; i < 10000; i++) {
        emb_buf_append(&block, "\xBE", 1);
    }
    h2_frame(&p->send, H2_HEADERS, H2_END_HEADERS | ENDED, 1, block.data, block.size);
    emb_buf_deinit(&block);
    exchange(p);
    assert_true(emb_http2_held(p->h) < 200000);
    assert_true(next_request(p, &r, &status, &stream));
    assert_int_equal(status, 431);
    assert_true(r->head.size <= limits.http1.head);
    emb_http1_request_free(r);
    emb_http2_set_user(stream, p);
}

static void test_many_fields(void **state)
{
    struct peer *p = *state;
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    struct emb_buf block;
    int status;
    limits.http1.headers = 10;
    start(p);
    for (uint32_t id = 1; id <= 3; id += 2) {
        h2_init(&block);
        h2_request_block(&block, "GET", "/");
        for (uint32_t i = 0; i < 9 + id / 2; i++) {
            h2_literal(&block, "x", "y");
        }
        h2_frame(&p->send, H2_HEADERS, H2_END_HEADERS | ENDED, id, block.data, block.size);
        emb_buf_deinit(&block);
        exchange(p);
        assert_true(next_request(p, &r, &status, &stream));
        assert_int_equal(status, id == 1 ? 0 : 431);
        emb_http1_request_free(r);
        emb_http2_set_user(stream, p);
    }
}

static void begin_block(struct peer *p, size_t size)
{
    struct emb_buf block;
    h2_init(&block);
    h2_request_block(&block, "GET", "/");
    while (block.size < size) {
        h2_literal(&block, "x", "y");
    }
    h2_frame(&p->send, H2_HEADERS, ENDED, 1, block.data, block.size);
    emb_buf_deinit(&block);
}

static void test_continuations(void **state)
{
    struct peer *p = *state;
    for (int count = 4; count <= 5; count++) {
        start(p);
        begin_block(p, 0);
        for (int i = 0; i < count; i++) {
            h2_frame(&p->send, H2_CONTINUATION, 0, 1, "", 0);
        }
        exchange(p);
        if (count == 5) {
            expect_ended(p, H2_ENHANCE_YOUR_CALM);
            return;
        }
        assert_false(emb_http2_over(p->h));
        finish(p);
    }
}

/* Few parts, but long ones. */
static void test_long_block(void **state)
{
    struct peer *p = *state;
    start(p);
    begin_block(p, 16000);
    for (int i = 0; i < 4; i++) {
        h2_frame(&p->send, H2_CONTINUATION, 0, 1, letters, 14000);
    }
    assert_true(feed_by(p, 1 << 16));
    assert_true(pull(p));
    expect_ended(p, H2_ENHANCE_YOUR_CALM);
}

/* ---- Floods ---- */

static void add_ping(struct emb_buf *out)
{
    h2_frame(out, H2_PING, 0, 0, "12345678", 8);
}

static void add_settings(struct emb_buf *out)
{
    h2_setting(out, 4, 70000);
}

static void add_ack(struct emb_buf *out)
{
    h2_frame(out, H2_PING, H2_ACK, 0, "12345678", 8);
}

static void add_priority(struct emb_buf *out)
{
    h2_frame(out, H2_PRIORITY, 0, 1, "\0\0\0\0\x10", 5);
}

static void add_priority_update(struct emb_buf *out)
{
    h2_frame(out, 0x10, 0, 0, "\0\0\0\1u=1", 7);
}

static void add_window(struct emb_buf *out)
{
    h2_window(out, 0, 1);
}

static void add_unknown(struct emb_buf *out)
{
    h2_frame(out, 0xFA, 0, 0, "", 0);
}

static void add_empty_data(struct emb_buf *out)
{
    h2_frame(out, H2_DATA, 0, 1, "", 0);
}

static void add_padding(struct emb_buf *out)
{
    h2_frame(out, H2_DATA, H2_PADDED, 1, "\0", 1);
}

static const struct flood {
    const char *name;
    void (*add)(struct emb_buf *out);
} floods[] = {
    {"ping", add_ping},         {"settings", add_settings},      {"ack", add_ack},
    {"priority", add_priority}, {"update", add_priority_update}, {"window", add_window},
    {"unknown", add_unknown},   {"empty data", add_empty_data},  {"padding", add_padding},
};

/* A burst beyond the limit ends the connection; the same number over a longer time does not. */
static void test_floods(void **state)
{
    struct peer *p = *state;
    for (size_t i = 0; i < 2 * sizeof floods / sizeof *floods; i++) {
        bool slow = i % 2 == 1;
        start(p);
        h2_request(&p->send, 1, 0, "POST", "/", NULL);
        exchange(p);
        for (int k = 0; k < 120; k++) {
            floods[i / 2].add(&p->send);
            p->now += slow ? 100 : 0;
            h2_frame(&p->send, H2_DATA, 0, 1, "a", 1); /* so that the body is not late */
            if (!feed_by(p, 1 << 16) || !pull(p)) {
                fail_msg("%s: failed", floods[i / 2].name);
            }
            assert_true(emb_http2_check(p->h, p->now, true));
        }
        if (emb_http2_over(p->h) == slow) {
            fail_msg("%s: %s", floods[i / 2].name, slow ? "ended" : "goes on");
        }
        if (!slow) {
            expect_ended(p, H2_ENHANCE_YOUR_CALM);
            assert_non_null(emb_http2_why(p->h));
        }
        finish(p);
    }
}

/* Without reading what comes back either: what is to be sent stays bounded. */
static void test_unread_replies(void **state)
{
    struct peer *p = *state;
    bool well = true;
    limits.guard.frames = 1000000;
    limits.memory = 200000;
    start(p);
    for (int i = 0; i < 20000 && well; i++) {
        add_ping(&p->send);
        well = feed_by(p, 1 << 16);
        assert_true(emb_http2_held(p->h) < 200000 + 10000);
    }
    assert_false(well);
}

/* CVE-2023-44487: asking and taking it back, which costs the client nothing. */
static void test_rapid_reset(void **state)
{
    struct peer *p = *state;
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    int status;
    for (int slow = 1; slow >= 0; slow--) {
        start(p);
        for (uint32_t id = 1; id < 60; id += 2) {
            h2_request(&p->send, id, ENDED, "GET", "/", NULL);
            h2_reset(&p->send, id, H2_CANCEL);
            exchange(p);
            p->now += slow ? 300 : 0;
            assert_false(next_request(p, &r, &status, &stream)); /* gone before it was taken */
            assert_true(emb_http2_streams(p->h) == 0 || emb_http2_over(p->h));
        }
        if (slow) {
            assert_false(emb_http2_over(p->h));
            finish(p);
        }
    }
    expect_ended(p, H2_ENHANCE_YOUR_CALM);
}

/* The same with the server made to reset them (CVE-2025-8671). */
static void test_made_to_reset(void **state)
{
    struct peer *p = *state;
    start(p);
    for (uint32_t id = 1; id < 60; id += 2) {
        h2_request(&p->send, id, 0, "POST", "/", NULL);
        h2_window(&p->send, id, 0x7FFFFFFF);
        exchange(p);
    }
    expect_ended(p, H2_ENHANCE_YOUR_CALM);
}

/* A stream that was closed, or passed over, is not opened again; what comes late for one that we reset is no error. */
static void test_closed_streams(void **state)
{
    struct peer *p = *state;
    static const uint32_t again[] = {1, 3};
    for (int i = 0; i < 4; i++) {
        start(p);
        h2_request(&p->send, 1, ENDED, "GET", "/", NULL);
        h2_reset(&p->send, 1, H2_CANCEL);
        h2_request(&p->send, 5, ENDED, "GET", "/", NULL);
        exchange(p);
        assert_false(emb_http2_over(p->h));
        if (i % 2 == 0) {
            h2_request(&p->send, again[i / 2], ENDED, "GET", "/", NULL);
        } else {
            h2_frame(&p->send, H2_DATA, 0, again[i / 2], "a", 1);
        }
        exchange(p);
        expect_ended(p, H2_STREAM_CLOSED);
        finish(p);
    }
    start(p);
    h2_request(&p->send, 1, 0, "POST", "/", NULL);
    h2_window(&p->send, 1, 0x7FFFFFFF);
    exchange(p);
    h2_frame(&p->send, H2_DATA, 0, 1, "a", 1);
    h2_request(&p->send, 1, ENDED, "POST", "/", NULL);
    exchange(p);
    assert_false(emb_http2_over(p->h));
}

/* As many streams as were announced, those counted whose requests are still worked on. */
static void test_streams(void **state)
{
    struct peer *p = *state;
    struct h2_got got;
    start(p);
    emb_http2_set_unfinished(p->h, 3);
    for (uint32_t id = 1; id <= 15; id += 2) {
        h2_request(&p->send, id, 0, "POST", "/", NULL);
    }
    exchange(p);
    assert_int_equal(emb_http2_streams(p->h), 7);
    assert_true(find(p, H2_RST_STREAM, &got));
    assert_int_equal(got.stream, 15);
    assert_int_equal(got.code, H2_REFUSED_STREAM);
    emb_http2_set_unfinished(p->h, 0);
    h2_frame(&p->send, H2_SETTINGS, H2_ACK, 0, "", 0);
    for (uint32_t id = 17; id <= 27; id += 2) {
        h2_request(&p->send, id, 0, "POST", "/", NULL);
    }
    exchange(p);
    assert_int_equal(emb_http2_streams(p->h), 10);
    assert_true(find(p, H2_GOAWAY, &got) || find(p, H2_RST_STREAM, &got));
}

/* ---- Room ---- */

static size_t credit(struct peer *p, uint32_t id)
{
    struct h2_got got;
    size_t more = 0;
    while (h2_next(&p->reader, &got)) {
        if (got.type == H2_WINDOW_UPDATE && got.stream == id) {
            more += (size_t)got.data[0] << 24 | (size_t)got.data[1] << 16 | (size_t)got.data[2] << 8 | got.data[3];
        }
    }
    return more;
}

/* Without room bodies stop at their windows, all but the oldest; when there is some, or the oldest is whole, they go on. */
static void test_room(void **state)
{
    struct peer *p = *state;
    start(p);
    emb_http2_set_room(p->h, false);
    for (uint32_t id = 1; id <= 5; id += 2) {
        h2_request(&p->send, id, 0, "POST", "/", NULL);
        for (int i = 0; i < 4; i++) {
            h2_frame(&p->send, H2_DATA, 0, id, letters, 16000);
        }
        exchange(p);
        assert_int_equal(credit(p, id) > 0, id == 1);
    }
    h2_frame(&p->send, H2_DATA, ENDED, 1, "", 0);
    exchange(p);
    assert_int_equal(credit(p, 3), 64000);
    emb_http2_set_room(p->h, true);
    exchange(p);
    assert_int_equal(credit(p, 5), 64000);
}

/* ---- Time ---- */

static void pass(struct peer *p, uint64_t ms)
{
    p->now += ms;
    assert_true(emb_http2_check(p->h, p->now, true));
    assert_true(pull(p));
}

static void test_slow_start(void **state)
{
    struct peer *p = *state;
    start(p);
    p->send.size = EMB_HTTP2_PREFACE_SIZE; /* and no SETTINGS */
    exchange(p);
    pass(p, 1000);
    assert_false(emb_http2_over(p->h));
    pass(p, 1);
    assert_true(emb_http2_over(p->h));
}

static void test_slow_head(void **state)
{
    struct peer *p = *state;
    for (int split = 0; split < 2; split++) {
        start(p);
        if (split) {
            begin_block(p, 0);
        } else {
            h2_request(&p->send, 1, ENDED, "GET", "/", NULL);
            p->send.size -= 3;
        }
        exchange(p);
        pass(p, 1000);
        assert_false(emb_http2_over(p->h));
        pass(p, 1);
        expect_ended(p, H2_ENHANCE_YOUR_CALM);
        if (!split) {
            finish(p);
        }
    }
}

static void expect_late(struct peer *p)
{
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    int status;
    assert_true(next_request(p, &r, &status, &stream));
    assert_int_equal(status, 408);
    emb_http1_request_free(r);
    emb_http2_set_user(stream, p);
}

static void test_slow_body(void **state)
{
    struct peer *p = *state;
    start(p);
    h2_request(&p->send, 1, 0, "POST", "/", NULL);
    exchange(p);
    pass(p, 2000);
    assert_false(emb_http2_waiting(p->h));
    pass(p, 1);
    expect_late(p);
    h2_request(&p->send, 3, 0, "POST", "/", NULL);
    exchange(p);
    for (int i = 0; i < 25; i++) { /* 1,000 bytes a second are asked for; these are 2 */
        h2_frame(&p->send, H2_DATA, 0, 3, "a", 1);
        exchange(p);
        assert_int_equal(emb_http2_waiting(p->h), i > 4);
        pass(p, 500);
    }
    expect_late(p);
}

/* One body after another is as good as all together. */
static void test_bodies_in_turn(void **state)
{
    struct peer *p = *state;
    start(p);
    h2_request(&p->send, 1, 0, "POST", "/", NULL);
    h2_request(&p->send, 3, 0, "POST", "/", NULL);
    exchange(p);
    for (int i = 0; i < 40; i++) {
        h2_frame(&p->send, H2_DATA, 0, i < 20 ? 1 : 3, letters, 1100);
        exchange(p);
        pass(p, 1000);
    }
    assert_false(emb_http2_waiting(p->h));
}

static void expect_cancelled(struct peer *p, struct body *body)
{
    struct h2_got got;
    assert_true(find(p, H2_RST_STREAM, &got));
    assert_int_equal(got.code, H2_CANCEL);
    assert_ptr_equal(emb_http2_next_closed(p->h), body);
    assert_false(emb_http2_over(p->h));
}

/* A window of nothing, and one that is opened byte by byte. */
static void test_shut_windows(void **state)
{
    struct peer *p = *state;
    struct body body = {.size = 10000}, slow = {.size = 100000};
    start(p);
    h2_setting(&p->send, 4, 0);
    answer(p, ask(p, 1), &body);
    pass(p, 3000);
    assert_null(emb_http2_next_closed(p->h));
    pass(p, 1);
    expect_cancelled(p, &body);
    answer(p, ask(p, 3), &slow);
    for (int i = 0; i < 8; i++) {
        h2_window(&p->send, 3, 1);
        exchange(p);
        assert_null(emb_http2_next_closed(p->h));
        pass(p, 400);
    }
    assert_true(slow.at > 0 && slow.at < 20);
    expect_cancelled(p, &slow);
}

/* One reply that is not read beside one that is. */
static void test_shut_beside_open(void **state)
{
    struct peer *p = *state;
    struct body shut = {.size = 100}, open = {.size = 100000};
    start(p);
    h2_setting(&p->send, 4, 0);
    answer(p, ask(p, 1), &shut);
    answer(p, ask(p, 3), &open);
    for (int i = 0; i < 3; i++) {
        h2_window(&p->send, 3, 2000);
        exchange(p);
        pass(p, 1000);
        assert_null(emb_http2_next_closed(p->h));
    }
    h2_window(&p->send, 3, 2000);
    exchange(p);
    pass(p, 1);
    expect_cancelled(p, &shut);
    assert_int_equal(open.at, 8000);
    assert_int_equal(emb_http2_streams(p->h), 1);
}

/* The connection's window, which all replies share. */
static void test_shut_connection(void **state)
{
    struct peer *p = *state;
    struct body first = {.size = 65535}, second = {.size = 100};
    struct h2_got got;
    start(p);
    answer(p, ask(p, 1), &first);
    assert_true(pull(p));
    assert_ptr_equal(emb_http2_next_closed(p->h), &first);
    answer(p, ask(p, 3), &second);
    pass(p, 3000);
    assert_null(emb_http2_next_closed(p->h));
    pass(p, 1);
    assert_true(find(p, H2_RST_STREAM, &got));
    assert_ptr_equal(emb_http2_next_closed(p->h), &second);
}

/* ---- Memory ---- */

/* Every allocation fails in turn: the session fails or refuses, and nothing leaks or is counted twice. */
static void test_nomem(void **state)
{
    struct peer *p = *state;
    int whole = 0;
    for (long allowed = 0; allowed < 200; allowed++) {
        struct emb_buf script;
        struct emb_http1_request *r;
        struct emb_http2_stream *stream;
        struct body body = {.size = 1000};
        int status = 0;
        h2_init(&script);
        h2_open(&script);
        h2_request(&script, 1, 0, "POST", "/", with_body);
        h2_frame(&script, H2_DATA, ENDED, 1, letters, 10000);
        emb_mem_fail_after(allowed);
        p->h = emb_http2_new(&limits, &bodies, p->now);
        bool well = p->h && emb_http2_feed(p->h, script.data, script.size, p->now);
        const char *message;
        if (well && (stream = emb_http2_next(p->h, &r, &status, &message))) {
            emb_http1_request_free(r);
            emb_http2_set_user(stream, &body);
            well = emb_http2_reply(p->h, stream, 200, NULL, 0, true, p->now);
        }
        struct emb_buf out;
        h2_init(&out);
        well = well && emb_http2_pull(p->h, &out, 1 << 14, p->now);
        emb_mem_fail_after(-1);
        whole += well && body.at == 1000 && status == 0;
        emb_buf_deinit(&out);
        emb_buf_deinit(&script);
        finish(p);
    }
    assert_in_range(whole, 50, 190);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_bomb),
        TEST(test_many_fields),
        TEST(test_continuations),
        TEST(test_long_block),
        TEST(test_floods),
        TEST(test_unread_replies),
        TEST(test_rapid_reset),
        TEST(test_made_to_reset),
        TEST(test_closed_streams),
        TEST(test_streams),
        TEST(test_room),
        TEST(test_slow_start),
        TEST(test_slow_head),
        TEST(test_slow_body),
        TEST(test_bodies_in_turn),
        TEST(test_shut_windows),
        TEST(test_shut_beside_open),
        TEST(test_shut_connection),
        TEST(test_nomem),
    };
    return cmocka_run_group_tests_name("http2_abuse", tests, NULL, NULL);
}
