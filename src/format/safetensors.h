/* Safetensors: the tensors of a Hugging Face directory, in model.safetensors or in shards named by
 * model.safetensors.index.json. Format: huggingface/safetensors README ("Format").
 *
 * Files are hostile: header length, JSON, types, shapes and byte ranges are checked on opening; a shard's name may not leave the
 * directory. */
#ifndef EMB_SAFETENSORS_H
#define EMB_SAFETENSORS_H

#include "base/file.h"
#include "embellama/embellama.h"
#include "format/tensor.h"

struct emb_safetensors;

/* Maps and checks the weight files of a directory. Errors: E_NOT_FOUND (neither file is there, or a
 * shard is missing), E_IO, E_FORMAT, E_UNSUPPORTED (a tensor of more than four dimensions), E_NOMEM. */
int emb_safetensors_open(struct emb_safetensors **out, const char *directory, embellama_error *error);
void emb_safetensors_close(struct emb_safetensors *st); /* NULL is allowed */

/* The mapped files: index < count. */
size_t emb_safetensors_file_count(const struct emb_safetensors *st);
const struct emb_file *emb_safetensors_file(const struct emb_safetensors *st, size_t index);

uint64_t emb_safetensors_file_size(const struct emb_safetensors *st); /* of all shards */

size_t emb_safetensors_tensor_count(const struct emb_safetensors *st);
const struct emb_tensor *emb_safetensors_tensor_at(const struct emb_safetensors *st, size_t index);
const struct emb_tensor *emb_safetensors_tensor(const struct emb_safetensors *st, const char *name); /* or NULL */

#endif
