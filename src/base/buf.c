/* Growable byte buffer. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void emb_buf_init(struct emb_buf *buf, size_t max)
{
    *buf = (struct emb_buf){.max = max};
}

void emb_buf_deinit(struct emb_buf *buf)
{
    emb_free(buf->data);
    *buf = (struct emb_buf){0};
}

char *emb_buf_reserve(struct emb_buf *buf, size_t n)
{
    size_t need;
    if (buf->failed) {
        return NULL;
    }
    if (!emb_add(buf->size, n, &need) || need > buf->max || need == SIZE_MAX ||
        !emb_grow(&buf->data, &buf->capacity, need + 1, 1)) {
        buf->failed = true;
        buf->size = 0;
        return NULL;
    }
    return buf->data + buf->size;
}

void emb_buf_commit(struct emb_buf *buf, size_t n)
{
    buf->size += n;
    buf->data[buf->size] = '\0';
}

void emb_buf_append(struct emb_buf *buf, const void *data, size_t n)
{
    char *to = emb_buf_reserve(buf, n);
    if (to) {
        if (n > 0) {
            memcpy(to, data, n);
        }
        emb_buf_commit(buf, n);
    }
}

void emb_buf_puts(struct emb_buf *buf, const char *text)
{
    emb_buf_append(buf, text, strlen(text));
}

void emb_buf_printf(struct emb_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = n >= 0 ? emb_buf_reserve(buf, (size_t)n) : NULL;
    if (to) {
        vsnprintf(to, (size_t)n + 1, format, again);
        emb_buf_commit(buf, (size_t)n);
    }
    va_end(again);
}

void emb_buf_consume(struct emb_buf *buf, size_t n)
{
    if (n == 0) {
        return; /* also of a buffer that has no memory yet */
    }
    memmove(buf->data, buf->data + n, buf->size - n);
    buf->size -= n;
    buf->data[buf->size] = '\0';
}

void emb_buf_clear(struct emb_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}
