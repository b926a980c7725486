/* NumPy header. */
#include "cli/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREAMBLE 10 /* magic, version, length of the rest */

void emb_npy_write_header(char out[EMB_NPY_HEADER], uint64_t rows, size_t dim)
{
    static const char magic[8] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0};
    memcpy(out, magic, sizeof magic);
    out[8] = EMB_NPY_HEADER - PREAMBLE;
    out[9] = 0;
    int n = snprintf(out + PREAMBLE, EMB_NPY_HEADER - PREAMBLE,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRIu64 ", %zu), }", rows, dim);
    memset(out + PREAMBLE + n, ' ', (size_t)(EMB_NPY_HEADER - PREAMBLE - n));
    out[EMB_NPY_HEADER - 1] = '\n';
}

bool emb_npy_read_header(const char header[EMB_NPY_HEADER], uint64_t *rows, size_t *dim)
{
    char text[EMB_NPY_HEADER - PREAMBLE + 1], again[EMB_NPY_HEADER];
    memcpy(text, header + PREAMBLE, EMB_NPY_HEADER - PREAMBLE);
    text[EMB_NPY_HEADER - PREAMBLE] = '\0';
    const char *shape = strstr(text, "'shape': (");
    if (!shape) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    *rows = strtoull(shape + strlen("'shape': ("), &end, 10);
    *dim = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;
    emb_npy_write_header(again, *rows, *dim);
    return errno == 0 && memcmp(header, again, EMB_NPY_HEADER) == 0;
}
