/* Frames of HTTP/2 for tests: made field by field, and read back. Heads are made without compression, so that any can be. */
#ifndef EMB_H2_CLIENT_H
#define EMB_H2_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum h2_type {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST_STREAM,
    H2_SETTINGS,
    H2_PUSH_PROMISE,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW_UPDATE,
    H2_CONTINUATION,
};
enum { H2_END_STREAM = 1, H2_ACK = 1, H2_END_HEADERS = 4, H2_PADDED = 8 };
enum h2_error {
    H2_NO_ERROR,
    H2_PROTOCOL_ERROR,
    H2_INTERNAL_ERROR,
    H2_FLOW_CONTROL_ERROR,
    H2_SETTINGS_TIMEOUT,
    H2_STREAM_CLOSED,
    H2_FRAME_SIZE_ERROR,
    H2_REFUSED_STREAM,
    H2_CANCEL,
    H2_COMPRESSION_ERROR,
    H2_CONNECT_ERROR,
    H2_ENHANCE_YOUR_CALM,
};

struct h2_field {
    const char *name, *value;
};

void h2_init(struct emb_buf *out); /* empty, with room for tests */
void h2_frame(struct emb_buf *out, unsigned type, unsigned flags, uint32_t stream, const void *data, size_t size);
void h2_number(struct emb_buf *out, uint32_t n); /* four bytes */
void h2_open(struct emb_buf *out);               /* the preface and empty SETTINGS */
void h2_setting(struct emb_buf *out, unsigned id, uint32_t value);
void h2_reset(struct emb_buf *out, uint32_t stream, uint32_t code);
void h2_window(struct emb_buf *out, uint32_t stream, uint32_t more);

/* A literal field, not to be indexed; a block of the four pseudo fields; and a HEADERS frame of these and more, ended by a NULL name. */
void h2_literal(struct emb_buf *block, const char *name, const char *value);
void h2_request_block(struct emb_buf *block, const char *method, const char *path);
void h2_request(struct emb_buf *out, uint32_t stream, unsigned flags, const char *method, const char *path,
                const struct h2_field *more);

/* What a server sent. */
struct h2_reader {
    struct emb_buf in;
    void *inflater;
};
struct h2_got {
    unsigned type, flags;
    uint32_t stream;
    const unsigned char *data; /* until the next */
    size_t size;
    uint32_t code;   /* RST_STREAM and GOAWAY */
    int status;      /* HEADERS; -1: not readable */
    char head[4096]; /* its fields as "name: value\n" */
};
void h2_reader_init(struct h2_reader *reader);
void h2_reader_deinit(struct h2_reader *reader);
void h2_reader_add(struct h2_reader *reader, const void *data, size_t size);

/* The next whole frame. */
bool h2_next(struct h2_reader *reader, struct h2_got *got);

/* The same from a socket; false at its end. */
bool h2_receive(struct h2_reader *reader, int fd, struct h2_got *got);

#endif
