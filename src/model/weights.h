/* A model's weights, ready for the kernels.
 *
 * Matrices are packed once, strip by strip, into one block of memory that also takes biases and norms as f32; nothing of the file
 * is ever held as f32 whole, and its pages are dropped as they are packed. Embedding tables stay in the mapped file, in its own
 * type, and are read row by row. */
#ifndef EMB_WEIGHTS_H
#define EMB_WEIGHTS_H

#include "base/team.h"
#include "kernel/kernel.h"
#include "model/source.h"
#include "model/spec.h"

struct emb_linear {
    const void *w;     /* packed [n, k] */
    const float *bias; /* [n] */
    size_t n, k;
};

struct emb_norm {
    const float *gamma, *beta; /* [hidden] */
};

struct emb_layer {
    struct emb_linear qkv;           /* [3 * hidden, hidden]: query, key, value below each other */
    struct emb_linear attention_out; /* [hidden, hidden] */
    struct emb_linear up;            /* [intermediate, hidden] */
    struct emb_linear down;          /* [hidden, intermediate] */
    struct emb_norm attention_norm, out_norm;
};

struct emb_weights {
    const struct emb_tensor *word, *position, *type; /* [rows, hidden], in the source's mapping */
    struct emb_norm embed_norm;
    struct emb_layer *layers;
    uint8_t *block; /* packed matrices and f32 vectors */
    size_t block_size;
    uint64_t mapped_size; /* bytes of the embedding tables */
};

/* Packs for gemm. source must outlive the weights. Errors: E_FORMAT (a tensor is missing or has another shape; says which),
 * E_UNSUPPORTED (its type), E_NOMEM. */
int emb_weights_load(struct emb_weights *weights, const struct emb_spec *spec, const struct emb_source *source,
                     const struct emb_gemm *gemm, struct emb_team *team, embellama_error *error);
void emb_weights_free(struct emb_weights *weights);

/* Row row of an embedding table as f32: out holds the table's columns. */
void emb_table_row(const struct emb_tensor *table, size_t row, float *out);

#endif
