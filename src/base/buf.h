/* A growable byte buffer that knows its maximum. */
#ifndef EMB_BUF_H
#define EMB_BUF_H

#include <stdbool.h>
#include <stddef.h>

/* A failed append (out of memory, or beyond max) sets failed, drops the content and makes later appends do nothing, so that a
 * writer checks once at its end. */
struct emb_buf {
    char *data; /* size bytes, and a zero behind them once something was appended */
    size_t size;
    size_t capacity;
    size_t max;
    bool failed;
};

void emb_buf_init(struct emb_buf *buf, size_t max);
void emb_buf_deinit(struct emb_buf *buf);

/* Makes room for n more bytes and returns where they go, or NULL; emb_buf_commit says how many were written. */
char *emb_buf_reserve(struct emb_buf *buf, size_t n);
void emb_buf_commit(struct emb_buf *buf, size_t n);

void emb_buf_append(struct emb_buf *buf, const void *data, size_t n);
void emb_buf_puts(struct emb_buf *buf, const char *text);
__attribute__((format(printf, 2, 3))) void emb_buf_printf(struct emb_buf *buf, const char *format, ...);

/* Removes the first n bytes. */
void emb_buf_consume(struct emb_buf *buf, size_t n);
void emb_buf_clear(struct emb_buf *buf);

#endif
