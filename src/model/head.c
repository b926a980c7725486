/* classifier(tanh(pooler(state))): two small products by rows, in f32 whatever the encoder's products are. */
#include "model/head.h"

#include <math.h>

/* Independent sums, which the compiler can keep in vector registers. */
enum { LANES = 16 };

static float dot(const float *a, const float *b, size_t n)
{
    float sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            sums[k] += a[i + k] * b[i + k];
        }
    }
    for (size_t k = 0; i < n; i++, k++) {
        sums[k] += a[i] * b[i];
    }
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t k = 0; k < width; k++) {
            sums[k] += sums[k + width];
        }
    }
    return sums[0];
}

static void multiply(const float *w, const float *bias, const float *x, size_t n, size_t k, float *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = dot(w + i * k, x, k) + bias[i];
    }
}

void emb_head_logits(const struct emb_head *head, const struct emb_spec *spec, const float *state, float *pooled,
                     float *logits)
{
    size_t h = spec->hidden;
    if (spec->head.pooler) {
        multiply(head->pooler, head->pooler_bias, state, h, h, pooled);
        for (size_t i = 0; i < h; i++) {
            pooled[i] = tanhf(pooled[i]);
        }
        state = pooled;
    }
    multiply(head->classifier, head->classifier_bias, state, spec->head.labels, h, logits);
}

static void softmax(float *values, size_t n)
{
    float most = values[0], sum = 0;
    for (size_t i = 1; i < n; i++) {
        most = values[i] > most ? values[i] : most;
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = expf(values[i] - most);
        sum += values[i];
    }
    for (size_t i = 0; i < n; i++) {
        values[i] /= sum;
    }
}

void emb_head_activate(const struct emb_head_spec *head, float *logits)
{
    if (head->act == EMB_SCORE_SOFTMAX && head->labels > 0) {
        softmax(logits, head->labels);
        return;
    }
    for (size_t i = 0; i < head->labels; i++) {
        switch (head->act) {
        case EMB_SCORE_SIGMOID: logits[i] = 1 / (1 + expf(-logits[i])); break;
        case EMB_SCORE_TANH: logits[i] = tanhf(logits[i]); break;
        default: break;
        }
    }
}
