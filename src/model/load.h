/* A model read from its files: spec, tokenizer and weights together. */
#ifndef EMB_LOAD_H
#define EMB_LOAD_H

#include "kernel/kernel.h"
#include "model/source.h"
#include "model/spec.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"

struct emb_model {
    struct emb_spec spec;
    struct emb_source source;
    struct emb_tokenizer *tokenizer;
    struct emb_weights weights;
    const struct emb_kernels *kernels;
    const struct emb_gemm *gemm; /* one of kernels' */
    embellama_precision precision; /* what gemm multiplies, never AUTO; the residual stream is f32 in all */
    char *name;                  /* from the file, or the path's last part */
    char *path;
};

/* Loads into zeroed memory. On failure the model is empty again. options is not NULL. Errors as embellama_model_open. */
int emb_model_load(struct emb_model *model, const char *path, const embellama_model_options *options,
                   embellama_error *error);
void emb_model_unload(struct emb_model *model);

#endif
