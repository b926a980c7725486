/* GGUF files, versions 2 and 3 (little-endian): metadata and tensors. Format: ggml's docs/gguf.md.
 *
 * The file is hostile: every count, length, offset, type and name is checked on opening, before anything is allocated by it.
 * Metadata is indexed, not copied: strings and arrays point into the mapping. */
#ifndef EMB_GGUF_H
#define EMB_GGUF_H

#include "base/file.h"
#include "embellama/embellama.h"
#include "format/tensor.h"

struct emb_gguf;

struct emb_gguf_string {
    const char *data; /* not zero-ended; may hold any bytes */
    size_t size;
};

/* Maps and checks a file. Errors: E_NOT_FOUND, E_IO, E_FORMAT (with the offset), E_UNSUPPORTED (version 1, big-endian), E_NOMEM. */
int emb_gguf_open(struct emb_gguf **out, const char *path, embellama_error *error);
void emb_gguf_close(struct emb_gguf *gguf); /* NULL is allowed */

const struct emb_file *emb_gguf_file(const struct emb_gguf *gguf); /* the mapped file */
uint64_t emb_gguf_file_size(const struct emb_gguf *gguf);

/* Metadata by key. False, and *out untouched, where the key is absent or of another kind (any integer type that fits counts as
 * an integer, f32 and f64 and integers as a number). */
bool emb_gguf_get_int(const struct emb_gguf *gguf, const char *key, int64_t *out);
bool emb_gguf_get_number(const struct emb_gguf *gguf, const char *key, double *out);
bool emb_gguf_get_bool(const struct emb_gguf *gguf, const char *key, bool *out);
bool emb_gguf_get_string(const struct emb_gguf *gguf, const char *key, struct emb_gguf_string *out);

/* Arrays: how many elements, or false where absent or of another element kind. */
bool emb_gguf_get_string_array(const struct emb_gguf *gguf, const char *key, uint64_t *count);
bool emb_gguf_get_int_array(const struct emb_gguf *gguf, const char *key, uint64_t *count);
bool emb_gguf_get_number_array(const struct emb_gguf *gguf, const char *key, uint64_t *count);

/* Reads a string array whole: out[0..count) as counted by emb_gguf_get_string_array. */
void emb_gguf_read_strings(const struct emb_gguf *gguf, const char *key, struct emb_gguf_string *out);
void emb_gguf_read_ints(const struct emb_gguf *gguf, const char *key, int64_t *out);
void emb_gguf_read_numbers(const struct emb_gguf *gguf, const char *key, float *out);

size_t emb_gguf_tensor_count(const struct emb_gguf *gguf);
const struct emb_tensor *emb_gguf_tensor_at(const struct emb_gguf *gguf, size_t index);
const struct emb_tensor *emb_gguf_tensor(const struct emb_gguf *gguf, const char *name); /* or NULL */

#endif
