/* Tensors by index and name. */
#include "format/tensor_list.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"

enum { NAME_MAX_BYTES = 1024 };

void emb_tensor_list_init(struct emb_tensor_list *list)
{
    *list = (struct emb_tensor_list){0};
    emb_map_init(&list->by_name);
}

void emb_tensor_list_deinit(struct emb_tensor_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        emb_free(list->entries[i].name);
    }
    emb_free(list->entries);
    emb_map_deinit(&list->by_name);
    *list = (struct emb_tensor_list){0};
}

bool emb_tensor_list_reserve(struct emb_tensor_list *list, size_t count)
{
    size_t need;
    return emb_add(list->count, count, &need) &&
           emb_grow(&list->entries, &list->capacity, need, sizeof *list->entries) &&
           emb_map_reserve(&list->by_name, need);
}

int emb_tensor_list_add(struct emb_tensor_list *list, const struct emb_tensor *tensor, const char *name, size_t size,
                        embellama_error *error)
{
    if (!emb_tensor_name_valid(name, size)) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the name of tensor %zu is not 1 to %d bytes of printable UTF-8",
                        list->count, NAME_MAX_BYTES);
    }
    if (list->count == UINT32_MAX || !emb_tensor_list_reserve(list, 1)) {
        return emb_fail_nomem(error);
    }
    char *copy = emb_strndup(name, size);
    if (!copy) {
        return emb_fail_nomem(error);
    }
    int rc = emb_map_add(&list->by_name, copy, size, (uint32_t)list->count);
    if (rc != EMBELLAMA_OK) {
        rc = rc == EMBELLAMA_E_INVALID ? emb_fail(error, EMBELLAMA_E_FORMAT, "two tensors are named %s", copy)
                                       : emb_fail_nomem(error);
        emb_free(copy);
        return rc;
    }
    struct emb_tensor_entry *entry = &list->entries[list->count++];
    entry->tensor = *tensor;
    entry->tensor.name = entry->name = copy;
    return EMBELLAMA_OK;
}

const struct emb_tensor *emb_tensor_list_at(const struct emb_tensor_list *list, size_t index)
{
    return index < list->count ? &list->entries[index].tensor : NULL;
}

const struct emb_tensor *emb_tensor_list_find(const struct emb_tensor_list *list, const char *name)
{
    uint32_t index;
    return emb_map_get(&list->by_name, name, strlen(name), &index) ? &list->entries[index].tensor : NULL;
}

bool emb_tensor_name_valid(const char *name, size_t size)
{
    if (size < 1 || size > NAME_MAX_BYTES || emb_utf8_valid_prefix(name, size) != size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F) {
            return false;
        }
    }
    return true;
}

bool emb_tensor_elements(const uint64_t *dims, size_t n_dims, uint64_t *out)
{
    uint64_t product = 1;
    bool empty = false;
    for (size_t i = 0; i < n_dims; i++) {
        if (dims[i] == 0) {
            empty = true;
        } else if (__builtin_mul_overflow(product, dims[i], &product)) {
            return false;
        }
    }
    *out = empty ? 0 : product;
    return true;
}
