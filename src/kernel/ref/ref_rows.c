/* Layer normalisation, conversion and dot product in portable C. All sums are f32, in rising order.
 */
#include "kernel/ref/ref.h"

#include "kernel/bf16.h"

#include <math.h>

void emb_layernorm_ref(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                       float *y, emb_bf16 *y16)
{
    for (size_t r = 0; r < rows; r++, x += dim, y += dim) {
        float sum = 0.0f, squares = 0.0f;
        for (size_t i = 0; i < dim; i++) {
            sum += x[i];
        }
        float mean = sum / (float)dim;
        for (size_t i = 0; i < dim; i++) {
            squares += (x[i] - mean) * (x[i] - mean);
        }
        float inverse = 1.0f / sqrtf(squares / (float)dim + eps);
        for (size_t i = 0; i < dim; i++) {
            y[i] = (x[i] - mean) * inverse * gamma[i] + beta[i];
        }
        if (y16) {
            emb_f32_to_bf16_ref(y, dim, y16 + r * dim);
        }
    }
}

void emb_f32_to_bf16_ref(const float *x, size_t n, emb_bf16 *y)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = emb_bf16_from_f32(x[i]);
    }
}

float emb_dot_ref(const float *a, const float *b, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}
