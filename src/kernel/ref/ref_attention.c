/* Attention in portable C: softmax kept online over key blocks of fixed width (Milakov and
 * Gimelshein 2018, "Online normalizer calculation for softmax"), so no row of scores is ever whole.
 *
 * A query's result depends on its own row and all keys, never on the other queries of the call. */
#include "kernel/ref/ref.h"

#include "kernel/bf16.h"

#include <math.h>

#define KEY_BLOCK 64

/* Three rows of f32: one query's running output, its query, and a key or a value at a time. */
size_t emb_attention_scratch_ref(size_t n, size_t head_dim)
{
    (void)n;
    if (head_dim > SIZE_MAX / (3 * sizeof(float)) - 64) {
        return 0;
    }
    return (3 * head_dim * sizeof(float) + 63) / 64 * 64;
}

struct softmax {
    float max;
    float sum;
};

/* Row i of q, k or v as f32: in place, or widened into room. */
static const float *row_of(const struct emb_attention_job *job, const void *x, size_t i, float *room)
{
    if (!job->in_bf16) {
        return (const float *)x + i * job->ld;
    }
    const emb_bf16 *from = (const emb_bf16 *)x + i * job->ld;
    for (size_t d = 0; d < job->head_dim; d++) {
        room[d] = emb_bf16_to_f32(from[d]);
    }
    return room;
}

/* Takes keys j0..j0+count into acc and the running softmax. */
static void add_keys(const struct emb_attention_job *job, const float *q, size_t j0, size_t count, struct softmax *s,
                     float *acc)
{
    float score[KEY_BLOCK];
    float *room = acc + 2 * job->head_dim;
    float max = s->max;
    for (size_t j = 0; j < count; j++) {
        const float *k = row_of(job, job->k, j0 + j, room);
        float dot = 0.0f;
        for (size_t d = 0; d < job->head_dim; d++) {
            dot += q[d] * k[d];
        }
        score[j] = dot * job->scale;
        max = score[j] > max ? score[j] : max;
    }
    float keep = expf(s->max - max);
    s->max = max;
    s->sum *= keep;
    for (size_t d = 0; d < job->head_dim; d++) {
        acc[d] *= keep;
    }
    for (size_t j = 0; j < count; j++) {
        const float *v = row_of(job, job->v, j0 + j, room);
        float weight = expf(score[j] - max);
        s->sum += weight;
        for (size_t d = 0; d < job->head_dim; d++) {
            acc[d] += weight * v[d];
        }
    }
}

void emb_attention_ref(const struct emb_attention_job *job)
{
    float *acc = job->scratch;
    for (size_t i = job->q0; i < job->q1; i++) {
        struct softmax s = {.max = -INFINITY, .sum = 0.0f};
        const float *q = row_of(job, job->q, i, acc + job->head_dim);
        for (size_t d = 0; d < job->head_dim; d++) {
            acc[d] = 0.0f;
        }
        for (size_t j = 0; j < job->n; j += KEY_BLOCK) {
            size_t count = job->n - j < KEY_BLOCK ? job->n - j : KEY_BLOCK;
            add_keys(job, q, j, count, &s, acc);
        }
        for (size_t d = 0; d < job->head_dim; d++) {
            float x = acc[d] / s.sum;
            if (job->out_bf16) {
                ((emb_bf16 *)job->out)[i * job->ldo + d] = emb_bf16_from_f32(x);
            } else {
                ((float *)job->out)[i * job->ldo + d] = x;
            }
        }
    }
}
