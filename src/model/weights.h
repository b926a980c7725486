/* A model's weights, ready for the kernels.
 *
 * Matrices are packed once into one block of memory (pack.h) that also takes biases and norms as f32. The block is either this
 * process's own, and embedding tables then stay in the mapped file, in its own type, and are read row by row; or it is a file,
 * in memory or not, that any number of processes map read-only, tables included. */
#ifndef EMB_WEIGHTS_H
#define EMB_WEIGHTS_H

#include "base/hash.h"
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

/* All in f32, rows behind each other; NULL where the model has none. */
struct emb_head {
    const float *pooler, *pooler_bias;         /* [hidden, hidden], [hidden] */
    const float *classifier, *classifier_bias; /* [labels, hidden], [labels] */
};

struct emb_weights {
    const struct emb_tensor *word, *position, *type; /* [rows, hidden], in the source's mapping or in the block */
    struct emb_norm embed_norm;
    struct emb_layer *layers;
    struct emb_head head;
    uint8_t *block; /* packed matrices and f32 vectors */
    size_t block_size;
    uint64_t mapped_size;      /* bytes of the embedding tables that are read in the source's mapping */
    bool mapped;               /* the block is the mapping of a file */
    struct emb_tensor *tables; /* word, position, type where the block has them; else NULL */
    struct emb_hash hash;      /* of a mapped block's model (pack.h) */
};

/* What weights are packed for. */
struct emb_form {
    const struct emb_kernels *kernels;
    const struct emb_gemm *gemm; /* one of the kernels' */
};

/* Packs into memory of this process. source must outlive the weights. Errors: E_FORMAT (a tensor is missing or has another shape;
 * says which), E_UNSUPPORTED (its type), E_NOMEM. */
int emb_weights_load(struct emb_weights *weights, const struct emb_spec *spec, const struct emb_source *source,
                     const struct emb_gemm *gemm, struct emb_team *team, embellama_error *error);

/* Packs into the file behind fd, empty and open for reading and writing: an ordinary one, or one of base/memfd.h, which the caller
 * then seals. *hash gets what the block says of the model. On failure the content is unspecified. Errors: also E_IO. */
int emb_weights_pack(int fd, struct emb_hash *hash, const struct emb_spec *spec, const struct emb_source *source,
                     const struct emb_form *form, struct emb_team *team, embellama_error *error);

/* Maps the file behind fd, as emb_weights_pack left it, in this process or another; fd may be closed afterwards. The file must not
 * change from now on: a sealed one cannot. *spec becomes the packed model's, less the tensors' names; form->gemm, where it is NULL,
 * the product that the file was packed for.
 * What is there is checked before use, but for the values themselves. Errors: E_FORMAT (broken, cut short, another layout),
 * E_UNSUPPORTED (packed for another tier or precision, or by other kernels), E_IO, E_NOMEM. */
int emb_weights_attach(struct emb_weights *weights, struct emb_spec *spec, int fd, struct emb_form *form,
                       embellama_error *error);

/* Weights whose block is a copy in memory of this process, on the NUMA node of that number where the system lets it; *refused is 0, or
 * the errno with which it did not. source is what they were loaded of; tables outside the block are shared. Errors: E_NOMEM. */
int emb_weights_copy(struct emb_weights *copy, const struct emb_weights *weights, const struct emb_spec *spec,
                     const struct emb_source *source, const struct emb_gemm *gemm, int node_id, int *refused,
                     embellama_error *error);

void emb_weights_free(struct emb_weights *weights);

/* Row row of an embedding table as f32: out holds the table's columns. */
void emb_table_row(const struct emb_tensor *table, size_t row, float *out);

#endif
