/* Ollama's dialect: /api/embed and the older /api/embeddings, and what its clients ask about models
 * (https://github.com/ollama/ollama/blob/main/docs/api.md). The model that is served is there, and no other can be fetched. The model's
 * default prompt is not put before texts: clients of this dialect do that themselves. */
#include "api/ollama.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "api/embed_list.h"
#include "api/embed_options.h"
#include "api/handlers.h"
#include "api/json_request.h"
#include "api/served_model.h"
#include "base/clock.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "server/http/exchange.h"

enum { REPLY_BYTES = 65536, TIME_BYTES = 32 };

int emb_style_ollama(const struct emb_error *error, struct emb_buf *out)
{
    emb_buf_puts(out, "{\"error\":");
    emb_json_write_cstring(out, error->message);
    emb_buf_puts(out, "}\n");
    return error->status;
}

/* ---- Names ---- */

static bool names(const embellama_model *model, const char *served, embellama_text name)
{
    return emb_served_model_is(model, served, name.bytes, name.size) ||
           emb_text_is_nocase(name.bytes, name.size, served) ||
           emb_text_is_nocase(name.bytes, name.size, embellama_model_get_info(model)->name);
}

/* A name without a tag means that of ":latest"; the case of letters does not count. */
static bool is_served(const embellama_model *model, const char *served, embellama_text name)
{
    static const char latest[] = ":latest";
    size_t tag = sizeof latest - 1;
    if (names(model, served, name)) {
        return true;
    }
    return name.size > tag && emb_text_is_nocase(name.bytes + name.size - tag, tag, latest) &&
           names(model, served, (embellama_text){name.bytes, name.size - tag});
}

/* Reads `model`, or `name` as older clients write it, and refuses another than the served one. */
static int read_name(const embellama_model *model, const char *served, struct emb_json_value body, bool old,
                     embellama_text *name, struct emb_refusal *refusal)
{
    char excerpt[128];
    if (emb_member_text(body, "name", name, refusal) != 0 || emb_member_text(body, "model", name, refusal) != 0) {
        return -1;
    }
    if (name->size == 0) {
        return emb_refuse_invalid(refusal, "model", "model is required");
    }
    if (is_served(model, served, *name)) {
        return 0;
    }
    return emb_refuse(refusal, 404, "not_found_error", "model", "model_not_found",
                      old ? "model \"%s\" not found, try pulling it first" : "model '%s' not found",
                      emb_excerpt(name->bytes, name->size, excerpt, sizeof excerpt));
}

static void write_tagged(struct emb_buf *out, const char *served)
{
    char name[256];
    snprintf(name, sizeof name, "%.240s%s", served, strchr(served, ':') ? "" : ":latest");
    emb_json_write_cstring(out, name);
}

/* ---- /api/embed ---- */

struct state {
    uint64_t begun_ns;
    char name[256]; /* as the client wrote it */
};

static int begin(struct emb_embed_request *r, struct emb_json_value body, bool old)
{
    struct state *s = emb_calloc(1, sizeof *s);
    embellama_text name = {0};
    if (!s) {
        return emb_refuse_nomem(&r->refusal);
    }
    s->begun_ns = emb_clock_ns();
    r->state = s;
    r->free_state = emb_free;
    if (read_name(r->inputs.model, r->model_name, body, old, &name, &r->refusal) != 0) {
        return -1;
    }
    emb_excerpt(name.bytes, name.size, s->name, sizeof s->name);
    return 0;
}

/* More than the model has leaves all, as there; 0 too. */
static int read_dimensions(struct emb_embed_request *r, struct emb_json_value body)
{
    int64_t dimensions = 0;
    if (emb_member_int(body, "dimensions", 0, INT32_MAX, &dimensions, &r->refusal) != 0) {
        return -1;
    }
    if (dimensions > 0 && (size_t)dimensions < r->dimensions) {
        r->dimensions = (size_t)dimensions;
    }
    return 0;
}

static bool all_strings(struct emb_json_value list)
{
    struct emb_json_iter it = emb_json_iterate(list);
    bool strings = emb_json_type(list) == EMB_JSON_ARRAY;
    while (strings && emb_json_next(&it)) {
        strings = emb_json_type(it.value) == EMB_JSON_STRING;
    }
    return strings;
}

/* A text or a list of texts. Without any, or with an empty one, the request only asks for the model to be loaded. */
static int read_input(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    embellama_text text = {0};
    if (!emb_member(body, "input", &v)) {
        return 0;
    }
    if (emb_json_string(v, &text.bytes, &text.size)) {
        return text.size > 0 ? emb_embed_inputs_add_text(&r->inputs, "input", text, &r->refusal) : 0;
    }
    if (!all_strings(v)) {
        return emb_refuse_invalid(&r->refusal, "input", "invalid input type");
    }
    return emb_json_size(v) > 0 ? emb_embed_list_strings(r, "input", v) : 0;
}

static int read_embed(struct emb_embed_request *r, struct emb_json_value body)
{
    r->inputs.truncate = true;
    if (begin(r, body, false) != 0 || emb_member_bool(body, "truncate", &r->inputs.truncate, &r->refusal) != 0 ||
        read_dimensions(r, body) != 0) {
        return -1;
    }
    return read_input(r, body);
}

static void begin_embed(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct state *s = r->state;
    emb_buf_puts(out, "{\"model\":");
    emb_json_write_cstring(out, s->name);
    emb_buf_puts(out, ",\"embeddings\":[");
}

static void write_embedding(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    emb_buf_puts(out, i == 0 ? "" : ",");
    emb_vector_write(out, emb_embed_vector(r, i), r->dimensions, r->form);
}

static void end_embed(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct state *s = r->state;
    emb_buf_printf(out, "],\"total_duration\":%llu,\"load_duration\":0,\"prompt_eval_count\":%zu",
                   (unsigned long long)(emb_clock_ns() - s->begun_ns), r->inputs.tokens);
    emb_embed_write_errors(r, out);
    emb_buf_puts(out, "}");
}

void emb_ollama_embed(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect dialect = {
        .read = read_embed, .begin = begin_embed, .input = write_embedding, .end = end_embed};
    emb_embed_serve(server, x, &dialect);
}

/* ---- /api/embeddings: one text, as the model makes its vector ---- */

static int read_embeddings(struct emb_embed_request *r, struct emb_json_value body)
{
    embellama_text prompt = {0};
    r->task = EMB_TASK_RAW;
    if (begin(r, body, true) != 0 || emb_member_text(body, "prompt", &prompt, &r->refusal) != 0) {
        return -1;
    }
    return prompt.size > 0 ? emb_embed_inputs_add_text(&r->inputs, "prompt", prompt, &r->refusal) : 0;
}

static void begin_embeddings(const struct emb_embed_request *r, struct emb_buf *out)
{
    emb_buf_puts(out, r->inputs.count > 0 ? "{\"embedding\":" : "{\"embedding\":[]");
}

static void end_embeddings(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "}");
}

void emb_ollama_embeddings(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect dialect = {
        .read = read_embeddings, .begin = begin_embeddings, .input = write_embedding, .end = end_embeddings};
    emb_embed_serve(server, x, &dialect);
}

/* ---- About the model ---- */

/* Types of a file's tensors: "F32 x 103, Q8_0 x 37" → "Q8_0", the one there is most of. */
static void main_type(const char *types, char out[32])
{
    long most = 0;
    snprintf(out, 32, "unknown");
    for (const char *at = types; at && *at; at += strcspn(at, ","), at += strspn(at, ", ")) {
        size_t size = strcspn(at, " ,");
        const char *times = at + size;
        long n = 0;
        for (times += strspn(times, " x"); *times >= '0' && *times <= '9' && n < 1000000; times++) {
            n = n * 10 + (*times - '0');
        }
        if (n > most) {
            most = n;
            snprintf(out, 32, "%.*s", (int)(size < 31 ? size : 31), at);
        }
    }
}

void emb_ollama_write_details(struct emb_buf *out, const embellama_model_info *info)
{
    char type[32];
    double millions = (double)info->parameters / 1e6;
    main_type(info->file_types, type);
    emb_buf_printf(out, "{\"parent_model\":\"\",\"format\":\"%s\",\"family\":", info->format);
    emb_json_write_cstring(out, info->family);
    emb_buf_puts(out, ",\"families\":[");
    emb_json_write_cstring(out, info->family);
    emb_buf_printf(out, millions < 1000 ? "],\"parameter_size\":\"%.0fM\"" : "],\"parameter_size\":\"%.1fB\"",
                   millions < 1000 ? millions : millions / 1000);
    emb_buf_puts(out, ",\"quantization_level\":");
    emb_json_write_cstring(out, type);
    emb_buf_puts(out, "}");
}

/* When the model's file or folder was last changed, as RFC 3339 has it. */
static void write_modified(struct emb_buf *out, const embellama_model_info *info)
{
    struct stat file;
    struct tm tm = {.tm_year = 70, .tm_mday = 1};
    char text[TIME_BYTES];
    if (stat(info->path, &file) == 0) {
        gmtime_r(&file.st_mtime, &tm);
    }
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    emb_buf_printf(out, "\"%s\"", text);
}

/* Name, size and details, as lists have them, without the braces. The digest of a model's manifest is nothing that is known here. */
static void write_entry(struct emb_buf *out, struct emb_server *server, uint64_t size)
{
    emb_buf_puts(out, "\"name\":");
    write_tagged(out, emb_server_model_name(server));
    emb_buf_puts(out, ",\"model\":");
    write_tagged(out, emb_server_model_name(server));
    emb_buf_printf(out, ",\"size\":%llu,\"digest\":\"\",\"details\":", (unsigned long long)size);
    emb_ollama_write_details(out, embellama_model_get_info(emb_server_model(server)));
}

void emb_ollama_tags(struct emb_server *server, struct emb_exchange *x)
{
    const embellama_model_info *info = embellama_model_get_info(emb_server_model(server));
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, "{\"models\":[{");
    write_entry(&out, server, info->file_bytes);
    emb_buf_puts(&out, ",\"modified_at\":");
    write_modified(&out, info);
    emb_buf_puts(&out, "}]}");
    emb_exchange_reply(x, 200, "application/json", &out);
}

/* The model is loaded as long as the server runs. */
void emb_ollama_ps(struct emb_server *server, struct emb_exchange *x)
{
    const embellama_model_info *info = embellama_model_get_info(emb_server_model(server));
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, "{\"models\":[{");
    write_entry(&out, server, info->packed_bytes + info->mapped_bytes);
    emb_buf_printf(&out, ",\"expires_at\":\"9999-12-31T23:59:59Z\",\"size_vram\":0,\"context_length\":%zu}]}",
                   emb_served_limit(emb_server_model(server), emb_server_options(server)));
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_ollama_version(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"version\":\"%s\"}", embellama_version());
    emb_exchange_reply(x, 200, "application/json", &out);
}

/* What clients look for at /, whatever else it means to them that the server answers. */
void emb_ollama_root(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, "Ollama is running");
    emb_exchange_reply(x, 200, "text/plain; charset=utf-8", &out);
}

static void write_model_info(struct emb_buf *out, const embellama_model_info *info, embellama_pooling pooling)
{
    const char *f = info->family;
    emb_buf_printf(out, "{\"general.architecture\":\"%s\",\"general.parameter_count\":%llu,\"general.basename\":", f,
                   (unsigned long long)info->parameters);
    emb_json_write_cstring(out, info->name);
    emb_buf_printf(out, ",\"%s.context_length\":%zu,\"%s.embedding_length\":%zu,\"%s.block_count\":%zu", f,
                   info->context_length, f, info->dim, f, info->layers);
    emb_buf_printf(out, ",\"%s.attention.head_count\":%zu,\"%s.feed_forward_length\":%zu,\"%s.pooling_type\":\"%s\"}",
                   f, info->heads, f, info->intermediate_size, f, embellama_pooling_name(pooling));
}

static int show(struct emb_json_request *q, struct emb_json_value body)
{
    const embellama_model_info *info = embellama_model_get_info(q->model);
    embellama_text name = {0};
    if (read_name(q->model, q->model_name, body, false, &name, &q->refusal) != 0) {
        return -1;
    }
    emb_buf_puts(&q->reply, "{\"license\":\"\",\"modelfile\":\"\",\"parameters\":\"\",\"template\":\"{{ .Prompt }}\","
                            "\"details\":");
    emb_ollama_write_details(&q->reply, info);
    emb_buf_puts(&q->reply, ",\"model_info\":");
    write_model_info(&q->reply, info, emb_served_pooling(q->model, q->options));
    emb_buf_puts(&q->reply, ",\"capabilities\":[\"embedding\"],\"modified_at\":");
    write_modified(&q->reply, info);
    emb_buf_puts(&q->reply, "}");
    return 0;
}

void emb_ollama_show(struct emb_server *server, struct emb_exchange *x)
{
    emb_json_serve(server, x, show);
}

/* The served model is there already. */
static int pull(struct emb_json_request *q, struct emb_json_value body)
{
    bool stream = true;
    embellama_text name = {0};
    if (emb_member_bool(body, "stream", &stream, &q->refusal) != 0 ||
        read_name(q->model, q->model_name, body, false, &name, &q->refusal) != 0) {
        return -1;
    }
    if (stream) {
        q->content_type = "application/x-ndjson";
    }
    emb_buf_puts(&q->reply, stream ? "{\"status\":\"success\"}\n" : "{\"status\":\"success\"}");
    return 0;
}

void emb_ollama_pull(struct emb_server *server, struct emb_exchange *x)
{
    emb_json_serve(server, x, pull);
}
