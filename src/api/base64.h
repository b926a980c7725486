/* base64 (RFC 4648, section 4): standard alphabet, padded. */
#ifndef EMB_BASE64_H
#define EMB_BASE64_H

#include "base/buf.h"

void emb_base64(struct emb_buf *out, const void *data, size_t size);

/* Little-endian IEEE 754 single precision. */
void emb_base64_floats(struct emb_buf *out, const float *values, size_t n);

#endif
