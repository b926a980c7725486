/* Golden rows made by tools/golden/vectors.py, read for the tests of whole models. */
#ifndef EMB_GOLDEN_H
#define EMB_GOLDEN_H

#include "base/json.h"

struct golden_row {
    embellama_text text;
    int32_t *ids;
    size_t n_ids;
    struct emb_json_value json; /* the whole row */
};

struct golden {
    struct emb_json *json;
    struct golden_row *rows;
    size_t n;
};

/* Ends the test where the file cannot be read. */
struct golden golden_read(const char *path);
void golden_free(struct golden *golden);

/* The floats of an array, freed with free. */
float *golden_floats(struct emb_json_value array, size_t *n);

/* Cosine in double, and the largest absolute difference. */
double golden_cosine(const float *a, const float *b, size_t n);
double golden_difference(const float *a, const float *b, size_t n);

#endif
