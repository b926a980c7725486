/* nghttp2's inflater reads the heads that come back; nothing else of it is used. */
#include "h2_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/http/http2.h"

void h2_init(struct emb_buf *out)
{
    emb_buf_init(out, 64u << 20);
}

void h2_number(struct emb_buf *out, uint32_t n)
{
    const unsigned char bytes[] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                                   (unsigned char)n};
    emb_buf_append(out, bytes, sizeof bytes);
}

void h2_frame(struct emb_buf *out, unsigned type, unsigned flags, uint32_t stream, const void *data, size_t size)
{
    const unsigned char head[] = {(unsigned char)(size >> 16), (unsigned char)(size >> 8), (unsigned char)size,
                                  (unsigned char)type, (unsigned char)flags};
    emb_buf_append(out, head, sizeof head);
    h2_number(out, stream);
    emb_buf_append(out, data, size);
}

void h2_open(struct emb_buf *out)
{
    emb_buf_append(out, EMB_HTTP2_PREFACE, EMB_HTTP2_PREFACE_SIZE);
    h2_frame(out, H2_SETTINGS, 0, 0, "", 0);
}

void h2_setting(struct emb_buf *out, unsigned id, uint32_t value)
{
    const unsigned char entry[] = {(unsigned char)(id >> 8),     (unsigned char)id,
                                   (unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                   (unsigned char)(value >> 8),  (unsigned char)value};
    h2_frame(out, H2_SETTINGS, 0, 0, entry, sizeof entry);
}

static void frame_of_number(struct emb_buf *out, unsigned type, uint32_t stream, uint32_t n)
{
    const unsigned char bytes[] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                                   (unsigned char)n};
    h2_frame(out, type, 0, stream, bytes, sizeof bytes);
}

void h2_reset(struct emb_buf *out, uint32_t stream, uint32_t code)
{
    frame_of_number(out, H2_RST_STREAM, stream, code);
}

void h2_window(struct emb_buf *out, uint32_t stream, uint32_t more)
{
    frame_of_number(out, H2_WINDOW_UPDATE, stream, more);
}

/* RFC 7541, section 5.1, behind a prefix of seven bits that are used for nothing else. */
static void put_string(struct emb_buf *block, const char *text)
{
    size_t size = strlen(text);
    unsigned char byte;
    if (size < 127) {
        byte = (unsigned char)size;
        emb_buf_append(block, &byte, 1);
    } else {
        size_t left = size - 127;
        emb_buf_append(block, "\x7f", 1);
        while (left >= 128) {
            byte = (unsigned char)(left % 128 + 128);
            emb_buf_append(block, &byte, 1);
            left /= 128;
        }
        byte = (unsigned char)left;
        emb_buf_append(block, &byte, 1);
    }
    emb_buf_append(block, text, size);
}

void h2_literal(struct emb_buf *block, const char *name, const char *value)
{
    emb_buf_append(block, "", 1);
    put_string(block, name);
    put_string(block, value);
}

void h2_request_block(struct emb_buf *block, const char *method, const char *path)
{
    h2_literal(block, ":method", method);
    h2_literal(block, ":scheme", "http");
    h2_literal(block, ":path", path);
    h2_literal(block, ":authority", "a");
}

void h2_request(struct emb_buf *out, uint32_t stream, unsigned flags, const char *method, const char *path,
                const struct h2_field *more)
{
    struct emb_buf block;
    h2_init(&block);
    h2_request_block(&block, method, path);
    for (; more && more->name; more++) {
        h2_literal(&block, more->name, more->value);
    }
    h2_frame(out, H2_HEADERS, flags | H2_END_HEADERS, stream, block.data, block.size);
    emb_buf_deinit(&block);
}

/* ---- Reading ---- */

void h2_reader_init(struct h2_reader *r)
{
    nghttp2_hd_inflater *inflater = NULL;
    h2_init(&r->in);
    if (nghttp2_hd_inflate_new(&inflater) != 0) {
        abort();
    }
    r->inflater = inflater;
}

void h2_reader_deinit(struct h2_reader *r)
{
    nghttp2_hd_inflate_del(r->inflater);
    emb_buf_deinit(&r->in);
}

void h2_reader_add(struct h2_reader *r, const void *data, size_t size)
{
    emb_buf_append(&r->in, data, size);
}

static void inflate(struct h2_reader *r, struct h2_got *got)
{
    const uint8_t *at = got->data;
    size_t left = got->size, used = 0;
    got->status = -1;
    got->head[0] = '\0';
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(r->inflater, &nv, &flags, at, left, 1);
        if (n < 0) {
            got->status = -1;
            return;
        }
        at += n;
        left -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            used += (size_t)snprintf(got->head + used, sizeof got->head - used, "%s: %s\n", (const char *)nv.name,
                                     (const char *)nv.value);
            used = used < sizeof got->head ? used : sizeof got->head - 1;
            if (strcmp((const char *)nv.name, ":status") == 0) {
                got->status = (int)strtol((const char *)nv.value, NULL, 10);
            }
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(r->inflater);
            return;
        }
    }
}

static uint32_t read_number(const unsigned char *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

bool h2_next(struct h2_reader *r, struct h2_got *got)
{
    static unsigned char payload[1 << 17];
    const unsigned char *head = (const unsigned char *)r->in.data;
    if (r->in.size < 9) {
        return false;
    }
    size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    if (size > sizeof payload) {
        abort();
    }
    if (r->in.size < 9 + size) {
        return false;
    }
    got->type = head[3];
    got->flags = head[4];
    got->stream = read_number(head + 5) & 0x7FFFFFFF;
    got->size = size;
    got->data = payload;
    got->code = 0;
    got->status = 0;
    memcpy(payload, head + 9, size);
    emb_buf_consume(&r->in, 9 + size);
    if (got->type == H2_HEADERS) {
        inflate(r, got);
    } else if (got->type == H2_RST_STREAM && size == 4) {
        got->code = read_number(payload);
    } else if (got->type == H2_GOAWAY && size >= 8) {
        got->code = read_number(payload + 4);
    }
    return true;
}

bool h2_receive(struct h2_reader *r, int fd, struct h2_got *got)
{
    static char buffer[1 << 16];
    while (!h2_next(r, got)) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0) {
            return false;
        }
        h2_reader_add(r, buffer, (size_t)n);
    }
    return true;
}
