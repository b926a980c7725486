/* The header of a NumPy file (format 1.0, numpy.lib.format): a float32 matrix in C order, padded so that it can be rewritten
 * in place as rows are added. */
#ifndef EMB_CLI_NPY_H
#define EMB_CLI_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMB_NPY_HEADER 128

void emb_npy_write_header(char out[EMB_NPY_HEADER], uint64_t rows, size_t dim);

/* Reads back a header that emb_npy_write_header made; false for any other. */
bool emb_npy_read_header(const char header[EMB_NPY_HEADER], uint64_t *rows, size_t *dim);

#endif
