/* The life of a request for vectors, whatever dialect it is written in.
 *
 * Body → JSON → inputs as token ids → the scheduler's queue → vectors → reply. A dialect gives two functions,
 * which turn JSON into inputs and vectors into JSON; everything else is here: what is done on the loop and what
 * beside it, a client that leaves in between, a full queue, an input that fails, the errors. Errors are in
 * OpenAI's envelope. */
#ifndef EMB_EMBED_REQUEST_H
#define EMB_EMBED_REQUEST_H

#include "base/buf.h"
#include "base/json.h"
#include "server/scheduler.h"
#include "server/server.h"

/* Why a request is refused; http is 0 while it is not. */
struct emb_refusal {
    int http;
    const char *type;  /* static */
    const char *code;  /* static, or NULL */
    char param[48];    /* empty: null */
    char message[640]; /* UTF-8 */
};

struct emb_embed_dialect;

struct emb_embed_request {
    const struct emb_embed_dialect *dialect;
    const embellama_model *model;
    const char *model_name; /* the served one */
    size_t limit;           /* tokens an input may have */

    /* What read found. */
    size_t dimensions; /* values of each vector in the reply; set to the model's before read */
    bool base64;
    bool truncate;    /* shorten what is too long instead of refusing it; set before inputs are added */
    size_t truncated; /* inputs that were */
    int32_t *ids;     /* all inputs' tokens */
    size_t tokens, ids_capacity;
    uint32_t *counts; /* [inputs] */
    size_t inputs, counts_capacity;
    struct emb_refusal refusal;

    float *vectors; /* [inputs, model's dim]; of each the first `dimensions` values count when write is called */
};

struct emb_embed_dialect {
    /* Takes the inputs and options from the body, an object. Returns 0, or -1 with the refusal filled. On any
     * thread. */
    int (*read)(struct emb_embed_request *r, struct emb_json_value body);
    /* Writes the reply. On any thread. */
    void (*write)(const struct emb_embed_request *r, struct emb_buf *out);
};

/* Handles a POST of the dialect. */
void emb_embed_serve(struct emb_server *server, struct emb_exchange *x, const struct emb_embed_dialect *dialect);

/* For read. name is what the message and param call the input: "input", "input[3]". Both return 0, or -1 with the
 * refusal filled. */
int emb_embed_add_text(struct emb_embed_request *r, const char *name, embellama_text text);

/* The input is a JSON array of token ids; special tokens are put around them unless they are there. */
int emb_embed_add_ids(struct emb_embed_request *r, const char *name, struct emb_json_value ids);

/* Fills the refusal and returns -1. param and code may be NULL. */
__attribute__((format(printf, 6, 7))) int emb_embed_refuse(struct emb_embed_request *r, int http, const char *type,
                                                           const char *param, const char *code, const char *format,
                                                           ...);

/* The same for the common case: 400, invalid_request_error, no code. */
__attribute__((format(printf, 3, 4))) int emb_embed_invalid(struct emb_embed_request *r, const char *param,
                                                            const char *format, ...);

/* The first characters of a client's text for use in a message: at most size - 1 bytes, whole characters, "..."
 * where cut. size >= 8. */
const char *emb_embed_excerpt(const char *text, size_t text_size, char *out, size_t size);

/* Vector of input i: `dimensions` values. */
const float *emb_embed_vector(const struct emb_embed_request *r, size_t i);

#endif
