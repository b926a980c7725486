/* A model read from its files: spec, tokenizer and weights together. */
#ifndef EMB_LOAD_H
#define EMB_LOAD_H

#include "kernel/kernel.h"
#include "model/prompts.h"
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
    const struct emb_gemm *gemm;   /* one of kernels' */
    embellama_precision precision; /* what gemm multiplies, never AUTO; the residual stream is f32 in all */
    char *name;                    /* from the file, or the path's last part; NULL for an attached one */
    char *path;                    /* or NULL likewise */
    char **labels;                 /* names of the head's labels, or NULL */
    struct emb_prompts prompts;    /* of a directory; GGUF files have none */
    char notice[256];              /* of loading: what could not be done as asked, or "" */
};

/* Loads into zeroed memory. On failure the model is empty again. options is not NULL. Errors as embellama_model_open. */
int emb_model_load(struct emb_model *model, const char *path, const embellama_model_options *options,
                   embellama_error *error);

/* Packs the weights of the model at path into the file behind fd (emb_weights_pack), for other processes to attach. Everything that
 * emb_model_load checks is checked; nothing is kept. *hash gets the model's. */
int emb_model_pack(int fd, struct emb_hash *hash, const char *path, const embellama_model_options *options,
                   embellama_error *error);

/* A model over weights packed into fd (emb_weights_attach) for the tier cpu, "auto" or NULL, into zeroed memory. It has no source and
 * no tokenizer: it runs token ids. On failure the model is empty again. */
int emb_model_attach(struct emb_model *model, int fd, const char *cpu, embellama_error *error);

/* The same with source, tokenizer and names of the model at path, which must be of the same shape: E_FORMAT otherwise. */
int emb_model_attach_at(struct emb_model *model, int fd, const char *path, const char *cpu, embellama_error *error);

void emb_model_unload(struct emb_model *model);

#endif
