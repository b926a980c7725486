/* GET /v1/models and /v1/models/{id}: which model is served, as OpenAI's, Cohere's and llama.cpp's clients read it.
 *
 * OpenAI's list is `data`, Cohere's and llama.cpp's `models`; both hold the same objects, whose members are those of
 * all three. */
#include "api/handlers.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "api/ollama.h"
#include "api/served_model.h"
#include "base/json_write.h"
#include "server/http/exchange.h"

enum {
    MODEL_BYTES = 65536,
};

/* What clients of this server want to know of the model. */
static void write_ours(struct emb_buf *out, struct emb_server *server, const embellama_model_info *info)
{
    const struct emb_server_options *options = emb_server_options(server);
    const embellama_model *model = emb_server_model(server);
    emb_buf_printf(out, ",\"dimensions\":%zu,\"context_length\":%zu", info->dim, emb_served_limit(model, options));
    emb_buf_printf(out, ",\"pooling\":\"%s\",\"normalize\":\"%s\",\"precision\":\"%s\",\"labels\":%zu",
                   embellama_pooling_name(emb_served_pooling(model, options)),
                   embellama_normalize_name(emb_served_normalize(model, options)),
                   embellama_precision_name(info->precision), info->labels);
    emb_buf_puts(out, ",\"family\":");
    emb_json_write_cstring(out, info->family);
}

/* Cohere's members, then llama.cpp's, which are Ollama's and a "meta". */
static void write_others(struct emb_buf *out, const char *name, const embellama_model_info *info)
{
    const char *task = info->labels > 0 ? "rerank" : "embed";
    emb_buf_puts(out, ",\"name\":");
    emb_json_write_cstring(out, name);
    emb_buf_printf(out,
                   ",\"endpoints\":[\"%s\"],\"default_endpoints\":[],\"finetuned\":false,\"is_deprecated\":false,"
                   "\"tokenizer_url\":null,\"features\":null,\"model\":",
                   task);
    emb_json_write_cstring(out, name);
    emb_buf_printf(
        out, ",\"type\":\"model\",\"capabilities\":[\"%s\"],\"details\":", info->labels > 0 ? "rerank" : "embedding");
    emb_ollama_write_details(out, info);
    emb_buf_printf(out,
                   ",\"meta\":{\"n_vocab\":%zu,\"n_ctx_train\":%zu,\"n_embd\":%zu,\"n_params\":%" PRIu64
                   ",\"size\":%" PRIu64 "}",
                   info->vocab_size, info->context_length, info->dim, info->parameters, info->file_bytes);
}

/* `created` is when the model's file or folder was last changed. */
static void write_model(struct emb_buf *out, struct emb_server *server)
{
    const embellama_model_info *info = embellama_model_get_info(emb_server_model(server));
    const char *name = emb_server_model_name(server);
    struct stat file;
    long long created = stat(info->path, &file) == 0 ? (long long)file.st_mtime : 0;
    emb_buf_puts(out, "{\"id\":");
    emb_json_write_cstring(out, name);
    emb_buf_printf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"embellama\"", created);
    write_ours(out, server, info);
    write_others(out, name, info);
    emb_buf_puts(out, "}");
}

void emb_openai_models(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_buf out;
    emb_buf_init(&out, MODEL_BYTES);
    emb_buf_puts(&out, "{\"object\":\"list\",\"data\":[");
    write_model(&out, server);
    emb_buf_puts(&out, "],\"models\":[");
    write_model(&out, server);
    emb_buf_puts(&out, "]}");
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_openai_model(struct emb_server *server, struct emb_exchange *x)
{
    const char *id = emb_exchange_segment(x);
    if (!id || !emb_served_model_is(emb_server_model(server), emb_server_model_name(server), id, strlen(id))) {
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
