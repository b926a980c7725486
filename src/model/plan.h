/* Which tensors a model's weights are, and where each goes in the packed block.
 *
 * The same list for every use: made with a source it also finds and checks the tensors; made without, it is the layout that a block
 * packed before must have. Filling is pack.h's. */
#ifndef EMB_PLAN_H
#define EMB_PLAN_H

#include "model/source.h"
#include "model/weights.h"

enum {
    EMB_PLAN_PARTS = 3,
    EMB_PLAN_TABLES = 3,
    EMB_PLAN_START = 4096, /* of the block's content: a page for the header comes before */
};

/* Up to three tensors: of one width below each other in a matrix, behind each other in a vector. */
struct emb_plan_parts {
    const struct emb_tensor *tensors[EMB_PLAN_PARTS]; /* NULL without a source */
    size_t count;
};

struct emb_plan_matrix { /* to pack */
    struct emb_plan_parts parts;
    size_t n, k;
    size_t offset; /* in the block */
    const void **target;
};

struct emb_plan_vector { /* to convert to f32 */
    struct emb_plan_parts parts;
    size_t n;
    size_t offset;
    const float **target;
};

struct emb_plan_table {          /* an embedding table, kept in its own type */
    struct emb_plan_parts parts; /* one */
    enum emb_dtype type;
    size_t rows, size;
    size_t offset; /* 0: not in the block */
};

struct emb_plan {
    struct emb_plan_matrix *matrices;
    size_t n_matrices, matrix_capacity;
    struct emb_plan_vector *vectors;
    size_t n_vectors, vector_capacity;
    struct emb_plan_table tables[EMB_PLAN_TABLES]; /* word, position, type */
    size_t size;                                   /* of the block, from the header's page on */
};

/* Plans weights, whose layers (spec->layers) are allocated and zeroed: the pointers that emb_plan_bind sets are in there.
 * with_tables: the block holds the embedding tables too; else they stay in the source.
 * Errors: E_FORMAT (a tensor is missing or has another shape; says which), E_UNSUPPORTED (its type), E_NOMEM. */
int emb_plan_tensors(struct emb_plan *plan, struct emb_weights *weights, const struct emb_spec *spec,
                     const struct emb_source *source, const struct emb_gemm *gemm, bool with_tables,
                     embellama_error *error);

/* The same for a block with tables of the given types, without a source. */
int emb_plan_layout(struct emb_plan *plan, struct emb_weights *weights, const struct emb_spec *spec,
                    const enum emb_dtype types[EMB_PLAN_TABLES], const struct emb_gemm *gemm, embellama_error *error);

void emb_plan_deinit(struct emb_plan *plan); /* a zeroed plan is allowed */

/* Points the weights' matrices, biases and norms into the block. */
void emb_plan_bind(const struct emb_plan *plan, const uint8_t *block);

#endif
