/* Pairs. Inputs of the request are the pairs, or for cosines the documents and behind them the queries. */
#include "api/pairs.h"

#include <math.h>
#include <stdio.h>

#include "api/embed_options.h"
#include "base/mem.h"

int emb_pairs_begin(struct emb_pairs *pairs, struct emb_embed_request *r, bool cosine)
{
    size_t labels = embellama_model_get_info(r->inputs.model)->labels;
    if (labels == 0 && !cosine) {
        return emb_refuse(&r->refusal, 400, "invalid_request_error", "model", "not_supported",
                          "This model makes vectors of texts and no scores of pairs: it cannot rerank. To rank by the "
                          "cosine of its vectors instead, send \"rank_by\": \"cosine\".");
    }
    if (labels > 0 && cosine) {
        return emb_refuse(&r->refusal, 400, "invalid_request_error", "rank_by", "not_supported",
                          "This model scores pairs of texts and makes no vectors: there are no cosines.");
    }
    if (labels > 1) {
        return emb_refuse(&r->refusal, 400, "invalid_request_error", "model", "not_supported",
                          "This model is a classifier of %zu labels: it does not say with one score how well texts "
                          "go together.",
                          labels);
    }
    pairs->cosine = cosine;
    r->task = cosine ? EMB_TASK_EMBED : EMB_TASK_SCORE;
    return 0;
}

/* ---- Adding ---- */

/* Cuts text behind its limit-th token. */
static int cut(struct emb_embed_inputs *in, embellama_text *text, size_t limit, const char *name,
               struct emb_refusal *refusal)
{
    enum { SPECIAL = 8 };
    size_t count = 0, room = limit + SPECIAL, seen = 0;
    embellama_error error = {0};
    if (text->size <= limit) { /* a token is a byte at least */
        return 0;
    }
    if (room > text->size + SPECIAL) {
        room = text->size + SPECIAL;
    }
    embellama_token *tokens = emb_alloc(room, sizeof *tokens);
    if (!tokens) {
        return emb_refuse_nomem(refusal);
    }
    int rc = embellama_tokenize_spans(in->model, *text, tokens, room, &count, &error);
    for (size_t i = 0; rc == EMBELLAMA_OK && i < count && i < room; i++) {
        if (!tokens[i].special && ++seen == limit && tokens[i].end < text->size) {
            text->size = tokens[i].end;
            in->truncated++;
            break;
        }
    }
    emb_free(tokens);
    return rc == EMBELLAMA_OK ? 0 : emb_refuse_status(refusal, name, rc, error.message);
}

static const char *place(char out[64], const char *name, size_t i, size_t count)
{
    if (count == 1) {
        snprintf(out, 64, "%s", name);
    } else {
        snprintf(out, 64, "%s[%zu]", name, i);
    }
    return out;
}

static int add_vectors(struct emb_embed_request *r, const struct emb_texts *queries, const char *name)
{
    char at[64];
    r->inputs.prompt = emb_options_role_prompt(r->inputs.model, true);
    for (size_t i = 0; i < queries->count; i++) {
        if (emb_embed_inputs_add_text(&r->inputs, place(at, name, i, queries->count), queries->items[i].text,
                                      &r->refusal) != 0) {
            return -1;
        }
    }
    return 0;
}

int emb_pairs_add(struct emb_pairs *pairs, struct emb_embed_request *r, const struct emb_texts *queries,
                  const char *query_name, const struct emb_texts *documents, const char *document_name)
{
    char at[64];
    if (queries->count != 1 && queries->count != documents->count) {
        return emb_refuse_invalid(&r->refusal, document_name,
                                  "'$.%s' is invalid: it must hold as many texts as '%s', %zu, or that only one, but "
                                  "it holds %zu.",
                                  document_name, query_name, queries->count, documents->count);
    }
    pairs->queries = queries->count;
    pairs->documents = documents->count;
    r->inputs.prompt = emb_options_role_prompt(r->inputs.model, false);
    for (size_t i = 0; i < documents->count; i++) {
        embellama_text text = documents->items[i].text, query = queries->items[queries->count == 1 ? 0 : i].text;
        const char *name = place(at, document_name, i, documents->count);
        if (pairs->document_tokens > 0 && cut(&r->inputs, &text, pairs->document_tokens, name, &r->refusal) != 0) {
            return -1;
        }
        int rc = pairs->cosine ? emb_embed_inputs_add_text(&r->inputs, name, text, &r->refusal)
                               : emb_embed_inputs_add_pair(&r->inputs, name, query, text, &r->refusal);
        if (rc != 0) {
            return rc;
        }
    }
    return pairs->cosine ? add_vectors(r, queries, query_name) : 0;
}

/* ---- Scores ---- */

float emb_pairs_score(const struct emb_pairs *pairs, const struct emb_embed_request *r, size_t i)
{
    size_t n = 0, m = 0;
    const float *values = emb_embed_values(r, i, &n);
    if (!values) {
        return NAN;
    }
    if (!pairs->cosine) {
        return pairs->raw ? values[0] : 1 / (1 + expf(-values[0]));
    }
    const float *query = emb_embed_values(r, pairs->documents + (pairs->queries == 1 ? 0 : i), &m);
    return query ? embellama_cosine(query, values, n) : NAN;
}
