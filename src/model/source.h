/* Where a model's tensors come from: one view over a GGUF file or the safetensors files of a directory. */
#ifndef EMB_SOURCE_H
#define EMB_SOURCE_H

#include "format/gguf.h"
#include "format/safetensors.h"

/* Exactly one of the two is open. */
struct emb_source {
    struct emb_gguf *gguf;
    struct emb_safetensors *safetensors;
};

/* Opens path: a directory as safetensors, anything else as GGUF. */
int emb_source_open(struct emb_source *source, const char *path, embellama_error *error);
void emb_source_close(struct emb_source *source);

const char *emb_source_format(const struct emb_source *source); /* "gguf" or "safetensors" */
uint64_t emb_source_file_size(const struct emb_source *source);

/* The mapped files: index < count. */
size_t emb_source_file_count(const struct emb_source *source);
const struct emb_file *emb_source_file(const struct emb_source *source, size_t index);

size_t emb_source_tensor_count(const struct emb_source *source);
const struct emb_tensor *emb_source_tensor_at(const struct emb_source *source, size_t index);
const struct emb_tensor *emb_source_tensor(const struct emb_source *source, const char *name); /* or NULL */

#endif
