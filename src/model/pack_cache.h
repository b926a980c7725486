/* Packed weights kept in files, so that the next start maps them and packs nothing.
 *
 * A folder holds, of the models used last, HASH-TIER-PRODUCT-vN.pack, what emb_weights_pack writes for a model of that hash; and for
 * each state of model files seen, a link of the same ending whose name is a hash of the files' stamps (base/file.h) and of what the
 * model's other files say. So a model is known again without reading it, and two copies of one share a file.
 *
 * A file is written beside its place, flushed and renamed, so it is whole or not there, whoever else writes at the time. On use the
 * header is judged in full (pack.h), but the values are not summed up again: that would read the whole file. The folder and files
 * must be this user's, and nobody else may write to them. */
#ifndef EMB_PACK_CACHE_H
#define EMB_PACK_CACHE_H

#include "model/weights.h"

enum { EMB_PACK_CACHE_KEEP = 8 }; /* files; the one used longest ago goes first */

/* Maps the model's packed weights from folder, made where it is absent; packs them into it where they are not there, or broken.
 * form->gemm is not NULL. When the folder cannot be used the weights are loaded as by emb_weights_load, and when that or a broken
 * file is to be told, notice gets a sentence; else it gets "". Errors as emb_weights_load. */
int emb_pack_cache_load(struct emb_weights *weights, const char *folder, const struct emb_spec *spec,
                        const struct emb_source *source, const struct emb_form *form, struct emb_team *team,
                        char notice[256], embellama_error *error);

#endif
