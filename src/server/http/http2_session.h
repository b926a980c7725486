/* A session's state. Private to http2.c, http2_head.c and http2_memory.c. */
#ifndef EMB_HTTP2_SESSION_H
#define EMB_HTTP2_SESSION_H

#include <nghttp2/nghttp2.h>

#include "server/http/http2.h"

#define EMB_HTTP2_FIELD_COST 32 /* bytes a field counts beside its name and value (RFC 9113, section 6.5.2) */

#define RESETS_KNOWN 64

struct emb_http2_stream {
    struct emb_http2 *session;
    struct emb_http2_stream *next, *previous; /* in open, oldest first; in closed */
    struct emb_http2_stream *next_ready;
    struct emb_http1_request *request; /* until it is taken */
    void *user;
    int32_t id;
    size_t header_capacity;
    size_t head_bytes, trailer_bytes;
    size_t body_bytes; /* as it came, discarded parts included */
    size_t held;       /* request's part of the session's */
    size_t withheld;   /* bytes of its window that were not given back */
    bool has_path, has_method, has_host;
    bool head_over;
    bool ready;
    bool taken;
    bool closed;
    bool sending; /* a body, some of which was not sent */
    bool aborted; /* we reset it, and say so ourselves */
    int status;   /* it is refused */
    const char *message;
    uint64_t since;       /* its head was over */
    uint64_t body_mark;   /* session's body_bytes then */
    uint64_t reply_since; /* it was answered */
    uint64_t sent_mark;   /* session's sent_bytes then */
    uint64_t progress_at; /* something of its body was sent */
};

struct emb_http2 {
    struct emb_http2_limits limits;
    struct emb_http2_replies replies;
    struct emb_http2_guard guard;
    nghttp2_session *session;
    nghttp2_mem mem;
    size_t memory; /* nghttp2 has, the reserve apart */
    size_t reserve_used;
    size_t held; /* by requests not taken */
    struct emb_http2_stream *open, *last_open;
    struct emb_http2_stream *ready, *last_ready;
    struct emb_http2_stream *closed;
    size_t stream_count, unfinished;
    int32_t last_id;              /* of a request */
    int32_t resets[RESETS_KNOWN]; /* streams that we reset last: what their clients sent before they knew is no error */
    size_t reset_count;
    bool room;
    bool ending; /* the session was ended: input is ignored */
    bool failed;
    bool greeted; /* the client's settings came */
    bool flowing; /* the last pull had something of a body */
    const char *why;
    struct emb_buf *out; /* while pulling */
    size_t out_most;
    uint64_t now;
    uint64_t began;
    uint64_t body_bytes, body_at; /* of all bodies, and when some came last */
    uint64_t sent_bytes, sent_at; /* of all replies' bodies */
    _Alignas(16) char reserve[8192];
};

/* Refuses a stream; its request is ready to be taken once its head is over. Only the first reason counts. */
void emb_http2_refuse(struct emb_http2_stream *stream, int status, const char *message);

/* One field of the head, and the end of the head; ends: there is no body. */
void emb_http2_head_field(struct emb_http2_stream *stream, const uint8_t *name, size_t name_size, const uint8_t *value,
                          size_t value_size);
void emb_http2_head_end(struct emb_http2_stream *stream, bool ends);

/* Hooks by which nghttp2 allocates for a session. */
nghttp2_mem emb_http2_memory(struct emb_http2 *session);

#endif
