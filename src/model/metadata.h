/* What the files beside the weights say: family and sizes, and how sentence-transformers pools and normalises. */
#ifndef EMB_METADATA_H
#define EMB_METADATA_H

#include "model/source.h"
#include "model/spec.h"

/* Fill a spec from a Hugging Face directory (config.json, modules.json, sentence_bert_config.json, ...) or a GGUF file. What the
 * reference would do and we cannot is E_UNSUPPORTED, never skipped: another family, a Dense module. */
int emb_metadata_from_directory(struct emb_spec *spec, const char *directory, const struct emb_source *source,
                                embellama_error *error);
int emb_metadata_from_gguf(struct emb_spec *spec, const struct emb_gguf *gguf, embellama_error *error);

#endif
