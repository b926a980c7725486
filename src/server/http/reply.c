/* Replies: their head, the error envelope, and bodies that are made piece by piece. When bytes go out is connection.c's. */
#include "server/http/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json_write.h"
#include "base/mem.h"
#include "server/http/connection.h"
#include "server/http/content.h"
#include "server/http/http2.h"

#define ERROR_BODY_MAX 16384
#define PIECE_MAX (4 * EMB_PIECE_BYTES)
#define EXTRA_ROOM 256 /* memory that a handler's first header line gets, for those that follow */
#define HEAD_ROOM 640  /* more than the head takes without these lines */

void emb_exchange_add_header(struct emb_exchange *x, const char *name, const char *value)
{
    for (const char *c = value; *c; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7F) {
            return;
        }
    }
    size_t name_size = strlen(name), value_size = strlen(value);
    size_t room = name_size + value_size + 4;
    char *line = emb_buf_reserve(&x->extra, x->extra.size == 0 && room < EXTRA_ROOM ? EXTRA_ROOM : room);
    if (line) {
        memcpy(line, name, name_size);
        memcpy(line + name_size, ": ", 2);
        memcpy(line + name_size + 2, value, value_size);
        memcpy(line + room - 2, "\r\n", 2);
        emb_buf_commit(&x->extra, room);
    }
}

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {424, "Failed Dependency"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Unknown";
}

static void answer(struct emb_exchange *x, int status, const char *content_type)
{
    if (content_type) {
        emb_exchange_add_header(x, "content-type", content_type);
    }
    emb_exchange_annotate(x);
    x->answered = true;
    x->status = status;
    emb_content_encode(x, content_type);
    x->bytes_out = x->body.size;
    if (!x->streaming) {
        emb_exchange_log(x, status);
    }
    if (!x->conn) {
        struct emb_front *front = x->front;
        emb_exchange_free(x);
        front->orphan_count--;
        emb_front_release(front);
        return;
    }
    emb_exchange_account(x);
    emb_conn_flush(x->conn);
}

void emb_exchange_reply(struct emb_exchange *x, int status, const char *content_type, struct emb_buf *body)
{
    if (body && body->failed) {
        emb_buf_deinit(body);
        emb_exchange_error(x, 500, "server_error", NULL, "out_of_memory", "There was no memory for the reply");
        return;
    }
    if (body) {
        x->body = *body;
        *body = (struct emb_buf){.max = body->max};
    }
    answer(x, status, content_type);
}

static int openai_style(const struct emb_error *error, struct emb_buf *out)
{
    emb_buf_puts(out, "{\"error\":{\"message\":");
    emb_json_write_cstring(out, error->message);
    emb_buf_puts(out, ",\"type\":");
    emb_json_write_cstring(out, error->type);
    emb_buf_puts(out, ",\"param\":");
    emb_json_write_cstring(out, error->param);
    emb_buf_puts(out, ",\"code\":");
    emb_json_write_cstring(out, error->code);
    emb_buf_printf(out, "},\"request_id\":\"%s\"}\n", error->request_id);
    return error->status;
}

/* Makes the error x's body, and returns the status. */
static int write_error(struct emb_exchange *x, int status, const char *type, const char *param, const char *code,
                       const char *message)
{
    struct emb_error error = {
        .status = status, .type = type, .param = param, .code = code, .message = message, .request_id = x->id};
    emb_buf_deinit(&x->body);
    emb_buf_init(&x->body, ERROR_BODY_MAX);
    emb_exchange_add_header(x, "content-type", "application/json");
    if (!x->notes.error) {
        x->notes.error = code;
    }
    return (x->style ? x->style : openai_style)(&error, &x->body);
}

void emb_exchange_error(struct emb_exchange *x, int status, const char *type, const char *param, const char *code,
                        const char *format, ...)
{
    char message[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    answer(x, write_error(x, status, type, param, code, message), NULL);
}

/* ---- What the parser refused ---- */

void emb_exchange_refuse(struct emb_exchange *x, int status, const char *message)
{
    x->malformed = true;
    x->notes.error = message;
    if (status == 503) {
        emb_exchange_add_header(x, "retry-after", "1");
    }
    emb_exchange_error(x, status, status >= 500 ? "server_error" : "invalid_request_error", NULL,
                       status == 503   ? "overloaded"
                       : status == 408 ? "timeout"
                       : status == 413 ? "request_too_large"
                                       : "malformed_request",
                       "%s", message);
}

/* ---- Replies in pieces ---- */

/* Nothing more is asked of the source. status: what the log says. */
static void end_stream(struct emb_exchange *x, int status)
{
    x->streaming = false;
    emb_exchange_log(x, status);
    if (x->source.over) {
        x->source.over(x->source.arg);
    }
}

void emb_exchange_stream(struct emb_exchange *x, int status, const char *content_type, uint64_t length,
                         const struct emb_exchange_source *source)
{
    x->source = *source;
    x->length = length;
    x->streaming = true;
    emb_buf_init(&x->body, PIECE_MAX);
    answer(x, status, content_type);
}

bool emb_exchange_pull(struct emb_exchange *x)
{
    emb_buf_clear(&x->body);
    x->body.max = PIECE_MAX;
    enum emb_piece piece = x->source.next(x->source.arg, &x->body);
    uint64_t given = x->bytes_out + x->body.size;
    bool last = piece == EMB_PIECE_LAST;
    bool fits = x->length == EMB_LENGTH_UNKNOWN || (last ? given == x->length : given <= x->length);
    emb_exchange_account(x);
    if (piece == EMB_PIECE_FAILED || x->body.failed || !fits || (!last && x->body.size == 0)) {
        end_stream(x, 500);
        return false;
    }
    x->bytes_out = given;
    if (last) {
        end_stream(x, x->status);
    }
    return true;
}

void emb_exchange_end_stream(struct emb_exchange *x)
{
    if (x->streaming) {
        end_stream(x, EMB_CLIENT_GONE);
    }
}

static bool bodyless(const struct emb_exchange *x)
{
    return x->status == 204 || x->status == 304 || strcmp(emb_exchange_method(x), "HEAD") == 0;
}

void emb_exchange_prepare(struct emb_exchange *x)
{
    if (bodyless(x)) {
        if (x->streaming) {
            end_stream(x, x->status);
        } else {
            x->length = x->body.size;
        }
        emb_buf_deinit(&x->body);
        return;
    }
    if (x->streaming && !emb_exchange_pull(x)) {
        emb_buf_clear(&x->extra);
        x->status = write_error(x, 500, "server_error", NULL, "reply_failed", "The reply could not be made");
    }
    if (!x->streaming) {
        x->length = x->body.size;
    }
}

bool emb_exchange_close_delimited(const struct emb_exchange *x)
{
    return x->length == EMB_LENGTH_UNKNOWN && x->request && x->request->old;
}

/* The frame of a chunk around the piece in x->body; the last one closes the body. */
static int frame_chunk(struct emb_exchange *x, uv_buf_t *parts)
{
    int n = 0;
    const char *end = "\r\n0\r\n\r\n";
    if (x->body.size > 0) {
        int size = snprintf(x->chunk, sizeof x->chunk, "%zx\r\n", x->body.size);
        parts[n++] = (uv_buf_t){.base = x->chunk, .len = (size_t)size};
        parts[n++] = (uv_buf_t){.base = x->body.data, .len = x->body.size};
    } else {
        end += 2;
    }
    parts[n++] = (uv_buf_t){.base = (char *)(uintptr_t)end, .len = x->streaming ? 2 : strlen(end)};
    return n;
}

int emb_exchange_body_parts(struct emb_exchange *x, uv_buf_t *parts)
{
    if (x->chunked) {
        return frame_chunk(x, parts);
    }
    parts[0] = (uv_buf_t){.base = x->body.data, .len = x->body.size};
    return x->body.size > 0;
}

/* ---- The head ---- */

static const char *date_now(struct emb_front *front)
{
    time_t now = time(NULL);
    if (now != front->date_of) {
        struct tm utc;
        gmtime_r(&now, &utc);
        strftime(front->date, sizeof front->date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        front->date_of = now;
    }
    return front->date;
}

static char *put(char *at, const char *text)
{
    size_t size = strlen(text);
    memcpy(at, text, size);
    return at + size;
}

static char *put_number(char *at, uint64_t n)
{
    char digits[20];
    int i = sizeof digits;
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    memcpy(at, digits + i, sizeof digits - (size_t)i);
    return at + sizeof digits - (size_t)i;
}

/* The line that tells where the body ends; none where the end of the connection does. */
static char *put_length(char *at, const struct emb_exchange *x)
{
    if (x->chunked) {
        return put(at, "transfer-encoding: chunked\r\n");
    }
    if (x->status == 204 || emb_exchange_close_delimited(x)) {
        return at;
    }
    return put(put_number(put(at, "content-length: "), x->length), "\r\n");
}

static char *put_head(char *at, const struct emb_exchange *x, bool close)
{
    at = put(put_number(put(at, "HTTP/1.1 "), (uint64_t)x->status), " ");
    at = put(put(at, reason(x->status)), "\r\ndate: ");
    at = put(put(at, date_now(x->front)), "\r\nx-request-id: ");
    at = put_length(put(put(at, x->id), "\r\n"), x);
    if (close) {
        at = put(at, "connection: close\r\n");
    } else {
        at = put(at, "connection: keep-alive\r\nkeep-alive: timeout=");
        at = put(put_number(at, emb_front_announced_idle(x->front)), "\r\n");
    }
    if (x->extra.size > 0) {
        memcpy(at, x->extra.data, x->extra.size);
        at += x->extra.size;
    }
    return put(at, "\r\n");
}

size_t emb_exchange_head(struct emb_exchange *x, bool close, const char **head)
{
    x->chunked = x->length == EMB_LENGTH_UNKNOWN && !emb_exchange_close_delimited(x);
    char *out = x->extra.failed || x->body.failed ? NULL : emb_buf_reserve(&x->head, HEAD_ROOM + x->extra.size);
    if (out) {
        emb_buf_commit(&x->head, (size_t)(put_head(out, x, close) - out));
        *head = x->head.data;
        return x->head.size;
    }
    emb_buf_deinit(&x->body);
    x->chunked = false;
    if (x->streaming) {
        end_stream(x, 503);
    }
    snprintf(x->spare, sizeof x->spare,
             "HTTP/1.1 503 Service Unavailable\r\nx-request-id: %s\r\ncontent-length: 0\r\nconnection: %s\r\n\r\n",
             x->id, close ? "close" : "keep-alive");
    *head = x->spare;
    return strlen(x->spare);
}

/* ---- The head in HTTP/2 ---- */

static struct emb_http2_field field(const char *name, const char *value, size_t value_size)
{
    return (struct emb_http2_field){.name = name, .name_size = strlen(name), .value = value, .value_size = value_size};
}

/* The header lines that the handler added. */
static size_t extra_fields(const struct emb_exchange *x, struct emb_http2_field *fields, size_t most)
{
    size_t count = 0;
    const char *at = x->extra.data, *end = at + x->extra.size;
    while (at < end && count < most) {
        const char *colon = memchr(at, ':', (size_t)(end - at));
        const char *line_end = memchr(at, '\r', (size_t)(end - at));
        fields[count++] = (struct emb_http2_field){.name = at,
                                                   .name_size = (size_t)(colon - at),
                                                   .value = colon + 2,
                                                   .value_size = (size_t)(line_end - colon - 2)};
        at = line_end + 2;
    }
    return count;
}

size_t emb_exchange_fields(struct emb_exchange *x, struct emb_http2_field *fields, size_t most)
{
    if (x->extra.failed || x->body.failed) {
        emb_buf_deinit(&x->body);
        emb_buf_deinit(&x->extra);
        x->status = 503;
        x->length = 0;
        if (x->streaming) {
            end_stream(x, 503);
        }
    }
    const char *date = date_now(x->front);
    size_t count = 0;
    fields[count++] = field("date", date, strlen(date));
    fields[count++] = field("x-request-id", x->id, strlen(x->id));
    if (x->status != 204 && x->length != EMB_LENGTH_UNKNOWN) {
        size_t digits = (size_t)(put_number(x->chunk, x->length) - x->chunk);
        fields[count++] = field("content-length", x->chunk, digits);
    }
    return x->extra.size == 0 ? count : count + extra_fields(x, fields + count, most - count);
}
