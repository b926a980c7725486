/* HTTP/2 requests out of bytes and replies into bytes: one connection's session, by nghttp2. Knows nothing of sockets.
 *
 * Bytes are fed; whole requests are then taken, in the order in which they became whole, and answered in any order. What is to be
 * sent is pulled, whenever there is room for it. Requests obey the rules and sizes of HTTP/1.1's (http1.h). What a client may do
 * without asking for anything is bounded by http2_guard.h; nghttp2's memory is, too. Sources: RFC 9113, RFC 7541. */
#ifndef EMB_HTTP2_H
#define EMB_HTTP2_H

#include <sys/types.h>

#include "server/http/http1.h"
#include "server/http/http2_guard.h"

#define EMB_HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define EMB_HTTP2_PREFACE_SIZE 24

struct emb_http2_limits {
    struct emb_http1_limits http1; /* framing: bytes of trailers */
    struct emb_http2_guard_limits guard;
    size_t streams;    /* at once, and of requests given up by the client but still worked on */
    size_t window;     /* bytes of a body that come before there is room for more */
    size_t memory;     /* bytes the session's own state may take */
    size_t least_rate; /* the rest is as front_limits.h has it; times in ms */
    unsigned head_ms, body_ms, write_ms;
};

struct emb_http2;
struct emb_http2_stream;

/* What a session asks about replies. user: of the stream it is about. */
struct emb_http2_replies {
    /* The reply's next bytes, of which there is at least one unless *last: nothing follows these. Negative: it cannot be finished.
     * They stay until took is called. */
    ssize_t (*peek)(void *user, const char **data, bool *last);
    void (*took)(void *user, size_t size); /* so many of these were sent */
};

/* One connection whose client has not sent anything yet, its preface included. now: ms of any clock, here and below. NULL: out of
 * memory. */
struct emb_http2 *emb_http2_new(const struct emb_http2_limits *limits, const struct emb_http2_replies *replies,
                                uint64_t now);
void emb_http2_free(struct emb_http2 *session);

/* Takes all of data[0..size). False: the connection has failed: it is to be closed once what can be pulled was sent. */
bool emb_http2_feed(struct emb_http2 *session, const char *data, size_t size, uint64_t now);

/* Appends what is to be sent to out, some of it where out then holds most bytes. False: the connection has failed. */
bool emb_http2_pull(struct emb_http2 *session, struct emb_buf *out, size_t most, uint64_t now);

/* The connection may end: nothing is expected from the client any more, nor is anything to be sent. */
bool emb_http2_over(const struct emb_http2 *session);

/* Why the session ended it, for the log; NULL where it did not. */
const char *emb_http2_why(const struct emb_http2 *session);

/* The next request that is whole or refused, or NULL. It is the caller's (may be NULL: nothing is known of it), as is the stream
 * until it was told to be closed. status: 0, or what it is refused with, and why. */
struct emb_http2_stream *emb_http2_next(struct emb_http2 *session, struct emb_http1_request **request, int *status,
                                        const char **message);
bool emb_http2_waiting(const struct emb_http2 *session); /* whether there is one */
void emb_http2_set_user(struct emb_http2_stream *stream, void *user);

/* The next of the taken streams that is over, answered whole or given up by either side: its user, or NULL. */
void *emb_http2_next_closed(struct emb_http2 *session);

struct emb_http2_field {
    const char *name;
    const char *value;
    size_t name_size, value_size;
};

/* Answers a taken stream. body: bytes follow, by replies->peek. False: out of memory, the connection has failed. */
bool emb_http2_reply(struct emb_http2 *session, struct emb_http2_stream *stream, int status,
                     const struct emb_http2_field *fields, size_t count, bool body, uint64_t now);

/* Whether bodies may go on beyond their first window. At first they may; the oldest always may, so that there is progress. */
void emb_http2_set_room(struct emb_http2 *session, bool room);

/* Requests that are worked on although their streams are gone: they count as streams. */
void emb_http2_set_unfinished(struct emb_http2 *session, size_t count);

/* Refuses all requests that have not come whole. */
void emb_http2_refuse_partial(struct emb_http2 *session, int status, const char *message);

/* Applies the time limits. drained: all that was pulled went out, so that what still waits to be sent waits for the client's
 * windows. False: the connection has failed. */
bool emb_http2_check(struct emb_http2 *session, uint64_t now, bool drained);

/* Since when a request has been coming that is not whole; false: none is. */
bool emb_http2_partial(const struct emb_http2 *session, uint64_t *since);

/* Says that no further streams will be taken: first as a warning, then as a fact. */
void emb_http2_warn(struct emb_http2 *session);
void emb_http2_stop(struct emb_http2 *session);

size_t emb_http2_streams(const struct emb_http2 *session); /* open ones */
size_t emb_http2_held(const struct emb_http2 *session);    /* bytes of its own and of requests not taken */

#endif
