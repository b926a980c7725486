/* Vectors as base64: little-endian IEEE 754 single precision, standard alphabet, padded. */
#ifndef EMB_BASE64_H
#define EMB_BASE64_H

#include "base/buf.h"

void emb_base64_floats(struct emb_buf *out, const float *values, size_t n);

#endif
