/* A request's head out of the fields of HTTP/2, by the rules of HTTP/1.1. */
#include "server/http/http2_session.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

static uint32_t store(struct emb_http2_stream *s, const uint8_t *text, size_t size)
{
    struct emb_buf *head = &s->request->head;
    uint32_t at = (uint32_t)head->size;
    emb_buf_append(head, text, size);
    emb_buf_append(head, "", 1);
    return at;
}

static void store_field(struct emb_http2_stream *s, const uint8_t *name, size_t name_size, const uint8_t *value,
                        size_t value_size)
{
    struct emb_http1_request *r = s->request;
    if (!emb_grow(&r->headers, &s->header_capacity, r->header_count + 1, sizeof *r->headers)) {
        emb_http2_refuse(s, 503, "The server is out of memory; try again later");
        return;
    }
    struct emb_http1_header *h = &r->headers[r->header_count++];
    h->name = store(s, name, name_size);
    h->value = store(s, value, value_size);
}

static bool is(const uint8_t *name, size_t size, const char *text)
{
    return size == strlen(text) && memcmp(name, text, size) == 0;
}

static void store_pseudo(struct emb_http2_stream *s, const uint8_t *name, size_t name_size, const uint8_t *value,
                         size_t value_size)
{
    static const uint8_t host[] = "host";
    struct emb_http1_request *r = s->request;
    if (is(name, name_size, ":method")) {
        r->method = store(s, value, value_size);
        s->has_method = true;
    } else if (is(name, name_size, ":path")) {
        if (value_size > s->session->limits.http1.target) {
            emb_http2_refuse(s, 414, "The request target is too long");
        }
        r->path = store(s, value, value_size);
        s->has_path = true;
    } else if (is(name, name_size, ":authority")) {
        s->has_host = true;
        store_field(s, host, sizeof host - 1, value, value_size);
    } else if (!is(value, value_size, "http") && !is(value, value_size, "https")) {
        emb_http2_refuse(s, 400, "Unknown scheme"); /* no other pseudo field passes nghttp2 */
    }
}

void emb_http2_head_field(struct emb_http2_stream *s, const uint8_t *name, size_t name_size, const uint8_t *value,
                          size_t value_size)
{
    const struct emb_http1_limits *limits = &s->session->limits.http1;
    s->head_bytes += name_size + value_size + EMB_HTTP2_FIELD_COST;
    if (s->head_bytes > limits->head) {
        emb_http2_refuse(s, 431, "The request's header fields are too large");
    } else if (s->request->header_count == limits->headers) {
        emb_http2_refuse(s, 431, "The request has too many header fields");
    }
    if (s->status != 0) {
        return;
    }
    if (name[0] == ':') {
        store_pseudo(s, name, name_size, value, value_size);
    } else if (s->has_host && is(name, name_size, "host")) {
        const char *authority = emb_http1_header(s->request, "host");
        if (!authority || !is(value, value_size, authority)) {
            emb_http2_refuse(s, 400, "The Host header is not the authority");
        }
    } else {
        s->has_host |= is(name, name_size, "host");
        store_field(s, name, name_size, value, value_size);
    }
    if (s->request->head.failed) {
        emb_http2_refuse(s, 503, "The server is out of memory; try again later");
    }
}

static bool method_known(const char *method)
{
    static const char *const known[] = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(method, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* What nghttp2 leaves to us. */
void emb_http2_head_end(struct emb_http2_stream *s, bool ends)
{
    struct emb_http1_request *r = s->request;
    if (s->status == 0 && s->has_method && strcmp(r->head.data + r->method, "CONNECT") == 0) {
        emb_http2_refuse(s, 501, "This is no proxy");
    }
    if (s->status != 0) {
        return;
    }
    if (!s->has_method || !s->has_path || !s->has_host) {
        emb_http2_refuse(s, 400, "Malformed request head");
        return;
    }
    if (!method_known(r->head.data + r->method)) {
        emb_http2_refuse(s, 501, "Unknown request method");
        return;
    }
    char *target = r->head.data + r->path;
    bool all = strcmp(target, "*") == 0 && strcmp(r->head.data + r->method, "OPTIONS") == 0;
    const char *wrong = all ? NULL : emb_http1_target_wrong(target, strlen(target));
    if (wrong) {
        emb_http2_refuse(s, 400, wrong);
        return;
    }
    target[strcspn(target, "?")] = '\0';
    r->parsed = true;
    const char *length = emb_http1_header(r, "content-length"), *expect = emb_http1_header(r, "expect");
    if (!emb_http1_host_valid(emb_http1_header(r, "host"))) {
        emb_http2_refuse(s, 400, "The Host header is malformed");
    } else if (length && strtoull(length, NULL, 10) > s->session->limits.http1.body) {
        emb_http2_refuse(s, 413, "The request body is larger than this server accepts");
    } else if (expect && strcasecmp(expect, "100-continue") != 0) {
        emb_http2_refuse(s, 417, "No expectation but 100-continue is supported");
    } else if (expect && !ends) {
        const nghttp2_nv go_on = {.name = (uint8_t *)(uintptr_t) ":status",
                                  .value = (uint8_t *)(uintptr_t) "100",
                                  .namelen = 7,
                                  .valuelen = 3};
        int rc = nghttp2_submit_headers(s->session->session, NGHTTP2_FLAG_NONE, s->id, NULL, &go_on, 1, NULL);
        s->session->failed |= rc != 0;
    }
}
