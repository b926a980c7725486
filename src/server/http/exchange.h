/* One request and its reply, as handlers see them, whatever the protocol version.
 *
 * Everything here is called on the front's loop thread. A handler may answer at once or keep the exchange and answer later; it
 * answers exactly once. The request and its strings live until then; when answering returns, all may be gone. */
#ifndef EMB_EXCHANGE_H
#define EMB_EXCHANGE_H

#include <stdint.h>

#include "base/buf.h"
#include "embellama/embellama.h"

struct emb_exchange;
struct emb_client; /* server/access/auth.h */

const char *emb_exchange_method(const struct emb_exchange *x);
const char *emb_exchange_path(const struct emb_exchange *x);       /* without the query, not decoded */
const char *emb_exchange_request_id(const struct emb_exchange *x); /* sane; sent as x-request-id */

/* Who sent it: never NULL, good until x is answered. Before its handler is called: an anonymous client. */
const struct emb_client *emb_exchange_client(const struct emb_exchange *x);

/* Decoded value of the route's "{name}" segment, or NULL. */
const char *emb_exchange_segment(const struct emb_exchange *x);

/* Value of a request header by its lower-case name, or NULL. Several of one name: the first. */
const char *emb_exchange_header(const struct emb_exchange *x, const char *name);

/* The body; EMB_JSON_PADDING zero bytes follow it. */
const char *emb_exchange_body(const struct emb_exchange *x, size_t *size);

/* Counts memory that the handler keeps for x until its reply went out, beside all that the front holds for requests. False, and nothing
 * is counted, where that would be more than the front may hold: x is then to be refused. */
bool emb_exchange_hold(struct emb_exchange *x, size_t bytes);

/* A header of the reply, before it is answered. name and value are copied; control characters in value are refused (dropped). */
void emb_exchange_add_header(struct emb_exchange *x, const char *name, const char *value);

/* Called once, before the exchange is freed, if the client goes away while the answer is pending; the handler must then not
 * answer any more and forget x. */
void emb_exchange_on_gone(struct emb_exchange *x, void (*gone)(void *arg), void *arg);

/* What the request's log line, its server-timing header and the metrics shall say beside the usual (method, path, status, bytes,
 * duration). */
struct emb_exchange_notes {
    const char *model; /* the served model that was asked for, which outlives the exchange; NULL: none */
    size_t inputs;
    size_t tokens;
    uint64_t tokenize_ns;
    uint64_t queue_ns;
    uint64_t compute_ns;
    const char *error; /* static string: a code for the log, or NULL */
};
struct emb_exchange_notes *emb_exchange_notes(struct emb_exchange *x);

/* Answers. Takes body's memory (body is left empty); body may be NULL. A body whose appends failed is answered as 500. */
void emb_exchange_reply(struct emb_exchange *x, int status, const char *content_type, struct emb_buf *body);

/* Where the bytes of a reply come from that is too large to be held whole. */
enum emb_piece { EMB_PIECE_MORE, EMB_PIECE_LAST, EMB_PIECE_FAILED };
enum { EMB_PIECE_BYTES = 256 * 1024 };
struct emb_exchange_source {
    /* Appends the next bytes to out (empty) and says whether more follow. At least one byte with MORE; ends when out holds
     * EMB_PIECE_BYTES or more, of which it may hold four times as much, and within about a millisecond. */
    enum emb_piece (*next)(void *arg, struct emb_buf *out);
    /* Called once, when nothing more is asked for: all was given, next failed, or the client is gone. May be NULL. */
    void (*over)(void *arg);
    void *arg;
};
#define EMB_LENGTH_UNKNOWN UINT64_MAX

/* Answers with what source gives. It is asked for a piece whenever the one before went out, so that one is held at a time. length:
 * bytes of the whole, or EMB_LENGTH_UNKNOWN; another number of bytes in the end is a failure. A failure with the first
 * piece is answered as 500, a later one ends the connection, so that the client knows. */
void emb_exchange_stream(struct emb_exchange *x, int status, const char *content_type, uint64_t length,
                         const struct emb_exchange_source *source);

/* Answers with an error in the style of x's route (router.h); that of most is OpenAI's envelope
 * {"error":{"message","type","param","code"},"request_id"}. param and code may be NULL. */
__attribute__((format(printf, 6, 7))) void emb_exchange_error(struct emb_exchange *x, int status, const char *type,
                                                              const char *param, const char *code, const char *format,
                                                              ...);

#endif
