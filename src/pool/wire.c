/* Frames, made and judged. */
#include "pool/wire.h"

#include <string.h>

#define MAGIC 0x57424D45u /* "EMBW" */

struct emb_wire_header emb_wire_hello_header(void)
{
    return (struct emb_wire_header){
        .magic = MAGIC, .version = EMB_WIRE_VERSION, .kind = EMB_WIRE_HELLO, .payload = sizeof(struct emb_wire_hello)};
}

struct emb_wire_header emb_wire_batch_header(uint64_t sequence, size_t inputs, size_t tokens)
{
    return (struct emb_wire_header){.magic = MAGIC,
                                    .version = EMB_WIRE_VERSION,
                                    .kind = EMB_WIRE_BATCH,
                                    .sequence = sequence,
                                    .inputs = (uint32_t)inputs,
                                    .tokens = (uint32_t)tokens,
                                    .payload = (inputs + tokens) * 4};
}

struct emb_wire_header emb_wire_answer_header(uint64_t sequence, size_t inputs, size_t dim)
{
    return (struct emb_wire_header){.magic = MAGIC,
                                    .version = EMB_WIRE_VERSION,
                                    .kind = EMB_WIRE_ANSWER,
                                    .sequence = sequence,
                                    .inputs = (uint32_t)inputs,
                                    .dim = (uint32_t)dim,
                                    .payload = inputs * (1 + dim) * 4};
}

/* Bytes of the payload that kind and counts ask for, or UINT64_MAX for what is beyond the limits. */
static uint64_t expected_payload(const struct emb_wire_header *h, const struct emb_wire_limits *l)
{
    uint64_t inputs = h->inputs;
    if (h->kind == EMB_WIRE_HELLO) {
        return sizeof(struct emb_wire_hello);
    }
    if (inputs == 0 || inputs > l->inputs) {
        return UINT64_MAX;
    }
    if (h->kind == EMB_WIRE_BATCH && h->tokens >= inputs && h->tokens <= l->tokens) {
        return (inputs + h->tokens) * 4;
    }
    if (h->kind == EMB_WIRE_ANSWER && l->dim > 0 && h->dim == l->dim) {
        return inputs * (1 + (uint64_t)h->dim) * 4;
    }
    return UINT64_MAX;
}

enum emb_wire_state emb_wire_look(const void *bytes, size_t size, const struct emb_wire_limits *limits,
                                  struct emb_wire_header *h)
{
    if (size < sizeof *h) {
        return EMB_WIRE_MORE;
    }
    memcpy(h, bytes, sizeof *h);
    if (h->magic != MAGIC || h->version != EMB_WIRE_VERSION || h->payload != expected_payload(h, limits)) {
        return EMB_WIRE_BROKEN;
    }
    return size - sizeof *h < h->payload ? EMB_WIRE_MORE : EMB_WIRE_FRAME;
}

size_t emb_wire_most(const struct emb_wire_limits *l)
{
    size_t batch = ((size_t)l->inputs + l->tokens) * 4, answer = (size_t)l->inputs * (1 + (size_t)l->dim) * 4;
    size_t most = batch > answer ? batch : answer;
    return sizeof(struct emb_wire_header) +
           (most > sizeof(struct emb_wire_hello) ? most : sizeof(struct emb_wire_hello));
}

bool emb_wire_batch(const struct emb_wire_header *h, const void *payload, uint32_t *counts, int32_t *ids)
{
    uint64_t sum = 0;
    bool whole = true;
    memcpy(counts, payload, h->inputs * sizeof *counts);
    memcpy(ids, (const uint8_t *)payload + h->inputs * sizeof *counts, h->tokens * sizeof *ids);
    for (size_t i = 0; i < h->inputs; i++) {
        sum += counts[i];
        whole = whole && counts[i] > 0;
    }
    return whole && sum == h->tokens;
}

bool emb_wire_answer(const struct emb_wire_header *h, const void *payload, int *statuses, float *vectors)
{
    memcpy(statuses, payload, h->inputs * sizeof *statuses);
    memcpy(vectors, (const uint8_t *)payload + h->inputs * sizeof *statuses,
           (size_t)h->inputs * h->dim * sizeof *vectors);
    for (size_t i = 0; i < h->inputs; i++) {
        if (strcmp(embellama_status_name(statuses[i]), "E_UNKNOWN") == 0) {
            return false;
        }
    }
    return true;
}
