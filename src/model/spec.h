/* What a model is, as data: everything the loader and the forward pass need to know that is not a weight. */
#ifndef EMB_SPEC_H
#define EMB_SPEC_H

#include "embellama/embellama.h"
#include "kernel/kernel.h"

/* Names of a family's tensors in one file format. A layer's tensor is layer + its number + "." + part; ".weight" or ".bias"
 * follows. */
struct emb_tensor_names {
    const char *word, *position, *type; /* embedding tables */
    const char *embed_norm;
    const char *layer;
    const char *query, *key, *value, *attention_out, *attention_norm;
    const char *up, *down, *out_norm;
    const char *pooler;     /* of the head: the layer before the classifier; NULL: such files have none */
    const char *classifier; /* of the head; without prefix */
};

/* What turns logits into scores. */
enum emb_score_act { EMB_SCORE_SIGMOID, EMB_SCORE_SOFTMAX, EMB_SCORE_TANH, EMB_SCORE_NONE };

/* The classification head of a cross-encoder: classifier(tanh(pooler(state of the first token))). */
struct emb_head_spec {
    size_t labels; /* 0: the model has no head, and the rest means nothing */
    bool pooler;
    enum emb_score_act act;
};

struct emb_spec {
    const char *family;
    const struct emb_tensor_names *names;
    const char *prefix; /* put before every name: "" or "bert." */
    size_t hidden;
    size_t layers;
    size_t heads; /* divides hidden */
    size_t intermediate;
    size_t vocab;
    size_t positions; /* rows of the position table: the context length */
    size_t types;     /* rows of the token type table */
    float norm_eps;
    enum emb_act act;
    embellama_pooling pooling;
    embellama_normalize normalize;
    size_t recommended_length; /* 0: the files name none */
    struct emb_head_spec head;
};

#endif
