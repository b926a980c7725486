/* A window of texts through the engine: tokens by all threads, then vectors. */
#ifndef EMB_CLI_WORK_H
#define EMB_CLI_WORK_H

#include "base/team.h"
#include "cli/input.h"
#include "cli/options.h"

/* One text's tokens, and how it went. */
struct emb_work_item {
    int32_t *ids;
    size_t count; /* after truncation */
    size_t full;  /* before */
    int status;
};

struct emb_work {
    const embellama_model *model;
    embellama_ctx *ctx;    /* NULL where only tokens are wanted */
    struct emb_team *team; /* NULL: one thread */
    int threads;
    size_t max_length; /* tokens of a text; 0: any number */
    size_t dim;        /* values of a vector */
    bool per_token, truncate;
    embellama_text prompt; /* before each text; the model's or the options' */
    embellama_embed_options embed;
    struct emb_work_item *items;     /* as many as the last window had texts */
    float *vectors;                  /* [n, dim], or [tokens, dim] with per_token */
    const struct emb_window *window; /* private from here on */
    struct emb_work_scratch *scratch;
    embellama_ids *inputs;
    int *statuses;
    size_t n, item_capacity, input_capacity, status_capacity, vector_capacity;
};

/* tokens_only: no context is made. Errors: E_RANGE for lengths and dimensions the model has not, E_NOMEM. */
int emb_work_init(struct emb_work *work, const embellama_model *model, const struct emb_cli_options *options,
                  bool tokens_only, embellama_error *error);
void emb_work_deinit(struct emb_work *work);

/* How much of the input to take at once, so that all threads are busy and yet progress is seen. */
size_t emb_work_window_texts(const struct emb_work *work);
size_t emb_work_window_bytes(const struct emb_work *work);

/* Tokens of a whole window into items. *good: how many texts from the first on have no fault; where that is not all, the
 * status of the next is returned, with a message that does not name the place. */
int emb_work_tokenize(struct emb_work *work, const struct emb_window *window, size_t *good, embellama_error *error);

/* Vectors of the first n items. *good and the result as above. */
int emb_work_embed(struct emb_work *work, size_t n, size_t *good, embellama_error *error);

#endif
