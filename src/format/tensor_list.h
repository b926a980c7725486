/* The tensors of a weight file (or of several), in file order and by name, and the checks that every format needs. */
#ifndef EMB_TENSOR_LIST_H
#define EMB_TENSOR_LIST_H

#include "base/map.h"
#include "embellama/embellama.h"
#include "format/tensor.h"

struct emb_tensor_entry {
    struct emb_tensor tensor;
    char *name; /* tensor.name, owned */
};

struct emb_tensor_list {
    struct emb_tensor_entry *entries;
    size_t count, capacity;
    struct emb_map by_name;
};

void emb_tensor_list_init(struct emb_tensor_list *list);
void emb_tensor_list_deinit(struct emb_tensor_list *list); /* a zeroed list is allowed */

/* Makes room for count more. False when out of memory. */
bool emb_tensor_list_reserve(struct emb_tensor_list *list, size_t count);

/* Appends a copy of tensor under a copy of name[0..size). Errors: E_FORMAT (the name is there already, or is
 * none), E_NOMEM. */
int emb_tensor_list_add(struct emb_tensor_list *list, const struct emb_tensor *tensor, const char *name, size_t size,
                        embellama_error *error);

/* NULL where there is none. */
const struct emb_tensor *emb_tensor_list_at(const struct emb_tensor_list *list, size_t index);
const struct emb_tensor *emb_tensor_list_find(const struct emb_tensor_list *list, const char *name);

/* Whether name[0..size) may name a tensor or a metadata key: 1 to 1,024 bytes of UTF-8 without control characters,
 * so that it can stand in messages. */
bool emb_tensor_name_valid(const char *name, size_t size);

/* Elements of a shape (1 for none, 0 where a dimension is 0). False where the product of any dimensions overflows. */
bool emb_tensor_elements(const uint64_t *dims, size_t n_dims, uint64_t *out);

#endif
