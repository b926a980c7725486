/* Dispatch between the two weight formats. */
#include "model/source.h"

#include "base/file.h"

int emb_source_open(struct emb_source *source, const char *path, embellama_error *error)
{
    *source = (struct emb_source){0};
    return emb_path_is_dir(path) ? emb_safetensors_open(&source->safetensors, path, error)
                                 : emb_gguf_open(&source->gguf, path, error);
}

void emb_source_close(struct emb_source *source)
{
    emb_gguf_close(source->gguf);
    emb_safetensors_close(source->safetensors);
    *source = (struct emb_source){0};
}

const char *emb_source_format(const struct emb_source *source)
{
    return source->gguf ? "gguf" : "safetensors";
}

uint64_t emb_source_file_size(const struct emb_source *source)
{
    return source->gguf ? emb_gguf_file_size(source->gguf) : emb_safetensors_file_size(source->safetensors);
}

size_t emb_source_file_count(const struct emb_source *source)
{
    return source->gguf ? 1 : emb_safetensors_file_count(source->safetensors);
}

const struct emb_file *emb_source_file(const struct emb_source *source, size_t index)
{
    return source->gguf ? emb_gguf_file(source->gguf) : emb_safetensors_file(source->safetensors, index);
}

size_t emb_source_tensor_count(const struct emb_source *source)
{
    return source->gguf ? emb_gguf_tensor_count(source->gguf) : emb_safetensors_tensor_count(source->safetensors);
}

const struct emb_tensor *emb_source_tensor_at(const struct emb_source *source, size_t index)
{
    return source->gguf ? emb_gguf_tensor_at(source->gguf, index)
                        : emb_safetensors_tensor_at(source->safetensors, index);
}

const struct emb_tensor *emb_source_tensor(const struct emb_source *source, const char *name)
{
    return source->gguf ? emb_gguf_tensor(source->gguf, name) : emb_safetensors_tensor(source->safetensors, name);
}
