/* What is behind the opaque types of the public header. */
#ifndef EMB_HANDLE_H
#define EMB_HANDLE_H

#include "model/load.h"

struct embellama_model {
    struct emb_model loaded;
    char *file_types;
    embellama_model_info info;
};

#endif
