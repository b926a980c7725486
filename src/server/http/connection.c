/* One connection: bytes in, requests out to the handlers, replies back in order; its limits, time limits and end.
 *
 * A connection is freed in its close callback only; everything else marks it closing and leaves. Exchanges wait in a list in the
 * order of their requests; those at its head that are answered are handed to the socket and freed when written. */
#include "server/http/connection.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/http/conn_http2.h"
#include "server/http/http2.h"
#include "server/http/tls.h"

#define LINGER_TOTAL 15 /* times linger_ms: the most a connection may linger */

static void resume(struct emb_conn *conn);

/* ---- The transport ---- */

int emb_conn_try_write(struct emb_conn *conn, const uv_buf_t *parts, int count)
{
    if (conn->transport.tls) {
        return emb_transport_try(conn, parts, count);
    }
    return uv_try_write((uv_stream_t *)&conn->tcp, parts, (unsigned)count);
}

int emb_conn_write(struct emb_conn *conn, uv_write_t *request, const uv_buf_t *parts, int count, uv_write_cb written)
{
    if (conn->transport.tls) {
        return emb_transport_write(conn, request, parts, count, written);
    }
    return uv_write(request, (uv_stream_t *)&conn->tcp, parts, (unsigned)count, written);
}

void emb_conn_set_protocol(struct emb_conn *conn, enum emb_protocol protocol)
{
    conn->protocol = protocol;
}

/* ---- The end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct emb_conn *conn = handle->data;
    struct emb_front *front = conn->front;
    emb_transport_close(conn);
    if (conn->http2) {
        emb_conn_http2_free(conn);
    }
    emb_http1_free(conn->parser);
    emb_buf_deinit(&conn->rest);
    front->held -= conn->parser_held;
    *(conn->previous ? &conn->previous->next : &front->conns) = conn->next;
    if (conn->next) {
        conn->next->previous = conn->previous;
    }
    front->conn_count--;
    emb_free(conn);
    emb_front_release(front);
}

static void forget(struct emb_conn *conn, struct emb_exchange *x)
{
    conn->first = x->next;
    conn->exchange_count--;
    if (!conn->first) {
        conn->last = NULL;
    }
    x->next = NULL;
}

/* Drops x, of which nothing was sent, and what comes after it; those not yet answered are told. x may be NULL. */
static void drop_from(struct emb_conn *conn, struct emb_exchange *x)
{
    struct emb_exchange *last = NULL, **link = &conn->first;
    while (*link != x) {
        last = *link;
        link = &last->next;
    }
    *link = NULL;
    conn->last = last;
    while (x) {
        struct emb_exchange *next = x->next;
        x->next = NULL;
        conn->exchange_count--;
        if (x->answered) {
            emb_exchange_free(x);
        } else {
            emb_exchange_abandon(x);
        }
        x = next;
    }
}

void emb_conn_close(struct emb_conn *conn)
{
    if (conn->closing) {
        return;
    }
    conn->closing = true;
    if (!conn->first) {
        emb_transport_end(conn);
    }
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    struct emb_exchange *x = conn->first;
    while (x && x->sent && !conn->http2) {
        x = x->next; /* freed when its write is called off */
    }
    drop_from(conn, x);
    if (conn->http2) {
        emb_conn_http2_close(conn);
    }
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct emb_conn *conn = request->data;
    if (!conn->closing && (status < 0 || conn->eof || !conn->drain)) {
        emb_conn_close(conn);
    }
}

static bool start_reading(struct emb_conn *conn);

void emb_conn_finish(struct emb_conn *conn)
{
    if (conn->finishing || conn->closing) {
        return;
    }
    conn->finishing = true;
    conn->finishing_at = conn->last_read = uv_now(conn->front->loop);
    conn->drain = conn->drain || conn->rest.size > 0;
    conn->shutdown.data = conn;
    emb_transport_end(conn);
    if (uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) != 0 ||
        (conn->drain && !conn->eof && !start_reading(conn))) {
        emb_conn_close(conn);
    }
}

/* ---- Replies ---- */

static void on_written(uv_write_t *request, int status);

/* Cuts what is written already off the parts; returns how many are left. */
static int cut_parts(uv_buf_t *parts, int count, size_t written)
{
    int whole = 0;
    while (whole < count && written >= parts[whole].len) {
        written -= parts[whole++].len;
    }
    memmove(parts, parts + whole, (size_t)(count - whole) * sizeof *parts);
    if (written > 0) {
        parts[0].base += written;
        parts[0].len -= written;
    }
    return count - whole;
}

void emb_conn_note_write(struct emb_conn *conn, size_t bytes)
{
    if (conn->unsent == 0) {
        conn->write_since = conn->write_progress = uv_now(conn->front->loop);
        conn->written_before = conn->written = conn->handed;
    }
    conn->unsent += bytes;
    conn->handed += bytes;
}

/* Hands parts to libuv, which calls on_written. False: the connection closes. */
static bool queue_parts(struct emb_conn *conn, struct emb_exchange *x, const uv_buf_t *parts, int count)
{
    x->out_bytes = 0;
    for (int i = 0; i < count; i++) {
        x->out_bytes += parts[i].len;
    }
    x->sent = true;
    x->write.data = x;
    emb_conn_note_write(conn, x->out_bytes);
    if (emb_conn_write(conn, &x->write, parts, count, on_written) != 0) {
        x->sent = false;
        emb_conn_close(conn);
        return false;
    }
    return true;
}

/* Writes what the socket takes at once, which spares libuv a system call; false where something is left or will follow. Not where
 * requests wait to be read: their handlers are called from the loop, never from within the reply to another. */
static bool write_at_once(struct emb_conn *conn, const struct emb_exchange *x, uv_buf_t *parts, int *count)
{
    if (conn->unsent > 0 || x->streaming || conn->rest.size > 0) {
        return false;
    }
    int written = emb_conn_try_write(conn, parts, *count);
    if (written > 0) {
        conn->handed += (size_t)written;
        *count = cut_parts(parts, *count, (size_t)written);
    }
    return *count == 0;
}

/* Sends x's reply or its beginning and returns what comes after x, which may be freed. */
static struct emb_exchange *send_reply(struct emb_conn *conn, struct emb_exchange *x)
{
    const char *head;
    uv_buf_t parts[4];
    emb_exchange_prepare(x);
    if (emb_exchange_close_delimited(x)) {
        conn->ended = true;
        drop_from(conn, x->next);
    }
    struct emb_exchange *next = x->next;
    size_t head_size = emb_exchange_head(x, conn->ended && !next, &head);
    parts[0] = (uv_buf_t){.base = (char *)(uintptr_t)head, .len = head_size};
    int count = 1 + emb_exchange_body_parts(x, parts + 1);
    if (write_at_once(conn, x, parts, &count)) {
        forget(conn, x);
        emb_exchange_free(x);
        return next;
    }
    emb_exchange_account(x);
    bool streaming = x->streaming;
    return queue_parts(conn, x, parts, count) && !streaming ? next : NULL;
}

static void send_piece(struct emb_conn *conn, struct emb_exchange *x)
{
    uv_buf_t parts[3];
    if (!emb_exchange_pull(x)) {
        x->sent = false;
        emb_conn_close(conn);
        return;
    }
    int count = emb_exchange_body_parts(x, parts);
    if (queue_parts(conn, x, parts, count > 0 ? count : 1) && !x->streaming) {
        emb_conn_flush(conn);
    }
}

/* A reply went out whole. */
static void go_on(struct emb_conn *conn)
{
    conn->last_active = uv_now(conn->front->loop);
    if (!conn->first && conn->ended) {
        emb_conn_finish(conn);
    } else {
        resume(conn);
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct emb_exchange *x = request->data;
    struct emb_conn *conn = x->conn;
    conn->unsent -= x->out_bytes;
    if (x->streaming && status == 0 && !conn->closing) {
        send_piece(conn, x);
        return;
    }
    forget(conn, x);
    emb_exchange_free(x);
    if (conn->closing) {
        return;
    }
    if (status < 0) {
        emb_conn_close(conn);
        return;
    }
    go_on(conn);
}

void emb_conn_flush(struct emb_conn *conn)
{
    if (conn->http2) {
        emb_conn_http2_due(conn);
        return;
    }
    size_t before = conn->exchange_count;
    struct emb_exchange *x = conn->first;
    while (x && x->answered && !conn->closing) {
        x = !x->sent ? send_reply(conn, x) : x->streaming ? NULL : x->next;
    }
    if (conn->exchange_count < before && !conn->closing) {
        go_on(conn);
    }
}

static void send_continue(struct emb_conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    conn->continue_due = conn->first != NULL;
    if (conn->continue_due) {
        return;
    }
    uv_buf_t part = {.base = (char *)(uintptr_t)text, .len = sizeof text - 1};
    int written = emb_conn_try_write(conn, &part, 1);
    if (written > 0 && (size_t)written < sizeof text - 1) {
        emb_conn_close(conn);
    }
}

/* ---- Requests ---- */

static void account_parser(struct emb_conn *conn)
{
    size_t held = emb_http1_held(conn->parser);
    conn->front->held = conn->front->held - conn->parser_held + held;
    conn->parser_held = held;
}

static void refuse(struct emb_conn *conn, struct emb_http1_request *request, int status, const char *message)
{
    conn->ended = conn->drain = true;
    conn->phase = EMB_HTTP1_IDLE;
    account_parser(conn);
    struct emb_exchange *x = emb_exchange_new(conn, request);
    if (!x) {
        emb_conn_close(conn);
        return;
    }
    emb_exchange_refuse(x, status, message);
}

static void begin(struct emb_conn *conn)
{
    struct emb_http1_request *request = emb_http1_take(conn->parser);
    conn->phase = EMB_HTTP1_IDLE;
    conn->continue_due = false;
    account_parser(conn);
    if (!request->keep_alive || conn->front->stopping) {
        conn->ended = true;
    }
    struct emb_exchange *x = emb_exchange_new(conn, request);
    if (!x) {
        emb_conn_close(conn);
        return;
    }
    emb_exchange_dispatch(x);
}

/* No further request is begun while so much is not fully answered. */
static bool crowded(const struct emb_conn *conn)
{
    const struct emb_front_limits *limits = &conn->front->options.limits;
    size_t held = 0;
    for (const struct emb_exchange *x = conn->first; x; x = x->next) {
        held += x->held;
    }
    return conn->exchange_count >= limits->pipelined || held > limits->unanswered;
}

static void note_phase(struct emb_conn *conn)
{
    enum emb_http1_phase phase = emb_http1_phase(conn->parser);
    if (phase != conn->phase) {
        conn->phase = phase;
        conn->phase_since = uv_now(conn->front->loop);
    }
}

/* One event of the parser. False: no more of this data is to be parsed. */
static bool parse(struct emb_conn *conn, const char *data, size_t size, size_t *used)
{
    switch (emb_http1_feed(conn->parser, data, size, used)) {
    case EMB_HTTP1_MORE:
        note_phase(conn);
        account_parser(conn);
        if (conn->front->held > conn->front->options.limits.held && conn->phase == EMB_HTTP1_BODY) {
            refuse(conn, emb_http1_take(conn->parser), 503,
                   "The server holds as many requests as it can; try again later");
        }
        return false;
    case EMB_HTTP1_CONTINUE:
        note_phase(conn);
        if (*used == size) {
            send_continue(conn);
        }
        return true;
    case EMB_HTTP1_REQUEST: begin(conn); return true;
    default:
        refuse(conn, emb_http1_take(conn->parser), emb_http1_status(conn->parser), emb_http1_message(conn->parser));
        return false;
    }
}

static void process(struct emb_conn *conn, const char *data, size_t size)
{
    size_t at = 0, used;
    while (!conn->closing && !conn->ended && !(conn->phase == EMB_HTTP1_IDLE && crowded(conn))) {
        bool more = parse(conn, data + at, size - at, &used);
        at += used;
        if (!more) {
            break;
        }
    }
    if (conn->closing || at == size) {
        return;
    }
    if (conn->ended) {
        conn->drain = true;
        return;
    }
    emb_buf_append(&conn->rest, data + at, size - at);
    if (conn->rest.failed) {
        emb_conn_close(conn);
    }
}

/* ---- Reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct emb_conn *conn = handle->data;
    (void)suggested;
    size_t spare = conn->transport.tls ? EMB_TLS_RECORD : 0; /* a record's bytes come with its last one */
    *buf = uv_buf_init(conn->front->read_buffer, (unsigned)(sizeof conn->front->read_buffer - spare));
}

static void stop_reading(struct emb_conn *conn)
{
    uv_read_stop((uv_stream_t *)&conn->tcp);
    conn->reading = false;
}

static void on_eof(struct emb_conn *conn)
{
    stop_reading(conn);
    if (conn->http2) {
        emb_conn_close(conn);
        return;
    }
    conn->eof = true;
    conn->ended = true;
    if (!conn->front->options.limits.half_close) {
        struct emb_exchange *x = conn->first;
        while (x && x->answered) {
            x = x->next;
        }
        drop_from(conn, x);
    }
    if (conn->finishing || !conn->first) {
        emb_conn_close(conn);
    }
}

static void drop_input(struct emb_conn *conn, size_t size)
{
    conn->drain = true;
    conn->drained += size;
    if (conn->drained > conn->front->options.limits.linger_bytes) {
        if (conn->finishing) {
            emb_conn_close(conn);
        } else {
            stop_reading(conn);
        }
    }
}

/* Finds out which protocol it is from data, less what belongs to HTTP/2's preface; false: it does not tell, or the connection
 * closes. */
static bool sniff(struct emb_conn *conn, const char **data, size_t *size)
{
    const char *preface = EMB_HTTP2_PREFACE;
    size_t before = conn->preface, room = EMB_HTTP2_PREFACE_SIZE - before;
    size_t same = *size < room ? *size : room;
    if (conn->protocol == EMB_PROTOCOL_OPEN && memcmp(*data, preface + before, same) == 0) {
        *data += same;
        *size -= same;
        conn->preface += (unsigned)same;
        if (conn->preface < EMB_HTTP2_PREFACE_SIZE) {
            conn->phase_since = conn->phase == EMB_HTTP1_IDLE ? uv_now(conn->front->loop) : conn->phase_since;
            conn->phase = EMB_HTTP1_HEAD;
            return false;
        }
        conn->protocol = EMB_PROTOCOL_HTTP2;
        before = EMB_HTTP2_PREFACE_SIZE;
    }
    if (conn->protocol == EMB_PROTOCOL_HTTP2) {
        if (!emb_conn_http2_begin(conn)) {
            emb_conn_close(conn);
            return false;
        }
        emb_conn_http2_input(conn, preface, before);
        return !conn->closing;
    }
    conn->protocol = EMB_PROTOCOL_HTTP1;
    process(conn, preface, before);
    return !conn->closing;
}

/* Bytes of the protocol, as the transport has them. */
static void take_input(struct emb_conn *conn, const char *data, size_t size)
{
    if (conn->protocol != EMB_PROTOCOL_HTTP1 && !conn->http2 && !conn->ended && !sniff(conn, &data, &size)) {
        return;
    }
    if (conn->ended) {
        drop_input(conn, size);
        return;
    }
    if (conn->http2) {
        emb_conn_http2_input(conn, data, size);
        return;
    }
    process(conn, data, size);
    if (!conn->closing && !conn->ended && conn->rest.size > 0) {
        stop_reading(conn);
    }
}

/* Bytes of the socket, of a connection with TLS. */
static void take_secure_input(struct emb_conn *conn, const char *data, size_t size)
{
    char *plain;
    size_t got;
    enum emb_transport_event event = emb_transport_receive(conn, data, size, &plain, &got);
    if (event == EMB_TRANSPORT_PLAIN) {
        refuse(conn, NULL, 400, "This port speaks TLS: use https");
        return;
    }
    if (got > 0 && !conn->closing) {
        take_input(conn, plain, got);
    }
    if (conn->closing) {
        return;
    }
    if (event == EMB_TRANSPORT_FAILED) {
        emb_conn_close(conn);
    } else if (event == EMB_TRANSPORT_ENDED && !conn->eof) {
        on_eof(conn);
    }
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct emb_conn *conn = stream->data;
    if (size == 0 || conn->closing) {
        return;
    }
    if (size == UV_EOF) {
        on_eof(conn);
        return;
    }
    if (size < 0) {
        emb_conn_close(conn);
        return;
    }
    conn->last_read = uv_now(conn->front->loop);
    if (conn->transport.tls) {
        take_secure_input(conn, buf->base, (size_t)size);
    } else {
        take_input(conn, buf->base, (size_t)size);
    }
}

static bool start_reading(struct emb_conn *conn)
{
    if (!conn->reading) {
        conn->reading = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) == 0;
    }
    return conn->reading;
}

/* A reply went out: goes on with what was left unread. */
static void resume(struct emb_conn *conn)
{
    if (conn->continue_due) {
        send_continue(conn);
    }
    if (conn->rest.size > 0 && !conn->closing && !conn->ended && !crowded(conn)) {
        struct emb_buf rest = conn->rest;
        emb_buf_init(&conn->rest, EMB_READ_BYTES);
        process(conn, rest.data, rest.size);
        emb_buf_deinit(&rest);
    }
    if (conn->closing || conn->ended) {
        return;
    }
    if (conn->rest.size > 0) {
        stop_reading(conn); /* a reply from within may have started it */
    } else if (!start_reading(conn)) {
        emb_conn_close(conn);
    }
}

/* ---- Time ---- */

static bool write_stalled(struct emb_conn *conn, uint64_t now)
{
    const struct emb_front_limits *limits = &conn->front->options.limits;
    size_t left = conn->transport.tls ? emb_transport_unsent(conn) : conn->unsent;
    if (left == 0) {
        return false;
    }
    uint64_t written =
        conn->handed - (conn->transport.tls ? left : uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp));
    if (written > conn->written) {
        conn->written = written;
        conn->write_progress = now;
    }
    return now - conn->write_progress > limits->write_ms ||
           now - conn->write_since > limits->write_ms + (written - conn->written_before) * 1000 / limits->least_rate;
}

/* How long ago the stop began or, if that was later, since. */
static uint64_t stopping_for(const struct emb_front *front, uint64_t since, uint64_t now)
{
    return now - (since > front->stop_at ? since : front->stop_at);
}

/* Why the request being read is late, or NULL. */
static const char *request_late(const struct emb_conn *conn, uint64_t now)
{
    const struct emb_front *front = conn->front;
    const struct emb_front_limits *limits = &front->options.limits;
    if (front->stopping && stopping_for(front, conn->phase_since, now) > limits->stop_partial_ms) {
        return "The server is stopping";
    }
    if (conn->phase == EMB_HTTP1_HEAD && now - conn->phase_since > limits->head_ms) {
        return "The request's head took too long to arrive";
    }
    uint64_t earned = emb_http1_body_bytes(conn->parser) * 1000 / limits->least_rate;
    if (conn->phase == EMB_HTTP1_BODY &&
        (now - conn->last_read > limits->body_ms || now - conn->phase_since > limits->body_ms + earned)) {
        return "The request's body took too long to arrive";
    }
    return NULL;
}

static bool lingered(const struct emb_conn *conn, uint64_t now)
{
    unsigned linger = conn->front->options.limits.linger_ms;
    return now - conn->last_read > linger || now - conn->finishing_at > (uint64_t)linger * LINGER_TOTAL;
}

static bool idled(const struct emb_conn *conn, uint64_t now)
{
    const struct emb_front *front = conn->front;
    return now - conn->last_active > front->options.limits.idle_ms ||
           (front->stopping && stopping_for(front, conn->last_active, now) >= front->options.limits.stop_idle_ms);
}

void emb_conn_check(struct emb_conn *conn, uint64_t now)
{
    if (conn->closing) {
        return;
    }
    bool slow = emb_transport_shaking(conn) && now - conn->last_active > conn->front->options.limits.head_ms;
    if (slow || write_stalled(conn, now) || (conn->finishing && conn->unsent == 0 && lingered(conn, now))) {
        emb_conn_close(conn);
    } else if (conn->http2) {
        emb_conn_http2_check(conn, now, !conn->first && idled(conn, now));
    } else if (!conn->ended && conn->phase != EMB_HTTP1_IDLE) {
        const char *late = request_late(conn, now);
        if (late) {
            refuse(conn, emb_http1_take(conn->parser), conn->front->stopping ? 503 : 408, late);
        }
    } else if (!conn->first && !conn->finishing && idled(conn, now)) {
        emb_conn_close(conn);
    }
}

/* ---- The beginning ---- */

static void name_peer(struct emb_conn *conn, int fd, const struct sockaddr *address)
{
    char name[INET6_ADDRSTRLEN] = "?";
    struct ucred who = {.uid = (uid_t)-1};
    socklen_t size = sizeof who;
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        uv_ip6_name(in6, name, sizeof name);
        snprintf(conn->peer, sizeof conn->peer, "[%s]:%d", name, ntohs(in6->sin6_port));
    } else if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        uv_ip4_name(in, name, sizeof name);
        snprintf(conn->peer, sizeof conn->peer, "%s:%d", name, ntohs(in->sin_port));
    } else {
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
        snprintf(conn->peer, sizeof conn->peer, EMB_PEER_UNIX "%u", (unsigned)who.uid);
    }
}

/* Makes the handle, not yet open. */
static bool init_socket(struct emb_conn *conn, uv_loop_t *loop, bool local)
{
    return (local ? uv_pipe_init(loop, &conn->pipe, 0) : uv_tcp_init(loop, &conn->tcp)) == 0;
}

static bool open_socket(struct emb_conn *conn, int fd, bool local)
{
    return (local ? uv_pipe_open(&conn->pipe, fd) : uv_tcp_open(&conn->tcp, fd)) == 0;
}

void emb_conn_open(struct emb_front *front, int fd, const struct sockaddr *peer)
{
    struct emb_conn *conn = emb_calloc(1, sizeof *conn);
    struct emb_http1 *parser = emb_http1_new(&front->options.limits.http1);
    bool local = peer->sa_family == AF_UNIX;
    if (!conn || !parser || !init_socket(conn, front->loop, local)) {
        emb_free(conn);
        emb_http1_free(parser);
        close(fd);
        return;
    }
    conn->front = front;
    conn->parser = parser;
    conn->tcp.data = conn;
    conn->last_read = conn->last_active = uv_now(front->loop);
    emb_buf_init(&conn->rest, EMB_READ_BYTES);
    conn->next = front->conns;
    if (conn->next) {
        conn->next->previous = conn;
    }
    front->conns = conn;
    front->conn_count++;
    front->accepted++;
    name_peer(conn, fd, peer);
    bool secure = front->options.tls && !local;
    if (!open_socket(conn, fd, local)) {
        close(fd);
        emb_conn_close(conn);
    } else if (secure && (front->conn_count > front->options.limits.connections || !emb_transport_open(conn))) {
        front->refused++; /* a refusal in words would cost a handshake */
        emb_conn_close(conn);
    } else if (!start_reading(conn) || front->conn_count > front->conn_most) {
        front->refused++;
        emb_conn_close(conn);
    } else if (front->conn_count > front->options.limits.connections) {
        front->refused++;
        refuse(conn, NULL, 503, "The server has as many connections as it takes; try again later");
    }
}
