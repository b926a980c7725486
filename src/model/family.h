/* Model families: each fills a spec from a config.json or from GGUF metadata. One short file a family (family/). */
#ifndef EMB_FAMILY_H
#define EMB_FAMILY_H

#include "base/json.h"
#include "format/gguf.h"
#include "model/spec.h"

struct emb_family {
    const char *name;
    const char *hf_model_type;     /* config.json "model_type" */
    const char *hf_classifier;     /* of config.json's "architectures": the one that has a classification head */
    const char *gguf_architecture; /* "general.architecture" */

    /* Fill what the file says (sizes, activation, names); pooling, normalisation and prefix are the loader's. Errors: E_FORMAT
     * (absent or absurd values), E_UNSUPPORTED (a variant we do not run). */
    int (*from_config)(struct emb_spec *spec, struct emb_json_value config, embellama_error *error);
    int (*from_gguf)(struct emb_spec *spec, const struct emb_gguf *gguf, embellama_error *error);
};

extern const struct emb_family emb_family_bert;

enum { EMB_LABELS_MOST = 4096 };

/* All families, NULL-terminated. */
extern const struct emb_family *const emb_families[];

/* Checks that sizes are positive, bounded (so that products fit) and consistent. */
int emb_spec_check(const struct emb_spec *spec, embellama_error *error);

#endif
