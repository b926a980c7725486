/* The HTTP/1 parser: the first byte says how the rest is cut into pieces. Whole and in pieces must give the same requests. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    size_t requests, continues;
    int refused;
    uint64_t sum;
};

static void check(int ok)
{
    if (!ok) {
        abort();
    }
}

static uint64_t sum_text(uint64_t sum, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ (unsigned char)text[i]) * 0x100000001B3u;
    }
    return sum;
}

static void take(struct emb_http1 *p, struct outcome *out)
{
    struct emb_http1_request *r = emb_http1_take(p);
    check(r != NULL && r->parsed);
    const char *head = r->head.data;
    out->requests++;
    out->sum = sum_text(out->sum, head + r->path, strlen(head + r->path));
    check(head[r->path] == '/' || strcmp(head + r->path, "*") == 0);
    for (size_t i = 0; i < r->header_count; i++) {
        const char *name = head + r->headers[i].name, *value = head + r->headers[i].value;
        check(*name && !strpbrk(name, " :\r\n") && !strpbrk(value, "\r\n"));
        out->sum = sum_text(out->sum, value, strlen(value));
    }
    for (size_t i = 0; i < emb_http1_padding; i++) {
        check(r->body.data[r->body.size + i] == 0);
    }
    out->sum = sum_text(out->sum, r->body.data, r->body.size);
    emb_http1_request_free(r);
}

static struct outcome run(const char *data, size_t size, size_t step)
{
    struct emb_http1_limits limits = {.target = 64, .head = 512, .headers = 8, .body = 256, .framing = 64};
    struct emb_http1 *p = emb_http1_new(&limits);
    struct outcome out = {0};
    for (size_t at = 0, end = 0; p && !out.refused && at < size;) {
        size_t used;
        end = end > at ? end : (size - at < step ? size : at + step);
        char *piece = malloc(end - at); /* exactly so long, so that a read beyond it is seen */
        check(piece != NULL);
        memcpy(piece, data + at, end - at);
        enum emb_http1_event event = emb_http1_feed(p, piece, end - at, &used);
        free(piece);
        check(used <= end - at && (event != EMB_HTTP1_MORE || used == end - at));
        at += used;
        if (event == EMB_HTTP1_REQUEST) {
            take(p, &out);
        } else if (event == EMB_HTTP1_CONTINUE) {
            out.continues++;
        } else if (event == EMB_HTTP1_REFUSED) {
            out.refused = emb_http1_status(p);
            check(out.refused >= 400 && out.refused <= 505 && emb_http1_message(p));
            emb_http1_request_free(emb_http1_take(p));
        }
    }
    emb_http1_free(p);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const char *bytes = (const char *)data + 1;
    struct outcome whole = run(bytes, size - 1, size), pieces = run(bytes, size - 1, 1u + data[0] % 16u);
    check(whole.requests == pieces.requests && !whole.refused == !pieces.refused && whole.sum == pieces.sum);
    return 0;
}
