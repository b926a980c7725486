/* The dialect of llama.cpp's server: /embedding, /embeddings where the body has `content`, /props, /slots, and a clear no to
 * what generates text (https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md). Its /tokenize and
 * /detokenize are tokenize.c's, its /rerank is rerank.c's. What is the client's fault is never a 500 here. The model's default prompt is
 * not put before texts: clients of this dialect do that themselves. */
#include "api/llamacpp.h"

#include <string.h>

#include "api/dialects.h"
#include "api/embed_list.h"
#include "api/handlers.h"
#include "api/members.h"
#include "api/served_model.h"
#include "base/json_write.h"
#include "server/http/exchange.h"
#include "server/schedule/scheduler.h"

enum { REPLY_BYTES = 1 << 18 };

int emb_style_llamacpp(const struct emb_error *error, struct emb_buf *out)
{
    const char *type = error->status == 401   ? "authentication_error"
                       : error->status == 403 ? "permission_error"
                       : error->status == 404 ? "not_found_error"
                       : error->status == 501 ? "not_supported_error"
                       : error->status == 503 ? "unavailable_error"
                       : error->status >= 500 ? "server_error"
                                              : "invalid_request_error";
    emb_buf_printf(out, "{\"error\":{\"code\":%d,\"message\":", error->status);
    emb_json_write_cstring(out, error->message);
    emb_buf_printf(out, ",\"type\":\"%s\"}}\n", type);
    return error->status;
}

/* ---- /embedding ---- */

/* embd_normalize: 2 is L2, the default, -1 leaves vectors as the model makes them. */
static int read_normalize(struct emb_embed_request *r, struct emb_json_value body)
{
    int64_t kind = 2;
    if (emb_member_int(body, "embd_normalize", -1, INT32_MAX, &kind, &r->refusal) != 0) {
        return -1;
    }
    if (kind != -1 && kind != 2) {
        return emb_refuse_invalid(&r->refusal, "embd_normalize",
                                  "'$.embd_normalize' is invalid: it must be 2 (L2) or -1 (none).");
    }
    r->task = kind < 0 ? EMB_TASK_RAW : EMB_TASK_EMBED;
    return 0;
}

static int read_content(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    const char *name = emb_member(body, "content", &v) ? "content" : "input";
    if (!emb_member(body, name, &v)) {
        return emb_refuse_invalid(&r->refusal, "input", "\"input\" or \"content\" must be provided");
    }
    return read_normalize(r, body) == 0 ? emb_embed_list(r, name, v) : -1;
}

static void begin_list(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "[");
}

/* A list of one vector, since there is one for all tokens. */
static void write_embedding(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    emb_buf_printf(out, "%s{\"index\":%zu,\"embedding\":[", i == 0 ? "" : ",", i);
    emb_vector_write(out, emb_embed_vector(r, i), r->dimensions, r->form);
    emb_buf_puts(out, "]}");
}

static void end_list(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "]");
}

static const struct emb_embed_dialect embedding = {
    .read = read_content, .begin = begin_list, .input = write_embedding, .end = end_list};

void emb_llamacpp_embedding(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &embedding);
}

/* ---- /embeddings, which is OpenAI's too ---- */

static int read_either(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    r->dialect = emb_member(body, "content", &v) ? &embedding : &emb_openai_dialect;
    return r->dialect->read(r, body);
}

void emb_llamacpp_embeddings(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect either = {.read = read_either};
    emb_embed_serve(server, x, &either);
}

/* ---- About the server ---- */

static size_t context(struct emb_server *server)
{
    return emb_served_limit(emb_server_model(server), emb_server_options(server));
}

/* Token that opens or closes a text, by the tokens of an empty one. */
static void write_frame_token(struct emb_buf *out, const embellama_model *model, bool first)
{
    int32_t ids[16];
    size_t count = 0;
    bool has = embellama_tokenize(model, (embellama_text){"", 0}, NULL, ids, NULL, sizeof ids / sizeof ids[0], &count,
                                  NULL) == EMBELLAMA_OK &&
               count > 0 && count <= sizeof ids / sizeof ids[0];
    const char *text = has ? embellama_token_text(model, ids[first ? 0 : count - 1]) : NULL;
    emb_json_write_cstring(out, text ? text : "");
}

void emb_llamacpp_props(struct emb_server *server, struct emb_exchange *x)
{
    const embellama_model *model = emb_server_model(server);
    const embellama_model_info *info = embellama_model_get_info(model);
    struct emb_scheduler_stats stats = emb_scheduler_stats(emb_server_scheduler(server));
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"default_generation_settings\":{\"n_ctx\":%zu},\"total_slots\":%d,\"model_alias\":",
                   context(server), stats.workers);
    emb_json_write_cstring(&out, emb_server_model_name(server));
    emb_buf_puts(&out, ",\"model_path\":"); /* not where it is on this machine */
    emb_json_write_cstring(&out, info->name);
    emb_buf_printf(&out, ",\"model_ftype\":\"%s\"", embellama_precision_name(info->precision));
    emb_buf_puts(&out, ",\"modalities\":{\"vision\":false,\"audio\":false},\"endpoint_slots\":true,"
                       "\"endpoint_props\":false,\"endpoint_metrics\":true,\"chat_template\":\"\",\"bos_token\":");
    write_frame_token(&out, model, true);
    emb_buf_puts(&out, ",\"eos_token\":");
    write_frame_token(&out, model, false);
    emb_buf_printf(&out, ",\"build_info\":\"embellama %s\",\"is_sleeping\":false}\n", embellama_version());
    emb_exchange_reply(x, 200, "application/json", &out);
}

/* A worker is a slot. Which of them compute now is known for all together only: so many, from the first on. */
void emb_llamacpp_slots(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_scheduler_stats stats = emb_scheduler_stats(emb_server_scheduler(server));
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, "[");
    for (int i = 0; i < stats.workers; i++) {
        emb_buf_printf(&out, "%s{\"id\":%d,\"n_ctx\":%zu,\"speculative\":false,\"is_processing\":%s}",
                       i == 0 ? "" : ",", i, context(server), (size_t)i < stats.running ? "true" : "false");
    }
    emb_buf_puts(&out, "]\n");
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_llamacpp_no_text(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    emb_exchange_add_header(x, "x-should-retry", "false");
    emb_exchange_error(x, 501, "not_supported_error", NULL, "not_supported",
                       "This server makes vectors and scores of texts; it generates none.");
}
