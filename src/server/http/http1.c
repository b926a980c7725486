/* The request parser: a scanner for the head, then llhttp.
 *
 * Each request gets llhttp afresh, so that its own ends of a connection (an Upgrade, "Connection: close") are never reached: an
 * upgrade is not taken up and the body stays a body.
 *
 * States go SKIP (empty lines before a request) -> HEAD -> BODY (llhttp frames it) -> TRAILER (after the last chunk) -> DONE. */
#include "server/http/http1.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/mem.h"

#define MAX_EMPTY_LINES 4 /* before a request; some clients end a body with one */
#define AUTHORITY_MAX 300 /* a name and a port */
#define VERSION_LINE 48   /* method, spaces and version beside the target */
#define CHUNK_LINE 24     /* framing a chunk may cost before it counts as padding */
#define BODY_STEP 65536   /* memory a Content-Length gets before its bytes come */

const size_t emb_http1_padding = EMB_JSON_PADDING;

enum state { SKIP, HEAD, BODY, TRAILER, DONE, REFUSED };

struct emb_http1 {
    struct emb_http1_limits limits;
    struct emb_http1_request *request;
    llhttp_t llhttp;
    enum state state;
    bool after_cr;   /* the last byte was a CR that a LF must follow */
    bool head_over;  /* llhttp reached the end of the head */
    bool in_chunk;   /* its size was read, its end was not */
    bool last_chunk; /* the chunk of size 0 was seen */
    bool message_over;
    bool waits;         /* Expect: 100-continue not answered yet */
    size_t line_length; /* of the line being scanned */
    size_t lines;       /* scanned before it */
    size_t trailer_bytes;
    char name[20]; /* of the trailer being scanned; enough to know the forbidden ones */
    size_t name_length;
    bool named;        /* its colon was seen */
    const char *piece; /* being fed to llhttp */
    uint64_t body_fed; /* bytes of body and framing before it */
    uint64_t chunks;
    size_t header_capacity;
    uint32_t authority; /* of the target, behind the head; 0: none */
    int status;
    const char *message;
};

struct emb_http1_limits emb_http1_limits_default(void)
{
    return (struct emb_http1_limits){
        .target = 8192, .head = 32768, .headers = 100, .body = 10u << 20, .framing = 16384};
}

/* ---- Requests ---- */

const char *emb_http1_header(const struct emb_http1_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->head.data + request->headers[i].name, name) == 0) {
            return request->head.data + request->headers[i].value;
        }
    }
    return NULL;
}

void emb_http1_request_free(struct emb_http1_request *request)
{
    if (request) {
        emb_buf_deinit(&request->head);
        emb_buf_deinit(&request->body);
        emb_free(request->headers);
        emb_free(request);
    }
}

size_t emb_http1_request_held(const struct emb_http1_request *request)
{
    return request ? sizeof *request + request->head.capacity + request->body.capacity +
                         request->header_count * sizeof *request->headers
                   : 0;
}

/* ---- Refusing ---- */

static enum emb_http1_event refuse(struct emb_http1 *p, int status, const char *message)
{
    p->state = REFUSED;
    p->status = status;
    p->message = message;
    return EMB_HTTP1_REFUSED;
}

static enum emb_http1_event refuse_nomem(struct emb_http1 *p)
{
    return refuse(p, 503, "The server is out of memory; try again later");
}

/* ---- llhttp's callbacks ---- */

/* A name comes in one piece, as the head is fed whole. */
static int on_header_field(llhttp_t *llhttp, const char *at, size_t length)
{
    struct emb_http1 *p = llhttp->data;
    struct emb_http1_request *r = p->request;
    if (length == 0 || at[length] != ':') {
        refuse(p, 400, "Malformed header line");
        return -1;
    }
    if (!emb_grow(&r->headers, &p->header_capacity, r->header_count + 1, sizeof *r->headers)) {
        return -1;
    }
    r->headers[r->header_count++] = (struct emb_http1_header){.name = (uint32_t)(at - r->head.data)};
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct emb_http1 *p = llhttp->data;
    p->head_over = true;
    p->request->keep_alive = llhttp_should_keep_alive(llhttp) && !(llhttp->flags & F_CONNECTION_CLOSE);
    return HPE_PAUSED;
}

static int on_chunk_header(llhttp_t *llhttp)
{
    struct emb_http1 *p = llhttp->data;
    p->chunks++;
    p->last_chunk = llhttp->content_length == 0;
    p->in_chunk = true;
    if (llhttp->content_length > p->limits.body - p->request->body.size) {
        refuse(p, 413, "The request body is larger than this server accepts");
        return HPE_PAUSED;
    }
    return p->last_chunk ? HPE_PAUSED : 0;
}

/* False, and refused, where framing took more than chunks chunks and the limit allow. end: where it ends in the piece being fed. */
static bool check_framing(struct emb_http1 *p, const char *end, uint64_t chunks)
{
    uint64_t framing = p->body_fed + (uint64_t)(end - p->piece) - p->request->body.size;
    if (framing > p->limits.framing + chunks * CHUNK_LINE) {
        refuse(p, 400, "The chunked body carries too much beside its data");
        return false;
    }
    return true;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t length)
{
    struct emb_http1 *p = llhttp->data;
    if (!check_framing(p, at, p->chunks)) {
        return -1;
    }
    emb_buf_append(&p->request->body, at, length);
    return p->request->body.failed ? -1 : 0;
}

static int on_chunk_complete(llhttp_t *llhttp)
{
    struct emb_http1 *p = llhttp->data;
    p->in_chunk = false;
    return 0;
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct emb_http1 *p = llhttp->data;
    p->message_over = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_header_field,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_chunk_complete = on_chunk_complete,
    .on_message_complete = on_message_complete,
};

/* ---- Life ---- */

struct emb_http1 *emb_http1_new(const struct emb_http1_limits *limits)
{
    struct emb_http1 *p = emb_calloc(1, sizeof *p);
    if (p) {
        p->limits = *limits;
    }
    return p;
}

void emb_http1_free(struct emb_http1 *p)
{
    if (p) {
        emb_http1_request_free(p->request);
        emb_free(p);
    }
}

struct emb_http1_request *emb_http1_take(struct emb_http1 *p)
{
    struct emb_http1_request *request = p->request;
    p->request = NULL;
    if (request) {
        request->bytes = request->head.size + p->body_fed;
    }
    if (p->state == DONE) {
        p->state = SKIP;
        p->lines = 0;
        p->line_length = 0;
    }
    return request;
}

int emb_http1_status(const struct emb_http1 *p)
{
    return p->status;
}

const char *emb_http1_message(const struct emb_http1 *p)
{
    return p->message;
}

enum emb_http1_phase emb_http1_phase(const struct emb_http1 *p)
{
    switch (p->state) {
    case HEAD: return EMB_HTTP1_HEAD;
    case BODY:
    case TRAILER: return EMB_HTTP1_BODY;
    default: return EMB_HTTP1_IDLE;
    }
}

size_t emb_http1_held(const struct emb_http1 *p)
{
    return emb_http1_request_held(p->request);
}

uint64_t emb_http1_body_bytes(const struct emb_http1 *p)
{
    return p->body_fed;
}

static bool start(struct emb_http1 *p)
{
    p->request = emb_calloc(1, sizeof *p->request);
    if (!p->request) {
        return false;
    }
    emb_buf_init(&p->request->head, p->limits.head + 1);
    emb_buf_init(&p->request->body, p->limits.body + emb_http1_padding);
    llhttp_init(&p->llhttp, HTTP_REQUEST, &settings);
    p->llhttp.data = p;
    p->state = HEAD;
    p->head_over = p->in_chunk = p->last_chunk = p->message_over = p->waits = p->named = false;
    p->trailer_bytes = p->name_length = p->header_capacity = 0;
    p->body_fed = p->chunks = 0;
    p->lines = 0;
    p->authority = 0;
    return true;
}

/* ---- Lines ---- */

enum line { LINE_MORE, LINE_END, LINE_EMPTY, LINE_BAD };

/* One byte of a head or trailer: lines end in CR LF and hold no control character but the tab. LINE_BAD: refused already. */
static enum line scan(struct emb_http1 *p, unsigned char c)
{
    if (p->after_cr || c == '\n') {
        if (!p->after_cr || c != '\n') {
            refuse(p, 400, "A line of the request head does not end in CR LF");
            return LINE_BAD;
        }
        p->after_cr = false;
        if (p->line_length == 0) {
            return LINE_EMPTY;
        }
        p->line_length = 0;
        p->lines++;
        return LINE_END;
    }
    if (c == '\r') {
        p->after_cr = true;
    } else if ((c < 0x20 && c != '\t') || c == 0x7F) {
        refuse(p, 400, "Control character in the request head");
        return LINE_BAD;
    } else {
        p->line_length++;
    }
    return LINE_MORE;
}

/* Scans data for the end of the head. Sets *used to the bytes that belong to it. */
static enum emb_http1_event scan_head(struct emb_http1 *p, const char *data, size_t size, size_t *used, bool *ended)
{
    size_t room = p->limits.head - p->request->head.size;
    size_t i = 0;
    while (i < size && !*ended) {
        if (i == room) {
            return p->lines == 0 ? refuse(p, 414, "The request target is too long")
                                 : refuse(p, 431, "The request's header fields are too large");
        }
        char c = data[i++];
        enum line line = scan(p, (unsigned char)c);
        *ended = line == LINE_EMPTY;
        if (line == LINE_BAD) {
            return EMB_HTTP1_REFUSED;
        }
        if (p->line_length == 1 && !p->after_cr && p->lines > 0 && (c == ' ' || c == '\t')) {
            return refuse(p, 400, "A header line begins with white space");
        }
        if (p->lines == 0 && p->line_length > p->limits.target + VERSION_LINE) {
            return refuse(p, 414, "The request target is too long");
        }
        if (line == LINE_END && p->lines > p->limits.headers + 1) {
            return refuse(p, 431, "The request has too many header fields");
        }
    }
    *used = i;
    emb_buf_append(&p->request->head, data, i);
    return p->request->head.failed ? refuse_nomem(p) : EMB_HTTP1_MORE;
}

/* ---- The head ---- */

static bool token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* "GET http://authority/path" becomes "GET /path" (RFC 9112, 3.2.2); the authority is kept behind the head, where room is now. */
static enum emb_http1_event strip_authority(struct emb_http1 *p)
{
    struct emb_buf *head = &p->request->head;
    char host[AUTHORITY_MAX + 1], *space = memchr(head->data, ' ', head->size);
    char *target = space ? space + 1 : head->data;
    size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0) {
        return EMB_HTTP1_MORE;
    }
    size_t size = strcspn(target + scheme, "/?# \r");
    if (size == 0 || size > AUTHORITY_MAX) {
        return refuse(p, 400, "The authority of the request target is malformed");
    }
    memcpy(host, target + scheme, size);
    host[size] = '\0';
    if (!emb_http1_host_valid(host)) {
        return refuse(p, 400, "The authority of the request target is malformed");
    }
    char *path = target + scheme + size;
    if (*path != '/') {
        *--path = '/'; /* over the authority's last byte, which host has */
    }
    memmove(target, path, (size_t)(head->data + head->size - path));
    head->size -= (size_t)(path - target);
    head->data[head->size] = '\0';
    p->authority = (uint32_t)head->size + 1;
    memcpy(head->data + p->authority, host, size + 1);
    return EMB_HTTP1_MORE;
}

/* The target's authority counts, not what the Host field says. */
static void set_host(struct emb_http1 *p)
{
    struct emb_http1_request *r = p->request;
    for (size_t i = 0; p->authority > 0 && i < r->header_count; i++) {
        if (strcmp(r->head.data + r->headers[i].name, "host") == 0) {
            r->headers[i].value = p->authority;
        }
    }
}

const char *emb_http1_target_wrong(const char *target, size_t size)
{
    if (size == 0 || *target != '/') {
        return "The request target must be a path";
    }
    for (const char *c = target; c < target + size; c++) {
        if (*c <= 0x20 || *c > 0x7E || *c == '#') {
            return "The request target holds a character that must be percent-encoded";
        }
    }
    return NULL;
}

/* "METHOD SP /target SP HTTP/1.x CR LF", with nothing else between; or "OPTIONS SP * ...". */
static enum emb_http1_event check_request_line(struct emb_http1 *p, size_t *target_end)
{
    const char *head = p->request->head.data;
    const char *line_end = memchr(head, '\r', p->request->head.size);
    const char *space = memchr(head, ' ', (size_t)(line_end - head));
    if (!space || space == head) {
        return refuse(p, 400, "Malformed request line");
    }
    for (const char *c = head; c < space; c++) {
        if (!token_char(*c)) {
            return refuse(p, 400, "Malformed request line");
        }
    }
    const char *target = space + 1;
    const char *end = memchr(target, ' ', (size_t)(line_end - target));
    if (!end || line_end - end != 9 || memcmp(end, " HTTP/", 6) != 0) {
        return refuse(p, 400, "Malformed request line");
    }
    if (memcmp(end, " HTTP/1.1", 9) != 0 && memcmp(end, " HTTP/1.0", 9) != 0) {
        return refuse(p, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here");
    }
    if ((size_t)(end - target) > p->limits.target) {
        return refuse(p, 414, "The request target is too long");
    }
    bool all = strncmp(head, "OPTIONS * ", 10) == 0;
    const char *wrong = all ? NULL : emb_http1_target_wrong(target, (size_t)(end - target));
    if (wrong) {
        return refuse(p, 400, wrong);
    }
    p->request->old = end[8] == '0';
    p->request->path = (uint32_t)(target - head);
    *target_end = (size_t)(end - head);
    return EMB_HTTP1_MORE;
}

/* Cuts the parsed head into zero-ended strings in place. */
static void cut_strings(struct emb_http1_request *r, size_t target_end)
{
    char *head = r->head.data;
    head[r->path - 1] = '\0';
    head[target_end] = '\0';
    char *query = memchr(head + r->path, '?', target_end - r->path);
    if (query) {
        *query = '\0';
    }
    r->parsed = true;
    for (size_t i = 0; i < r->header_count; i++) {
        struct emb_http1_header *h = &r->headers[i];
        char *name = head + h->name;
        char *colon = strchr(name, ':');
        for (char *c = name; c < colon; c++) {
            if (*c >= 'A' && *c <= 'Z') {
                *c = (char)(*c - 'A' + 'a');
            }
        }
        *colon = '\0';
        char *value = colon + 1;
        char *end = strchr(value, '\r');
        while (end > value && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }
        *end = '\0';
        value += strspn(value, " \t");
        h->value = (uint32_t)(value - head);
    }
}

bool emb_http1_host_valid(const char *host)
{
    for (; *host; host++) {
        bool word = (*host >= 'a' && *host <= 'z') || (*host >= 'A' && *host <= 'Z') || (*host >= '0' && *host <= '9');
        if (!word && !strchr("-._~!$&'()*+,;=:[]%", *host)) {
            return false;
        }
    }
    return true;
}

static size_t count_headers(const struct emb_http1_request *r, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < r->header_count; i++) {
        n += strcmp(r->head.data + r->headers[i].name, name) == 0;
    }
    return n;
}

/* What llhttp leaves to us. */
static enum emb_http1_event check_fields(struct emb_http1 *p)
{
    struct emb_http1_request *r = p->request;
    if (llhttp_get_method(&p->llhttp) == HTTP_CONNECT) {
        return refuse(p, 501, "This is no proxy");
    }
    size_t hosts = count_headers(r, "host");
    if (hosts > 1 || (hosts == 0 && !r->old)) {
        return refuse(p, 400, hosts ? "More than one Host header" : "The Host header is missing");
    }
    if (hosts == 1 && !emb_http1_host_valid(emb_http1_header(r, "host"))) {
        return refuse(p, 400, "The Host header is malformed");
    }
    size_t codings = count_headers(r, "transfer-encoding");
    size_t lengths = count_headers(r, "content-length");
    if (codings > 1 || lengths > 1 || codings + lengths > 1) {
        return refuse(p, 400, "The length of the body is given more than once");
    }
    if (codings == 1) {
        if (strcasecmp(emb_http1_header(r, "transfer-encoding"), "chunked") != 0) {
            return refuse(p, 501, "No transfer coding but chunked is supported");
        }
        if (r->old) {
            return refuse(p, 400, "HTTP/1.0 knows no chunked coding");
        }
    }
    const char *expect = r->old ? NULL : emb_http1_header(r, "expect");
    if (expect && strcasecmp(expect, "100-continue") != 0) {
        return refuse(p, 417, "No expectation but 100-continue is supported");
    }
    p->waits = expect != NULL;
    if (lengths == 1 && p->llhttp.content_length > p->limits.body) {
        return refuse(p, 413, "The request body is larger than this server accepts");
    }
    return EMB_HTTP1_MORE;
}

static enum emb_http1_event refuse_head(struct emb_http1 *p)
{
    switch (llhttp_get_errno(&p->llhttp)) {
    case HPE_INVALID_METHOD: return refuse(p, 501, "Unknown request method");
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return refuse(p, 400, "The Content-Length header is malformed or not allowed here");
    case HPE_INVALID_TRANSFER_ENCODING: return refuse(p, 501, "No transfer coding but chunked is supported");
    case HPE_USER: return refuse_nomem(p);
    default: return refuse(p, 400, "Malformed header line");
    }
}

/* The head is whole: judge it and get ready for the body. */
static enum emb_http1_event parse_head(struct emb_http1 *p)
{
    struct emb_http1_request *r = p->request;
    size_t target_end = 0;
    if (strip_authority(p) == EMB_HTTP1_REFUSED || check_request_line(p, &target_end) == EMB_HTTP1_REFUSED) {
        return EMB_HTTP1_REFUSED;
    }
    llhttp_execute(&p->llhttp, r->head.data, r->head.size);
    bool whole = p->head_over && llhttp_get_errno(&p->llhttp) == HPE_PAUSED &&
                 llhttp_get_error_pos(&p->llhttp) == r->head.data + r->head.size;
    if (!whole) {
        r->header_count = 0;
        cut_strings(r, target_end);
        return p->state == REFUSED ? EMB_HTTP1_REFUSED : refuse_head(p);
    }
    cut_strings(r, target_end);
    if (check_fields(p) == EMB_HTTP1_REFUSED) {
        return EMB_HTTP1_REFUSED;
    }
    set_host(p);
    uint64_t length = p->llhttp.content_length;
    if (count_headers(r, "content-length") == 1 && length > 0 &&
        !emb_buf_reserve(&r->body, (length < BODY_STEP ? (size_t)length : BODY_STEP) + emb_http1_padding)) {
        return refuse_nomem(p);
    }
    llhttp_resume(&p->llhttp);
    p->state = BODY;
    return EMB_HTTP1_MORE;
}

/* ---- The body ---- */

static enum emb_http1_event finish(struct emb_http1 *p)
{
    struct emb_http1_request *r = p->request;
    char *padding = emb_buf_reserve(&r->body, emb_http1_padding);
    if (!padding) {
        return refuse_nomem(p);
    }
    memset(padding, 0, emb_http1_padding);
    p->state = DONE;
    return EMB_HTTP1_REQUEST;
}

static enum emb_http1_event feed_body(struct emb_http1 *p, const char *data, size_t size, size_t *used)
{
    p->piece = size ? data : "";
    llhttp_errno_t status = llhttp_execute(&p->llhttp, p->piece, size);
    if (p->state == REFUSED) {
        return EMB_HTTP1_REFUSED;
    }
    if (p->request->body.failed) {
        return refuse_nomem(p);
    }
    *used = status == HPE_OK || size == 0 ? size : (size_t)(llhttp_get_error_pos(&p->llhttp) - data);
    if (!check_framing(p, p->piece + *used, p->chunks + !p->in_chunk)) {
        return EMB_HTTP1_REFUSED;
    }
    p->body_fed += *used;
    if (status == HPE_OK) {
        return EMB_HTTP1_MORE;
    }
    if (status == HPE_PAUSED && p->message_over) {
        return finish(p);
    }
    if (status == HPE_PAUSED && p->last_chunk) {
        p->state = TRAILER;
        return EMB_HTTP1_MORE;
    }
    return refuse(p, 400, "Malformed chunked body");
}

/* Field names that would change what was read already, or that fail to be one. */
static bool trailer_allowed(const struct emb_http1 *p)
{
    static const char *const forbidden[] = {"content-length", "transfer-encoding", "host", "content-encoding"};
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        if (p->name_length == strlen(forbidden[i]) && strncasecmp(p->name, forbidden[i], p->name_length) == 0) {
            return false;
        }
    }
    return p->named && p->name_length > 0;
}

static enum emb_http1_event feed_trailer(struct emb_http1 *p, const char *data, size_t size, size_t *used)
{
    while (*used < size) {
        char c = data[(*used)++];
        p->body_fed++;
        if (++p->trailer_bytes > p->limits.framing) {
            return refuse(p, 431, "The request's trailers are too large");
        }
        switch (scan(p, (unsigned char)c)) {
        case LINE_BAD: return EMB_HTTP1_REFUSED;
        case LINE_EMPTY: return finish(p);
        case LINE_END:
            if (!trailer_allowed(p)) {
                return refuse(p, 400, "Malformed or forbidden trailer");
            }
            p->named = false;
            p->name_length = 0;
            break;
        case LINE_MORE:
            if (p->named || p->after_cr) {
                break;
            }
            p->named = c == ':';
            if (!p->named && !token_char(c)) {
                return refuse(p, 400, "Malformed or forbidden trailer");
            }
            if (!p->named && p->name_length < sizeof p->name) {
                p->name[p->name_length++] = c;
            }
            break;
        }
    }
    return EMB_HTTP1_MORE;
}

/* ---- Feeding ---- */

/* Leaves out empty lines before a request. */
static enum emb_http1_event feed_skip(struct emb_http1 *p, const char *data, size_t size, size_t *used)
{
    while (*used < size) {
        char c = data[*used];
        if (c != '\r' && c != '\n' && !p->after_cr) {
            return start(p) ? EMB_HTTP1_MORE : refuse_nomem(p);
        }
        (*used)++;
        enum line line = scan(p, (unsigned char)c);
        if (line == LINE_BAD || (line == LINE_EMPTY && ++p->lines > MAX_EMPTY_LINES)) {
            return refuse(p, 400, "Malformed request line");
        }
    }
    return EMB_HTTP1_MORE;
}

static enum emb_http1_event feed_head(struct emb_http1 *p, const char *data, size_t size, size_t *used)
{
    bool ended = false;
    enum emb_http1_event event = scan_head(p, data, size, used, &ended);
    if (event == EMB_HTTP1_MORE && ended) {
        event = parse_head(p);
    }
    return event;
}

/* One step in the state the parser is in. */
static enum emb_http1_event step(struct emb_http1 *p, const char *data, size_t size, size_t *used)
{
    switch (p->state) {
    case SKIP: return feed_skip(p, data, size, used);
    case HEAD: return feed_head(p, data, size, used);
    case BODY:
        if (p->waits) {
            p->waits = false;
            if (p->llhttp.flags & F_CHUNKED || p->llhttp.content_length > 0) {
                return EMB_HTTP1_CONTINUE;
            }
        }
        return feed_body(p, data, size, used);
    case TRAILER: return feed_trailer(p, data, size, used);
    case DONE: return EMB_HTTP1_REQUEST;
    default: return EMB_HTTP1_REFUSED;
    }
}

enum emb_http1_event emb_http1_feed(struct emb_http1 *p, const char *data, size_t size, size_t *used)
{
    *used = 0;
    for (;;) {
        enum state before = p->state;
        size_t n = 0;
        enum emb_http1_event event = step(p, data + *used, size - *used, &n);
        *used += n;
        if (event != EMB_HTTP1_MORE || (*used == size && p->state == before)) {
            return event;
        }
    }
}
