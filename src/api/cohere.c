/* Cohere's dialect: POST /v1/embed, /v2/embed and /v1/tokenize (https://docs.cohere.com/reference). Rerank is
 * rerank.c's. */
#include "api/handlers.h"

#include <stdio.h>
#include <string.h>

#include "api/embed_options.h"
#include "api/json_request.h"
#include "api/served_model.h"
#include "api/texts.h"
#include "api/token_list.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "server/http/exchange.h"

enum { FORMS = EMB_VECTOR_TYPES + 1 }; /* and base64 */

struct cohere {
    struct emb_texts texts;
    int version;
    bool by_type;                        /* one list a type; else one of floats */
    struct emb_vector_form forms[FORMS]; /* wanted, each once */
    size_t count;
    char id[80];
};

static void free_cohere(void *arg)
{
    struct cohere *k = arg;
    emb_texts_deinit(&k->texts);
    emb_free(k);
}

/* ---- The request ---- */

static const char *form_name(struct emb_vector_form form)
{
    return form.base64 ? "base64" : emb_vector_type_names[form.type];
}

static void want(struct cohere *k, struct emb_vector_form form)
{
    for (size_t i = 0; i < k->count; i++) {
        if (strcmp(form_name(k->forms[i]), form_name(form)) == 0) {
            return;
        }
    }
    k->forms[k->count++] = form;
}

static int read_types(struct cohere *k, struct emb_json_value body, struct emb_refusal *refusal)
{
    struct emb_json_value v;
    if (!emb_member(body, "embedding_types", &v)) {
        want(k, (struct emb_vector_form){.type = EMB_VECTOR_FLOAT});
        return 0;
    }
    k->by_type = true;
    bool valid = emb_json_type(v) == EMB_JSON_ARRAY && emb_json_size(v) > 0;
    for (struct emb_json_iter it = emb_json_iterate(v); valid && emb_json_next(&it);) {
        struct emb_vector_form form = {.type = EMB_VECTOR_FLOAT};
        valid = emb_options_form_named(&form, it.value);
        if (valid) {
            want(k, form);
        }
    }
    return valid ? 0
                 : emb_refuse_invalid(refusal, "embedding_types",
                                      "invalid embedding_types: a list of 'float', 'int8', 'uint8', 'binary', "
                                      "'ubinary' and 'base64' is wanted");
}

/* The texts of version 2's [{"content": [{"type": "text", "text": "..."}]}]: one text each. */
static int read_inputs(struct cohere *k, struct emb_json_value list, struct emb_refusal *refusal)
{
    char name[64];
    size_t i = 0;
    for (struct emb_json_iter it = emb_json_iterate(list); emb_json_next(&it); i++) {
        struct emb_json_value content;
        snprintf(name, sizeof name, "inputs[%zu].content", i);
        if (!emb_json_get(it.value, "content", &content) || emb_json_size(content) != 1) {
            return emb_refuse_invalid(refusal, name, "'$.%s' is invalid: it must be a list of one text.", name);
        }
        if (emb_texts_read(&k->texts, content, name, refusal) != 0) {
            return -1;
        }
    }
    return i > 0 ? 0 : emb_refuse_invalid(refusal, "inputs", "'$.inputs' is invalid: it must be a list with an input.");
}

static int read_texts(struct emb_embed_request *r, struct cohere *k, struct emb_json_value body)
{
    struct emb_json_value v;
    char name[32];
    k->texts.most = r->inputs.most;
    k->texts.keep = true;
    if (emb_member(body, "texts", &v)) {
        if (emb_texts_read(&k->texts, v, "texts", &r->refusal) != 0) {
            return -1;
        }
    } else if (k->version == 2 && emb_member(body, "inputs", &v)) {
        if (read_inputs(k, v, &r->refusal) != 0) {
            return -1;
        }
    } else {
        bool images = emb_member(body, "images", &v);
        return emb_refuse_invalid(&r->refusal, images ? "images" : "texts",
                                  images ? "invalid request: this model embeds texts and no images"
                                         : "invalid request: you must provide texts");
    }
    if (k->texts.count > r->inputs.most) {
        return emb_refuse_invalid(&r->refusal, "inputs", "invalid request: at most %zu texts, not %zu", r->inputs.most,
                                  k->texts.count);
    }
    r->state_bytes = k->texts.bytes;
    for (size_t i = 0; i < k->texts.count; i++) {
        snprintf(name, sizeof name, "texts[%zu]", i);
        if (emb_embed_inputs_add_text(&r->inputs, name, k->texts.items[i].text, &r->refusal) != 0) {
            return -1;
        }
    }
    return 0;
}

static const struct emb_embed_dialect embed;

static int read_embed(struct emb_embed_request *r, struct emb_json_value body, int version)
{
    struct cohere *k = emb_calloc(1, sizeof *k);
    if (!k) {
        return emb_refuse_nomem(&r->refusal);
    }
    r->state = k;
    r->free_state = free_cohere;
    r->dialect = &embed;
    k->version = version;
    k->by_type = version == 2;
    r->inputs.truncate = true;
    if (emb_served_model_check(r->inputs.model, r->model_name, body, version == 2, &r->refusal) != 0 ||
        read_types(k, body, &r->refusal) != 0 || emb_options_dimensions(r, body) != 0 ||
        emb_options_truncate(&r->inputs, body, &r->refusal) != 0 ||
        emb_options_prompt(&r->inputs, body, &r->refusal) != 0) {
        return -1;
    }
    return read_texts(r, k, body);
}

static int read_embed_1(struct emb_embed_request *r, struct emb_json_value body)
{
    return read_embed(r, body, 1);
}

static int read_embed_2(struct emb_embed_request *r, struct emb_json_value body)
{
    return read_embed(r, body, 2);
}

/* ---- The reply ---- */

static void keep_id(const struct emb_embed_request *r, struct emb_exchange *x)
{
    struct cohere *k = r->state;
    snprintf(k->id, sizeof k->id, "%.64s", emb_exchange_request_id(x));
}

/* Vectors of each type, then the texts. */
static size_t entries(const struct emb_embed_request *r)
{
    const struct cohere *k = r->state;
    return r->inputs.count * (k->count + 1);
}

static void begin_embed(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct cohere *k = r->state;
    emb_buf_puts(out, "{\"id\":");
    emb_json_write_cstring(out, k->id);
    emb_buf_printf(
        out, ",\"response_type\":\"%s\",\"embeddings\":", k->by_type ? "embeddings_by_type" : "embeddings_floats");
    emb_buf_puts(out, k->by_type ? "{" : "[");
}

static void write_entry(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    const struct cohere *k = r->state;
    size_t n = r->inputs.count, row = i % n, list = i / n;
    if (list == k->count) {
        emb_buf_puts(out, row > 0 ? "," : k->by_type ? "]},\"texts\":[" : "],\"texts\":[");
        emb_texts_write(out, k->texts.items[row].text);
        return;
    }
    if (row > 0) {
        emb_buf_puts(out, ",");
    } else if (k->by_type) {
        emb_buf_printf(out, "%s\"%s\":[", i > 0 ? "]," : "", form_name(k->forms[list]));
    }
    emb_vector_write(out, emb_embed_vector(r, row), r->dimensions, k->forms[list]);
}

static void end_embed(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct cohere *k = r->state;
    emb_buf_printf(out, "],\"meta\":{\"api_version\":{\"version\":\"%d\"},\"billed_units\":{\"input_tokens\":%zu}}",
                   k->version, r->inputs.tokens);
    emb_embed_write_errors(r, out);
    emb_buf_puts(out, "}");
}

static const struct emb_embed_dialect embed = {
    .headers = keep_id, .entries = entries, .begin = begin_embed, .input = write_entry, .end = end_embed};

void emb_cohere_embed_1(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect version_1 = {.read = read_embed_1};
    emb_embed_serve(server, x, &version_1);
}

void emb_cohere_embed_2(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect version_2 = {.read = read_embed_2};
    emb_embed_serve(server, x, &version_2);
}

/* ---- Tokens ---- */

static void write_meta(struct emb_buf *out)
{
    emb_buf_puts(out, ",\"meta\":{\"api_version\":{\"version\":\"1\"}}}");
}

static void write_tokens(struct emb_json_request *q, const embellama_token *tokens, size_t count)
{
    struct emb_buf *out = &q->reply;
    size_t n = 0;
    emb_buf_puts(out, "{\"tokens\":[");
    for (size_t i = 0; i < count; i++) {
        if (!tokens[i].special) {
            emb_buf_printf(out, "%s%d", n++ > 0 ? "," : "", (int)tokens[i].id);
        }
    }
    emb_buf_puts(out, "],\"token_strings\":[");
    for (size_t i = n = 0; i < count; i++) {
        if (!tokens[i].special) {
            emb_buf_puts(out, n++ > 0 ? "," : "");
            emb_json_write_cstring(out, embellama_token_text(q->model, tokens[i].id));
        }
    }
    emb_buf_puts(out, "]");
    write_meta(out);
}

/* The tokens of a text, without those that are put around it. */
static int tokenize(struct emb_json_request *q, struct emb_json_value body)
{
    embellama_text text = {0};
    embellama_token *tokens;
    size_t count;
    if (emb_served_model_check(q->model, q->model_name, body, false, &q->refusal) != 0 ||
        emb_member_text(body, "text", &text, &q->refusal) != 0) {
        return -1;
    }
    if (!text.bytes) {
        return emb_refuse_invalid(&q->refusal, "text", "invalid request: you must provide a text");
    }
    if (emb_token_list(&tokens, &count, q->model, text, "text", &q->refusal) != 0) {
        return -1;
    }
    write_tokens(q, tokens, count);
    emb_free(tokens);
    return 0;
}

void emb_cohere_tokenize(struct emb_server *server, struct emb_exchange *x)
{
    emb_json_serve(server, x, tokenize);
}
