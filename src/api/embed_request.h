/* The life of a request for vectors or scores, whatever dialect it is written in.
 *
 * Body → JSON → inputs as token ids → the cache or the scheduler's queue → values → reply. A dialect gives functions that turn
 * JSON into inputs and values into JSON; everything else is here: what is done on the loop and what beside it, priorities and
 * deadlines, a client that leaves in between, limits, a full queue, an input that fails, the errors, which are in the style of the
 * route (router.h). */
#ifndef EMB_EMBED_REQUEST_H
#define EMB_EMBED_REQUEST_H

#include "api/embed_inputs.h"
#include "api/refusal.h"
#include "api/vector_json.h"
#include "base/buf.h"
#include "base/json.h"
#include "server/server.h"

struct emb_embed_dialect;

struct emb_embed_request {
    const struct emb_embed_dialect *dialect;
    const char *model_name; /* the served one */
    const struct emb_server_options *options;

    /* What read found. */
    size_t dimensions;           /* values of each vector in the reply; set to the model's before read */
    struct emb_vector_form form; /* of each vector; float at first */
    enum emb_task_kind task;     /* of all inputs, set before any is added; EMBED at first */
    struct emb_embed_inputs inputs;

    /* The dialect's own. free_state, where set, is called once, on the loop, with the request's end. */
    void *state;
    void (*free_state)(void *state);
    size_t state_bytes; /* of memory that the state keeps until the reply went out, and may repeat there; set by read */

    struct emb_refusal refusal;
};

/* The functions marked optional may be NULL, and all but read in one whose read always sets the request's dialect to another, or
 * refuses. All but
 * read are called on the loop. */
struct emb_embed_dialect {
    /* Takes the inputs and options from the body, an object. Returns 0, or -1 with the refusal filled. On any
     * thread. */
    int (*read)(struct emb_embed_request *r, struct emb_json_value body);
    /* Optional. Once all is computed, before anything is written: sorts by score, pools rows. */
    void (*finish)(struct emb_embed_request *r);
    /* Optional. Adds headers of the dialect's own to the reply. */
    void (*headers)(const struct emb_embed_request *r, struct emb_exchange *x);
    /* Optional. How many times input is called, with i from 0; by default once for each input. */
    size_t (*entries)(const struct emb_embed_request *r);
    /* Write the reply in pieces: what precedes the vectors, each input (emb_embed_vector gives NULL for one that failed where
     * the client allows that), what follows them. */
    void (*begin)(const struct emb_embed_request *r, struct emb_buf *out);
    void (*input)(const struct emb_embed_request *r, size_t i, struct emb_buf *out);
    void (*end)(const struct emb_embed_request *r, struct emb_buf *out);
};

/* Handles a POST of the dialect. */
void emb_embed_serve(struct emb_server *server, struct emb_exchange *x, const struct emb_embed_dialect *dialect);

/* Vector of input i: `dimensions` values, normalised unless the task is RAW; NULL where it failed. */
const float *emb_embed_vector(const struct emb_embed_request *r, size_t i);

/* What input i got, *n values: EMBED and RAW its vector of `dimensions` values, TOKENS [tokens, dim], SCORE [labels] logits.
 * NULL and 0 where it failed. */
const float *emb_embed_values(const struct emb_embed_request *r, size_t i, size_t *n);

/* The inputs that failed as the member `,"errors":[{"index","code","message"}]`; nothing where all have their vectors. */
void emb_embed_write_errors(const struct emb_embed_request *r, struct emb_buf *out);

#endif
