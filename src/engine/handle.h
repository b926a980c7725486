/* What is behind the opaque types of the public header. */
#ifndef EMB_HANDLE_H
#define EMB_HANDLE_H

#include "engine/replica.h"
#include "model/load.h"

struct embellama_model {
    struct emb_model loaded;
    struct emb_replicas replicas;
    char *file_types;
    embellama_model_info info;
};

/* E_UNSUPPORTED: the model was attached without its path. */
int emb_fail_no_tokenizer(embellama_error *error);

#endif
