/* One write is under way at a time; while it is, nothing is pulled, so that what a slow client makes us hold is one write and the
 * replies themselves. */
#include "server/http/conn_http2.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/http/connection.h"
#include "server/http/http2.h"

#define OUT_MOST (128u << 10) /* bytes of one write, and somewhat more */
#define OUT_MAX (4 * OUT_MOST)
#define FIELDS_MAX 64

struct emb_conn_http2 {
    struct emb_conn *conn;
    struct emb_http2 *session;
    struct emb_exchange *orphans; /* their streams are gone */
    size_t orphan_count;
    uv_write_t write;
    struct emb_buf out;
    size_t out_bytes; /* of out, being written */
    size_t held;      /* its part of the front's bytes held */
    uint64_t began;
    bool writing;
    bool stopped; /* no further stream is taken */
    bool told;    /* why the session was ended was logged */
};

static void account(struct emb_conn_http2 *h)
{
    size_t held = sizeof *h + emb_http2_held(h->session) + h->out.capacity;
    h->conn->front->held = h->conn->front->held - h->held + held;
    h->held = held;
}

/* ---- Replies ---- */

static ssize_t peek(void *user, const char **data, bool *last)
{
    struct emb_exchange *x = user;
    if (x->offset == x->body.size && x->streaming) {
        x->offset = 0;
        if (!emb_exchange_pull(x)) {
            return -1;
        }
    }
    *data = x->body.data + x->offset;
    *last = !x->streaming;
    return (ssize_t)(x->body.size - x->offset);
}

static void took(void *user, size_t size)
{
    struct emb_exchange *x = user;
    x->offset += size;
}

static void submit(struct emb_conn_http2 *h)
{
    struct emb_http2_field fields[FIELDS_MAX];
    uint64_t now = uv_now(h->conn->front->loop);
    for (struct emb_exchange *x = h->conn->first; x; x = x->next) {
        if (!x->answered || x->sent) {
            continue;
        }
        x->sent = true;
        emb_exchange_prepare(x);
        size_t count = emb_exchange_fields(x, fields, FIELDS_MAX);
        emb_exchange_account(x);
        if (!emb_http2_reply(h->session, x->stream, x->status, fields, count, x->body.size > 0 || x->streaming, now)) {
            emb_conn_close(h->conn); /* x is gone with it */
            return;
        }
    }
}

/* ---- Requests ---- */

static void unlink_exchange(struct emb_conn *conn, struct emb_exchange *x)
{
    struct emb_exchange *before = NULL;
    for (struct emb_exchange *at = conn->first; at != x; at = at->next) {
        before = at;
    }
    *(before ? &before->next : &conn->first) = x->next;
    if (conn->last == x) {
        conn->last = before;
    }
    x->next = NULL;
    conn->exchange_count--;
}

/* Streams that are over: answered whole, or given up by their clients. */
static void end_closed(struct emb_conn_http2 *h)
{
    struct emb_exchange *x;
    while ((x = emb_http2_next_closed(h->session))) {
        x->stream = NULL;
        unlink_exchange(h->conn, x);
        h->conn->last_active = uv_now(h->conn->front->loop);
        if (x->answered) {
            emb_exchange_free(x);
            continue;
        }
        if (!x->gone) {
            x->origin = h;
            x->next = h->orphans;
            h->orphans = x;
            h->orphan_count++;
        }
        emb_exchange_abandon(x);
    }
    emb_http2_set_unfinished(h->session, h->orphan_count);
}

void emb_conn_http2_orphan_over(struct emb_exchange *x)
{
    struct emb_conn_http2 *h = x->origin;
    struct emb_exchange **link = &h->orphans;
    while (*link != x) {
        link = &(*link)->next;
    }
    *link = x->next;
    h->orphan_count--;
    emb_http2_set_unfinished(h->session, h->orphan_count);
}

/* Whether as much is unanswered as a connection may have. */
static bool crowded(const struct emb_conn_http2 *h, size_t beside)
{
    size_t held = beside;
    for (const struct emb_exchange *x = h->conn->first; x; x = x->next) {
        held += x->held;
    }
    return held > h->conn->front->options.limits.unanswered;
}

static void dispatch(struct emb_conn_http2 *h)
{
    struct emb_http1_request *request;
    struct emb_http2_stream *stream;
    struct emb_conn *conn = h->conn;
    const char *message;
    int status;
    while (!conn->closing && !(conn->first && crowded(h, 0)) &&
           (stream = emb_http2_next(h->session, &request, &status, &message))) {
        struct emb_exchange *x = emb_exchange_new(conn, request);
        if (!x) {
            emb_conn_close(conn);
            return;
        }
        x->stream = stream;
        emb_http2_set_user(stream, x);
        if (status != 0) {
            emb_exchange_refuse(x, status, message);
        } else {
            emb_exchange_dispatch(x);
        }
    }
}

/* ---- Sending ---- */

static void on_written(uv_write_t *request, int status)
{
    struct emb_conn_http2 *h = request->data;
    struct emb_conn *conn = h->conn;
    conn->unsent -= h->out_bytes;
    h->writing = false;
    if (conn->closing) {
        return;
    }
    if (status < 0) {
        emb_conn_close(conn);
        return;
    }
    emb_buf_deinit(&h->out);
    emb_conn_http2_due(conn);
}

static void write_out(struct emb_conn_http2 *h)
{
    struct emb_conn *conn = h->conn;
    uv_buf_t part = {.base = h->out.data, .len = h->out.size};
    if (h->out.size < OUT_MOST) {
        int written = emb_conn_try_write(conn, &part, 1);
        if (written > 0) {
            conn->handed += (size_t)written;
            part.base += written;
            part.len -= (size_t)written;
        }
    }
    if (part.len == 0) {
        emb_buf_deinit(&h->out);
        return;
    }
    h->writing = true;
    h->out_bytes = part.len;
    h->write.data = h;
    emb_conn_note_write(conn, part.len);
    if (emb_conn_write(conn, &h->write, &part, 1, on_written) != 0) {
        h->writing = false;
        emb_conn_close(conn);
    }
}

/* True where something was sent. */
static bool send_out(struct emb_conn_http2 *h)
{
    if (h->writing || h->conn->closing) {
        return false;
    }
    emb_buf_init(&h->out, OUT_MAX);
    bool well = emb_http2_pull(h->session, &h->out, OUT_MOST, uv_now(h->conn->front->loop));
    bool some = h->out.size > 0;
    if (some) {
        write_out(h);
    } else {
        emb_buf_deinit(&h->out);
    }
    if (!well) {
        emb_conn_close(h->conn);
    }
    return some;
}

static void tell_why(struct emb_conn_http2 *h)
{
    const char *why = emb_http2_why(h->session);
    if (why && !h->told) {
        h->told = true;
        emb_log(EMB_LOG_WARN, "http2_ended", "peer=%s error=\"%s\"", h->conn->peer, why);
    }
}

static void turn(struct emb_conn_http2 *h)
{
    struct emb_conn *conn = h->conn;
    do {
        end_closed(h);
        dispatch(h);
        if (!conn->closing) {
            submit(h);
        }
    } while (!conn->closing && send_out(h) && !h->writing);
    tell_why(h);
    if (conn->closing) {
        return;
    }
    end_closed(h);
    emb_http2_set_room(h->session, !crowded(h, emb_http2_held(h->session)));
    account(h);
    if (emb_http2_over(h->session) && !h->writing) {
        conn->ended = conn->drain = true;
        emb_conn_finish(conn);
    }
}

void emb_conn_http2_due(struct emb_conn *conn)
{
    struct emb_front *front = conn->front;
    if (!conn->due && !conn->closing) {
        conn->due = true;
        conn->next_due = front->due;
        front->due = conn;
        uv_prepare_start(&front->turn, emb_conn_http2_turn);
    }
}

static void undo_due(struct emb_conn *conn)
{
    struct emb_conn **link = &conn->front->due;
    while (conn->due && *link != conn) {
        link = &(*link)->next_due;
    }
    if (conn->due) {
        *link = conn->next_due;
        conn->due = false;
    }
}

void emb_conn_http2_turn(uv_prepare_t *prepare)
{
    struct emb_front *front = prepare->data;
    uv_prepare_stop(prepare);
    for (struct emb_conn *conn = front->due; conn; conn = front->due) {
        turn(conn->http2);
        undo_due(conn);
    }
}

void emb_conn_http2_input(struct emb_conn *conn, const char *data, size_t size)
{
    struct emb_conn_http2 *h = conn->http2;
    struct emb_front *front = conn->front;
    bool well = emb_http2_feed(h->session, data, size, uv_now(front->loop));
    account(h);
    if (front->held > front->options.limits.held) {
        emb_http2_refuse_partial(h->session, 503, "The server holds as many requests as it can; try again later");
    }
    emb_http2_set_room(h->session, !crowded(h, emb_http2_held(h->session)));
    if (!well) {
        tell_why(h);
        emb_conn_close(conn);
        return;
    }
    emb_conn_http2_due(conn);
}

/* ---- Time, and the end ---- */

static void stop_taking(struct emb_conn_http2 *h)
{
    if (!h->stopped) {
        h->stopped = true;
        emb_http2_stop(h->session);
    }
}

static void check_stop(struct emb_conn_http2 *h, uint64_t now)
{
    const struct emb_front *front = h->conn->front;
    uint64_t since = h->began > front->stop_at ? h->began : front->stop_at;
    if (now - since >= front->options.limits.stop_idle_ms) {
        stop_taking(h);
    }
    if (emb_http2_partial(h->session, &since)) {
        since = since > front->stop_at ? since : front->stop_at;
        if (now - since > front->options.limits.stop_partial_ms) {
            emb_http2_refuse_partial(h->session, 503, "The server is stopping");
        }
    }
}

void emb_conn_http2_check(struct emb_conn *conn, uint64_t now, bool idle)
{
    struct emb_conn_http2 *h = conn->http2;
    if (conn->ended) {
        return;
    }
    if (conn->front->stopping) {
        check_stop(h, now);
    }
    if (idle && emb_http2_streams(h->session) == 0) {
        stop_taking(h);
    }
    if (emb_http2_check(h->session, now, conn->unsent == 0)) {
        emb_conn_http2_due(conn);
    } else {
        emb_conn_close(conn);
    }
}

void emb_conn_http2_stop(struct emb_conn *conn)
{
    emb_http2_warn(conn->http2->session);
    emb_conn_http2_due(conn);
}

void emb_conn_http2_close(struct emb_conn *conn)
{
    undo_due(conn);
}

void emb_conn_http2_free(struct emb_conn *conn)
{
    struct emb_conn_http2 *h = conn->http2;
    while (h->orphans) {
        struct emb_exchange *x = h->orphans;
        h->orphans = x->next;
        x->next = NULL;
        x->origin = NULL;
    }
    conn->front->held -= h->held;
    emb_http2_free(h->session);
    emb_buf_deinit(&h->out);
    emb_free(h);
}

/* ---- The beginning ---- */

bool emb_conn_http2_begin(struct emb_conn *conn)
{
    const struct emb_front_limits *l = &conn->front->options.limits;
    struct emb_conn_http2 *h = emb_calloc(1, sizeof *h);
    if (!h) {
        return false;
    }
    struct emb_http2_limits limits = l->http2;
    limits.http1 = l->http1;
    limits.least_rate = l->least_rate;
    limits.head_ms = l->head_ms;
    limits.body_ms = l->body_ms;
    limits.write_ms = l->write_ms;
    uint64_t now = uv_now(conn->front->loop);
    h->session = emb_http2_new(&limits, &(struct emb_http2_replies){.peek = peek, .took = took}, now);
    if (!h->session) {
        emb_free(h);
        return false;
    }
    h->conn = conn;
    h->began = now;
    conn->http2 = h;
    conn->phase = EMB_HTTP1_IDLE;
    account(h);
    if (conn->front->stopping) {
        emb_conn_http2_stop(conn);
    }
    return true;
}
