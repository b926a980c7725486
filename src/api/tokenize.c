/* POST /tokenize, /decode and /detokenize: one path, several dialects, told apart by their members. `inputs` is
 * text-embeddings-inference's, `content` llama.cpp's, `prompt` vLLM's; /detokenize answers the last two at once. */
#include "api/handlers.h"

#include <stdio.h>
#include <string.h>

#include "api/embed_options.h"
#include "api/json_request.h"
#include "api/served_model.h"
#include "api/token_list.h"
#include "base/json_write.h"
#include "base/mem.h"

/* ---- text-embeddings-inference ---- */

static void write_token(struct emb_json_request *q, embellama_text text, const embellama_token *token)
{
    struct emb_buf *out = &q->reply;
    emb_buf_printf(out, "{\"id\":%d,\"text\":", (int)token->id);
    if (token->special) {
        emb_json_write_cstring(out, embellama_token_text(q->model, token->id));
        emb_buf_puts(out, ",\"special\":true,\"start\":null,\"stop\":null}");
    } else {
        emb_json_write_string(out, text.bytes + token->begin, token->end - token->begin);
        emb_buf_printf(out, ",\"special\":false,\"start\":%zu,\"stop\":%zu}", token->begin, token->end);
    }
}

static int write_tokens(struct emb_json_request *q, const char *name, embellama_text text, bool special)
{
    embellama_token *tokens;
    size_t count, written = 0;
    if (emb_token_list(&tokens, &count, q->model, text, name, &q->refusal) != 0) {
        return -1;
    }
    emb_buf_puts(&q->reply, "[");
    for (size_t i = 0; i < count; i++) {
        if (special || !tokens[i].special) {
            emb_buf_puts(&q->reply, written++ > 0 ? "," : "");
            write_token(q, text, &tokens[i]);
        }
    }
    emb_buf_puts(&q->reply, "]");
    emb_free(tokens);
    return 0;
}

/* One text with the prompt before it. */
static int tokenize_one(struct emb_json_request *q, const char *name, struct emb_json_value v, embellama_text prompt,
                        bool special)
{
    embellama_text text;
    if (!emb_json_string(v, &text.bytes, &text.size)) {
        return emb_refuse_invalid(&q->refusal, name, "'$.%s' is invalid: it must be a string, but it is %s.", name,
                                  emb_member_type(v));
    }
    if (text.size == 0) {
        return emb_refuse(&q->refusal, 400, "invalid_request_error", name, "empty_input", "`%s` cannot be empty", name);
    }
    if (prompt.size == 0) {
        return write_tokens(q, name, text, special);
    }
    struct emb_buf whole;
    emb_buf_init(&whole, SIZE_MAX);
    emb_buf_append(&whole, prompt.bytes, prompt.size);
    emb_buf_append(&whole, text.bytes, text.size);
    int rc = whole.failed ? emb_refuse_nomem(&q->refusal)
                          : write_tokens(q, name, (embellama_text){whole.data, whole.size}, special);
    emb_buf_deinit(&whole);
    return rc;
}

static int tokenize_inputs(struct emb_json_request *q, struct emb_json_value body, struct emb_json_value inputs)
{
    bool special = true, list = emb_json_type(inputs) == EMB_JSON_ARRAY;
    embellama_text prompt = {0};
    if (emb_member_bool(body, "add_special_tokens", &special, &q->refusal) != 0 ||
        emb_options_prompt_name(q->model, body, &prompt, &q->refusal) != 0) {
        return -1;
    }
    if (list && emb_json_size(inputs) == 0) {
        return emb_refuse(&q->refusal, 400, "invalid_request_error", "inputs", "empty_input",
                          "`inputs` cannot be empty");
    }
    if (list && emb_json_size(inputs) > q->options->max_inputs) {
        return emb_refuse_invalid(&q->refusal, "inputs", "batch size %zu > maximum allowed batch size %zu",
                                  emb_json_size(inputs), q->options->max_inputs);
    }
    int rc = 0;
    size_t n = 0;
    emb_buf_puts(&q->reply, "[");
    for (struct emb_json_iter it = emb_json_iterate(inputs); list && rc == 0 && emb_json_next(&it); n++) {
        char name[40];
        snprintf(name, sizeof name, "inputs[%zu]", n);
        emb_buf_puts(&q->reply, n > 0 ? "," : "");
        rc = tokenize_one(q, name, it.value, prompt, special);
    }
    if (!list) {
        rc = tokenize_one(q, "inputs", inputs, prompt, special);
    }
    emb_buf_puts(&q->reply, "]");
    return rc;
}

static int decode(struct emb_json_request *q, struct emb_json_value body)
{
    bool skip = true;
    struct emb_json_value ids;
    if (emb_member_bool(body, "skip_special_tokens", &skip, &q->refusal) != 0) {
        return -1;
    }
    if (!emb_member(body, "ids", &ids)) {
        return emb_refuse_invalid(&q->refusal, "ids", "missing field `ids`");
    }
    struct emb_json_iter it = emb_json_iterate(ids);
    bool lists =
        emb_json_type(ids) == EMB_JSON_ARRAY && emb_json_next(&it) && emb_json_type(it.value) == EMB_JSON_ARRAY;
    if (emb_json_type(ids) == EMB_JSON_ARRAY && emb_json_size(ids) == 0) {
        return emb_refuse(&q->refusal, 400, "invalid_request_error", "ids", "empty_input", "`ids` cannot be empty");
    }
    int rc = 0;
    size_t n = 0;
    emb_buf_puts(&q->reply, "[");
    for (it = emb_json_iterate(ids); lists && rc == 0 && emb_json_next(&it); n++) {
        char name[40];
        snprintf(name, sizeof name, "ids[%zu]", n);
        emb_buf_puts(&q->reply, n > 0 ? "," : "");
        rc = emb_token_text(&q->reply, q->model, it.value, skip, name, &q->refusal);
    }
    if (!lists) {
        rc = emb_token_text(&q->reply, q->model, ids, skip, "ids", &q->refusal);
    }
    emb_buf_puts(&q->reply, "]");
    return rc;
}

/* ---- llama.cpp and vLLM ---- */

/* The member "tokens": ids, or objects with their pieces. Returns how many. */
static size_t write_ids(struct emb_json_request *q, const embellama_token *tokens, size_t count, bool special,
                        bool pieces)
{
    size_t written = 0;
    emb_buf_puts(&q->reply, "\"tokens\":[");
    for (size_t i = 0; i < count; i++) {
        if (tokens[i].special && !special) {
            continue;
        }
        emb_buf_printf(&q->reply, pieces ? "%s{\"id\":%d,\"piece\":" : "%s%d", written++ > 0 ? "," : "",
                       (int)tokens[i].id);
        if (pieces) {
            emb_json_write_cstring(&q->reply, embellama_token_text(q->model, tokens[i].id));
            emb_buf_puts(&q->reply, "}");
        }
    }
    emb_buf_puts(&q->reply, "]");
    return written;
}

static int tokenize_content(struct emb_json_request *q, struct emb_json_value body)
{
    bool special = false, pieces = false;
    embellama_text text = {0};
    embellama_token *tokens;
    size_t count;
    if (emb_member_text(body, "content", &text, &q->refusal) != 0 ||
        emb_member_bool(body, "add_special", &special, &q->refusal) != 0 ||
        emb_member_bool(body, "with_pieces", &pieces, &q->refusal) != 0 ||
        emb_token_list(&tokens, &count, q->model, text, "content", &q->refusal) != 0) {
        return -1;
    }
    emb_buf_puts(&q->reply, "{");
    write_ids(q, tokens, count, special, pieces);
    emb_buf_puts(&q->reply, "}");
    emb_free(tokens);
    return 0;
}

static void write_strings(struct emb_json_request *q, const embellama_token *tokens, size_t count, bool special)
{
    size_t written = 0;
    emb_buf_puts(&q->reply, "[");
    for (size_t i = 0; i < count; i++) {
        if (special || !tokens[i].special) {
            emb_buf_puts(&q->reply, written++ > 0 ? "," : "");
            emb_json_write_cstring(&q->reply, embellama_token_text(q->model, tokens[i].id));
        }
    }
    emb_buf_puts(&q->reply, "]");
}

static int tokenize_prompt(struct emb_json_request *q, struct emb_json_value body)
{
    bool special = true, strings = false;
    embellama_text text = {0};
    embellama_token *tokens;
    size_t count;
    if (emb_member_text(body, "prompt", &text, &q->refusal) != 0 ||
        emb_member_bool(body, "add_special_tokens", &special, &q->refusal) != 0 ||
        emb_member_bool(body, "return_token_strs", &strings, &q->refusal) != 0 ||
        emb_token_list(&tokens, &count, q->model, text, "prompt", &q->refusal) != 0) {
        return -1;
    }
    emb_buf_puts(&q->reply, "{");
    size_t n = write_ids(q, tokens, count, special, false);
    emb_buf_printf(&q->reply, ",\"count\":%zu,\"max_model_len\":%zu,\"token_strs\":", n,
                   emb_served_limit(q->model, q->options));
    if (strings) {
        write_strings(q, tokens, count, special);
    } else {
        emb_buf_puts(&q->reply, "null");
    }
    emb_buf_puts(&q->reply, "}");
    emb_free(tokens);
    return 0;
}

static int detokenize(struct emb_json_request *q, struct emb_json_value body)
{
    struct emb_json_value tokens;
    if (!emb_member(body, "tokens", &tokens)) {
        return emb_refuse_invalid(&q->refusal, "tokens", "you must provide tokens, a list of token ids");
    }
    emb_buf_puts(&q->reply, "{\"content\":");
    size_t begin = q->reply.size;
    if (emb_token_text(&q->reply, q->model, tokens, false, "tokens", &q->refusal) != 0) {
        return -1;
    }
    size_t end = q->reply.size;
    emb_buf_puts(&q->reply, ",\"prompt\":");
    char *again = emb_buf_reserve(&q->reply, end - begin);
    if (again) {
        memcpy(again, q->reply.data + begin, end - begin);
        emb_buf_commit(&q->reply, end - begin);
    }
    emb_buf_puts(&q->reply, "}");
    return 0;
}

/* ---- Paths ---- */

static int tokenize(struct emb_json_request *q, struct emb_json_value body)
{
    struct emb_json_value v;
    if (emb_member(body, "inputs", &v)) {
        return tokenize_inputs(q, body, v);
    }
    if (emb_member(body, "content", &v)) {
        return tokenize_content(q, body);
    }
    if (emb_member(body, "prompt", &v)) {
        return tokenize_prompt(q, body);
    }
    return emb_refuse_invalid(&q->refusal, "inputs", "missing field `inputs` (or `content`, or `prompt`)");
}

void emb_api_tokenize(struct emb_server *server, struct emb_exchange *x)
{
    emb_json_serve(server, x, tokenize);
}

void emb_api_decode(struct emb_server *server, struct emb_exchange *x)
{
    emb_json_serve(server, x, decode);
}

void emb_api_detokenize(struct emb_server *server, struct emb_exchange *x)
{
    emb_json_serve(server, x, detokenize);
}
