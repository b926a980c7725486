/* Exchanges: what handlers read of a request, and which handler that is.
 *
 * Owns request ids and the access log. The reply is reply.c's. */
#include "server/http/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/access/admission.h"
#include "server/http/conn_http2.h"
#include "server/http/connection.h"
#include "server/http/content.h"
#include "server/observe/metrics.h"
#include "server/http/router.h"

#define EXTRA_MAX 8192
#define HEAD_MAX (EXTRA_MAX + 4096)

/* ---- Life ---- */

void emb_exchange_account(struct emb_exchange *x)
{
    size_t held = sizeof *x + x->kept + emb_http1_request_held(x->request) + x->extra.capacity + x->head.capacity +
                  x->body.capacity;
    x->front->held = x->front->held - x->held + held;
    x->held = held;
}

/* 16 hexadecimal digits of a UUID, which are never all zero. */
static void make_span(struct emb_exchange *x)
{
    char id[EMB_REQUEST_ID_MAX + 1];
    size_t n = 0;
    emb_request_id_make(id, &x->front->random, NULL);
    for (const char *c = id; n < sizeof x->span - 1; c++) {
        if (*c != '-') {
            x->span[n++] = *c;
        }
    }
    x->span[n] = '\0';
}

static void read_trace(struct emb_exchange *x)
{
    bool parsed = x->request && x->request->parsed;
    emb_request_id_make(x->id, &x->front->random, parsed ? emb_http1_header(x->request, "x-request-id") : NULL);
    const char *trace = parsed ? emb_http1_header(x->request, "traceparent") : NULL;
    x->traceparent = trace && emb_traceparent_valid(trace) ? trace : NULL;
    if (x->traceparent) {
        make_span(x);
    }
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
    x->http2 = conn->http2 != NULL;
    x->started = uv_hrtime();
    memcpy(x->peer, conn->peer, sizeof x->peer);
    emb_admission_identify(x);
    read_trace(x);
    emb_buf_init(&x->extra, EXTRA_MAX);
    emb_buf_init(&x->head, HEAD_MAX);
    if (conn->last) {
        conn->last->next = x;
    } else {
        conn->first = x;
    }
    conn->last = x;
    conn->exchange_count++;
    x->front->exchange_count++;
    emb_exchange_account(x);
    return x;
}

void emb_exchange_free(struct emb_exchange *x)
{
    emb_exchange_end_stream(x);
    if (x->origin) {
        emb_conn_http2_orphan_over(x);
    }
    x->front->held -= x->held;
    x->front->exchange_count--;
    emb_http1_request_free(x->request);
    emb_buf_deinit(&x->extra);
    emb_buf_deinit(&x->head);
    emb_buf_deinit(&x->body);
    emb_free(x->segment);
    emb_free(x);
}

/* ---- The log and the metrics ---- */

/* Nanoseconds as the arguments of MS: milliseconds with three decimals, without printf's costly floating point. */
#define MS "%" PRIu64 ".%03u"
#define MS_OF(ns) (ns) / 1000000, (unsigned)((ns) / 1000 % 1000)

void emb_exchange_annotate(struct emb_exchange *x)
{
    const struct emb_exchange_notes *n = &x->notes;
    if (n->inputs > 0) {
        emb_buf_printf(
            &x->extra, "server-timing: tokenize;dur=" MS ", queue;dur=" MS ", infer;dur=" MS ", total;dur=" MS "\r\n",
            MS_OF(n->tokenize_ns), MS_OF(n->queue_ns), MS_OF(n->compute_ns), MS_OF(uv_hrtime() - x->started));
    }
    if (x->traceparent) {
        emb_buf_printf(&x->extra, "traceresponse: 00-%.32s-%s-%s\r\n", x->traceparent + 3, x->span,
                       x->traceparent + 53);
    }
}

static void count_request(const struct emb_exchange *x, int status, uint64_t total_ns)
{
    if (x->front->options.metrics) {
        emb_metrics_count(x->front->options.metrics, &(struct emb_metrics_request){
                                                         .route = x->route,
                                                         .model = x->notes.model,
                                                         .client = x->client.name,
                                                         .status = status,
                                                         .inputs = x->notes.inputs,
                                                         .tokens = x->notes.tokens,
                                                         .bytes_in = x->request ? x->request->bytes : 0,
                                                         .bytes_out = x->bytes_out,
                                                         .total_ns = total_ns,
                                                         .tokenize_ns = x->notes.tokenize_ns,
                                                         .queue_ns = x->notes.queue_ns,
                                                         .infer_ns = x->notes.compute_ns,
                                                     });
    }
}

/* Of a traceparent, whose form was checked: its second and third field; and what follows here. */
static void write_trace(const struct emb_exchange *x, char out[128])
{
    out[0] = '\0';
    if (x->traceparent) {
        snprintf(out, 128, " trace_id=\"%.32s\" parent_id=\"%.16s\" span_id=\"%s\"", x->traceparent + 3,
                 x->traceparent + 36, x->span);
    }
}

static const char *protocol_of(const struct emb_exchange *x)
{
    return x->http2 ? "HTTP/2" : x->request && x->request->old ? "HTTP/1.0" : "HTTP/1.1";
}

void emb_exchange_log(const struct emb_exchange *x, int status)
{
    char path[512], error[256], model[160], trace[128];
    const struct emb_exchange_notes *n = &x->notes;
    uint64_t total_ns = uv_hrtime() - x->started;
    count_request(x, status, total_ns);
    enum emb_log_level level = x->malformed ? EMB_LOG_WARN : EMB_LOG_INFO;
    if (!emb_log_enabled(level)) {
        return;
    }
    write_trace(x, trace);
    emb_log(level, "request",
            "id=\"%s\" method=%s path=%s protocol=%s status=%d bytes_in=%" PRIu64 " bytes_out=%" PRIu64 " ms=" MS
            " inputs=%zu tokens=%zu tokenize_ms=" MS " queue_ms=" MS " compute_ms=" MS " peer=%s%s%s%s%s%s",
            x->id, emb_exchange_method(x), emb_log_quote(emb_exchange_path(x), path, sizeof path), protocol_of(x),
            status, x->request ? x->request->bytes : 0, x->bytes_out, MS_OF(total_ns), n->inputs, n->tokens,
            MS_OF(n->tokenize_ns), MS_OF(n->queue_ns), MS_OF(n->compute_ns), x->peer, trace, n->model ? " model=" : "",
            n->model ? emb_log_quote(n->model, model, sizeof model) : "", n->error ? " error=" : "",
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

const struct emb_client *emb_exchange_client(const struct emb_exchange *x)
{
    return &x->client;
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

bool emb_exchange_hold(struct emb_exchange *x, size_t bytes)
{
    size_t most = x->front->options.limits.held;
    if (x->front->held > most || bytes > most - x->front->held) {
        return false;
    }
    x->kept += bytes;
    emb_exchange_account(x);
    return true;
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
    emb_exchange_log(x, EMB_CLIENT_GONE);
    emb_exchange_free(x);
}

/* ---- Routing ---- */

void emb_exchange_dispatch(struct emb_exchange *x)
{
    const char *method = emb_exchange_method(x), *path = emb_exchange_path(x);
    struct emb_route_match match;
    enum emb_route_result result = emb_route_find(&match, x->front->options.routes, method, path);
    x->segment = match.segment;
    x->route = match.route ? match.route->path : NULL;
    x->style = match.style;
    if (emb_admission_greet(x, match.allow)) {
        return;
    }
    if (strcmp(path, "*") == 0) {
        emb_exchange_add_header(x, "allow", "GET, HEAD, POST, OPTIONS");
        emb_exchange_reply(x, 204, NULL, NULL);
        return;
    }
    if (match.allow[0] != '\0' && result != EMB_ROUTE_OK) {
        emb_exchange_add_header(x, "allow", match.allow);
    }
    switch (result) {
    case EMB_ROUTE_OK:
        if (emb_admission_pass(x, match.route) && !emb_content_decode(x, match.route)) {
            match.route->handler(x->front->options.server, x);
        }
        break;
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
