/* Frames, made and judged. */
#include "pool/wire.h"

#include <string.h>

#define MAGIC 0x57424D45u /* "EMBW" */

struct emb_wire_header emb_wire_hello_header(void)
{
    return (struct emb_wire_header){
        .magic = MAGIC, .version = EMB_WIRE_VERSION, .kind = EMB_WIRE_HELLO, .payload = sizeof(struct emb_wire_hello)};
}

struct emb_wire_header emb_wire_batch_header(uint64_t sequence, size_t inputs, size_t tokens, bool tasks)
{
    return (struct emb_wire_header){.magic = MAGIC,
                                    .version = EMB_WIRE_VERSION,
                                    .kind = EMB_WIRE_BATCH,
                                    .sequence = sequence,
                                    .inputs = (uint32_t)inputs,
                                    .tokens = (uint32_t)tokens,
                                    .tasks = tasks ? (uint32_t)inputs : 0,
                                    .payload = (inputs + tokens) * 4 + (tasks ? inputs * sizeof(struct emb_task) : 0)};
}

struct emb_wire_header emb_wire_answer_header(uint64_t sequence, size_t inputs, size_t values)
{
    return (struct emb_wire_header){.magic = MAGIC,
                                    .version = EMB_WIRE_VERSION,
                                    .kind = EMB_WIRE_ANSWER,
                                    .sequence = sequence,
                                    .inputs = (uint32_t)inputs,
                                    .payload = (inputs + values) * 4};
}

/* Bytes of the payload that kind and counts ask for, or UINT64_MAX for what is beyond the limits. */
static uint64_t expected_payload(const struct emb_wire_header *h, const struct emb_wire_limits *l)
{
    uint64_t inputs = h->inputs;
    if (h->kind == EMB_WIRE_HELLO) {
        return sizeof(struct emb_wire_hello);
    }
    if (inputs == 0) {
        return UINT64_MAX;
    }
    if (h->kind == EMB_WIRE_BATCH && inputs <= l->inputs && h->tokens >= inputs && h->tokens <= l->tokens &&
        (h->tasks == 0 || h->tasks == inputs)) {
        return (inputs + h->tokens) * 4 + h->tasks * sizeof(struct emb_task);
    }
    if (h->kind == EMB_WIRE_ANSWER && inputs == l->answer_inputs) {
        return (inputs + l->answer_values) * 4;
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
    size_t batch = ((size_t)l->inputs + l->tokens) * 4 + l->inputs * sizeof(struct emb_task);
    size_t answer = ((size_t)l->answer_inputs + l->answer_values) * 4;
    size_t most = batch > answer ? batch : answer;
    return sizeof(struct emb_wire_header) +
           (most > sizeof(struct emb_wire_hello) ? most : sizeof(struct emb_wire_hello));
}

static bool sane_task(const struct emb_task *task, uint32_t count)
{
    return task->kind == EMB_TASK_SCORE ? task->second <= count : task->kind < EMB_TASK_KINDS && task->second == 0;
}

bool emb_wire_batch(const struct emb_wire_header *h, const void *payload, uint32_t *counts, int32_t *ids,
                    struct emb_task *tasks)
{
    uint64_t sum = 0;
    bool whole = true;
    const uint8_t *at = payload;
    memcpy(counts, at, h->inputs * sizeof *counts);
    at += h->inputs * sizeof *counts;
    memcpy(ids, at, h->tokens * sizeof *ids);
    at += h->tokens * sizeof *ids;
    if (h->tasks > 0) {
        memcpy(tasks, at, h->tasks * sizeof *tasks);
    }
    for (size_t i = 0; i < h->inputs; i++) {
        sum += counts[i];
        whole = whole && counts[i] > 0 && (h->tasks == 0 || sane_task(&tasks[i], counts[i]));
    }
    return whole && sum == h->tokens;
}

bool emb_wire_answer(const struct emb_wire_header *h, const void *payload, int *statuses, float *vectors)
{
    memcpy(statuses, payload, h->inputs * sizeof *statuses);
    size_t before = h->inputs * sizeof *statuses;
    memcpy(vectors, (const uint8_t *)payload + before, (size_t)h->payload - before);
    for (size_t i = 0; i < h->inputs; i++) {
        if (strcmp(embellama_status_name(statuses[i]), "E_UNKNOWN") == 0) {
            return false;
        }
    }
    return true;
}
