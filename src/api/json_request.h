/* A POST of JSON that is answered without the queue: tokens of a text, facts about a model.
 *
 * Content type, parsing, bodies so long that they are read beside the loop, and the answering of what is refused are here; what a body
 * asks for and what it gets is the dialect's. */
#ifndef EMB_JSON_REQUEST_H
#define EMB_JSON_REQUEST_H

#include "api/refusal.h"
#include "base/buf.h"
#include "base/json.h"
#include "server/server.h"

struct emb_json_request {
    const embellama_model *model;
    const char *model_name; /* the served one */
    const struct emb_server_options *options;
    int status;               /* of the reply: 200 at first */
    const char *content_type; /* static: "application/json" at first */
    struct emb_buf reply;     /* the body */
    struct emb_refusal refusal;
};

/* Writes the reply to what body asks. Returns 0, or -1 with the refusal filled. On any thread: it may use what is in the
 * request and nothing else of the server. body is an object. */
typedef int (*emb_json_answer)(struct emb_json_request *q, struct emb_json_value body);

/* Handles a POST. */
void emb_json_serve(struct emb_server *server, struct emb_exchange *x, emb_json_answer answer);

/* ---- Steps of it, for requests that go another way. Return 0, or -1 with the refusal filled. ---- */

/* Whether x's body is said to be JSON. */
int emb_json_check_type(const struct emb_exchange *x, struct emb_refusal *refusal);

/* Parses a body (EMB_JSON_PADDING zero bytes follow it), which must be an object. *out is the caller's. */
int emb_json_read_body(struct emb_json **out, const char *body, size_t size, struct emb_refusal *refusal);

#endif
