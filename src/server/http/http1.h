/* HTTP/1.0 and 1.1 requests out of bytes, in whatever pieces they come. Knows nothing of sockets.
 *
 * The head is gathered whole and bounded before it is parsed: that is where line ends, folding, the request line and every
 * count and size are checked. llhttp (strict) then judges the fields and frames the body. Anything doubtful is refused, and a
 * refused connection takes no further request, so nothing can be smuggled behind it. Sources: RFC 9110, RFC 9112. */
#ifndef EMB_HTTP1_H
#define EMB_HTTP1_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct emb_http1_limits {
    size_t target;  /* bytes of the request target */
    size_t head;    /* bytes of request line and header fields; at most 1 MB */
    size_t headers; /* header fields */
    size_t body;    /* bytes of a body, chunk framing not counted */
    size_t framing; /* bytes of chunk extensions and padding, and apart from these of trailers */
};

struct emb_http1_limits emb_http1_limits_default(void);

struct emb_http1_header {
    uint32_t name; /* offsets into the head; zero-ended there */
    uint32_t value;
};

/* Strings live in head. Names are lower case, values without white space around them. */
struct emb_http1_request {
    struct emb_buf head;
    struct emb_http1_header *headers;
    size_t header_count;
    uint32_t method, path; /* offsets into head; the path lacks the query; "*" of OPTIONS: the whole server */
    bool parsed;           /* method and path are set */
    bool keep_alive;
    bool old;            /* HTTP/1.0 */
    struct emb_buf body; /* zero bytes follow, see emb_http1_padding */
    uint64_t bytes;      /* received, framing included */
};

/* Zero bytes behind a body, as base/json.h wants them. */
extern const size_t emb_http1_padding;

/* First value of a header by its lower-case name, or NULL. */
const char *emb_http1_header(const struct emb_http1_request *request, const char *name);

/* Rules that hold for every version: what is wrong with a target, or NULL; and whether that may be a Host. */
const char *emb_http1_target_wrong(const char *target, size_t size);
bool emb_http1_host_valid(const char *host);

void emb_http1_request_free(struct emb_http1_request *request);

/* Memory a request holds. */
size_t emb_http1_request_held(const struct emb_http1_request *request);

enum emb_http1_event {
    EMB_HTTP1_MORE,     /* everything was used; give more */
    EMB_HTTP1_CONTINUE, /* the client waits for 100 Continue; go on feeding after it */
    EMB_HTTP1_REQUEST,  /* one request is whole: take it, then go on feeding */
    EMB_HTTP1_REFUSED,  /* answer status and message, then close; no feeding any more */
};

enum emb_http1_phase { EMB_HTTP1_IDLE, EMB_HTTP1_HEAD, EMB_HTTP1_BODY };

struct emb_http1; /* one connection's parser */

struct emb_http1 *emb_http1_new(const struct emb_http1_limits *limits); /* NULL: out of memory */
void emb_http1_free(struct emb_http1 *parser);

/* Reads from data[0..size) and sets *used to the bytes taken, fewer than size only where the event is not MORE. size may be 0
 * after CONTINUE. */
enum emb_http1_event emb_http1_feed(struct emb_http1 *parser, const char *data, size_t size, size_t *used);

/* The request of the last event, the caller's from now on; after REFUSED what is known of it, or NULL. */
struct emb_http1_request *emb_http1_take(struct emb_http1 *parser);

/* Why it was refused. */
int emb_http1_status(const struct emb_http1 *parser);
const char *emb_http1_message(const struct emb_http1 *parser);

/* Where the parser stands: between requests, in a head, in a body; and what it holds of the request it reads. */
enum emb_http1_phase emb_http1_phase(const struct emb_http1 *parser);
size_t emb_http1_held(const struct emb_http1 *parser);
uint64_t emb_http1_body_bytes(const struct emb_http1 *parser);

#endif
