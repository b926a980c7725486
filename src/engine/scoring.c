/* Scores of texts and pairs: the public functions of cross-encoders. Computing them is context.c's, as vectors are. */
#include <string.h>

#include "engine/call.h"
#include "engine/handle.h"
#include "model/head.h"

/* ---- Calls ---- */

/* Of options only what scores have too. */
static int resolve(struct emb_call *call, const embellama_embed_options *options, embellama_error *error)
{
    embellama_embed_options only = embellama_embed_options_default();
    only.pooling = EMBELLAMA_POOLING_CLS;
    only.max_length = options ? options->max_length : 0;
    only.truncate = options && options->truncate;
    return emb_call_resolve(call, &only, error);
}

int embellama_score_ids(embellama_ctx *ctx, const embellama_pair *inputs, size_t n, bool raw, float *out, int *statuses,
                        embellama_error *error)
{
    struct emb_call call = {.ctx = ctx, .n = n, .out = out, .score = true, .raw = raw};
    int rc = resolve(&call, NULL, error);
    return rc == EMBELLAMA_OK ? emb_call_ids(&call, NULL, inputs, statuses, error) : rc;
}

int embellama_score(embellama_ctx *ctx, embellama_text query, const embellama_text *documents, size_t n,
                    const embellama_embed_options *options, bool raw, float *out, int *statuses, embellama_error *error)
{
    struct emb_call call = {.ctx = ctx, .n = n, .out = out, .score = true, .raw = raw, .query = &query};
    int rc = resolve(&call, options, error);
    return rc == EMBELLAMA_OK ? emb_call_texts(&call, documents, statuses, error) : rc;
}

void embellama_activate(const embellama_model *model, float *logits)
{
    emb_head_activate(&model->loaded.spec.head, logits);
}

/* ---- Truncation ---- */

/* Lengths of two texts that shall have room tokens together: tokenizers' longest_first, which evens out the longer one first and
 * gives an odd token to the second, or to the one that was longer. */
static void share(size_t room, size_t *first, size_t *second)
{
    size_t *shorter = *first <= *second ? first : second, *longer = shorter == first ? second : first;
    if (*first + *second <= room) {
        return;
    }
    *shorter = *shorter < room / 2 ? *shorter : room / 2;
    *longer = room - *shorter;
}

size_t embellama_truncate_pair(const embellama_model *model, int32_t *ids, size_t count, size_t *second, size_t limit)
{
    struct emb_pair_frame frame = {0};
    if (*second >= count) {
        return *second = embellama_truncate_ids(model, ids, count, limit);
    }
    if (limit == 0) {
        limit = model->loaded.spec.positions;
    }
    if (model->loaded.tokenizer) {
        frame = emb_tokenizer_pair_frame(model->loaded.tokenizer);
    }
    size_t special = frame.before + frame.between + frame.after;
    if (count <= limit) {
        return count;
    }
    if (*second < frame.before + frame.between || count - *second < frame.after) {
        count = embellama_truncate_ids(model, ids, count, limit);
        *second = *second < count ? *second : count;
        return count;
    }
    size_t first_text = *second - frame.before - frame.between, second_text = count - *second - frame.after;
    int32_t *between = ids + frame.before + first_text, *after = ids + count - frame.after;
    share(limit > special ? limit - special : 0, &first_text, &second_text);

    int32_t *at = ids + frame.before + first_text;
    memmove(at, between, (frame.between + second_text) * sizeof *ids);
    at += frame.between;
    *second = (size_t)(at - ids);
    at += second_text;
    memmove(at, after, frame.after * sizeof *ids);
    return (size_t)(at - ids) + frame.after;
}
