/* Frames between front and worker, as one that got hold of the other end might send them: whole and in pieces they must give the same,
 * and nothing outside the bytes is read. The first byte says how they are cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pool/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS = 8, TOKENS = 32, DIM = 3, LABELS = 2, ANSWERS = 2, VALUES = 6 };

/* Both ends in one: batches are taken, and one answer is waited for. */
static const struct emb_wire_limits limits = {
    .inputs = INPUTS, .tokens = TOKENS, .answer_inputs = ANSWERS, .answer_values = VALUES};

struct outcome {
    size_t frames, sane;
    bool broken;
    uint64_t sum;
};

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* Takes a whole frame's payload apart, in room of exactly the size that its header says. */
static bool take(const struct emb_wire_header *h, const uint8_t *payload)
{
    bool sane = true;
    if (h->kind == EMB_WIRE_BATCH) {
        uint32_t *counts = malloc(h->inputs * sizeof *counts);
        int32_t *ids = malloc(h->tokens * sizeof *ids);
        struct emb_task *tasks = malloc(h->tasks * sizeof *tasks + 1);
        check(counts && ids && tasks && h->inputs >= 1 && h->inputs <= INPUTS && h->tokens <= TOKENS);
        check(h->tasks == 0 || h->tasks == h->inputs);
        sane = emb_wire_batch(h, payload, counts, ids, tasks);
        uint64_t sum = 0;
        for (size_t i = 0; sane && i < h->inputs; i++) {
            check(counts[i] > 0);
            check(h->tasks == 0 || (tasks[i].kind < EMB_TASK_KINDS && tasks[i].second <= counts[i]));
            sum += counts[i];
        }
        check(!sane || sum == h->tokens);
        check(!sane ||
              emb_task_values_of(h->tasks > 0 ? tasks : NULL, counts, h->inputs, DIM, LABELS) <= (size_t)TOKENS * DIM);
        free(counts);
        free(ids);
        free(tasks);
    } else if (h->kind == EMB_WIRE_ANSWER) {
        int *statuses = malloc(h->inputs * sizeof *statuses);
        float *vectors = malloc(VALUES * sizeof *vectors);
        check(statuses && vectors && h->inputs == ANSWERS && h->payload == (ANSWERS + VALUES) * sizeof *vectors);
        sane = emb_wire_answer(h, payload, statuses, vectors);
        free(statuses);
        free(vectors);
    }
    return sane;
}

/* Offers the first end bytes from at on, in memory of exactly that size. */
static struct outcome run(const uint8_t *data, size_t size, size_t step)
{
    struct outcome out = {0};
    size_t at = 0, end = 0;
    while (!out.broken && end <= size) {
        struct emb_wire_header h;
        uint8_t *piece = malloc(end - at + 1);
        check(piece != NULL);
        uint8_t *start = piece + 1; /* of no alignment */
        memcpy(start, data + at, end - at);
        enum emb_wire_state state = emb_wire_look(start, end - at, &limits, &h);
        if (state == EMB_WIRE_FRAME) {
            check(sizeof h + h.payload <= end - at && sizeof h + h.payload <= emb_wire_most(&limits));
            out.sane += take(&h, start + sizeof h);
            out.frames++;
            out.sum = out.sum * 31 + h.payload + h.sequence;
            at += sizeof h + (size_t)h.payload;
        } else if (state == EMB_WIRE_BROKEN) {
            out.broken = true;
        } else if (end == size) {
            end++;
        } else {
            end = size - end < step ? size : end + step;
        }
        free(piece);
    }
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct outcome whole = run(data + 1, size - 1, size), pieces = run(data + 1, size - 1, 1u + data[0] % 64u);
    check(whole.frames == pieces.frames && whole.sane == pieces.sane && whole.broken == pieces.broken &&
          whole.sum == pieces.sum);
    return 0;
}
