/* OpenAI's dialect: POST /v1/embeddings (https://platform.openai.com/docs/api-reference/embeddings), the same under
 * Azure's path, and the members that Jina, Voyage, vLLM and others add to it. */
#include "api/handlers.h"

#include <stdio.h>
#include <string.h>

#include "api/chunked.h"
#include "api/dialects.h"
#include "api/embed_options.h"
#include "api/served_model.h"
#include "base/json_write.h"
#include "server/http/exchange.h"

/* ---- The request ---- */

/* What other models have beside one vector a text. */
static int read_return(struct emb_embed_request *r, struct emb_json_value body)
{
    static const char *const kinds[] = {"dense", "sparse", "multivector", NULL};
    size_t kind = 0;
    if (emb_member_word(body, "return", kinds, &kind, &r->refusal) != 0) {
        return -1;
    }
    if (kind == 0) {
        return 0;
    }
    return emb_refuse_invalid(&r->refusal, "return", "This model has no %s vectors: it makes dense ones only.",
                              kinds[kind]);
}

/* A text, given as a string or as Jina's {"text": "..."}. */
static bool text_of(struct emb_json_value v, embellama_text *text)
{
    return emb_json_string(v, &text->bytes, &text->size) || emb_json_get_string(v, "text", &text->bytes, &text->size);
}

static int refuse_object(struct emb_embed_request *r, const char *name)
{
    return emb_refuse_invalid(&r->refusal, name,
                              "'$.%s' is invalid: of an object this model embeds the member \"text\", a string.", name);
}

static int add_text(struct emb_embed_request *r, const char *name, struct emb_json_value v)
{
    embellama_text text;
    return text_of(v, &text) ? emb_embed_inputs_add_text(&r->inputs, name, text, &r->refusal) : refuse_object(r, name);
}

/* Texts as strings and as objects may be in one list. */
static enum emb_json_type kind_of(struct emb_json_value v)
{
    enum emb_json_type type = emb_json_type(v);
    return type == EMB_JSON_OBJECT ? EMB_JSON_STRING : type;
}

/* A list of texts, or of lists of token ids: all of one kind. */
static int read_list(struct emb_embed_request *r, struct emb_json_value list, enum emb_json_type kind)
{
    char name[32];
    for (struct emb_json_iter it = emb_json_iterate(list); emb_json_next(&it);) {
        snprintf(name, sizeof name, "input[%zu]", r->inputs.count);
        if (kind_of(it.value) != kind) {
            return emb_refuse_invalid(&r->refusal, name, "'$.%s' is invalid: it is %s, but the first element is %s.",
                                      name, emb_member_type(it.value), emb_json_type_name(kind));
        }
        if (r->inputs.count == r->inputs.most) {
            return emb_refuse_invalid(&r->refusal, "input",
                                      "'$.input' is invalid: a request may hold %zu inputs, but this one holds %zu.",
                                      r->inputs.most, emb_json_size(list));
        }
        int rc = kind == EMB_JSON_STRING ? add_text(r, name, it.value)
                                         : emb_embed_inputs_add_ids(&r->inputs, name, it.value, &r->refusal);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int read_input(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    if (!emb_member(body, "input", &v)) {
        return emb_refuse_invalid(&r->refusal, "input", "you must provide an input parameter");
    }
    embellama_text text;
    if (text_of(v, &text)) {
        return add_text(r, "input", v);
    }
    if (emb_json_type(v) != EMB_JSON_ARRAY) {
        return emb_refuse_invalid(
            &r->refusal, "input",
            "'$.input' is invalid: it must be a string, a list of strings or token ids, but it is %s.",
            emb_member_type(v));
    }
    struct emb_json_iter it = emb_json_iterate(v);
    if (!emb_json_next(&it)) {
        return emb_refuse_invalid(&r->refusal, "input", "'$.input' is invalid: it is an empty list.");
    }
    enum emb_json_type first = kind_of(it.value);
    if (first == EMB_JSON_INT) {
        return emb_embed_inputs_add_ids(&r->inputs, "input", v, &r->refusal);
    }
    if (first == EMB_JSON_STRING || first == EMB_JSON_ARRAY) {
        return read_list(r, v, first);
    }
    return emb_refuse_invalid(
        &r->refusal, "input[0]",
        "'$.input[0]' is invalid: it must be a string, a token id or a list of token ids, but it is %s.",
        emb_member_type(it.value));
}

/* The body but for its model. */
static int read_rest(struct emb_embed_request *r, struct emb_json_value body)
{
    if (emb_options_form(r, body) != 0 || emb_options_dimensions(r, body) != 0 || emb_options_normalize(r, body) != 0 ||
        emb_options_truncate(&r->inputs, body, &r->refusal) != 0 ||
        emb_options_prompt(&r->inputs, body, &r->refusal) != 0 || read_return(r, body) != 0) {
        return -1;
    }
    return emb_chunked_wanted(body) ? emb_chunked_read(r, body) : read_input(r, body);
}

static int read_embeddings(struct emb_embed_request *r, struct emb_json_value body)
{
    int rc = emb_served_model_check(r->inputs.model, r->model_name, body, true, &r->refusal);
    return rc == 0 ? read_rest(r, body) : rc;
}

/* ---- The reply ---- */

static void begin_embeddings(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "{\"object\":\"list\",\"data\":[");
}

static void write_embedding(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    emb_buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i == 0 ? "" : ",", i);
    emb_vector_write(out, emb_embed_vector(r, i), r->dimensions, r->form);
    emb_buf_puts(out, "}");
}

static void end_embeddings(const struct emb_embed_request *r, struct emb_buf *out)
{
    emb_buf_puts(out, "],\"model\":");
    emb_json_write_cstring(out, r->model_name);
    emb_buf_printf(out, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}", r->inputs.tokens, r->inputs.tokens);
    emb_embed_write_errors(r, out);
    emb_buf_puts(out, "}");
}

const struct emb_embed_dialect emb_openai_dialect = {
    .read = read_embeddings, .begin = begin_embeddings, .input = write_embedding, .end = end_embeddings};

void emb_openai_embeddings(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &emb_openai_dialect);
}

/* ---- Azure ---- */

/* The path names the model; what the body says of it does not count. */
void emb_azure_embeddings(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect dialect = {
        .read = read_rest, .begin = begin_embeddings, .input = write_embedding, .end = end_embeddings};
    const char *name = emb_exchange_segment(x), *served = emb_server_model_name(server);
    if (!name || !emb_served_model_is(emb_server_model(server), served, name, strlen(name))) {
        emb_exchange_error(x, 404, "invalid_request_error", "model", "DeploymentNotFound",
                           "The deployment '%s' does not exist. This server has '%s'.", name ? name : "", served);
        return;
    }
    emb_embed_serve(server, x, &dialect);
}
