/* What a client of HTTP/2 may ask of a connection without asking for anything: frames that carry no request, resets, and header
 * blocks in many parts. Counts the frames of a connection's bytes, whatever the session does with them. */
#ifndef EMB_HTTP2_GUARD_H
#define EMB_HTTP2_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emb_http2_guard_limits {
    unsigned frames; /* that carry neither a head nor a body (PING, SETTINGS, empty or padded DATA...), in a burst */
    unsigned frames_per_s; /* and for long; beside one for each KB of bodies, both ways */
    unsigned resets;       /* streams reset by either side, in a burst */
    unsigned resets_per_s;
    unsigned continuations; /* frames of one header block after the first */
    size_t block;           /* bytes of one header block, compressed */
};

/* Tokens that come back with time, in thousandths. */
struct emb_bucket {
    uint64_t left, most;
    uint64_t per_ms;
    uint64_t filled_at; /* ms */
};

struct emb_http2_guard {
    struct emb_http2_guard_limits limits;
    struct emb_bucket frames, resets;
    unsigned preface_left;
    unsigned char head[9]; /* of the frame being read */
    unsigned head_size;
    bool head_seen; /* it became whole with the last bytes */
    uint32_t payload_left;
    bool in_head;    /* of a request or its trailers: not all of it was seen */
    bool block_ends; /* with the frame being read */
    uint64_t head_since;
    size_t block;
    unsigned continuations;
    uint64_t bytes; /* of bodies not yet turned into frames */
    const char *why;
    uint32_t code; /* of the error (RFC 9113, section 7) */
};

void emb_http2_guard_init(struct emb_http2_guard *guard, const struct emb_http2_guard_limits *limits, uint64_t now);

/* Looks at the connection's next bytes, *used of them: up to the end of a frame's head, of which it says that it was seen. False: it is
 * too much, and guard->why says what; not to be called again. */
bool emb_http2_guard_feed(struct emb_http2_guard *guard, const char *data, size_t size, size_t *used, uint64_t now);

/* The type of the frame whose head was seen last, and its stream. */
unsigned emb_http2_guard_type(const struct emb_http2_guard *guard);
uint32_t emb_http2_guard_stream(const struct emb_http2_guard *guard);

/* Bytes of bodies went over the connection, either way: so much more may be said about them. */
void emb_http2_guard_earn(struct emb_http2_guard *guard, size_t bytes);

/* A stream was reset by us for what the client did. False: too many were. */
bool emb_http2_guard_reset(struct emb_http2_guard *guard, uint64_t now);

#endif
