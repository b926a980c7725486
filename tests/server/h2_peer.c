/* cmocka's assertions are used, so that a failure here fails the test. */
#include "h2_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

struct emb_http2_limits limits;

char letters[1 << 20];

static ssize_t peek(void *user, const char **data, bool *last)
{
    struct body *b = user;
    *data = letters + b->at % 26;
    *last = true;
    if (b->fails && b->at > 0) {
        return -1;
    }
    return (ssize_t)(b->size - b->at);
}

static void took(void *user, size_t size)
{
    struct body *b = user;
    b->at += size;
}

const struct emb_http2_replies bodies = {.peek = peek, .took = took};

int setup(void **state)
{
    struct peer *p = calloc(1, sizeof *p);
    *state = p;
    for (size_t i = 0; i < sizeof letters; i++) {
        letters[i] = (char)('a' + i % 26);
    }
    limits = (struct emb_http2_limits){
        .http1 = emb_http1_limits_default(),
        .guard =
            {.frames = 100, .frames_per_s = 10, .resets = 20, .resets_per_s = 5, .continuations = 4, .block = 65536},
        .streams = 10,
        .window = 65536,
        .memory = 1 << 20,
        .least_rate = 1000,
        .head_ms = 1000,
        .body_ms = 2000,
        .write_ms = 3000,
    };
    p->now = 1000000;
    h2_reader_init(&p->reader);
    h2_init(&p->send);
    return 0;
}

void start(struct peer *p)
{
    p->h = emb_http2_new(&limits, &bodies, p->now);
    assert_non_null(p->h);
    h2_open(&p->send);
}

void finish(struct peer *p)
{
    emb_http2_free(p->h);
    p->h = NULL;
    h2_reader_deinit(&p->reader);
    h2_reader_init(&p->reader);
}

int teardown(void **state)
{
    struct peer *p = *state;
    emb_http2_free(p->h);
    h2_reader_deinit(&p->reader);
    emb_buf_deinit(&p->send);
    free(p);
    return 0;
}

bool feed_by(struct peer *p, size_t step)
{
    bool well = true;
    for (size_t at = 0; at < p->send.size && well; at += step) {
        size_t size = p->send.size - at < step ? p->send.size - at : step;
        char *piece = malloc(size); /* exactly so long, so that a read beyond it is seen */
        memcpy(piece, p->send.data + at, size);
        well = emb_http2_feed(p->h, piece, size, p->now);
        free(piece);
    }
    emb_buf_clear(&p->send);
    return well;
}

bool pull(struct peer *p)
{
    struct emb_buf out;
    bool well;
    size_t got;
    do {
        h2_init(&out);
        well = emb_http2_pull(p->h, &out, 1 << 14, p->now);
        got = out.size;
        p->most_out = got > p->most_out ? got : p->most_out;
        h2_reader_add(&p->reader, out.data, out.size);
        emb_buf_deinit(&out);
    } while (well && got > 0);
    return well;
}

void exchange(struct peer *p)
{
    assert_true(feed_by(p, 1 << 16));
    assert_true(pull(p));
}

bool find(struct peer *p, unsigned type, struct h2_got *got)
{
    while (h2_next(&p->reader, got)) {
        if (got->type == type) {
            return true;
        }
    }
    return false;
}

bool next_request(struct peer *p, struct emb_http1_request **r, int *status, struct emb_http2_stream **stream)
{
    const char *message;
    *stream = emb_http2_next(p->h, r, status, &message);
    if (*stream && *status != 0) {
        assert_non_null(message);
    }
    return *stream != NULL;
}

void answer(struct peer *p, struct emb_http2_stream *stream, struct body *body)
{
    const struct emb_http2_field field = {.name = "x", .name_size = 1, .value = "y", .value_size = 1};
    emb_http2_set_user(stream, body);
    assert_true(emb_http2_reply(p->h, stream, 200, &field, 1, body->size > 0, p->now));
}

struct emb_http2_stream *ask(struct peer *p, uint32_t id)
{
    struct emb_http1_request *r;
    struct emb_http2_stream *stream;
    int status;
    h2_request(&p->send, id, ENDED, "GET", "/", NULL);
    exchange(p);
    assert_true(next_request(p, &r, &status, &stream));
    emb_http1_request_free(r);
    return stream;
}

void expect_ended(struct peer *p, uint32_t code)
{
    struct h2_got got;
    assert_true(find(p, H2_GOAWAY, &got));
    assert_int_equal(got.code, code);
    assert_true(emb_http2_over(p->h));
}
