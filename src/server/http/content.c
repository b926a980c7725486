/* Bodies of requests are decoded on the loop where that is little work, else beside it, and never into more than a body may have.
 * Replies are coded a slice at a time, between other work of the loop. */
#include "server/http/content.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "server/http/coding.h"
#include "server/http/connection.h"

enum {
    LOOP_BYTES = 8192,    /* of a coded body that is decoded on the loop, */
    LOOP_DECODED = 65536, /* if it becomes no more than this */
    LEAST_BYTES = 4096,   /* of a reply that is coded */
    SLICE_BYTES = 65536,  /* coded at once: less than a millisecond */
    RAW_MAX = 4 * EMB_PIECE_BYTES,
};

/* ---- Requests ---- */

struct decoding {
    uv_work_t work;
    struct emb_exchange *x; /* NULL once the client is gone */
    const struct emb_route *route;
    enum emb_coding coding;
    struct emb_buf in, out;
    size_t most;
    enum emb_decode result;
};

static void refuse_decode(struct emb_exchange *x, enum emb_coding coding, enum emb_decode why)
{
    switch (why) {
    case EMB_DECODE_TOO_LARGE:
        emb_exchange_error(x, 413, "invalid_request_error", NULL, "request_too_large",
                           "The request body, once decoded, is larger than this server accepts");
        break;
    case EMB_DECODE_BROKEN:
        emb_exchange_error(x, 400, "invalid_request_error", NULL, "malformed_body",
                           "The request body is not what its Content-Encoding says: %s", emb_coding_name(coding));
        break;
    default:
        emb_exchange_add_header(x, "retry-after", "1");
        emb_exchange_error(x, 503, "server_error", NULL, "overloaded",
                           "The server has no memory to decode the request body; try again later");
        break;
    }
}

/* The decoded body becomes the request's. */
static bool put_body(struct emb_exchange *x, struct emb_buf *out)
{
    out->max += emb_http1_padding;
    char *padding = emb_buf_reserve(out, emb_http1_padding);
    if (!padding) {
        return false;
    }
    memset(padding, 0, emb_http1_padding);
    emb_buf_deinit(&x->request->body);
    x->request->body = *out;
    *out = (struct emb_buf){0};
    emb_exchange_account(x);
    return true;
}

static void decoding_free(struct decoding *d)
{
    emb_buf_deinit(&d->in);
    emb_buf_deinit(&d->out);
    emb_free(d);
}

static void on_decode(uv_work_t *work)
{
    struct decoding *d = work->data;
    d->result = emb_decode(d->coding, d->in.data, d->in.size, d->most, &d->out);
}

static void on_decoded(uv_work_t *work, int status)
{
    struct decoding *d = work->data;
    struct emb_exchange *x = d->x;
    enum emb_decode result = status == 0 ? d->result : EMB_DECODE_NOMEM;
    if (!x) {
        decoding_free(d);
        return;
    }
    x->kept -= d->in.capacity;
    emb_exchange_on_gone(x, NULL, NULL);
    if (result == EMB_DECODED && !put_body(x, &d->out)) {
        result = EMB_DECODE_NOMEM;
    }
    if (result == EMB_DECODED && x->front->held > x->front->options.limits.held) {
        result = EMB_DECODE_NOMEM;
    }
    enum emb_coding coding = d->coding;
    const struct emb_route *route = d->route;
    decoding_free(d);
    if (result == EMB_DECODED) {
        route->handler(x->front->options.server, x);
    } else {
        refuse_decode(x, coding, result);
    }
}

static void on_gone(void *arg)
{
    struct decoding *d = arg;
    d->x = NULL;
    uv_cancel((uv_req_t *)&d->work);
}

static void decode_beside(struct emb_exchange *x, const struct emb_route *route, enum emb_coding coding)
{
    struct decoding *d = emb_calloc(1, sizeof *d);
    if (!d) {
        refuse_decode(x, coding, EMB_DECODE_NOMEM);
        return;
    }
    *d = (struct decoding){.x = x,
                           .route = route,
                           .coding = coding,
                           .in = x->request->body,
                           .most = x->front->options.limits.http1.body,
                           .work.data = d};
    emb_buf_init(&x->request->body, x->request->body.max);
    if (uv_queue_work(x->front->loop, &d->work, on_decode, on_decoded) != 0) {
        decoding_free(d);
        refuse_decode(x, coding, EMB_DECODE_NOMEM);
        return;
    }
    x->kept += d->in.capacity;
    emb_exchange_account(x);
    emb_exchange_on_gone(x, on_gone, d);
}

bool emb_content_decode(struct emb_exchange *x, const struct emb_route *route)
{
    const char *header = emb_exchange_header(x, "content-encoding");
    enum emb_coding coding;
    struct emb_buf out;
    if (!header) {
        return false;
    }
    if (!emb_coding_parse(header, &coding)) {
        emb_exchange_add_header(x, "accept-encoding", EMB_CODINGS);
        emb_exchange_error(x, 415, "invalid_request_error", NULL, "unsupported_content_encoding",
                           "The request body's Content-Encoding is not one of " EMB_CODINGS);
        return true;
    }
    const struct emb_buf *body = &x->request->body;
    size_t limit = x->front->options.limits.http1.body;
    if (coding == EMB_CODING_IDENTITY || body->size == 0) {
        return false;
    }
    if (body->size > LOOP_BYTES) {
        decode_beside(x, route, coding);
        return true;
    }
    size_t most = limit < LOOP_DECODED ? limit : LOOP_DECODED;
    enum emb_decode result = emb_decode(coding, body->data, body->size, most, &out);
    if (result == EMB_DECODED && put_body(x, &out)) {
        return false;
    }
    emb_buf_deinit(&out);
    if (result == EMB_DECODE_TOO_LARGE && most < limit) {
        decode_beside(x, route, coding);
    } else {
        refuse_decode(x, coding, result == EMB_DECODED ? EMB_DECODE_NOMEM : result);
    }
    return true;
}

/* ---- Replies ---- */

/* Stands before the reply's own source. */
struct encoding {
    struct emb_exchange *x; /* lives as long as pieces are asked for */
    struct emb_encoder *encoder;
    enum emb_coding coding;
    struct emb_exchange_source source; /* the reply's; next NULL: raw is all */
    uint64_t length, given;            /* bytes of it, as told and so far */
    struct emb_buf raw;                /* its piece */
    size_t at;                         /* coded of that */
    bool begun, ended;                 /* the first piece, the last came */
    bool plain;                        /* it does not pay: pieces go as they are */
};

/* The next piece of the reply's own source. */
static bool fetch(struct encoding *e)
{
    emb_buf_clear(&e->raw);
    e->raw.max = RAW_MAX;
    e->at = 0;
    enum emb_piece piece = e->source.next(e->source.arg, &e->raw);
    e->ended = piece == EMB_PIECE_LAST;
    e->given += e->raw.size;
    bool fits = e->length == EMB_LENGTH_UNKNOWN || (e->ended ? e->given == e->length : e->given <= e->length);
    return piece != EMB_PIECE_FAILED && !e->raw.failed && fits && (e->ended || e->raw.size > 0);
}

/* Whether to code at all is decided with the first piece, before the reply's head is made. */
static void decide(struct encoding *e)
{
    e->begun = true;
    e->plain = (e->ended && e->raw.size < LEAST_BYTES) || !emb_coding_pays(e->raw.data, e->raw.size);
    if (!e->plain) {
        e->x->length = EMB_LENGTH_UNKNOWN;
        emb_exchange_add_header(e->x, "content-encoding", emb_coding_name(e->coding));
    }
}

static enum emb_piece next_piece(void *arg, struct emb_buf *out)
{
    struct encoding *e = arg;
    while (out->size == 0) {
        if (e->at == e->raw.size && !e->ended && !fetch(e)) {
            return EMB_PIECE_FAILED;
        }
        if (!e->begun) {
            decide(e);
        }
        if (e->plain) {
            struct emb_buf spare = *out;
            *out = e->raw;
            e->raw = spare;
            return e->ended ? EMB_PIECE_LAST : EMB_PIECE_MORE;
        }
        size_t left = e->raw.size - e->at, n = left < SLICE_BYTES ? left : SLICE_BYTES;
        bool last = e->ended && n == left;
        if (!emb_encode(e->encoder, e->raw.data + e->at, n, last, out)) {
            return EMB_PIECE_FAILED;
        }
        e->at += n;
        if (last) {
            return EMB_PIECE_LAST;
        }
    }
    return EMB_PIECE_MORE;
}

static void on_over(void *arg)
{
    struct encoding *e = arg;
    if (e->source.over) {
        e->source.over(e->source.arg);
    }
    emb_encoder_free(e->encoder);
    emb_buf_deinit(&e->raw);
    emb_free(e);
}

/* Of what this server sends, all text; images and the like are smaller already. */
static bool is_text(const char *content_type)
{
    return content_type &&
           (strncasecmp(content_type, "application/json", 16) == 0 || strncasecmp(content_type, "text/", 5) == 0 ||
            strncasecmp(content_type, "application/javascript", 22) == 0 ||
            strncasecmp(content_type, "image/svg", 9) == 0);
}

/* The reply becomes what e makes of it. */
static void wrap(struct emb_exchange *x, struct encoding *e)
{
    e->x = x;
    e->length = x->streaming ? x->length : x->body.size;
    if (x->streaming) {
        e->source = x->source;
        emb_buf_init(&e->raw, RAW_MAX);
    } else {
        e->raw = x->body;
        e->ended = true;
        emb_buf_init(&x->body, RAW_MAX);
        x->length = e->length;
    }
    x->source = (struct emb_exchange_source){.next = next_piece, .over = on_over, .arg = e};
    x->streaming = true;
    x->kept += sizeof *e + emb_encoder_held(e->coding) + (e->ended ? e->raw.capacity : EMB_PIECE_BYTES);
}

void emb_content_encode(struct emb_exchange *x, const char *content_type)
{
    bool large = x->streaming || (x->body.size >= LEAST_BYTES && emb_coding_pays(x->body.data, x->body.size));
    const char *method = emb_exchange_method(x);
    if (!x->front->options.limits.compress || !x->conn || !large || x->status == 204 || x->status == 304 ||
        strcmp(method, "HEAD") == 0 || !is_text(content_type)) {
        return;
    }
    emb_exchange_add_header(x, "vary", "accept-encoding");
    enum emb_coding coding = emb_coding_choose(emb_exchange_header(x, "accept-encoding"));
    struct encoding *e = coding == EMB_CODING_IDENTITY ? NULL : emb_calloc(1, sizeof *e);
    if (!e) {
        return;
    }
    e->coding = coding;
    e->encoder = emb_encoder_new(coding);
    if (!e->encoder) {
        emb_free(e);
        return;
    }
    wrap(x, e);
}
