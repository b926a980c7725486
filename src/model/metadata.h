/* What the files beside the weights say: family and sizes, and how sentence-transformers pools and normalises. */
#ifndef EMB_METADATA_H
#define EMB_METADATA_H

#include "base/json.h"
#include "model/source.h"
#include "model/spec.h"

/* Fill a spec from a Hugging Face directory (config.json, modules.json, sentence_bert_config.json, ...) or a GGUF file. What the
 * reference would do and we cannot is E_UNSUPPORTED, never skipped: another family, a Dense module. */
int emb_metadata_from_directory(struct emb_spec *spec, const char *directory, const struct emb_source *source,
                                embellama_error *error);
int emb_metadata_from_gguf(struct emb_spec *spec, const struct emb_gguf *gguf, embellama_error *error);

/* Parses directory/name, of at most 4 MiB. On success *out is the caller's, else NULL. Errors: E_NOT_FOUND, E_IO, E_FORMAT, E_NOMEM. */
int emb_metadata_json(struct emb_json **out, const char *directory, const char *name, embellama_error *error);

/* The same; where there is no such file it succeeds, and *out is NULL. */
int emb_metadata_json_if_any(struct emb_json **out, const char *directory, const char *name, embellama_error *error);

/* What an entry of modules.json is: the last part of its type ("Pooling"), or "". Belongs to the JSON. */
const char *emb_metadata_module(struct emb_json_value module);

#endif
