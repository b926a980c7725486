/* The life of a request for vectors, whatever dialect it is written in.
 *
 * Body → JSON → inputs as token ids → the cache or the scheduler's queue → vectors → reply. A dialect gives functions that turn
 * JSON into inputs and vectors into JSON; everything else is here: what is done on the loop and what beside it, priorities and
 * deadlines, a client that leaves in between, limits, a full queue, an input that fails, the errors. Errors are in OpenAI's
 * envelope. */
#ifndef EMB_EMBED_REQUEST_H
#define EMB_EMBED_REQUEST_H

#include "api/embed_inputs.h"
#include "api/refusal.h"
#include "base/buf.h"
#include "base/json.h"
#include "server/server.h"

struct emb_embed_dialect;

struct emb_embed_request {
    const struct emb_embed_dialect *dialect;
    const char *model_name; /* the served one */

    /* What read found. */
    size_t dimensions; /* values of each vector in the reply; set to the model's before read */
    bool base64;
    struct emb_embed_inputs inputs;

    struct emb_refusal refusal;
};

struct emb_embed_dialect {
    /* Takes the inputs and options from the body, an object. Returns 0, or -1 with the refusal filled. On any
     * thread. */
    int (*read)(struct emb_embed_request *r, struct emb_json_value body);
    /* Write the reply in pieces: what precedes the vectors, each input (emb_embed_vector gives NULL for one that failed where
     * the client allows that), what follows them. On the loop. */
    void (*begin)(const struct emb_embed_request *r, struct emb_buf *out);
    void (*input)(const struct emb_embed_request *r, size_t i, struct emb_buf *out);
    void (*end)(const struct emb_embed_request *r, struct emb_buf *out);
};

/* Handles a POST of the dialect. */
void emb_embed_serve(struct emb_server *server, struct emb_exchange *x, const struct emb_embed_dialect *dialect);

/* Vector of input i: `dimensions` values; NULL where it failed. */
const float *emb_embed_vector(const struct emb_embed_request *r, size_t i);

/* The inputs that failed as the member `,"errors":[{"index","code","message"}]`; nothing where all have their vectors. */
void emb_embed_write_errors(const struct emb_embed_request *r, struct emb_buf *out);

#endif
