/* Pooling, normalisation, cosine. Sums run in one fixed order, so that equal inputs give equal bits. */
#include "model/pooling.h"

#include <math.h>
#include <string.h>

static void sum_rows(const float *states, size_t tokens, size_t hidden, float divisor, float *out)
{
    memset(out, 0, hidden * sizeof *out);
    for (size_t t = 0; t < tokens; t++) {
        for (size_t c = 0; c < hidden; c++) {
            out[c] += states[t * hidden + c];
        }
    }
    for (size_t c = 0; c < hidden; c++) {
        out[c] /= divisor;
    }
}

/* NaN wins, so that it is found afterwards. */
static void max_rows(const float *states, size_t tokens, size_t hidden, float *out)
{
    memcpy(out, states, hidden * sizeof *out);
    for (size_t t = 1; t < tokens; t++) {
        for (size_t c = 0; c < hidden; c++) {
            float v = states[t * hidden + c];
            out[c] = v > out[c] || isnan(v) ? v : out[c];
        }
    }
}

void emb_pool_states(const float *states, size_t tokens, size_t hidden, embellama_pooling pooling, float *out)
{
    switch (pooling) {
    case EMBELLAMA_POOLING_CLS: memcpy(out, states, hidden * sizeof *out); break;
    case EMBELLAMA_POOLING_LAST: memcpy(out, states + (tokens - 1) * hidden, hidden * sizeof *out); break;
    case EMBELLAMA_POOLING_MAX: max_rows(states, tokens, hidden, out); break;
    case EMBELLAMA_POOLING_MEAN_SQRT_LEN: sum_rows(states, tokens, hidden, sqrtf((float)tokens), out); break;
    default: sum_rows(states, tokens, hidden, (float)tokens, out); break;
    }
}

bool emb_all_finite(const float *v, size_t dim)
{
    for (size_t i = 0; i < dim; i++) {
        if (!isfinite(v[i])) {
            return false;
        }
    }
    return true;
}

/* The length that normalisation makes 1. In double: the squares of finite floats cannot overflow there. */
static double measure(const float *v, size_t dim, embellama_normalize normalize, float p)
{
    double total = 0, largest = 0;
    for (size_t i = 0; i < dim; i++) {
        double a = fabs((double)v[i]);
        largest = a > largest ? a : largest;
    }
    if (normalize == EMBELLAMA_NORMALIZE_MAX_ABS || largest == 0) {
        return largest;
    }
    for (size_t i = 0; i < dim; i++) {
        double a = fabs((double)v[i]);
        total += normalize == EMBELLAMA_NORMALIZE_P ? pow(a / largest, (double)p) : a * a;
    }
    return normalize == EMBELLAMA_NORMALIZE_P ? largest * pow(total, 1 / (double)p) : sqrt(total);
}

void embellama_normalize_vector(float *v, size_t dim, embellama_normalize normalize, float p)
{
    if (normalize == EMBELLAMA_NORMALIZE_NONE) {
        return;
    }
    double length = measure(v, dim, normalize, p);
    if (length > 0) {
        for (size_t i = 0; i < dim; i++) {
            v[i] = (float)((double)v[i] / length);
        }
    }
}

float embellama_cosine(const float *a, const float *b, size_t dim)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dim; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? (float)(ab / sqrt(aa) / sqrt(bb)) : 0;
}
