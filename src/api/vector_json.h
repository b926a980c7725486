/* Vectors as JSON, in every form a client may ask for: decimals, base64 of floats, and what is kept of them in a
 * byte or a bit a value.
 *
 * The small types are those of sentence-transformers' quantize_embeddings. int8 and uint8 need a range that is cut
 * into 255 steps; there it is taken from a calibration set, or from the batch, which would make a vector depend on
 * its neighbours. Here it is the vector's own: from -m to m, m its largest absolute value. Cosines of int8 vectors
 * are those of the floats to some 0.003 (the default model, 400 sentences), while products of vectors of different
 * ranges mean nothing. binary and ubinary are the signs, eight to a byte, the first value in the highest bit, 1 for
 * what is greater than 0; binary has 128 taken off each byte. Bits beyond the last value are 0. */
#ifndef EMB_VECTOR_JSON_H
#define EMB_VECTOR_JSON_H

#include "base/buf.h"

enum emb_vector_type {
    EMB_VECTOR_FLOAT,
    EMB_VECTOR_INT8,
    EMB_VECTOR_UINT8,
    EMB_VECTOR_BINARY,
    EMB_VECTOR_UBINARY,
};
enum { EMB_VECTOR_TYPES = EMB_VECTOR_UBINARY + 1 };

struct emb_vector_form {
    enum emb_vector_type type;
    bool base64; /* of the floats, or of the bytes, instead of a list of numbers */
};

/* Names of the types in their order, ended by NULL: "float", "int8", ... */
extern const char *const emb_vector_type_names[];

/* Bytes of n values of a small type, and what they are (int8 and binary as two's complement). */
size_t emb_vector_bytes(enum emb_vector_type type, size_t n);
void emb_vector_quantize(unsigned char *out, const float *values, size_t n, enum emb_vector_type type);

/* Appends the vector, a list or a string; null where values is NULL. */
void emb_vector_write(struct emb_buf *out, const float *values, size_t n, struct emb_vector_form form);

#endif
