/* vLLM's score: how well texts go together, pair by pair, in the order they were sent. An embedder scores by cosine,
 * as it does there. */
#include "api/handlers.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "api/embed_options.h"
#include "api/pairs.h"
#include "api/served_model.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "server/http/exchange.h"

struct score {
    struct emb_pairs pairs;
    char id[80];
};

/* ---- The request ---- */

/* The first member of these that is given; NULL where none is. */
static const char *find(struct emb_json_value body, const char *const *names, struct emb_json_value *v)
{
    for (; *names; names++) {
        if (emb_member(body, *names, v)) {
            return *names;
        }
    }
    return NULL;
}

static int read_texts(struct emb_embed_request *r, struct score *k, struct emb_json_value body)
{
    static const char *const first[] = {"text_1", "queries", "data_1", NULL};
    static const char *const second[] = {"text_2", "documents", "items", "data_2", NULL};
    struct emb_json_value a, b;
    const char *a_name = find(body, first, &a), *b_name = find(body, second, &b);
    if (!a_name || !b_name) {
        return emb_refuse_invalid(&r->refusal, a_name ? second[0] : first[0],
                                  "you must provide text_1 and text_2, or queries and documents");
    }
    struct emb_texts queries = {.most = r->inputs.most, .single = true};
    struct emb_texts documents = queries;
    int rc = emb_texts_read(&queries, a, a_name, &r->refusal);
    if (rc == 0) {
        rc = emb_texts_read(&documents, b, b_name, &r->refusal);
    }
    if (rc == 0) {
        rc = emb_pairs_add(&k->pairs, r, &queries, a_name, &documents, b_name);
    }
    emb_texts_deinit(&queries);
    emb_texts_deinit(&documents);
    return rc;
}

static int read_score(struct emb_embed_request *r, struct emb_json_value body)
{
    bool activation = true, cosine = embellama_model_get_info(r->inputs.model)->labels == 0;
    struct score *k = emb_calloc(1, sizeof *k);
    if (!k) {
        return emb_refuse_nomem(&r->refusal);
    }
    r->state = k;
    r->free_state = emb_free;
    if (emb_served_model_check(r->inputs.model, r->model_name, body, false, &r->refusal) != 0 ||
        emb_member_bool(body, "use_activation", &activation, &r->refusal) != 0 ||
        emb_options_truncate(&r->inputs, body, &r->refusal) != 0 || emb_pairs_begin(&k->pairs, r, cosine) != 0) {
        return -1;
    }
    k->pairs.raw = !activation;
    return read_texts(r, k, body);
}

/* ---- The reply ---- */

static void keep_id(const struct emb_embed_request *r, struct emb_exchange *x)
{
    struct score *k = r->state;
    snprintf(k->id, sizeof k->id, "score-%.64s", emb_exchange_request_id(x));
}

static size_t entries(const struct emb_embed_request *r)
{
    const struct score *k = r->state;
    return k->pairs.documents;
}

static void begin_score(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct score *k = r->state;
    emb_buf_puts(out, "{\"id\":");
    emb_json_write_cstring(out, k->id);
    emb_buf_printf(out, ",\"object\":\"list\",\"created\":%lld,\"model\":", (long long)time(NULL));
    emb_json_write_cstring(out, r->model_name);
    emb_buf_puts(out, ",\"data\":[");
}

static void write_score(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    const struct score *k = r->state;
    float score = emb_pairs_score(&k->pairs, r, i);
    char number[EMB_FLOAT_CHARS];
    emb_buf_printf(out, "%s{\"index\":%zu,\"object\":\"score\",\"score\":", i == 0 ? "" : ",", i);
    if (isnan(score)) {
        emb_buf_puts(out, "null");
    } else {
        emb_buf_append(out, number, emb_json_write_float(score, number));
    }
    emb_buf_puts(out, "}");
}

static void end_score(const struct emb_embed_request *r, struct emb_buf *out)
{
    emb_buf_printf(out, "],\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu,\"completion_tokens\":0}",
                   r->inputs.tokens, r->inputs.tokens);
    emb_embed_write_errors(r, out);
    emb_buf_puts(out, "}");
}

void emb_score(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect dialect = {.read = read_score,
                                                     .headers = keep_id,
                                                     .entries = entries,
                                                     .begin = begin_score,
                                                     .input = write_score,
                                                     .end = end_score};
    emb_embed_serve(server, x, &dialect);
}
