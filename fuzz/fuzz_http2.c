/* A session of HTTP/2 behind its client's preface: the first byte says how the rest is cut into pieces and which replies there are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/http2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reply {
    size_t size;
};

enum { REPLIES = 256 };
static struct reply replies[REPLIES]; /* taken in turn */
static size_t taken;
static const char bytes[4096];

static void check(int ok)
{
    if (!ok) {
        abort();
    }
}

static ssize_t peek(void *user, const char **out, bool *last)
{
    struct reply *r = user;
    size_t size = r->size < sizeof bytes ? r->size : sizeof bytes;
    *out = bytes;
    *last = size == r->size;
    return (ssize_t)size;
}

static void took(void *user, size_t size)
{
    struct reply *r = user;
    check(size <= r->size);
    r->size -= size;
}

static void check_request(const struct emb_http1_request *r, int status)
{
    const char *head = r->head.data;
    if (status != 0) {
        return;
    }
    check(r->parsed && (head[r->path] == '/' || strcmp(head + r->path, "*") == 0) && emb_http1_header(r, "host"));
    for (size_t i = 0; i < r->header_count; i++) {
        const char *name = head + r->headers[i].name, *value = head + r->headers[i].value;
        check(*name && !strpbrk(name, " :\r\nABCDEFGHIJKLMNOPQRSTUVWXYZ") && !strpbrk(value, "\r\n"));
    }
    for (size_t i = 0; i < emb_http1_padding; i++) {
        check(r->body.data[r->body.size + i] == 0);
    }
}

static void serve(struct emb_http2 *h, unsigned kind, uint64_t now)
{
    struct emb_http1_request *request;
    struct emb_http2_stream *stream;
    const char *message;
    int status;
    while ((stream = emb_http2_next(h, &request, &status, &message))) {
        check_request(request, status);
        emb_http1_request_free(request);
        struct reply *r = &replies[taken++ % REPLIES];
        r->size = kind % 4 == 0 ? 0 : kind % 4 * 3000;
        emb_http2_set_user(stream, r);
        if (kind % 8 != 7 || status != 0) {
            const struct emb_http2_field field = {.name = "x", .name_size = 1, .value = "y", .value_size = 1};
            emb_http2_reply(h, stream, status ? status : 200, &field, 1, r->size > 0, now);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct emb_http2_limits limits = {
        .http1 = {.target = 64, .head = 512, .headers = 8, .body = 256, .framing = 64},
        .guard = {.frames = 50, .resets = 10, .continuations = 4, .block = 1024},
        .streams = 20,
        .window = 128,
        .memory = 200000,
        .least_rate = 100,
        .head_ms = 100,
        .body_ms = 100,
        .write_ms = 100,
    };
    uint64_t now = 1000;
    if (size < 1) {
        return 0;
    }
    struct emb_http2 *h = emb_http2_new(&limits, &(struct emb_http2_replies){.peek = peek, .took = took}, now);
    check(h != NULL);
    bool well = emb_http2_feed(h, EMB_HTTP2_PREFACE, EMB_HTTP2_PREFACE_SIZE, now);
    size_t step = 1u + data[0] % 32u * 8u;
    for (size_t at = 1; well && at < size; at += step, now += data[0] / 32) {
        size_t n = size - at < step ? size - at : step;
        char *piece = malloc(n); /* exactly so long, so that a read beyond it is seen */
        check(piece != NULL);
        memcpy(piece, data + at, n);
        well = emb_http2_feed(h, piece, n, now);
        free(piece);
        emb_http2_set_room(h, at % 2 == 0);
        if (well) {
            serve(h, data[0], now);
            struct emb_buf out;
            emb_buf_init(&out, 1 << 20);
            well = emb_http2_pull(h, &out, 4096, now) && emb_http2_check(h, now, at % 3 == 0);
            emb_buf_deinit(&out);
        }
        while (emb_http2_next_closed(h)) {
        }
        check(emb_http2_streams(h) <= limits.streams && emb_http2_held(h) < 400000);
    }
    emb_http2_free(h);
    return 0;
}
