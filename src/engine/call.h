/* One call of a context, whatever it computes: what scoring.c and context.c share. */
#ifndef EMB_CALL_H
#define EMB_CALL_H

#include "embellama/embellama.h"

/* The caller's arguments, resolved. */
struct emb_call {
    embellama_ctx *ctx;
    size_t n;
    embellama_pooling pooling;
    embellama_normalize normalize;
    float p;
    size_t dim; /* of an output row */
    size_t max_length;
    bool truncate;
    bool score;                  /* rows are scores of the model's head: dim is its labels */
    bool raw;                    /* and stay logits */
    const embellama_text *query; /* of a score of texts: the first of each pair; NULL: single texts */
    float *out;
    int *statuses; /* n */
};

/* Fills in what options say. Errors: E_INVALID; E_UNSUPPORTED: to score without a head. */
int emb_call_resolve(struct emb_call *call, const embellama_embed_options *options, embellama_error *error);

/* The call over texts, or over complete inputs: pairs for one that scores, else inputs. Errors as embellama_embed,
 * embellama_embed_ids. */
int emb_call_texts(struct emb_call *call, const embellama_text *texts, int *statuses, embellama_error *error);
int emb_call_ids(struct emb_call *call, const embellama_ids *inputs, const embellama_pair *pairs, int *statuses,
                 embellama_error *error);

#endif
