/* OpenAI's dialect: POST /v1/embeddings, GET /v1/models and /v1/models/{id}
 * (https://platform.openai.com/docs/api-reference). */
#include "api/handlers.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/base64.h"
#include "api/embed_request.h"
#include "base/json_write.h"
#include "server/http/exchange.h"

enum {
    MODEL_BYTES = 65536,
};

/* The organisation under which this kind of model is published: clients often give the full name. */
static const char publisher[] = "sentence-transformers/";

/* ---- The model's names ---- */

static bool equal(const char *name, const char *text, size_t size)
{
    return strlen(name) == size && memcmp(name, text, size) == 0;
}

/* A name stands for the model with or without its publisher, "all-MiniLM-L6-v2" and
 * "sentence-transformers/all-MiniLM-L6-v2"; one of another organisation with or without it, too, where the model
 * is served under that name. */
static bool names(const char *name, const char *text, size_t size)
{
    if (equal(name, text, size)) {
        return true;
    }
    const char *slash = strrchr(name, '/');
    if (slash) {
        return equal(slash + 1, text, size);
    }
    size_t prefix = sizeof publisher - 1;
    return size > prefix && memcmp(text, publisher, prefix) == 0 && equal(name, text + prefix, size - prefix);
}

static bool names_model(const embellama_model *model, const char *served, const char *text, size_t size)
{
    return names(served, text, size) || names(embellama_model_get_info(model)->name, text, size);
}

/* ---- The request ---- */

/* A member that is given: null counts as absent. */
static bool member(struct emb_json_value body, const char *key, struct emb_json_value *out)
{
    return emb_json_get(body, key, out) && emb_json_type(*out) != EMB_JSON_NULL;
}

static const char *type_of(struct emb_json_value v)
{
    return emb_json_type_name(emb_json_type(v));
}

static int read_model(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    const char *name;
    size_t size;
    char excerpt[128];
    if (!member(body, "model", &v)) {
        return emb_refuse_invalid(&r->refusal, "model", "you must provide a model parameter");
    }
    if (!emb_json_string(v, &name, &size)) {
        return emb_refuse_invalid(&r->refusal, "model", "'$.model' is invalid: it must be a string, but it is %s.",
                                  type_of(v));
    }
    if (size == 0) {
        return emb_refuse_invalid(&r->refusal, "model", "you must provide a model parameter");
    }
    if (!names_model(r->inputs.model, r->model_name, name, size)) {
        char served[128];
        return emb_refuse(&r->refusal, 404, "invalid_request_error", "model", "model_not_found",
                          "The model '%s' does not exist. This server has '%s'.",
                          emb_excerpt(name, size, excerpt, sizeof excerpt),
                          emb_excerpt(r->model_name, strlen(r->model_name), served, sizeof served));
    }
    return 0;
}

static int read_format(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    const char *format = "";
    size_t size = 0;
    if (!member(body, "encoding_format", &v)) {
        return 0;
    }
    if (emb_json_string(v, &format, &size) && equal("base64", format, size)) {
        r->base64 = true;
        return 0;
    }
    if (equal("float", format, size)) {
        return 0;
    }
    char excerpt[64];
    return emb_refuse_invalid(&r->refusal, "encoding_format",
                              "Invalid value for 'encoding_format' = %s. Supported values: ['float', 'base64'].",
                              emb_json_type(v) == EMB_JSON_STRING ? emb_excerpt(format, size, excerpt, sizeof excerpt)
                                                                  : type_of(v));
}

static int read_dimensions(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    int64_t dimensions;
    size_t dim = embellama_dim(r->inputs.model);
    if (!member(body, "dimensions", &v)) {
        return 0;
    }
    if (!emb_json_int(v, &dimensions)) {
        return emb_refuse_invalid(&r->refusal, "dimensions",
                                  "'$.dimensions' is invalid: it must be an integer from 1 to %zu, but it is %s.", dim,
                                  type_of(v));
    }
    if (dimensions < 1 || (uint64_t)dimensions > dim) {
        return emb_refuse_invalid(&r->refusal, "dimensions",
                                  "'$.dimensions' is invalid: it must be from 1 to %zu, but it is %lld.", dim,
                                  (long long)dimensions);
    }
    r->dimensions = (size_t)dimensions;
    return 0;
}

/* An addition of ours to the API. Other servers' clients write it as the strings NONE and END. */
static int read_truncate(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    const char *text;
    size_t size;
    if (!member(body, "truncate", &v) || emb_json_bool(v, &r->inputs.truncate)) {
        return 0;
    }
    if (emb_json_string(v, &text, &size) && (equal("NONE", text, size) || equal("END", text, size))) {
        r->inputs.truncate = text[0] == 'E';
        return 0;
    }
    return emb_refuse_invalid(&r->refusal, "truncate", "'$.truncate' is invalid: it must be true or false.");
}

static int add_text(struct emb_embed_request *r, const char *name, struct emb_json_value v)
{
    embellama_text text = {0};
    emb_json_string(v, &text.bytes, &text.size);
    return emb_embed_inputs_add_text(&r->inputs, name, text, &r->refusal);
}

/* A list of strings, or of lists of token ids: all of one kind. */
static int read_list(struct emb_embed_request *r, struct emb_json_value list, enum emb_json_type kind)
{
    char name[32];
    for (struct emb_json_iter it = emb_json_iterate(list); emb_json_next(&it);) {
        snprintf(name, sizeof name, "input[%zu]", r->inputs.count);
        enum emb_json_type type = emb_json_type(it.value);
        if (type != kind) {
            return emb_refuse_invalid(&r->refusal, name, "'$.%s' is invalid: it is %s, but the first element is %s.",
                                      name, emb_json_type_name(type), emb_json_type_name(kind));
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
    if (!member(body, "input", &v)) {
        return emb_refuse_invalid(&r->refusal, "input", "you must provide an input parameter");
    }
    enum emb_json_type type = emb_json_type(v);
    if (type == EMB_JSON_STRING) {
        return add_text(r, "input", v);
    }
    if (type != EMB_JSON_ARRAY) {
        return emb_refuse_invalid(
            &r->refusal, "input",
            "'$.input' is invalid: it must be a string, a list of strings or token ids, but it is %s.", type_of(v));
    }
    struct emb_json_iter it = emb_json_iterate(v);
    if (!emb_json_next(&it)) {
        return emb_refuse_invalid(&r->refusal, "input", "'$.input' is invalid: it is an empty list.");
    }
    enum emb_json_type first = emb_json_type(it.value);
    if (first == EMB_JSON_INT) {
        return emb_embed_inputs_add_ids(&r->inputs, "input", v, &r->refusal);
    }
    if (first == EMB_JSON_STRING || first == EMB_JSON_ARRAY) {
        return read_list(r, v, first);
    }
    return emb_refuse_invalid(
        &r->refusal, "input[0]",
        "'$.input[0]' is invalid: it must be a string, a token id or a list of token ids, but it is %s.",
        emb_json_type_name(first));
}

static int read_embeddings(struct emb_embed_request *r, struct emb_json_value body)
{
    static int (*const readers[])(struct emb_embed_request *, struct emb_json_value) = {
        read_model, read_format, read_dimensions, read_truncate, read_input};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof readers / sizeof readers[0]; i++) {
        rc = readers[i](r, body);
    }
    return rc;
}

/* ---- The reply ---- */

static void write_floats(struct emb_buf *out, const float *values, size_t n)
{
    char *to = emb_buf_reserve(out, n * (EMB_FLOAT_CHARS + 1) + 1);
    if (!to) {
        return;
    }
    char *start = to;
    for (size_t i = 0; i < n; i++) {
        *to++ = i == 0 ? '[' : ',';
        to += emb_json_write_float(values[i], to);
    }
    *to++ = ']';
    emb_buf_commit(out, (size_t)(to - start));
}

static void begin_embeddings(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "{\"object\":\"list\",\"data\":[");
}

static void write_embedding(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    const float *vector = emb_embed_vector(r, i);
    emb_buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i == 0 ? "" : ",", i);
    if (!vector) {
        emb_buf_puts(out, "null");
    } else if (r->base64) {
        emb_buf_puts(out, "\"");
        emb_base64_floats(out, vector, r->dimensions);
        emb_buf_puts(out, "\"");
    } else {
        write_floats(out, vector, r->dimensions);
    }
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

void emb_openai_embeddings(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect dialect = {
        .read = read_embeddings, .begin = begin_embeddings, .input = write_embedding, .end = end_embeddings};
    emb_embed_serve(server, x, &dialect);
}

/* ---- Models ---- */

/* OpenAI's members, and what else a client may want to know. `created` is when the model's file or folder was last
 * changed. */
static void write_model(struct emb_buf *out, struct emb_server *server)
{
    const embellama_model_info *info = embellama_model_get_info(emb_server_model(server));
    const struct emb_server_options *options = emb_server_options(server);
    struct stat file;
    long long created = stat(info->path, &file) == 0 ? (long long)file.st_mtime : 0;
    bool shorter = options->max_length > 0 && options->max_length < info->context_length;
    embellama_pooling pooling = options->pooling != EMBELLAMA_POOLING_AUTO ? options->pooling : info->pooling;
    embellama_normalize normalize =
        options->normalize != EMBELLAMA_NORMALIZE_AUTO ? options->normalize : info->normalize;

    emb_buf_puts(out, "{\"id\":");
    emb_json_write_cstring(out, emb_server_model_name(server));
    emb_buf_printf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"embellama\"", created);
    emb_buf_printf(out, ",\"dimensions\":%zu,\"context_length\":%zu", info->dim,
                   shorter ? options->max_length : info->context_length);
    emb_buf_printf(out, ",\"pooling\":\"%s\",\"normalize\":\"%s\",\"precision\":\"%s\"",
                   embellama_pooling_name(pooling), embellama_normalize_name(normalize),
                   embellama_precision_name(info->precision));
    emb_buf_puts(out, ",\"family\":");
    emb_json_write_cstring(out, info->family);
    emb_buf_puts(out, "}");
}

void emb_openai_models(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_buf out;
    emb_buf_init(&out, MODEL_BYTES);
    emb_buf_puts(&out, "{\"object\":\"list\",\"data\":[");
    write_model(&out, server);
    emb_buf_puts(&out, "]}");
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_openai_model(struct emb_server *server, struct emb_exchange *x)
{
    const char *id = emb_exchange_segment(x);
    if (!id || !names_model(emb_server_model(server), emb_server_model_name(server), id, strlen(id))) {
        emb_exchange_notes(x)->error = "model_not_found";
        emb_exchange_error(x, 404, "invalid_request_error", "model", "model_not_found",
                           "The model '%s' does not exist. This server has '%s'.", id ? id : "",
                           emb_server_model_name(server));
        return;
    }
    struct emb_buf out;
    emb_buf_init(&out, MODEL_BYTES);
    write_model(&out, server);
    emb_exchange_reply(x, 200, "application/json", &out);
}
