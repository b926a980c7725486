/* GGUF reading. One pass over the header builds an index of the metadata and of the tensors; nothing behind it is
 * touched.
 *
 * Owns the mapping and the two indexes. What a key means is for the readers of src/model and src/tokenizer. */
#include "format/gguf.h"

#include <string.h>

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/status.h"
#include "format/cursor.h"
#include "format/tensor_list.h"

enum {
    MAX_ENTRIES = 65536,
    MAX_TENSORS = 65536,
    MAX_DEPTH = 4, /* arrays of arrays; real files have none */
    MIN_ENTRY_BYTES = 8 + 1 + 4 + 1,
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8,
    DEFAULT_ALIGNMENT = 32,
};

enum value_type {
    VALUE_U8,
    VALUE_I8,
    VALUE_U16,
    VALUE_I16,
    VALUE_U32,
    VALUE_I32,
    VALUE_F32,
    VALUE_BOOL,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_U64,
    VALUE_I64,
    VALUE_F64,
    VALUE_COUNT,
};

/* Bytes of a value; 0 where it says itself. */
static const uint8_t value_bytes[VALUE_COUNT] = {
    [VALUE_U8] = 1,  [VALUE_I8] = 1,   [VALUE_U16] = 2, [VALUE_I16] = 2, [VALUE_U32] = 4, [VALUE_I32] = 4,
    [VALUE_F32] = 4, [VALUE_BOOL] = 1, [VALUE_U64] = 8, [VALUE_I64] = 8, [VALUE_F64] = 8,
};

/* Tensor types by ggml's number (enum ggml_type). Numbers without a row are retired there or newer than this table. */
static const struct tensor_type {
    uint32_t id;
    enum emb_dtype dtype;
    const char *name;
    uint32_t block, block_bytes;
} tensor_types[] = {
    {0, EMB_DTYPE_F32, "F32", 1, 4},           {1, EMB_DTYPE_F16, "F16", 1, 2},
    {2, EMB_DTYPE_Q4_0, "Q4_0", 32, 18},       {3, EMB_DTYPE_OTHER, "Q4_1", 32, 20},
    {6, EMB_DTYPE_Q5_0, "Q5_0", 32, 22},       {7, EMB_DTYPE_OTHER, "Q5_1", 32, 24},
    {8, EMB_DTYPE_Q8_0, "Q8_0", 32, 34},       {9, EMB_DTYPE_OTHER, "Q8_1", 32, 40},
    {10, EMB_DTYPE_OTHER, "Q2_K", 256, 84},    {11, EMB_DTYPE_OTHER, "Q3_K", 256, 110},
    {12, EMB_DTYPE_Q4_K, "Q4_K", 256, 144},    {13, EMB_DTYPE_OTHER, "Q5_K", 256, 176},
    {14, EMB_DTYPE_Q6_K, "Q6_K", 256, 210},    {15, EMB_DTYPE_OTHER, "Q8_K", 256, 292},
    {16, EMB_DTYPE_OTHER, "IQ2_XXS", 256, 66}, {17, EMB_DTYPE_OTHER, "IQ2_XS", 256, 74},
    {18, EMB_DTYPE_OTHER, "IQ3_XXS", 256, 98}, {19, EMB_DTYPE_OTHER, "IQ1_S", 256, 50},
    {20, EMB_DTYPE_OTHER, "IQ4_NL", 32, 18},   {21, EMB_DTYPE_OTHER, "IQ3_S", 256, 110},
    {22, EMB_DTYPE_OTHER, "IQ2_S", 256, 82},   {23, EMB_DTYPE_OTHER, "IQ4_XS", 256, 136},
    {24, EMB_DTYPE_OTHER, "I8", 1, 1},         {25, EMB_DTYPE_OTHER, "I16", 1, 2},
    {26, EMB_DTYPE_OTHER, "I32", 1, 4},        {27, EMB_DTYPE_I64, "I64", 1, 8},
    {28, EMB_DTYPE_OTHER, "F64", 1, 8},        {29, EMB_DTYPE_OTHER, "IQ1_M", 256, 56},
    {30, EMB_DTYPE_BF16, "BF16", 1, 2},        {34, EMB_DTYPE_OTHER, "TQ1_0", 256, 54},
    {35, EMB_DTYPE_OTHER, "TQ2_0", 256, 66},   {39, EMB_DTYPE_OTHER, "MXFP4", 32, 17},
    {40, EMB_DTYPE_OTHER, "NVFP4", 64, 36},    {41, EMB_DTYPE_OTHER, "Q1_0", 128, 18},
};

struct entry {
    const uint8_t *data; /* the value; an array's first element; a string's bytes */
    uint64_t count;      /* elements of an array; bytes of a string */
    uint32_t type;       /* enum value_type */
    uint32_t element;    /* of an array */
};

struct emb_gguf {
    struct emb_file file;
    struct entry *entries;
    size_t n_entries;
    struct emb_map by_key; /* keys lie in the mapping */
    struct emb_tensor_list tensors;
};

/* What opening carries along. */
struct reader {
    struct emb_gguf *gguf;
    struct emb_cursor cursor;
    uint64_t n_entries, n_tensors; /* as the header claims */
    embellama_error *error;
};

/* ---- Metadata ----------------------------------------------------------------------------------- */

static int check_bools(struct reader *r, const uint8_t *values, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (values[i] > 1) {
            return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, (uint64_t)(values - r->gguf->file.data) + i,
                               "a boolean is %u, not 0 or 1", values[i]);
        }
    }
    return EMBELLAMA_OK;
}

/* Passes over count values of one type, all of which must lie in the file. An overrun is left to the cursor's mark. */
static int skip_values(struct reader *r, uint32_t type, uint64_t count, int depth)
{
    struct emb_cursor *c = &r->cursor;
    if (type >= VALUE_COUNT) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, c->at, "metadata type %u is not defined", type);
    }
    if (depth > MAX_DEPTH) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, c->at, "arrays are nested deeper than %d", MAX_DEPTH);
    }
    if (value_bytes[type] > 0) {
        uint64_t bytes;
        if (__builtin_mul_overflow(count, (uint64_t)value_bytes[type], &bytes)) {
            bytes = UINT64_MAX;
        }
        const uint8_t *values = emb_cursor_bytes(c, bytes);
        return values && type == VALUE_BOOL ? check_bools(r, values, count) : EMBELLAMA_OK;
    }
    for (uint64_t i = 0; i < count && !c->failed; i++) {
        if (type == VALUE_STRING) {
            emb_cursor_bytes(c, emb_cursor_u64(c));
            continue;
        }
        uint32_t element = emb_cursor_u32(c);
        uint64_t n = emb_cursor_u64(c);
        int rc = skip_values(r, element, n, depth + 1);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
    }
    return EMBELLAMA_OK;
}

static int read_value(struct reader *r, struct entry *entry)
{
    struct emb_cursor *c = &r->cursor;
    entry->type = emb_cursor_u32(c);
    entry->count = 1;
    if (entry->type == VALUE_STRING) {
        entry->count = emb_cursor_u64(c);
        entry->data = emb_cursor_bytes(c, entry->count);
        return EMBELLAMA_OK;
    }
    uint32_t type = entry->type;
    if (entry->type == VALUE_ARRAY) {
        type = entry->element = emb_cursor_u32(c);
        entry->count = emb_cursor_u64(c);
    }
    entry->data = c->data + c->at;
    return skip_values(r, type, entry->count, 1);
}

static int read_entry(struct reader *r)
{
    struct emb_cursor *c = &r->cursor;
    struct emb_gguf *g = r->gguf;
    size_t start = c->at;
    uint64_t key_size = emb_cursor_u64(c);
    const char *key = (const char *)emb_cursor_bytes(c, key_size);
    if (key && !emb_tensor_name_valid(key, (size_t)key_size)) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, start,
                           "metadata key %zu is not printable UTF-8 of a usual length", g->n_entries);
    }
    struct entry *entry = &g->entries[g->n_entries];
    int rc = read_value(r, entry);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    if (c->failed) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, start,
                           "metadata entry %zu of %llu runs past the end of the file", g->n_entries,
                           (unsigned long long)r->n_entries);
    }
    rc = emb_map_add(&g->by_key, key, (size_t)key_size, (uint32_t)g->n_entries);
    if (rc == EMBELLAMA_E_INVALID) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, start, "metadata key %.*s is there twice", (int)key_size, key);
    }
    g->n_entries++;
    return rc == EMBELLAMA_OK ? rc : emb_fail_nomem(r->error);
}

static int read_metadata(struct reader *r)
{
    struct emb_gguf *g = r->gguf;
    g->entries = emb_calloc((size_t)r->n_entries, sizeof *g->entries);
    if (!g->entries || !emb_map_reserve(&g->by_key, (size_t)r->n_entries)) {
        return emb_fail_nomem(r->error);
    }
    for (uint64_t i = 0; i < r->n_entries; i++) {
        int rc = read_entry(r);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
    }
    return EMBELLAMA_OK;
}

/* ---- Tensors ------------------------------------------------------------------------------------ */

static const struct tensor_type *find_type(uint32_t id)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof tensor_types[0]; i++) {
        if (tensor_types[i].id == id) {
            return &tensor_types[i];
        }
    }
    return NULL;
}

/* Bytes of a tensor: dims[0] is the row and must be whole blocks. */
static bool tensor_bytes(const struct tensor_type *type, const uint64_t *dims, uint32_t n_dims, uint64_t *bytes)
{
    uint64_t elements;
    uint64_t row = n_dims > 0 ? dims[0] : 1;
    return row % type->block == 0 && emb_tensor_elements(dims, n_dims, &elements) &&
           !__builtin_mul_overflow(elements / type->block, (uint64_t)type->block_bytes, bytes);
}

/* Reads one tensor's record; its place in the data section stays in *offset until that section's start is known. */
static int read_tensor(struct reader *r, uint64_t *offset)
{
    struct emb_cursor *c = &r->cursor;
    struct emb_tensor tensor = {0};
    uint64_t dims[EMB_TENSOR_MAX_DIMS] = {0};
    size_t start = c->at, index = r->gguf->tensors.count;
    uint64_t name_size = emb_cursor_u64(c);
    const char *name = (const char *)emb_cursor_bytes(c, name_size);
    tensor.n_dims = emb_cursor_u32(c);
    if (tensor.n_dims > EMB_TENSOR_MAX_DIMS) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, start, "tensor %zu has %u dimensions, more than %d", index,
                           tensor.n_dims, EMB_TENSOR_MAX_DIMS);
    }
    for (uint32_t i = 0; i < tensor.n_dims; i++) {
        dims[i] = tensor.dims[tensor.n_dims - 1 - i] = emb_cursor_u64(c);
    }
    uint32_t id = emb_cursor_u32(c);
    *offset = emb_cursor_u64(c);
    if (c->failed) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, start, "tensor %zu of %llu runs past the end of the file",
                           index, (unsigned long long)r->n_tensors);
    }
    const struct tensor_type *type = find_type(id);
    if (!type) {
        return emb_fail_at(r->error, EMBELLAMA_E_UNSUPPORTED, start, "tensor %zu has the unknown type %u", index, id);
    }
    if (!tensor_bytes(type, dims, tensor.n_dims, &tensor.size)) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, start,
                           "tensor %zu: its dimensions overflow or its rows are not whole blocks of %s", index,
                           type->name);
    }
    tensor.type = type->dtype;
    tensor.type_name = type->name;
    int rc = emb_tensor_list_add(&r->gguf->tensors, &tensor, name, (size_t)name_size, r->error);
    if (rc != EMBELLAMA_OK && r->error) {
        r->error->offset = start;
    }
    return rc;
}

/* The alignment of the data section, or 0 where the file's is no power of two. */
static uint64_t read_alignment(const struct emb_gguf *g)
{
    int64_t value = 0;
    uint32_t index;
    const char *key = "general.alignment";
    if (!emb_map_get(&g->by_key, key, strlen(key), &index)) {
        return DEFAULT_ALIGNMENT;
    }
    return emb_gguf_get_int(g, key, &value) && value > 0 && (value & (value - 1)) == 0 ? (uint64_t)value : 0;
}

/* Gives each tensor its place, now that the data section is known to start at the next multiple of the alignment. */
static int place_tensors(struct reader *r, const uint64_t *offsets)
{
    const struct emb_file *file = &r->gguf->file;
    struct emb_tensor_list *list = &r->gguf->tensors;
    uint64_t alignment = read_alignment(r->gguf);
    if (alignment == 0) {
        return emb_fail(r->error, EMBELLAMA_E_FORMAT, "general.alignment is not a power of two");
    }
    uint64_t padding = -(uint64_t)r->cursor.at & (alignment - 1);
    for (size_t i = 0; i < list->count; i++) {
        struct emb_tensor *t = &list->entries[i].tensor;
        uint64_t at;
        if (offsets[i] % alignment != 0) {
            return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, r->cursor.at,
                               "tensor %s: its offset %llu is not a multiple of %llu", t->name,
                               (unsigned long long)offsets[i], (unsigned long long)alignment);
        }
        if (__builtin_add_overflow(r->cursor.at + padding, offsets[i], &at) || at > file->size ||
            t->size > file->size - at) {
            return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, r->cursor.at,
                               "tensor %s: its %llu bytes at offset %llu run past the end of the file", t->name,
                               (unsigned long long)t->size, (unsigned long long)offsets[i]);
        }
        t->data = file->data + at;
    }
    return EMBELLAMA_OK;
}

static int read_tensors(struct reader *r)
{
    uint64_t *offsets = emb_calloc((size_t)r->n_tensors, sizeof *offsets);
    int rc = EMBELLAMA_OK;
    if (!offsets || !emb_tensor_list_reserve(&r->gguf->tensors, (size_t)r->n_tensors)) {
        rc = emb_fail_nomem(r->error);
    }
    for (uint64_t i = 0; i < r->n_tensors && rc == EMBELLAMA_OK; i++) {
        rc = read_tensor(r, &offsets[i]);
    }
    if (rc == EMBELLAMA_OK) {
        rc = place_tensors(r, offsets);
    }
    emb_free(offsets);
    return rc;
}

/* ---- Opening ------------------------------------------------------------------------------------ */

static int read_header(struct reader *r)
{
    struct emb_cursor *c = &r->cursor;
    const uint8_t *magic = emb_cursor_bytes(c, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0) {
        return emb_fail(r->error, EMBELLAMA_E_FORMAT, "not a GGUF file");
    }
    uint32_t version = emb_cursor_u32(c);
    r->n_tensors = emb_cursor_u64(c);
    r->n_entries = emb_cursor_u64(c);
    if (c->failed) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, c->at, "the file ends inside its header");
    }
    if (version != 0 && (version & 0xFFFF) == 0) {
        return emb_fail_at(r->error, EMBELLAMA_E_UNSUPPORTED, 4, "big-endian GGUF files are not supported");
    }
    if (version < 2 || version > 3) {
        return emb_fail_at(r->error, EMBELLAMA_E_UNSUPPORTED, 4, "GGUF version %u is not supported (2 and 3 are)",
                           version);
    }
    size_t left = emb_cursor_left(c);
    if (r->n_entries > MAX_ENTRIES || r->n_entries > left / MIN_ENTRY_BYTES) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, 16, "%llu metadata entries: more than the file can hold",
                           (unsigned long long)r->n_entries);
    }
    if (r->n_tensors > MAX_TENSORS || r->n_tensors > left / MIN_TENSOR_BYTES) {
        return emb_fail_at(r->error, EMBELLAMA_E_FORMAT, 8, "%llu tensors: more than the file can hold",
                           (unsigned long long)r->n_tensors);
    }
    return EMBELLAMA_OK;
}

int emb_gguf_open(struct emb_gguf **out, const char *path, embellama_error *error)
{
    embellama_error why = {0};
    struct emb_gguf *g = emb_calloc(1, sizeof *g);
    if (!g) {
        return emb_fail_nomem(error);
    }
    emb_map_init(&g->by_key);
    emb_tensor_list_init(&g->tensors);
    int rc = emb_file_map(&g->file, path, error);
    if (rc != EMBELLAMA_OK) {
        emb_gguf_close(g);
        return rc;
    }
    struct reader r = {.gguf = g, .error = &why};
    emb_cursor_init(&r.cursor, g->file.data, g->file.size);
    if ((rc = read_header(&r)) == EMBELLAMA_OK && (rc = read_metadata(&r)) == EMBELLAMA_OK) {
        rc = read_tensors(&r);
    }
    if (rc != EMBELLAMA_OK) {
        emb_gguf_close(g);
        return emb_fail_at(error, rc, why.offset, "%s: %s", path, why.message);
    }
    *out = g;
    return EMBELLAMA_OK;
}

void emb_gguf_close(struct emb_gguf *gguf)
{
    if (!gguf) {
        return;
    }
    emb_tensor_list_deinit(&gguf->tensors);
    emb_map_deinit(&gguf->by_key);
    emb_free(gguf->entries);
    emb_file_unmap(&gguf->file);
    emb_free(gguf);
}

const struct emb_file *emb_gguf_file(const struct emb_gguf *gguf)
{
    return &gguf->file;
}

uint64_t emb_gguf_file_size(const struct emb_gguf *gguf)
{
    return gguf->file.size;
}

size_t emb_gguf_tensor_count(const struct emb_gguf *gguf)
{
    return gguf->tensors.count;
}

const struct emb_tensor *emb_gguf_tensor_at(const struct emb_gguf *gguf, size_t index)
{
    return emb_tensor_list_at(&gguf->tensors, index);
}

const struct emb_tensor *emb_gguf_tensor(const struct emb_gguf *gguf, const char *name)
{
    return emb_tensor_list_find(&gguf->tensors, name);
}

/* ---- Metadata by key ---------------------------------------------------------------------------- */

static const struct entry *find_entry(const struct emb_gguf *g, const char *key)
{
    uint32_t index;
    return emb_map_get(&g->by_key, key, strlen(key), &index) ? &g->entries[index] : NULL;
}

/* False for a type that is no integer and for what int64_t does not hold. */
static bool load_int(uint32_t type, const uint8_t *p, int64_t *out)
{
    uint64_t u;
    switch (type) {
    case VALUE_U8: *out = p[0]; return true;
    case VALUE_I8: *out = (int8_t)p[0]; return true;
    case VALUE_U16: *out = emb_load_u16(p); return true;
    case VALUE_I16: *out = (int16_t)emb_load_u16(p); return true;
    case VALUE_U32: *out = emb_load_u32(p); return true;
    case VALUE_I32: *out = (int32_t)emb_load_u32(p); return true;
    case VALUE_I64: *out = (int64_t)emb_load_u64(p); return true;
    case VALUE_U64:
        u = emb_load_u64(p);
        if (u > INT64_MAX) {
            return false;
        }
        *out = (int64_t)u;
        return true;
    default: return false;
    }
}

static bool load_number(uint32_t type, const uint8_t *p, double *out)
{
    int64_t i;
    if (type == VALUE_F32) {
        float f;
        memcpy(&f, p, sizeof f);
        *out = f;
        return true;
    }
    if (type == VALUE_F64) {
        memcpy(out, p, sizeof *out);
        return true;
    }
    if (!load_int(type, p, &i)) {
        return false;
    }
    *out = (double)i;
    return true;
}

bool emb_gguf_get_int(const struct emb_gguf *gguf, const char *key, int64_t *out)
{
    const struct entry *e = find_entry(gguf, key);
    return e && load_int(e->type, e->data, out);
}

bool emb_gguf_get_number(const struct emb_gguf *gguf, const char *key, double *out)
{
    const struct entry *e = find_entry(gguf, key);
    return e && load_number(e->type, e->data, out);
}

bool emb_gguf_get_bool(const struct emb_gguf *gguf, const char *key, bool *out)
{
    const struct entry *e = find_entry(gguf, key);
    if (!e || e->type != VALUE_BOOL) {
        return false;
    }
    *out = e->data[0] != 0;
    return true;
}

bool emb_gguf_get_string(const struct emb_gguf *gguf, const char *key, struct emb_gguf_string *out)
{
    const struct entry *e = find_entry(gguf, key);
    if (!e || e->type != VALUE_STRING) {
        return false;
    }
    *out = (struct emb_gguf_string){(const char *)e->data, (size_t)e->count};
    return true;
}

bool emb_gguf_get_string_array(const struct emb_gguf *gguf, const char *key, uint64_t *count)
{
    const struct entry *e = find_entry(gguf, key);
    if (!e || e->type != VALUE_ARRAY || e->element != VALUE_STRING) {
        return false;
    }
    *count = e->count;
    return true;
}

bool emb_gguf_get_int_array(const struct emb_gguf *gguf, const char *key, uint64_t *count)
{
    const struct entry *e = find_entry(gguf, key);
    int64_t value;
    if (!e || e->type != VALUE_ARRAY || value_bytes[e->element] == 0) {
        return false;
    }
    for (uint64_t i = 0; i < e->count; i++) {
        if (!load_int(e->element, e->data + i * value_bytes[e->element], &value)) {
            return false;
        }
    }
    if (e->count == 0 && (e->element == VALUE_F32 || e->element == VALUE_F64 || e->element == VALUE_BOOL)) {
        return false;
    }
    *count = e->count;
    return true;
}

bool emb_gguf_get_number_array(const struct emb_gguf *gguf, const char *key, uint64_t *count)
{
    const struct entry *e = find_entry(gguf, key);
    if (e && e->type == VALUE_ARRAY && (e->element == VALUE_F32 || e->element == VALUE_F64)) {
        *count = e->count;
        return true;
    }
    return emb_gguf_get_int_array(gguf, key, count);
}

void emb_gguf_read_strings(const struct emb_gguf *gguf, const char *key, struct emb_gguf_string *out)
{
    const struct entry *e = find_entry(gguf, key);
    const uint8_t *p = e->data;
    for (uint64_t i = 0; i < e->count; i++) {
        out[i] = (struct emb_gguf_string){(const char *)p + 8, (size_t)emb_load_u64(p)};
        p += 8 + out[i].size;
    }
}

void emb_gguf_read_ints(const struct emb_gguf *gguf, const char *key, int64_t *out)
{
    const struct entry *e = find_entry(gguf, key);
    for (uint64_t i = 0; i < e->count; i++) {
        load_int(e->element, e->data + i * value_bytes[e->element], &out[i]);
    }
}

void emb_gguf_read_numbers(const struct emb_gguf *gguf, const char *key, float *out)
{
    const struct entry *e = find_entry(gguf, key);
    double value = 0;
    for (uint64_t i = 0; i < e->count; i++) {
        load_number(e->element, e->data + i * value_bytes[e->element], &value);
        out[i] = (float)value;
    }
}
