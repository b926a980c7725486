/* The session: nghttp2's callbacks, and streams in three lists.
 *
 * A stream is in `open` from its first frame to its end. One that is whole or refused is also in `ready` until it is taken; one that
 * was taken and ended is in `closed` only, until its owner was told. nghttp2 allocates through hooks that count and bound it. Its
 * callbacks never call anything that could free the session. */
#include "server/http/http2.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/http/http2_session.h"

#define CONNECTION_WINDOW (1 << 20)
#define ACKS_WAITING 2000 /* of SETTINGS and PING, not yet sent; the guard is what bounds them */
#define REPLY_FIELDS 64

/* ---- Streams ---- */

static void end_session(struct emb_http2 *h, const char *why, uint32_t code)
{
    if (!h->ending) {
        h->ending = true;
        h->why = why;
        h->failed |= nghttp2_session_terminate_session(h->session, code) != 0;
    }
}

static void account(struct emb_http2_stream *s)
{
    size_t held = sizeof *s + emb_http1_request_held(s->request);
    s->session->held = s->session->held - s->held + held;
    s->held = held;
}

static void free_stream(struct emb_http2_stream *s)
{
    s->session->held -= s->held;
    emb_http1_request_free(s->request);
    emb_free(s);
}

static void unlink_ready(struct emb_http2_stream *s)
{
    struct emb_http2 *h = s->session;
    struct emb_http2_stream *before = NULL;
    for (struct emb_http2_stream *at = h->ready; at != s; at = at->next_ready) {
        before = at;
    }
    *(before ? &before->next_ready : &h->ready) = s->next_ready;
    if (h->last_ready == s) {
        h->last_ready = before;
    }
    s->ready = false;
}

static void link_ready(struct emb_http2_stream *s)
{
    struct emb_http2 *h = s->session;
    s->ready = true;
    s->next_ready = NULL;
    *(h->last_ready ? &h->last_ready->next_ready : &h->ready) = s;
    h->last_ready = s;
}

static void unlink_open(struct emb_http2_stream *s)
{
    struct emb_http2 *h = s->session;
    *(s->previous ? &s->previous->next : &h->open) = s->next;
    *(s->next ? &s->next->previous : &h->last_open) = s->previous;
    h->stream_count--;
}

static bool coming(const struct emb_http2_stream *s)
{
    return s->head_over && !s->ready && !s->taken;
}

/* Gives back the windows that there is room for: all, or the oldest's. */
static void open_windows(struct emb_http2 *h)
{
    for (struct emb_http2_stream *s = h->open; s; s = s->next) {
        if (!coming(s)) {
            continue;
        }
        if (s->withheld > 0) {
            h->failed |= nghttp2_is_fatal(nghttp2_session_consume_stream(h->session, s->id, s->withheld)) != 0;
            s->withheld = 0;
        }
        if (!h->room) {
            return;
        }
    }
}

void emb_http2_refuse(struct emb_http2_stream *s, int status, const char *message)
{
    if (s->status == 0 && !s->taken) {
        s->status = status;
        s->message = message;
        emb_buf_deinit(&s->request->body);
        account(s);
        if (s->head_over && !s->ready) {
            link_ready(s);
            open_windows(s->session);
        }
    }
}

static struct emb_http2_stream *new_stream(struct emb_http2 *h, int32_t id)
{
    struct emb_http2_stream *s = emb_calloc(1, sizeof *s);
    struct emb_http1_request *request = emb_calloc(1, sizeof *request);
    if (!s || !request) {
        emb_free(s);
        emb_free(request);
        return NULL;
    }
    emb_buf_init(&request->head, h->limits.http1.head + 1);
    emb_buf_init(&request->body, h->limits.http1.body + emb_http1_padding);
    request->keep_alive = true;
    s->session = h;
    s->id = id;
    s->request = request;
    s->previous = h->last_open;
    *(h->last_open ? &h->last_open->next : &h->open) = s;
    h->last_open = s;
    h->stream_count++;
    account(s);
    return s;
}

/* ---- What comes ---- */

static bool reset_by_us(const struct emb_http2 *h, int32_t id)
{
    for (size_t i = 0; i < RESETS_KNOWN && i < h->reset_count; i++) {
        if (h->resets[i] == id) {
            return true;
        }
    }
    return false;
}

/* nghttp2 passes over heads and bodies on streams that were closed or skipped. */
static void check_stream(struct emb_http2 *h, int32_t id)
{
    bool known = nghttp2_session_get_stream_remote_close(h->session, id) >= 0;
    if (id % 2 == 1 && id <= h->last_id && !known && !reset_by_us(h, id)) {
        end_session(h, "a frame of a closed stream", NGHTTP2_STREAM_CLOSED);
    }
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    (void)session;
    if (hd->type == NGHTTP2_HEADERS) {
        check_stream(arg, hd->stream_id);
    }
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct emb_http2 *h = arg;
    if (h->failed || frame->headers.cat != NGHTTP2_HCAT_REQUEST || h->ending) {
        return h->failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
    }
    struct emb_http2_stream *s = NULL;
    h->last_id = frame->hd.stream_id;
    if (h->stream_count + h->unfinished < h->limits.streams) {
        s = new_stream(h, frame->hd.stream_id);
    }
    if (!s) {
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM) == 0
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *arg)
{
    struct emb_http2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    const struct emb_http2 *h = arg;
    (void)flags;
    if (!s || h->failed) {
        return h->failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
    }
    if (!s->head_over) {
        emb_http2_head_field(s, name, name_size, value, value_size);
        return 0;
    }
    s->trailer_bytes += name_size + value_size + EMB_HTTP2_FIELD_COST;
    if (s->trailer_bytes > s->session->limits.http1.framing) {
        emb_http2_refuse(s, 431, "The request's trailers are too large");
    }
    return 0;
}

/* nghttp2 would leave the field out and go on. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *arg)
{
    struct emb_http2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)name, (void)name_size, (void)value, (void)value_size, (void)flags, (void)arg;
    if (s) {
        emb_http2_refuse(s, 400, "Malformed header field");
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t size, void *arg)
{
    struct emb_http2 *h = arg;
    struct emb_http2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)flags;
    emb_http2_guard_earn(&h->guard, size);
    if (nghttp2_session_consume_connection(session, size) != 0) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (!s || !coming(s)) {
        return 0;
    }
    h->body_bytes += size;
    h->body_at = h->now;
    s->body_bytes += size;
    if (size > h->limits.http1.body - s->request->body.size) {
        emb_http2_refuse(s, 413, "The request body is larger than this server accepts");
        return 0;
    }
    emb_buf_append(&s->request->body, data, size);
    if (s->request->body.failed) {
        emb_http2_refuse(s, 503, "The server is out of memory; try again later");
        return 0;
    }
    account(s);
    s->withheld += size;
    open_windows(h);
    return 0;
}

static void make_whole(struct emb_http2_stream *s)
{
    struct emb_buf *body = &s->request->body;
    char *padding = emb_buf_reserve(body, emb_http1_padding);
    if (!padding) {
        emb_http2_refuse(s, 503, "The server is out of memory; try again later");
        return;
    }
    memset(padding, 0, emb_http1_padding);
    account(s);
    link_ready(s);
    open_windows(s->session);
}

static void take_head(struct emb_http2_stream *s, bool ends)
{
    s->since = s->session->now;
    s->body_mark = s->session->body_bytes;
    emb_http2_head_end(s, ends);
    s->head_over = true;
    account(s);
    if (s->status != 0) {
        link_ready(s);
    } else if (!ends) {
        s->session->body_at = s->session->now;
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct emb_http2 *h = arg;
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (h->failed) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    h->greeted |= frame->hd.type == NGHTTP2_SETTINGS;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }
    struct emb_http2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s) {
        return 0;
    }
    if (!s->head_over) {
        take_head(s, ends);
    }
    if (ends && coming(s)) {
        make_whole(s);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct emb_http2 *h = arg;
    struct emb_http2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)error;
    if (!s) {
        return 0;
    }
    if (s->ready) {
        unlink_ready(s);
    }
    unlink_open(s);
    if (!s->user) {
        free_stream(s);
    } else {
        s->closed = true;
        s->next = h->closed;
        h->closed = s;
    }
    open_windows(h);
    return 0;
}

/* ---- What goes ---- */

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    struct emb_http2 *h = arg;
    struct emb_http2_stream *s = source->ptr;
    const char *data;
    bool last = false;
    (void)session, (void)id, (void)buf;
    ssize_t size = h->replies.peek(s->user, &data, &last);
    if (size < 0) {
        s->aborted = true;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if ((size_t)size > length) {
        return (ssize_t)length;
    }
    *flags |= last ? NGHTTP2_DATA_FLAG_EOF : 0u;
    return size;
}

/* One DATA frame, its bytes straight out of the reply. */
static int send_body(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
                     nghttp2_data_source *source, void *arg)
{
    struct emb_http2 *h = arg;
    struct emb_http2_stream *s = source->ptr;
    const char *data = NULL;
    bool last;
    (void)session, (void)frame;
    if (h->out->size >= h->out_most) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (h->replies.peek(s->user, &data, &last) < (ssize_t)length) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    emb_buf_append(h->out, head, 9);
    emb_buf_append(h->out, data, length);
    if (h->out->failed) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (length > 0) {
        h->replies.took(s->user, length);
        emb_http2_guard_earn(&h->guard, length);
        h->sent_bytes += length;
        h->flowing = true;
        h->sent_at = s->progress_at = h->now;
    }
    return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct emb_http2 *h = arg;
    struct emb_http2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    uint8_t type = frame->hd.type;
    if (type == NGHTTP2_RST_STREAM) {
        h->resets[h->reset_count++ % RESETS_KNOWN] = frame->hd.stream_id;
        bool ours = frame->rst_stream.error_code == NGHTTP2_NO_ERROR || (s && s->aborted);
        if (!ours && !emb_http2_guard_reset(&h->guard, h->now)) {
            end_session(h, h->guard.why, h->guard.code);
        }
        return 0;
    }
    if (!s || (type != NGHTTP2_DATA && type != NGHTTP2_HEADERS) || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return 0;
    }
    s->sending = false;
    if (nghttp2_session_get_stream_remote_close(session, s->id) == 0 &&
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR) != 0) {
        return NGHTTP2_ERR_CALLBACK_FAILURE; /* it was answered before all of it came: no more is wanted */
    }
    return 0;
}

/* ---- Life ---- */

static int submit_settings(struct emb_http2 *h)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)h->limits.streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)h->limits.window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)h->limits.http1.head},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    int rc = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    return rc == 0 ? nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) : rc;
}

static int open_session(struct emb_http2 *h)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int rc = nghttp2_session_callbacks_new(&callbacks);
    if (rc == 0) {
        rc = nghttp2_option_new(&option);
    }
    if (rc == 0) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, send_body);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_outbound_ack(option, ACKS_WAITING);
        rc = nghttp2_session_server_new3(&h->session, callbacks, h, option, &h->mem);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc == 0 && submit_settings(h) == 0 && !h->failed ? 0 : -1;
}

struct emb_http2 *emb_http2_new(const struct emb_http2_limits *limits, const struct emb_http2_replies *replies,
                                uint64_t now)
{
    struct emb_http2 *h = emb_calloc(1, sizeof *h);
    if (!h) {
        return NULL;
    }
    h->limits = *limits;
    h->replies = *replies;
    h->room = true;
    h->now = h->began = h->body_at = h->sent_at = now;
    h->mem = emb_http2_memory(h);
    emb_http2_guard_init(&h->guard, &limits->guard, now);
    if (open_session(h) != 0) {
        emb_http2_free(h);
        return NULL;
    }
    return h;
}

static void free_streams(struct emb_http2_stream *s)
{
    while (s) {
        struct emb_http2_stream *next = s->next;
        free_stream(s);
        s = next;
    }
}

void emb_http2_free(struct emb_http2 *h)
{
    if (h) {
        nghttp2_session_del(h->session);
        free_streams(h->open);
        free_streams(h->closed);
        emb_free(h);
    }
}

/* ---- Bytes ---- */

/* Up to the end of a frame's head or body; returns how much. */
static size_t feed_some(struct emb_http2 *h, const char *data, size_t size)
{
    size_t used;
    if (!emb_http2_guard_feed(&h->guard, data, size, &used, h->now)) {
        end_session(h, h->guard.why, h->guard.code);
        return used;
    }
    ssize_t rc = nghttp2_session_mem_recv(h->session, (const uint8_t *)data, used);
    if (rc < 0 && !h->failed) {
        h->failed = true;
        h->why = nghttp2_strerror((int)rc);
    }
    if (h->guard.head_seen && emb_http2_guard_type(&h->guard) == NGHTTP2_DATA) {
        check_stream(h, (int32_t)emb_http2_guard_stream(&h->guard));
    }
    return used;
}

bool emb_http2_feed(struct emb_http2 *h, const char *data, size_t size, uint64_t now)
{
    h->now = now;
    while (size > 0 && !h->ending && !h->failed) {
        size_t used = feed_some(h, data, size);
        data += used;
        size -= used;
    }
    return !h->failed;
}

bool emb_http2_pull(struct emb_http2 *h, struct emb_buf *out, size_t most, uint64_t now)
{
    h->now = now;
    if (h->flowing) {
        h->sent_at = now;
        h->flowing = false;
    }
    h->out = out;
    h->out_most = most;
    while (out->size < most && !h->failed) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(h->session, &data);
        if (size <= 0) {
            h->failed |= size < 0;
            break;
        }
        emb_buf_append(out, data, (size_t)size);
    }
    h->out = NULL;
    h->failed |= out->failed;
    return !h->failed;
}

bool emb_http2_over(const struct emb_http2 *h)
{
    return !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}

const char *emb_http2_why(const struct emb_http2 *h)
{
    return h->why;
}

/* ---- Requests and replies ---- */

struct emb_http2_stream *emb_http2_next(struct emb_http2 *h, struct emb_http1_request **request, int *status,
                                        const char **message)
{
    struct emb_http2_stream *s = h->ready;
    if (!s || h->ending) {
        return NULL;
    }
    unlink_ready(s);
    s->taken = true;
    *request = s->request;
    *status = s->status;
    *message = s->message;
    s->request->bytes = s->head_bytes + s->trailer_bytes + s->body_bytes;
    s->request = NULL;
    account(s);
    return s;
}

bool emb_http2_waiting(const struct emb_http2 *h)
{
    return h->ready && !h->ending;
}

void emb_http2_set_user(struct emb_http2_stream *s, void *user)
{
    s->user = user;
}

void *emb_http2_next_closed(struct emb_http2 *h)
{
    struct emb_http2_stream *s = h->closed;
    if (!s) {
        return NULL;
    }
    void *user = s->user;
    h->closed = s->next;
    free_stream(s);
    return user;
}

static nghttp2_nv nv(const char *name, size_t name_size, const char *value, size_t value_size)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = name_size,
                        .valuelen = value_size};
}

bool emb_http2_reply(struct emb_http2 *h, struct emb_http2_stream *s, int status, const struct emb_http2_field *fields,
                     size_t count, bool body, uint64_t now)
{
    nghttp2_nv head[REPLY_FIELDS + 1];
    char text[16];
    if (s->closed) {
        return true;
    }
    int digits = snprintf(text, sizeof text, "%d", status);
    head[0] = nv(":status", 7, text, (size_t)digits);
    for (size_t i = 0; i < count && i < REPLY_FIELDS; i++) {
        head[i + 1] = nv(fields[i].name, fields[i].name_size, fields[i].value, fields[i].value_size);
    }
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_body};
    s->sending = body;
    s->reply_since = s->progress_at = now;
    s->sent_mark = h->sent_bytes;
    count = count < REPLY_FIELDS ? count : REPLY_FIELDS;
    h->failed |= nghttp2_submit_response(h->session, s->id, head, count + 1, body ? &provider : NULL) != 0;
    return !h->failed;
}

/* ---- Limits ---- */

void emb_http2_set_room(struct emb_http2 *h, bool room)
{
    bool opened = room && !h->room;
    h->room = room;
    if (opened) {
        open_windows(h);
    }
}

void emb_http2_set_unfinished(struct emb_http2 *h, size_t count)
{
    h->unfinished = count;
}

void emb_http2_refuse_partial(struct emb_http2 *h, int status, const char *message)
{
    for (struct emb_http2_stream *s = h->open; s; s = s->next) {
        if (coming(s)) {
            emb_http2_refuse(s, status, message);
        }
    }
}

bool emb_http2_partial(const struct emb_http2 *h, uint64_t *since)
{
    bool partial = h->guard.in_head;
    *since = partial ? h->guard.head_since : UINT64_MAX;
    for (const struct emb_http2_stream *s = h->open; s; s = s->next) {
        if (coming(s)) {
            partial = true;
            *since = s->since < *since ? s->since : *since;
        }
    }
    return partial;
}

/* As with HTTP/1.1 it is the connection that must bring bytes: its client may send one body after another. */
static bool body_late(const struct emb_http2_stream *s, uint64_t now)
{
    const struct emb_http2 *h = s->session;
    uint64_t earned = (h->body_bytes - s->body_mark) * 1000 / h->limits.least_rate;
    return now - h->body_at > h->limits.body_ms || now - s->since > h->limits.body_ms + earned;
}

/* A reply whose own window is shut is late by itself; one that has to share, when the connection is. */
static bool reply_late(const struct emb_http2_stream *s, uint64_t now, bool drained)
{
    const struct emb_http2 *h = s->session;
    uint64_t last = s->reply_since > h->sent_at ? s->reply_since : h->sent_at;
    uint64_t earned = (h->sent_bytes - s->sent_mark) * 1000 / h->limits.least_rate;
    bool shut = nghttp2_session_get_stream_remote_window_size(h->session, s->id) <= 0;
    return (shut && now - s->progress_at > h->limits.write_ms) ||
           (drained && (now - last > h->limits.write_ms || now - s->reply_since > h->limits.write_ms + earned));
}

bool emb_http2_check(struct emb_http2 *h, uint64_t now, bool drained)
{
    h->now = now;
    if ((h->guard.in_head && now - h->guard.head_since > h->limits.head_ms) ||
        (!h->greeted && now - h->began > h->limits.head_ms)) {
        end_session(h, "a head took too long to arrive", NGHTTP2_ENHANCE_YOUR_CALM);
    }
    for (struct emb_http2_stream *s = h->open; s; s = s->next) {
        if (coming(s) && body_late(s, now)) {
            emb_http2_refuse(s, 408, "The request's body took too long to arrive");
        } else if (s->sending && !s->aborted && reply_late(s, now, drained)) {
            s->aborted = true;
            h->failed |= nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL) != 0;
        }
    }
    return !h->failed;
}

void emb_http2_warn(struct emb_http2 *h)
{
    h->failed |= nghttp2_submit_shutdown_notice(h->session) != 0;
}

void emb_http2_stop(struct emb_http2 *h)
{
    h->failed |=
        nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                              NGHTTP2_NO_ERROR, NULL, 0) != 0;
}

size_t emb_http2_streams(const struct emb_http2 *h)
{
    return h->stream_count;
}

size_t emb_http2_held(const struct emb_http2 *h)
{
    return sizeof *h + h->memory + h->held;
}
