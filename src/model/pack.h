/* The packed block: a header, then embedding tables where it has them, f32 vectors and packed matrices, where plan.h puts them. It
 * holds no addresses, so it means the same in every process that maps it.
 *
 * A header names everything the bytes depend on: the layout's version, the CPU tier and the product, the packed form as the kernels
 * of this build write it, the model. Sizes and places are never believed: they follow from the spec, and must agree. Byte order
 * and alignment are this machine's. */
#ifndef EMB_PACK_H
#define EMB_PACK_H

#include "model/plan.h"

enum { EMB_PACK_VERSION = 2 }; /* of header and layout; the kernels' packed forms have a hash of their own */

/* A spec in fixed widths. */
struct emb_pack_spec {
    char family[16];
    uint64_t hidden, layers, heads, intermediate, vocab, positions, types, recommended_length, labels;
    float norm_eps;
    uint32_t act, pooling, normalize, head_pooler, score_act;
};

struct emb_pack_header {
    char magic[8];
    uint32_t version;
    uint32_t data;        /* EMB_PLAN_START */
    uint64_t size;        /* of the whole block */
    struct emb_hash hash; /* of spec, and of names, types, shapes and bytes of the tensors used */
    uint64_t form;        /* hash of a sample that the product's pack function packed */
    char tier[16];
    char gemm[32];
    char table_types[EMB_PLAN_TABLES][8];
    struct emb_pack_spec spec;
    uint64_t checksum; /* of all before it */
};

/* The spec as hashes and headers hold it. */
struct emb_pack_spec emb_pack_spec_of(const struct emb_spec *spec);

/* Fills the block (plan->size bytes, zeroed or not) behind its header, on all members of the team. The source's pages are read ahead
 * in the order of the file, and given back as soon as they are packed. hash, where not NULL, gets the model's, taken on the way.
 * Errors: E_NOMEM. */
int emb_pack_fill(const struct emb_plan *plan, const struct emb_spec *spec, const struct emb_gemm *gemm, uint8_t *block,
                  struct emb_team *team, struct emb_hash *hash, embellama_error *error);

/* The header of a block of plan. Errors: E_NOMEM. */
int emb_pack_describe(struct emb_pack_header *header, const struct emb_plan *plan, const struct emb_spec *spec,
                      const struct emb_form *form, struct emb_hash hash, embellama_error *error);

/* Checks a header that stands before file_size bytes, and tells its spec (without names), the tables' types and, where form->gemm is
 * NULL, that. Whether the size agrees with the spec is still to be checked, by planning. Errors as emb_weights_attach. */
int emb_pack_check(const struct emb_pack_header *header, uint64_t file_size, struct emb_form *form,
                   struct emb_spec *spec, enum emb_dtype types[EMB_PLAN_TABLES], embellama_error *error);

#endif
