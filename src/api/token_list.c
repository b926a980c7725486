/* Tokens by the library, with room for them. */
#include "api/token_list.h"

#include "api/members.h"
#include "base/json_write.h"
#include "base/mem.h"

int emb_token_list(embellama_token **tokens, size_t *count, const embellama_model *model, embellama_text text,
                   const char *name, struct emb_refusal *refusal)
{
    enum { SPECIAL = 16, BYTES_A_TOKEN = 2 };
    size_t room = text.size / BYTES_A_TOKEN + SPECIAL;
    embellama_error error = {0};
    for (;;) {
        *tokens = emb_alloc(room, sizeof **tokens);
        if (!*tokens) {
            return emb_refuse_nomem(refusal);
        }
        int rc = embellama_tokenize_spans(model, text, *tokens, room, count, &error);
        if (rc == EMBELLAMA_OK && *count <= room) {
            return 0;
        }
        emb_free(*tokens);
        *tokens = NULL;
        if (rc != EMBELLAMA_OK) {
            return emb_refuse_status(refusal, name, rc, error.message);
        }
        room = *count;
    }
}

static int read_ids(int32_t *ids, struct emb_json_value v, const char *name, struct emb_refusal *refusal)
{
    size_t n = 0;
    for (struct emb_json_iter it = emb_json_iterate(v); emb_json_next(&it); n++) {
        int64_t id;
        if (!emb_json_int(it.value, &id) || id < 0 || id > INT32_MAX) {
            return emb_refuse_invalid(refusal, name,
                                      "'$.%s' is invalid: it must be a list of token ids, but its element %zu is none.",
                                      name, n);
        }
        ids[n] = (int32_t)id;
    }
    return 0;
}

static int write_text(struct emb_buf *out, const embellama_model *model, embellama_ids ids, bool skip_special,
                      const char *name, struct emb_refusal *refusal)
{
    enum { BYTES_A_TOKEN = 16, MORE = 64 };
    size_t room = ids.count * BYTES_A_TOKEN + MORE, size = 0;
    embellama_error error = {0};
    int rc = EMBELLAMA_OK;
    for (int tries = 0; tries < 2 && rc == EMBELLAMA_OK; tries++) {
        char *text = emb_alloc(room, 1);
        if (!text) {
            return emb_refuse_nomem(refusal);
        }
        rc = embellama_detokenize(model, ids, skip_special, text, room, &size, &error);
        bool whole = rc == EMBELLAMA_OK && size <= room;
        if (whole) {
            emb_json_write_string(out, text, size);
        }
        emb_free(text);
        if (whole) {
            return 0;
        }
        room = size;
    }
    return emb_refuse_status(refusal, name, rc, error.message);
}

int emb_token_text(struct emb_buf *out, const embellama_model *model, struct emb_json_value v, bool skip_special,
                   const char *name, struct emb_refusal *refusal)
{
    if (emb_json_type(v) != EMB_JSON_ARRAY) {
        return emb_refuse_invalid(refusal, name, "'$.%s' is invalid: it must be a list of token ids, but it is %s.",
                                  name, emb_member_type(v));
    }
    size_t n = emb_json_size(v);
    int32_t *ids = emb_alloc(n, sizeof *ids);
    if (!ids) {
        return emb_refuse_nomem(refusal);
    }
    int rc = read_ids(ids, v, name, refusal);
    if (rc == 0) {
        rc = write_text(out, model, (embellama_ids){.ids = ids, .count = n}, skip_special, name, refusal);
    }
    emb_free(ids);
    return rc;
}
