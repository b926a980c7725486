/* Exchanges: what handlers read of a request, and the reply they give.
 *
 * Owns the reply's head, the error envelope, request ids and the access log. When bytes go out is connection.c's. */
#include "server/exchange.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/connection.h"
#include "server/router.h"

#define ERROR_BODY_MAX 16384
#define EXTRA_MAX 8192
#define HEAD_MAX (EXTRA_MAX + 1024)
#define CLIENT_GONE 499 /* nginx's code, in the log only */

/* ---- Life ---- */

static void make_id(char id[37])
{
    unsigned char b[16] = {0};
    uv_random(NULL, NULL, b, sizeof b, 0, NULL);
    b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
    snprintf(id, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

void emb_exchange_account(struct emb_exchange *x)
{
    size_t held =
        sizeof *x + emb_http1_request_held(x->request) + x->extra.capacity + x->head.capacity + x->body.capacity;
    x->front->held = x->front->held - x->held + held;
    x->held = held;
}

struct emb_exchange *emb_exchange_new(struct emb_conn *conn, struct emb_http1_request *request)
{
    struct emb_exchange *x = emb_calloc(1, sizeof *x);
    if (!x) {
        emb_http1_request_free(request);
        return NULL;
    }
    x->conn = conn;
    x->front = conn->front;
    x->request = request;
    x->started = uv_hrtime();
    memcpy(x->peer, conn->peer, sizeof x->peer);
    make_id(x->id);
    emb_buf_init(&x->extra, EXTRA_MAX);
    emb_buf_init(&x->head, HEAD_MAX);
    if (conn->last) {
        conn->last->next = x;
    } else {
        conn->first = x;
    }
    conn->last = x;
    conn->exchange_count++;
    emb_exchange_account(x);
    return x;
}

void emb_exchange_free(struct emb_exchange *x)
{
    x->front->held -= x->held;
    emb_http1_request_free(x->request);
    emb_buf_deinit(&x->extra);
    emb_buf_deinit(&x->head);
    emb_buf_deinit(&x->body);
    emb_free(x->segment);
    emb_free(x);
}

/* ---- The log ---- */

static void log_request(const struct emb_exchange *x, int status)
{
    char path[512], error[256];
    const struct emb_exchange_notes *n = &x->notes;
    enum emb_log_level level = x->malformed ? EMB_LOG_WARN : EMB_LOG_INFO;
    if (!emb_log_enabled(level)) {
        return;
    }
    emb_log(level, "request",
            "id=%s method=%s path=%s status=%d bytes_in=%" PRIu64 " bytes_out=%zu ms=%.3f inputs=%zu tokens=%zu "
            "queue_ms=%.3f compute_ms=%.3f peer=%s%s%s",
            x->id, emb_exchange_method(x), emb_log_quote(emb_exchange_path(x), path, sizeof path), status,
            x->request ? x->request->bytes : 0, x->body.size, (double)(uv_hrtime() - x->started) / 1e6, n->inputs,
            n->tokens, (double)n->queue_ns / 1e6, (double)n->compute_ns / 1e6, x->peer, n->error ? " error=" : "",
            n->error ? emb_log_quote(n->error, error, sizeof error) : "");
}

/* ---- What handlers read ---- */

const char *emb_exchange_method(const struct emb_exchange *x)
{
    return x->request && x->request->parsed ? x->request->head.data + x->request->method : "-";
}

const char *emb_exchange_path(const struct emb_exchange *x)
{
    return x->request && x->request->parsed ? x->request->head.data + x->request->path : "-";
}

const char *emb_exchange_request_id(const struct emb_exchange *x)
{
    return x->id;
}

const char *emb_exchange_segment(const struct emb_exchange *x)
{
    return x->segment;
}

const char *emb_exchange_header(const struct emb_exchange *x, const char *name)
{
    return x->request ? emb_http1_header(x->request, name) : NULL;
}

const char *emb_exchange_body(const struct emb_exchange *x, size_t *size)
{
    static const char none[EMB_JSON_PADDING];
    *size = x->request ? x->request->body.size : 0;
    return *size > 0 ? x->request->body.data : none;
}

struct emb_exchange_notes *emb_exchange_notes(struct emb_exchange *x)
{
    return &x->notes;
}

void emb_exchange_on_gone(struct emb_exchange *x, void (*gone)(void *arg), void *arg)
{
    x->gone = gone;
    x->gone_arg = arg;
}

void emb_exchange_abandon(struct emb_exchange *x)
{
    x->conn = NULL;
    if (!x->gone) {
        x->front->orphan_count++;
        return;
    }
    x->gone(x->gone_arg);
    log_request(x, CLIENT_GONE);
    emb_exchange_free(x);
}

/* ---- The reply ---- */

void emb_exchange_add_header(struct emb_exchange *x, const char *name, const char *value)
{
    for (const char *c = value; *c; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7F) {
            return;
        }
    }
    emb_buf_printf(&x->extra, "%s: %s\r\n", name, value);
}

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {424, "Failed Dependency"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Unknown";
}

static void answer(struct emb_exchange *x, int status, const char *content_type)
{
    if (content_type) {
        emb_exchange_add_header(x, "content-type", content_type);
    }
    x->answered = true;
    x->status = status;
    log_request(x, status);
    if (!x->conn) {
        struct emb_front *front = x->front;
        emb_exchange_free(x);
        front->orphan_count--;
        emb_front_release(front);
        return;
    }
    emb_exchange_account(x);
    emb_conn_flush(x->conn);
}

void emb_exchange_reply(struct emb_exchange *x, int status, const char *content_type, struct emb_buf *body)
{
    if (body && body->failed) {
        emb_buf_deinit(body);
        emb_exchange_error(x, 500, "server_error", NULL, "out_of_memory", "There was no memory for the reply");
        return;
    }
    if (body) {
        x->body = *body;
        *body = (struct emb_buf){.max = body->max};
    }
    answer(x, status, content_type);
}

void emb_exchange_error(struct emb_exchange *x, int status, const char *type, const char *param, const char *code,
                        const char *format, ...)
{
    char message[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    emb_buf_init(&x->body, ERROR_BODY_MAX);
    emb_buf_puts(&x->body, "{\"error\":{\"message\":");
    emb_json_write_cstring(&x->body, message);
    emb_buf_puts(&x->body, ",\"type\":");
    emb_json_write_cstring(&x->body, type);
    emb_buf_puts(&x->body, ",\"param\":");
    emb_json_write_cstring(&x->body, param);
    emb_buf_puts(&x->body, ",\"code\":");
    emb_json_write_cstring(&x->body, code);
    emb_buf_printf(&x->body, "},\"request_id\":\"%s\"}\n", x->id);
    if (!x->notes.error) {
        x->notes.error = code;
    }
    answer(x, status, "application/json");
}

static const char *date_now(struct emb_front *front)
{
    time_t now = time(NULL);
    if (now != front->date_of) {
        struct tm utc;
        gmtime_r(&now, &utc);
        strftime(front->date, sizeof front->date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        front->date_of = now;
    }
    return front->date;
}

size_t emb_exchange_head(struct emb_exchange *x, bool close, const char **head)
{
    struct emb_buf *out = &x->head;
    emb_buf_printf(out, "HTTP/1.1 %d %s\r\ndate: %s\r\nx-request-id: %s\r\n", x->status, reason(x->status),
                   date_now(x->front), x->id);
    if (x->status != 204) {
        emb_buf_printf(out, "content-length: %zu\r\n", x->body.size);
    }
    if (close) {
        emb_buf_puts(out, "connection: close\r\n");
    } else {
        emb_buf_printf(out, "connection: keep-alive\r\nkeep-alive: timeout=%u\r\n", emb_front_announced_idle(x->front));
    }
    if (x->extra.size > 0) {
        emb_buf_append(out, x->extra.data, x->extra.size);
    }
    emb_buf_puts(out, "\r\n");
    if (!out->failed && !x->extra.failed && !x->body.failed) {
        *head = out->data;
        return out->size;
    }
    emb_buf_deinit(&x->body);
    snprintf(x->spare, sizeof x->spare,
             "HTTP/1.1 503 Service Unavailable\r\nx-request-id: %s\r\ncontent-length: 0\r\nconnection: %s\r\n\r\n",
             x->id, close ? "close" : "keep-alive");
    *head = x->spare;
    return strlen(x->spare);
}

/* ---- Routing ---- */

void emb_exchange_dispatch(struct emb_exchange *x)
{
    const char *method = emb_exchange_method(x), *path = emb_exchange_path(x);
    struct emb_route_match match;
    enum emb_route_result result = emb_route_find(&match, x->front->options.routes, method, path);
    x->segment = match.segment;
    if (match.allow[0] != '\0' && result != EMB_ROUTE_OK) {
        emb_exchange_add_header(x, "allow", match.allow);
    }
    switch (result) {
    case EMB_ROUTE_OK: match.route->handler(x->front->options.server, x); break;
    case EMB_ROUTE_OPTIONS: emb_exchange_reply(x, 204, NULL, NULL); break;
    case EMB_ROUTE_WRONG_METHOD:
        emb_exchange_error(x, 405, "invalid_request_error", NULL, "method_not_allowed",
                           "Not allowed to %s %s; allowed here: %s", method, path, match.allow);
        break;
    case EMB_ROUTE_UNKNOWN:
        emb_exchange_error(x, 404, "invalid_request_error", NULL, "unknown_url", "Invalid URL (%s %s)", method, path);
        break;
    case EMB_ROUTE_MALFORMED:
        emb_exchange_error(x, 400, "invalid_request_error", NULL, "malformed_url",
                           "The path of the URL is not properly percent-encoded");
        break;
    case EMB_ROUTE_NOMEM:
        emb_exchange_error(x, 503, "server_error", NULL, "out_of_memory",
                           "The server is out of memory; try again later");
        break;
    }
}
