/* Encrypting and sending, a step at a time; what is not data (handshakes, goodbyes) goes at once. */
#include "server/http/transport.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/http/connection.h"
#include "server/http/tls.h"

enum {
    STEP_BYTES = 128 << 10,  /* encrypted at once */
    CONTROL_MAX = 256 << 10, /* waiting in the socket, beyond which a client that only makes us talk is left */
};

struct emb_tls_wait {
    struct emb_tls_wait *next;
    uv_write_t *request;
    uv_write_cb written;
    int count, at; /* parts; the first that is not encrypted whole */
    uv_buf_t parts[];
};

struct flight {
    uv_write_t write;
    struct emb_conn *conn;
    struct emb_buf data;
    size_t plain;              /* bytes of data before encryption */
    struct emb_tls_wait *done; /* what is written whole with it */
};

/* ---- Life ---- */

static void account(struct emb_conn *conn)
{
    struct emb_transport *t = &conn->transport;
    size_t held = t->tls ? emb_tls_held(t->tls) + t->flying : 0;
    conn->front->held = conn->front->held - t->held + held;
    t->held = held;
}

bool emb_transport_open(struct emb_conn *conn)
{
    conn->transport.tls = emb_tls_new(conn->front->options.tls);
    account(conn);
    return conn->transport.tls != NULL;
}

static void call_off(struct emb_tls_wait *wait, int status)
{
    while (wait) {
        struct emb_tls_wait *next = wait->next;
        wait->written(wait->request, status);
        emb_free(wait);
        wait = next;
    }
}

void emb_transport_close(struct emb_conn *conn)
{
    struct emb_transport *t = &conn->transport;
    struct emb_tls_wait *first = t->first;
    t->first = t->last = NULL;
    call_off(first, UV_ECANCELED);
    emb_tls_free(t->tls);
    t->tls = NULL;
    t->waiting = t->flying = 0;
    account(conn);
}

size_t emb_transport_unsent(const struct emb_conn *conn)
{
    return conn->transport.waiting + conn->transport.flying;
}

bool emb_transport_shaking(const struct emb_conn *conn)
{
    return conn->transport.tls && !conn->transport.greeted;
}

/* ---- Sending ---- */

/* Takes up to size bytes of what waits; those that are taken whole go to *done. */
static size_t gather(struct emb_transport *t, char *to, size_t size, struct emb_tls_wait ***done)
{
    size_t n = 0;
    while (t->first && n < size) {
        struct emb_tls_wait *w = t->first;
        while (w->at < w->count && n < size) {
            uv_buf_t *part = &w->parts[w->at];
            size_t take = part->len < size - n ? part->len : size - n;
            if (take > 0) {
                memcpy(to + n, part->base, take);
                part->base += take;
                part->len -= take;
                n += take;
            }
            w->at += part->len == 0;
        }
        if (w->at < w->count) {
            break;
        }
        t->first = w->next;
        t->last = t->first ? t->last : NULL;
        w->next = NULL;
        **done = w;
        *done = &w->next;
    }
    t->waiting -= n;
    return n;
}

/* Encrypts a step of what waits. Returns its bytes before encryption; *done becomes what is encrypted whole. */
static size_t encrypt(struct emb_conn *conn, struct emb_tls_wait **done)
{
    struct emb_transport *t = &conn->transport;
    struct emb_tls_wait **end = done;
    char *record = conn->front->record_buffer;
    size_t total = 0;
    *done = NULL;
    while (t->first && total < STEP_BYTES && !t->broken) {
        size_t n = gather(t, record, EMB_RECORD_BYTES, &end);
        t->broken = !emb_tls_send(t->tls, record, n);
        total += n;
    }
    return total;
}

static void on_flown(uv_write_t *write, int status);

/* Gives what the TLS side has to the socket; with it plain bytes of data go, and done is written. */
static bool fly(struct emb_conn *conn, size_t plain, struct emb_tls_wait *done)
{
    struct emb_transport *t = &conn->transport;
    struct emb_buf *out = emb_tls_out(t->tls);
    struct flight *flight = emb_calloc(1, sizeof *flight);
    if (!flight) {
        return false;
    }
    flight->conn = conn;
    flight->data = *out;
    flight->plain = plain;
    flight->done = done;
    flight->write.data = flight;
    uv_buf_t part = {.base = flight->data.data, .len = flight->data.size};
    if (uv_write(&flight->write, (uv_stream_t *)&conn->tcp, &part, 1, on_flown) != 0) {
        emb_free(flight);
        return false;
    }
    emb_buf_init(out, flight->data.max);
    t->flights++;
    t->flying += plain;
    return true;
}

/* What the socket takes now, which spares libuv a system call. False: nothing can be sent any more. */
static bool try_out(struct emb_conn *conn)
{
    struct emb_buf *out = emb_tls_out(conn->transport.tls);
    uv_buf_t part = {.base = out->data, .len = out->size};
    if (out->failed) {
        return false;
    }
    int written = out->size > 0 ? uv_try_write((uv_stream_t *)&conn->tcp, &part, 1) : 0;
    if (written > 0) {
        emb_buf_consume(out, (size_t)written);
    }
    return written >= 0 || written == UV_EAGAIN;
}

/* Sends what is there. False: the connection is to be closed. */
static bool push(struct emb_conn *conn)
{
    struct emb_transport *t = &conn->transport;
    struct emb_tls_wait *done = NULL, *last;
    size_t plain = 0;
    if (t->flights == 0 && emb_tls_established(t->tls)) {
        plain = encrypt(conn, &done);
    }
    bool room = uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp) < CONTROL_MAX + STEP_BYTES;
    struct emb_buf *out = emb_tls_out(t->tls);
    t->broken = t->broken || out->failed || !room || ((out->size > 0 || done) && !fly(conn, plain, done));
    if (t->broken && done) {
        for (last = done; last->next; last = last->next) {
        }
        last->next = t->first;
        t->first = done;
        t->last = t->last ? t->last : last;
    }
    account(conn);
    return !t->broken;
}

static void on_flown(uv_write_t *write, int status)
{
    struct flight *flight = write->data;
    struct emb_conn *conn = flight->conn;
    struct emb_transport *t = &conn->transport;
    t->flights--;
    t->flying -= flight->plain;
    emb_buf_deinit(&flight->data);
    call_off(flight->done, status);
    emb_free(flight);
    if (conn->closing) {
        return;
    }
    if (status < 0 || !push(conn)) {
        emb_conn_close(conn);
    }
}

/* The last that waits does so no more. */
static void take_back(struct emb_transport *t, struct emb_tls_wait *w)
{
    struct emb_tls_wait *before = NULL;
    for (struct emb_tls_wait *at = t->first; at != w; at = at->next) {
        before = at;
    }
    *(before ? &before->next : &t->first) = NULL;
    t->last = before;
    emb_free(w);
}

int emb_transport_write(struct emb_conn *conn, uv_write_t *request, const uv_buf_t *parts, int count,
                        uv_write_cb written)
{
    struct emb_transport *t = &conn->transport;
    size_t size, n = (size_t)count;
    struct emb_tls_wait *w = NULL;
    if (emb_mul(n, sizeof *parts, &size) && emb_add(size, sizeof *w, &size)) {
        w = t->broken ? NULL : emb_alloc(size, 1);
    }
    if (!w) {
        return t->broken ? UV_EPIPE : UV_ENOMEM;
    }
    *w = (struct emb_tls_wait){.request = request, .written = written, .count = count};
    memcpy(w->parts, parts, n * sizeof *parts);
    for (size_t i = 0; i < n; i++) {
        t->waiting += parts[i].len;
    }
    if (t->last) {
        t->last->next = w;
    } else {
        t->first = w;
    }
    t->last = w;
    if (push(conn)) {
        return 0;
    }
    take_back(t, w);
    return UV_EPIPE;
}

/* What the socket does not take now is sent later; the bytes count as written all the same. */
int emb_transport_try(struct emb_conn *conn, const uv_buf_t *parts, int count)
{
    struct emb_transport *t = &conn->transport;
    size_t total = 0, n = 0;
    for (int i = 0; i < count; i++) {
        total += parts[i].len;
    }
    if (t->broken || t->first || t->flights > 0 || total > EMB_RECORD_BYTES || !emb_tls_established(t->tls)) {
        return UV_EAGAIN;
    }
    char *record = conn->front->record_buffer;
    for (int i = 0; i < count; i++) {
        memcpy(record + n, parts[i].base, parts[i].len);
        n += parts[i].len;
    }
    struct emb_buf *out = emb_tls_out(t->tls);
    t->broken = !emb_tls_send(t->tls, record, n);
    t->broken = t->broken || !try_out(conn);
    if (!t->broken && out->size > 0) {
        conn->write_since = conn->write_progress = uv_now(conn->front->loop);
        conn->written_before = conn->written = conn->handed;
        t->broken = !fly(conn, total, NULL);
    }
    account(conn);
    return t->broken ? UV_EPIPE : (int)total;
}

void emb_transport_end(struct emb_conn *conn)
{
    struct emb_transport *t = &conn->transport;
    if (t->tls && !t->broken && !t->ended && emb_transport_unsent(conn) == 0) {
        t->ended = true;
        emb_tls_end(t->tls);
        t->broken = !push(conn);
    }
}

/* ---- Receiving ---- */

static void greet(struct emb_conn *conn)
{
    const struct emb_tls *tls = conn->transport.tls;
    conn->transport.greeted = true;
    emb_conn_set_protocol(conn, emb_tls_http2(tls) ? EMB_PROTOCOL_HTTP2 : EMB_PROTOCOL_OPEN);
    emb_log(EMB_LOG_DEBUG, "tls", "peer=%s version=%s resumed=%s protocol=%s", conn->peer, emb_tls_version(tls),
            emb_tls_resumed(tls) ? "yes" : "no", emb_tls_http2(tls) ? "h2" : "http/1.1");
}

enum emb_transport_event emb_transport_receive(struct emb_conn *conn, const char *data, size_t size, char **plain,
                                               size_t *got)
{
    struct emb_transport *t = &conn->transport;
    *plain = conn->front->plain_buffer;
    enum emb_tls_event event = emb_tls_receive(t->tls, data, size, *plain, got);
    if (event == EMB_TLS_PLAIN) {
        emb_tls_free(t->tls);
        t->tls = NULL;
        account(conn);
        return EMB_TRANSPORT_PLAIN;
    }
    if (!t->greeted && emb_tls_established(t->tls)) {
        greet(conn);
    }
    if (event == EMB_TLS_FAILED) {
        emb_log(EMB_LOG_DEBUG, "tls_failed", "peer=%s reason=\"%s\"", conn->peer, emb_tls_reason(t->tls));
    }
    try_out(conn); /* also the alert that says why it failed */
    bool sent = event == EMB_TLS_FAILED || (emb_tls_out(t->tls)->size == 0 && !t->first) || push(conn);
    account(conn);
    return event == EMB_TLS_FAILED || !sent ? EMB_TRANSPORT_FAILED
           : event == EMB_TLS_ENDED         ? EMB_TRANSPORT_ENDED
                                            : EMB_TRANSPORT_OK;
}
