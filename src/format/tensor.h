/* A tensor of a mapped weight file, whichever format it came in. */
#ifndef EMB_TENSOR_H
#define EMB_TENSOR_H

#include <stdint.h>

#include "format/dtype.h"

enum { EMB_TENSOR_MAX_DIMS = 4 };

/* Checked when its file was opened: size is exactly what type and dims make, and data[0..size) lies inside the mapping.
 * Elements are row-major, the last dimension contiguous (GGUF's reversed dimensions are turned round). */
struct emb_tensor {
    const char *name; /* zero-ended, belongs to the file's index */
    enum emb_dtype type;
    const char *type_name;              /* as the file calls it: also says what EMB_DTYPE_OTHER was */
    uint32_t n_dims;                    /* 0 for a scalar */
    uint64_t dims[EMB_TENSOR_MAX_DIMS]; /* outermost first */
    const uint8_t *data;                /* not necessarily aligned to the type */
    uint64_t size;                      /* bytes */
};

#endif
