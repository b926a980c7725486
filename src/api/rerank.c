/* Rerank: documents by how well they fit a query, in the shapes of Cohere, Jina, Voyage, vLLM and Text Embeddings
 * Inference at once.
 *
 * A body with `texts` is TEI's and gets its array; one with `documents` gets an object that has the members of all
 * others. */
#include "api/handlers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/dialects.h"
#include "api/embed_options.h"
#include "api/pairs.h"
#include "api/served_model.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "server/http/exchange.h"

struct ranked {
    float score;
    size_t index;
};

struct rerank {
    struct emb_pairs pairs;
    struct emb_texts documents;
    bool array;           /* TEI's reply */
    bool show;            /* documents in the reply */
    size_t top;           /* results wanted; 0: all */
    struct ranked *order; /* [documents.count] */
    size_t shown;
    char id[80];
};

static void free_rerank(void *arg)
{
    struct rerank *k = arg;
    emb_texts_deinit(&k->documents);
    emb_free(k->order);
    emb_free(k);
}

/* ---- The request ---- */

static int read_top(struct rerank *k, struct emb_json_value body, struct emb_refusal *refusal)
{
    int64_t top = 0;
    if (emb_member_int(body, "top_k", 0, INT32_MAX, &top, refusal) != 0 ||
        emb_member_int(body, "top_n", 0, INT32_MAX, &top, refusal) != 0) {
        return -1;
    }
    k->top = (size_t)top;
    return 0;
}

/* normalize, use_activation: false is raw_scores: true. */
static int read_raw(struct rerank *k, struct emb_json_value body, struct emb_refusal *refusal)
{
    bool raw = false, normalize = true, activation = true;
    if (emb_member_bool(body, "raw_scores", &raw, refusal) != 0 ||
        emb_member_bool(body, "normalize", &normalize, refusal) != 0 ||
        emb_member_bool(body, "use_activation", &activation, refusal) != 0) {
        return -1;
    }
    k->pairs.raw = raw || !normalize || !activation;
    return 0;
}

static int read_options(struct emb_embed_request *r, struct rerank *k, struct emb_json_value body)
{
    static const char *const ways[] = {"score", "cosine", NULL};
    size_t way = 0;
    int64_t tokens = 0;
    r->inputs.truncate = true;
    if (read_top(k, body, &r->refusal) != 0 || read_raw(k, body, &r->refusal) != 0 ||
        emb_member_bool(body, "return_documents", &k->show, &r->refusal) != 0 ||
        emb_member_bool(body, "return_text", &k->show, &r->refusal) != 0 ||
        emb_member_int(body, "max_tokens_per_doc", 1, INT32_MAX, &tokens, &r->refusal) != 0 ||
        emb_member_word(body, "rank_by", ways, &way, &r->refusal) != 0 ||
        emb_options_truncate(&r->inputs, body, &r->refusal) != 0) {
        return -1;
    }
    k->pairs.document_tokens = (size_t)tokens;
    return emb_pairs_begin(&k->pairs, r, way == 1);
}

static int read_documents(struct emb_embed_request *r, struct rerank *k, struct emb_json_value body, const char **name)
{
    struct emb_json_value v, fields;
    *name = "documents";
    if (!emb_member(body, "documents", &v)) {
        if (!emb_member(body, "texts", &v)) {
            return emb_refuse_invalid(&r->refusal, "documents", "you must provide documents, a list of texts");
        }
        *name = "texts";
        k->array = true;
    }
    if (emb_member(body, "rank_fields", &fields)) {
        if (emb_json_type(fields) != EMB_JSON_ARRAY) {
            return emb_refuse_invalid(&r->refusal, "rank_fields",
                                      "'$.rank_fields' is invalid: it must be a list of names, but it is %s.",
                                      emb_member_type(fields));
        }
        k->documents.fields = fields;
    }
    k->documents.most = r->inputs.most;
    k->documents.keep = k->show;
    return emb_texts_read(&k->documents, v, *name, &r->refusal);
}

static int read_pairs(struct emb_embed_request *r, struct rerank *k, struct emb_json_value body)
{
    struct emb_json_value v;
    struct emb_texts query = {.most = 1, .single = true};
    const char *name;
    if (!emb_member(body, "query", &v)) {
        return emb_refuse_invalid(&r->refusal, "query", "you must provide a query");
    }
    if (read_documents(r, k, body, &name) != 0) {
        return -1;
    }
    int rc = emb_texts_read(&query, v, "query", &r->refusal);
    if (rc == 0) {
        rc = emb_pairs_add(&k->pairs, r, &query, "query", &k->documents, name);
    }
    emb_texts_deinit(&query);
    return rc;
}

static int read_rerank(struct emb_embed_request *r, struct emb_json_value body)
{
    struct rerank *k = emb_calloc(1, sizeof *k);
    if (!k) {
        return emb_refuse_nomem(&r->refusal);
    }
    r->state = k;
    r->free_state = free_rerank;
    if (emb_served_model_check(r->inputs.model, r->model_name, body, false, &r->refusal) != 0 ||
        read_options(r, k, body) != 0 || read_pairs(r, k, body) != 0) {
        return -1;
    }
    r->state_bytes = k->documents.bytes + k->documents.count * sizeof *k->order;
    k->order = emb_calloc(k->documents.count, sizeof *k->order);
    return k->order ? 0 : emb_refuse_nomem(&r->refusal);
}

/* ---- Ranking ---- */

/* Best first; of equal ones the earlier. */
static int compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

/* Documents without a score are left out. */
static void rank(struct emb_embed_request *r)
{
    struct rerank *k = r->state;
    size_t n = 0;
    for (size_t i = 0; i < k->documents.count; i++) {
        float score = emb_pairs_score(&k->pairs, r, i);
        if (!isnan(score)) {
            k->order[n++] = (struct ranked){.score = score, .index = i};
        }
    }
    qsort(k->order, n, sizeof *k->order, compare);
    k->shown = k->top > 0 && k->top < n ? k->top : n;
}

/* ---- The reply ---- */

static void keep_id(const struct emb_embed_request *r, struct emb_exchange *x)
{
    struct rerank *k = r->state;
    snprintf(k->id, sizeof k->id, "rerank-%.64s", emb_exchange_request_id(x));
}

/* Results are written twice: as Voyage's `data` behind all others' `results`. */
static size_t entries(const struct emb_embed_request *r)
{
    const struct rerank *k = r->state;
    return k->array ? k->shown : k->shown * 2;
}

static void write_number(struct emb_buf *out, float value)
{
    char *to = emb_buf_reserve(out, EMB_FLOAT_CHARS);
    if (to) {
        emb_buf_commit(out, emb_json_write_float(value, to));
    }
}

static void begin_rerank(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct rerank *k = r->state;
    if (k->array) {
        emb_buf_puts(out, "[");
        return;
    }
    emb_buf_puts(out, "{\"id\":");
    emb_json_write_cstring(out, k->id);
    emb_buf_puts(out, ",\"object\":\"list\",\"model\":");
    emb_json_write_cstring(out, r->model_name);
    emb_buf_puts(out, k->shown > 0 ? ",\"results\":[" : ",\"results\":[],\"data\":[");
}

/* Cohere's, Jina's and vLLM's document is an object, Voyage's a string. */
static void write_result(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    const struct rerank *k = r->state;
    bool again = i >= k->shown;
    const struct ranked *result = &k->order[again ? i - k->shown : i];
    const embellama_text *text = &k->documents.items[result->index].text;
    emb_buf_puts(out, again && i == k->shown ? "],\"data\":[" : i > 0 ? "," : "");
    emb_buf_printf(out, "{\"index\":%zu,\"%s\":", result->index, k->array ? "score" : "relevance_score");
    write_number(out, result->score);
    if (k->show) {
        emb_buf_puts(out, k->array ? ",\"text\":" : again ? ",\"document\":" : ",\"document\":{\"text\":");
        emb_texts_write(out, *text);
        emb_buf_puts(out, k->array || again ? "" : "}");
    }
    emb_buf_puts(out, "}");
}

static void end_rerank(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct rerank *k = r->state;
    if (k->array) {
        emb_buf_puts(out, "]");
        return;
    }
    emb_buf_printf(out,
                   "],\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu},\"meta\":{\"api_version\":{\"version\":"
                   "\"2\"},\"billed_units\":{\"search_units\":1}}",
                   r->inputs.tokens, r->inputs.tokens);
    emb_embed_write_errors(r, out);
    emb_buf_puts(out, "}");
}

const struct emb_embed_dialect emb_rerank_dialect = {.read = read_rerank,
                                                     .finish = rank,
                                                     .headers = keep_id,
                                                     .entries = entries,
                                                     .begin = begin_rerank,
                                                     .input = write_result,
                                                     .end = end_rerank};

void emb_rerank(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &emb_rerank_dialect);
}
