/* Scores of texts and pairs: the public functions of cross-encoders. */
#include "base/status.h"
#include "engine/handle.h"

static int fail_no_head(embellama_error *error)
{
    return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "the model makes vectors and has no head that scores");
}

int embellama_score_ids(embellama_ctx *ctx, const embellama_pair *inputs, size_t n, bool raw, float *out, int *statuses,
                        embellama_error *error)
{
    (void)ctx, (void)inputs, (void)n, (void)raw, (void)out, (void)statuses;
    return fail_no_head(error);
}

int embellama_score(embellama_ctx *ctx, embellama_text query, const embellama_text *documents, size_t n,
                    const embellama_embed_options *options, bool raw, float *out, int *statuses, embellama_error *error)
{
    (void)ctx, (void)query, (void)documents, (void)n, (void)options, (void)raw, (void)out, (void)statuses;
    return fail_no_head(error);
}

void embellama_activate(const embellama_model *model, float *logits)
{
    (void)model, (void)logits;
}

size_t embellama_truncate_pair(const embellama_model *model, int32_t *ids, size_t count, size_t *second, size_t limit)
{
    count = embellama_truncate_ids(model, ids, count, limit);
    *second = *second < count ? *second : count;
    return count;
}
