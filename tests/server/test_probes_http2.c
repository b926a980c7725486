/* A collection of hostile and odd connections of HTTP/2, kept as data (probes-http2.json), and what must become of each.
 *
 * A probe is a list of frames and what is expected: a status, "reset" with the code of a stream that is reset, "end" with that of a
 * connection that is ended, "refused" (some stream or the connection) or "closed". Heads are made of literals. The first thing
 * that ends the watched stream, or the connection, counts; where a status is expected, the stream's first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "front_fixture.h"
#include "h2_client.h"

static const char *const types[] = {"DATA",         "HEADERS", "PRIORITY", "RST_STREAM",    "SETTINGS",
                                    "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW_UPDATE", "CONTINUATION"};

static unsigned type_of(struct emb_json_value step)
{
    const char *name;
    size_t size;
    int64_t number;
    if (emb_json_get_int(step, "frame", &number)) {
        return (unsigned)number;
    }
    assert_true(emb_json_get_string(step, "frame", &name, &size));
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i], name) == 0) {
            return i;
        }
    }
    fail_msg("unknown frame %s", name);
    return 0;
}

static unsigned flags_of(struct emb_json_value step)
{
    static const struct {
        const char *name;
        unsigned flag;
    } known[] = {{"END_STREAM", 1}, {"ACK", 1}, {"END_HEADERS", 4}, {"PADDED", 8}, {"PRIORITY", 32}};
    struct emb_json_value list;
    unsigned flags = 0;
    if (!emb_json_get(step, "flags", &list)) {
        return 0;
    }
    for (struct emb_json_iter it = emb_json_iterate(list); emb_json_next(&it);) {
        const char *name = "";
        size_t size, i = 0;
        emb_json_string(it.value, &name, &size);
        while (strcmp(known[i].name, name) != 0) {
            assert_true(++i < sizeof known / sizeof *known);
        }
        flags |= known[i].flag;
    }
    return flags;
}

static void put_hex(struct emb_buf *out, const char *hex)
{
    char pair[3] = "";
    for (; *hex; hex += 2) {
        hex += *hex == ' ';
        memcpy(pair, hex, 2);
        char byte = (char)strtol(pair, NULL, 16);
        emb_buf_append(out, &byte, 1);
    }
}

/* A string with its length, which may be filled up to more and may hold zeroes. */
static void put_string(struct emb_buf *block, const char *text, size_t size, size_t fill)
{
    size_t whole = size + fill, left = whole;
    unsigned char byte = 127;
    if (whole < 127) {
        byte = (unsigned char)whole;
        emb_buf_append(block, &byte, 1);
    } else {
        emb_buf_append(block, &byte, 1);
        for (left -= 127; left >= 128; left /= 128) {
            byte = (unsigned char)(left % 128 + 128);
            emb_buf_append(block, &byte, 1);
        }
        byte = (unsigned char)left;
        emb_buf_append(block, &byte, 1);
    }
    emb_buf_append(block, text, size);
    for (size_t i = 0; i < fill; i++) {
        emb_buf_append(block, "x", 1);
    }
}

/* ["name", "value"]; the value longer by fill; indexed: for later use. */
static void put_field(struct emb_buf *block, struct emb_json_value field, size_t fill, bool indexed)
{
    const char *texts[2] = {"", ""};
    size_t sizes[2] = {0, 0}, i = 0;
    for (struct emb_json_iter it = emb_json_iterate(field); emb_json_next(&it) && i < 2; i++) {
        emb_json_string(it.value, &texts[i], &sizes[i]);
    }
    emb_buf_append(block, indexed ? "\x40" : "", 1);
    put_string(block, texts[0], sizes[0], 0);
    put_string(block, texts[1], sizes[1], fill);
}

static int64_t number_of(struct emb_json_value v, const char *key)
{
    int64_t n = 0;
    emb_json_get_int(v, key, &n);
    return n;
}

static void put_head(struct emb_buf *block, struct emb_json_value step)
{
    const char *request;
    size_t size, fill = (size_t)number_of(step, "fill_value");
    int64_t repeat = number_of(step, "repeat_field"), indexed = number_of(step, "indexed");
    struct emb_json_value fields, field;
    if (emb_json_get_string(step, "request", &request, &size)) {
        char method[16];
        snprintf(method, sizeof method, "%.*s", (int)strcspn(request, " "), request);
        h2_request_block(block, method, strchr(request, ' ') + 1);
    }
    if (emb_json_get(step, "fields", &fields)) {
        size_t left = emb_json_size(fields);
        for (struct emb_json_iter it = emb_json_iterate(fields); emb_json_next(&it);) {
            bool last = --left == 0;
            put_field(block, it.value, last ? fill : 0, last && indexed > 0);
            for (int64_t i = 1; last && i < repeat; i++) {
                put_field(block, it.value, 0, false);
            }
        }
    }
    if (emb_json_get(step, "field", &field)) {
        put_field(block, field, fill, false);
    }
    for (int64_t i = 0; i < indexed; i++) {
        emb_buf_append(block, "\xBE", 1); /* what was indexed last */
    }
}

static void put_step(struct emb_buf *out, struct emb_json_value step, uint32_t shift);

static void put_steps(struct emb_buf *out, struct emb_json_value steps, uint32_t shift)
{
    for (struct emb_json_iter it = emb_json_iterate(steps); emb_json_next(&it);) {
        put_step(out, it.value, shift);
    }
}

static void put_step(struct emb_buf *out, struct emb_json_value step, uint32_t shift)
{
    const char *text;
    size_t size;
    struct emb_json_value steps;
    struct emb_buf payload;
    if (emb_json_get(step, "steps", &steps)) {
        for (int64_t i = 0; i < number_of(step, "repeat"); i++) {
            put_steps(out, steps, shift + (uint32_t)(i * number_of(step, "stride")));
        }
        return;
    }
    if (emb_json_get_string(step, "raw", &text, &size)) {
        put_hex(out, text);
        return;
    }
    h2_init(&payload);
    if (emb_json_get_string(step, "prefix", &text, &size) || emb_json_get_string(step, "hex", &text, &size)) {
        put_hex(&payload, text);
    }
    if (emb_json_get_string(step, "text", &text, &size)) {
        emb_buf_append(&payload, text, size);
    }
    for (int64_t i = 0; i < number_of(step, "fill"); i++) {
        emb_buf_append(&payload, "x", 1);
    }
    put_head(&payload, step);
    h2_frame(out, type_of(step), flags_of(step), (uint32_t)number_of(step, "stream") + shift, payload.data,
             payload.size);
    emb_buf_deinit(&payload);
}

/* What becomes of it, as "expect" says it. */
static void watch(int fd, uint32_t stream, const char *expect, char *outcome, size_t size)
{
    bool any = strcmp(expect, "refused") == 0, heads = strncmp(expect, "status", 6) == 0;
    struct h2_reader reader;
    struct h2_got got;
    h2_reader_init(&reader);
    snprintf(outcome, size, "closed");
    while (h2_receive(&reader, fd, &got)) {
        bool watched = got.stream == stream;
        if (got.type == H2_HEADERS && watched && got.status != 100 && heads) {
            snprintf(outcome, size, "status %d", got.status);
        } else if ((got.type == H2_HEADERS || got.type == H2_DATA) && watched && (got.flags & H2_END_STREAM)) {
            snprintf(outcome, size, "answered");
        } else if (got.type == H2_RST_STREAM && (watched || any)) {
            snprintf(outcome, size, any ? "refused" : "reset %u", got.code);
        } else if (got.type == H2_GOAWAY) {
            snprintf(outcome, size, any ? "refused" : "end %u", got.code);
        } else {
            continue;
        }
        break;
    }
    h2_reader_deinit(&reader);
}

/* True where it is as expected; else it is told. */
static bool probe(const struct fixture *f, struct emb_json_value v)
{
    const char *name = "", *expect = "";
    char outcome[64];
    size_t size;
    bool raw = false, hello = true;
    struct emb_json_value steps;
    struct emb_buf out;
    int64_t stream = 1;
    emb_json_get_string(v, "name", &name, &size);
    emb_json_get_string(v, "expect", &expect, &size);
    emb_json_get_bool(v, "raw", &raw);
    emb_json_get_bool(v, "hello", &hello);
    emb_json_get_int(v, "watch", &stream);
    h2_init(&out);
    if (!raw) {
        h2_open(&out);
        out.size = hello ? out.size : 24;
    }
    assert_true(emb_json_get(v, "steps", &steps));
    put_steps(&out, steps, 0);
    int fd = client_open(f);
    client_send(fd, out.data, out.size);
    emb_buf_deinit(&out);
    if (raw) {
        struct reply r = client_reply(fd, false);
        snprintf(outcome, sizeof outcome, r.status >= 400 && client_ended(fd) ? "closed" : "not refused");
        reply_free(&r);
    } else {
        watch(fd, (uint32_t)stream, expect, outcome, sizeof outcome);
    }
    close(fd);
    if (strcmp(outcome, expect) != 0) {
        print_error("%s: %s, not %s\n", name, outcome, expect);
    }
    return strcmp(outcome, expect) == 0;
}

static void run_all(bool slow)
{
    struct emb_json *json = NULL;
    struct fixture f;
    struct emb_front_limits limits = emb_front_limits_default();
    embellama_error error;
    size_t count = 0, good = 0;
    if (slow) {
        limits.head_ms = limits.body_ms = limits.write_ms = 300;
        limits.idle_ms = 1500;
    }
    assert_int_equal(emb_json_read(&json, EMB_SOURCE_DIR "/tests/server/probes-http2.json", 1 << 20, &error), 0);
    fixture_start(&f, &limits);
    for (struct emb_json_iter it = emb_json_iterate(emb_json_root(json)); emb_json_next(&it);) {
        bool is_slow = false;
        emb_json_get_bool(it.value, "slow", &is_slow);
        if (is_slow == slow) {
            good += probe(&f, it.value);
            count++;
        }
    }
    assert_true(count >= (slow ? 5 : 30));
    assert_int_equal(good, count);
    fixture_join(&f);
    emb_json_free(json);
}

static void test_probes(void **state)
{
    (void)state;
    run_all(false);
}

static void test_slow_probes(void **state)
{
    (void)state;
    run_all(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_probes), cmocka_unit_test(test_slow_probes)};
    signal(SIGPIPE, SIG_IGN);
    emb_log_set_level(EMB_LOG_ERROR);
    return cmocka_run_group_tests_name("probes_http2", tests, NULL, NULL);
}
