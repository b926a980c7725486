/* Safetensors reading: one file, or the shards that an index names.
 *
 * Owns the mappings and the list of tensors. Which of them a model needs is for src/model to say. */
#include "format/safetensors.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/status.h"
#include "format/cursor.h"
#include "format/tensor_list.h"

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME "model.safetensors.index.json"

enum {
    MAX_JSON_BYTES = 100000000, /* the reference's cap on a header */
    MAX_SHARDS = 1024,
};

/* Element types by the format's names (enum Dtype of huggingface/safetensors), with their bits: some are parts of
 * bytes. */
static const struct st_type {
    const char *name;
    enum emb_dtype dtype;
    uint32_t bits;
} st_types[] = {
    {"F32", EMB_DTYPE_F32, 32},      {"F16", EMB_DTYPE_F16, 16},      {"BF16", EMB_DTYPE_BF16, 16},
    {"I64", EMB_DTYPE_I64, 64},      {"BOOL", EMB_DTYPE_OTHER, 8},    {"U8", EMB_DTYPE_OTHER, 8},
    {"I8", EMB_DTYPE_OTHER, 8},      {"F8_E5M2", EMB_DTYPE_OTHER, 8}, {"F8_E4M3", EMB_DTYPE_OTHER, 8},
    {"F8_E8M0", EMB_DTYPE_OTHER, 8}, {"F6_E2M3", EMB_DTYPE_OTHER, 6}, {"F6_E3M2", EMB_DTYPE_OTHER, 6},
    {"F4", EMB_DTYPE_OTHER, 4},      {"I16", EMB_DTYPE_OTHER, 16},    {"U16", EMB_DTYPE_OTHER, 16},
    {"I32", EMB_DTYPE_OTHER, 32},    {"U32", EMB_DTYPE_OTHER, 32},    {"F64", EMB_DTYPE_OTHER, 64},
    {"U64", EMB_DTYPE_OTHER, 64},    {"C64", EMB_DTYPE_OTHER, 64},
};

struct emb_safetensors {
    struct emb_file *files;
    size_t n_files;
    uint64_t file_size;
    struct emb_tensor_list tensors;
};

/* What an index says: tensor name -> number of the shard in names. Strings belong to the document. */
struct shard_index {
    struct emb_json *json;
    struct emb_map shard_of; /* by tensor */
    const char *names[MAX_SHARDS];
    uint32_t n_shards;
};

/* ---- One file ----------------------------------------------------------------------------------- */

static const struct st_type *find_type(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof st_types / sizeof st_types[0]; i++) {
        if (strlen(st_types[i].name) == size && memcmp(st_types[i].name, name, size) == 0) {
            return &st_types[i];
        }
    }
    return NULL;
}

/* Reads an array of exactly *n (max: at most *n, which becomes the count) integers >= 0. */
static bool read_sizes(struct emb_json_value object, const char *key, uint64_t *out, size_t max, size_t *n)
{
    struct emb_json_value list;
    if (!emb_json_get(object, key, &list) || emb_json_type(list) != EMB_JSON_ARRAY) {
        return false;
    }
    *n = 0;
    for (struct emb_json_iter it = emb_json_iterate(list); emb_json_next(&it);) {
        int64_t value;
        if (!emb_json_digits(it.value, &value) || value < 0) {
            return false;
        }
        if (*n < max) {
            out[*n] = (uint64_t)value;
        }
        ++*n;
    }
    return true;
}

static bool shape_bytes(const struct emb_tensor *tensor, uint32_t type_bits, uint64_t *bytes)
{
    uint64_t elements, bits;
    if (!emb_tensor_elements(tensor->dims, tensor->n_dims, &elements) ||
        __builtin_mul_overflow(elements, (uint64_t)type_bits, &bits) || bits % 8 != 0) {
        return false;
    }
    *bytes = bits / 8;
    return true;
}

/* Makes a tensor of one member of the header. data[0..size) is the file behind the header. */
static int read_tensor(struct emb_json_value member, const char *name, const uint8_t *data, size_t size,
                       struct emb_tensor *tensor, embellama_error *error)
{
    const char *type_name;
    size_t type_size, n_dims, n_offsets;
    uint64_t range[2], bytes;
    if (!emb_json_get_string(member, "dtype", &type_name, &type_size)) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "tensor %s has no dtype", name);
    }
    const struct st_type *type = find_type(type_name, type_size);
    if (!type) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "tensor %s has the unknown dtype %.32s", name, type_name);
    }
    if (!read_sizes(member, "shape", tensor->dims, EMB_TENSOR_MAX_DIMS, &n_dims)) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "tensor %s: its shape is not a list of sizes", name);
    }
    if (n_dims > EMB_TENSOR_MAX_DIMS) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "tensor %s has %zu dimensions, more than %d", name, n_dims,
                        EMB_TENSOR_MAX_DIMS);
    }
    if (!read_sizes(member, "data_offsets", range, 2, &n_offsets) || n_offsets != 2) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "tensor %s: its data_offsets are not two sizes", name);
    }
    if (range[0] > range[1] || range[1] > size) {
        return emb_fail(error, EMBELLAMA_E_FORMAT,
                        "tensor %s: its bytes %llu to %llu are not inside the %zu of the file", name,
                        (unsigned long long)range[0], (unsigned long long)range[1], size);
    }
    tensor->n_dims = (uint32_t)n_dims;
    if (!shape_bytes(tensor, type->bits, &bytes) || bytes != range[1] - range[0]) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "tensor %s: its shape as %s does not make its %llu bytes", name,
                        type->name, (unsigned long long)(range[1] - range[0]));
    }
    tensor->type = type->dtype;
    tensor->type_name = type->name;
    tensor->data = data + range[0];
    tensor->size = bytes;
    return EMBELLAMA_OK;
}

/* Adds the tensors of a header to the list: all, or those that the index places in this shard. */
static int read_members(struct emb_safetensors *st, struct emb_json_value header, const uint8_t *data, size_t size,
                        const struct shard_index *index, uint32_t shard, embellama_error *error)
{
    for (struct emb_json_iter it = emb_json_iterate(header); emb_json_next(&it);) {
        struct emb_tensor tensor = {0};
        uint32_t home;
        if (strcmp(it.key, "__metadata__") == 0) {
            continue;
        }
        if (index && (!emb_map_get(&index->shard_of, it.key, it.key_size, &home) || home != shard)) {
            continue;
        }
        if (!emb_tensor_name_valid(it.key, it.key_size)) {
            return emb_fail(error, EMBELLAMA_E_FORMAT,
                            "the name of tensor %zu is not printable UTF-8 of a usual length", st->tensors.count);
        }
        int rc = read_tensor(it.value, it.key, data, size, &tensor, error);
        if (rc == EMBELLAMA_OK) {
            rc = emb_tensor_list_add(&st->tensors, &tensor, it.key, it.key_size, error);
        }
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
    }
    return EMBELLAMA_OK;
}

/* Parses the header: a length in 8 bytes, then as many bytes of JSON. */
static int parse_header(const struct emb_file *file, struct emb_json **json, size_t *header_size,
                        embellama_error *error)
{
    struct emb_cursor cursor;
    emb_cursor_init(&cursor, file->data, file->size);
    uint64_t length = emb_cursor_u64(&cursor);
    if (cursor.failed) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the file ends inside the length of its header");
    }
    if (length > MAX_JSON_BYTES) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "a header of %llu bytes is longer than the %d allowed",
                        (unsigned long long)length, MAX_JSON_BYTES);
    }
    const uint8_t *text = emb_cursor_bytes(&cursor, length);
    if (!text) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the file ends inside its header of %llu bytes",
                        (unsigned long long)length);
    }
    char *padded = emb_calloc((size_t)length + EMB_JSON_PADDING, 1);
    if (!padded) {
        return emb_fail_nomem(error);
    }
    memcpy(padded, text, (size_t)length);
    int rc = emb_json_parse(json, padded, (size_t)length, error);
    emb_free(padded);
    if (rc == EMBELLAMA_OK && emb_json_type(emb_json_root(*json)) != EMB_JSON_OBJECT) {
        emb_json_free(*json);
        *json = NULL;
        rc = emb_fail(error, EMBELLAMA_E_FORMAT, "the header is not a JSON object");
    }
    *header_size = cursor.at;
    return rc;
}

/* Maps directory/name and adds its tensors. */
static int open_file(struct emb_safetensors *st, const char *directory, const char *name,
                     const struct shard_index *index, uint32_t shard, embellama_error *error)
{
    embellama_error why = {0};
    struct emb_file *file = &st->files[st->n_files];
    struct emb_json *json = NULL;
    size_t header_size = 0;
    char *path = emb_path_join(directory, name);
    if (!path) {
        return emb_fail_nomem(error);
    }
    int rc = emb_file_map(file, path, error);
    if (rc != EMBELLAMA_OK) {
        emb_free(path);
        return rc;
    }
    st->n_files++;
    st->file_size += file->size;
    rc = parse_header(file, &json, &header_size, &why);
    if (rc == EMBELLAMA_OK) {
        rc = read_members(st, emb_json_root(json), file->data + header_size, file->size - header_size, index, shard,
                          &why);
        emb_json_free(json);
    }
    if (rc != EMBELLAMA_OK) {
        emb_fail(error, rc, "%s: %s", path, why.message);
    }
    emb_free(path);
    return rc;
}

/* ---- Shards ------------------------------------------------------------------------------------- */

/* A shard lies in the index's own directory. */
static bool shard_name_valid(const char *name, size_t size)
{
    return emb_tensor_name_valid(name, size) && size <= 255 && strchr(name, '/') == NULL &&
           strstr(name, "..") == NULL && strcmp(name, ".") != 0;
}

/* The number of the shard called name, which is given one where it is new. -1 when there are too many. */
static int shard_number(struct shard_index *index, struct emb_map *shards, const char *name, size_t size, uint32_t *out)
{
    if (emb_map_get(shards, name, size, out)) {
        return EMBELLAMA_OK;
    }
    if (index->n_shards == MAX_SHARDS) {
        return EMBELLAMA_E_FORMAT;
    }
    *out = index->n_shards;
    index->names[index->n_shards++] = name;
    return emb_map_add(shards, name, size, *out);
}

static int read_weight_map(struct shard_index *index, struct emb_map *shards, embellama_error *error)
{
    struct emb_json_value weights;
    if (!emb_json_get(emb_json_root(index->json), "weight_map", &weights) ||
        emb_json_type(weights) != EMB_JSON_OBJECT) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "it has no weight_map");
    }
    for (struct emb_json_iter it = emb_json_iterate(weights); emb_json_next(&it);) {
        const char *name;
        size_t size;
        uint32_t shard = 0;
        if (!emb_tensor_name_valid(it.key, it.key_size)) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, "a tensor's name is not printable UTF-8 of a usual length");
        }
        if (!emb_json_string(it.value, &name, &size) || !shard_name_valid(name, size)) {
            return emb_fail(error, EMBELLAMA_E_FORMAT,
                            "tensor %s: its shard is not the name of a file beside the index", it.key);
        }
        int rc = shard_number(index, shards, name, size, &shard);
        if (rc == EMBELLAMA_E_FORMAT) {
            return emb_fail(error, rc, "it names more than %d shards", MAX_SHARDS);
        }
        if (rc == EMBELLAMA_OK) {
            rc = emb_map_add(&index->shard_of, it.key, it.key_size, shard);
        }
        if (rc != EMBELLAMA_OK) {
            return rc == EMBELLAMA_E_NOMEM ? emb_fail_nomem(error)
                                           : emb_fail(error, EMBELLAMA_E_FORMAT, "two tensors are named %s", it.key);
        }
    }
    return EMBELLAMA_OK;
}

/* After all shards were read: every tensor of the index must have been in its own. */
static int check_complete(const struct emb_safetensors *st, const struct shard_index *index, embellama_error *error)
{
    struct emb_json_value weights;
    if (st->tensors.count == index->shard_of.count ||
        !emb_json_get(emb_json_root(index->json), "weight_map", &weights)) {
        return EMBELLAMA_OK;
    }
    for (struct emb_json_iter it = emb_json_iterate(weights); emb_json_next(&it);) {
        uint32_t shard;
        if (!emb_tensor_list_find(&st->tensors, it.key) && emb_map_get(&index->shard_of, it.key, it.key_size, &shard)) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, "tensor %s is not in its shard %s", it.key, index->names[shard]);
        }
    }
    return EMBELLAMA_OK;
}

static int open_shards(struct emb_safetensors *st, const char *directory, const char *index_path,
                       embellama_error *error)
{
    embellama_error why = {0};
    struct emb_map shards;
    struct shard_index *index = emb_calloc(1, sizeof *index);
    if (!index) {
        return emb_fail_nomem(error);
    }
    emb_map_init(&shards);
    emb_map_init(&index->shard_of);
    int rc = emb_json_read(&index->json, index_path, MAX_JSON_BYTES, error);
    if (rc != EMBELLAMA_OK) {
        goto done;
    }
    rc = read_weight_map(index, &shards, &why);
    if (rc == EMBELLAMA_OK && !(st->files = emb_calloc(index->n_shards, sizeof *st->files))) {
        rc = emb_fail_nomem(&why);
    }
    if (rc != EMBELLAMA_OK) {
        emb_fail(error, rc, "%s: %s", index_path, why.message);
        goto done;
    }
    for (uint32_t i = 0; i < index->n_shards && rc == EMBELLAMA_OK; i++) {
        rc = open_file(st, directory, index->names[i], index, i, error);
    }
    if (rc == EMBELLAMA_OK && (rc = check_complete(st, index, &why)) != EMBELLAMA_OK) {
        emb_fail(error, rc, "%s: %s", index_path, why.message);
    }
done:
    emb_map_deinit(&shards);
    emb_map_deinit(&index->shard_of);
    if (index->json) {
        emb_json_free(index->json);
    }
    emb_free(index);
    return rc;
}

/* ---- Opening ------------------------------------------------------------------------------------ */

static int open_directory(struct emb_safetensors *st, const char *directory, embellama_error *error)
{
    char *single = emb_path_join(directory, SINGLE_NAME);
    char *index = emb_path_join(directory, INDEX_NAME);
    int rc;
    if (!single || !index) {
        rc = emb_fail_nomem(error);
    } else if (emb_path_exists(single)) {
        st->files = emb_calloc(1, sizeof *st->files);
        rc = st->files ? open_file(st, directory, SINGLE_NAME, NULL, 0, error) : emb_fail_nomem(error);
    } else if (emb_path_exists(index)) {
        rc = open_shards(st, directory, index, error);
    } else if (!emb_path_is_dir(directory)) {
        rc = emb_fail(error, EMBELLAMA_E_NOT_FOUND, "%s is not a directory", directory);
    } else {
        rc = emb_fail(error, EMBELLAMA_E_NOT_FOUND, "%s holds neither %s nor %s", directory, SINGLE_NAME, INDEX_NAME);
    }
    emb_free(single);
    emb_free(index);
    return rc;
}

int emb_safetensors_open(struct emb_safetensors **out, const char *directory, embellama_error *error)
{
    struct emb_safetensors *st = emb_calloc(1, sizeof *st);
    if (!st) {
        return emb_fail_nomem(error);
    }
    emb_tensor_list_init(&st->tensors);
    int rc = open_directory(st, directory, error);
    if (rc != EMBELLAMA_OK) {
        emb_safetensors_close(st);
        return rc;
    }
    *out = st;
    return EMBELLAMA_OK;
}

void emb_safetensors_close(struct emb_safetensors *st)
{
    if (!st) {
        return;
    }
    emb_tensor_list_deinit(&st->tensors);
    for (size_t i = 0; i < st->n_files; i++) {
        emb_file_unmap(&st->files[i]);
    }
    emb_free(st->files);
    emb_free(st);
}

size_t emb_safetensors_file_count(const struct emb_safetensors *st)
{
    return st->n_files;
}

const struct emb_file *emb_safetensors_file(const struct emb_safetensors *st, size_t index)
{
    return &st->files[index];
}

uint64_t emb_safetensors_file_size(const struct emb_safetensors *st)
{
    return st->file_size;
}

size_t emb_safetensors_tensor_count(const struct emb_safetensors *st)
{
    return st->tensors.count;
}

const struct emb_tensor *emb_safetensors_tensor_at(const struct emb_safetensors *st, size_t index)
{
    return emb_tensor_list_at(&st->tensors, index);
}

const struct emb_tensor *emb_safetensors_tensor(const struct emb_safetensors *st, const char *name)
{
    return emb_tensor_list_find(&st->tensors, name);
}
