/* Lists of inputs. Owns nothing. */
#include "api/embed_list.h"

#include <stdio.h>

#include "api/members.h"

size_t emb_characters(embellama_text text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.size; i++) {
        n += ((unsigned char)text.bytes[i] & 0xC0) != 0x80;
    }
    return n;
}

int emb_embed_list_empty(struct emb_embed_request *r, const char *member)
{
    return emb_refuse(&r->refusal, 400, "invalid_request_error", member, "empty_input", "`%s` cannot be empty", member);
}

int emb_embed_list_check(struct emb_embed_request *r, const char *member, size_t n)
{
    if (n == 0) {
        return emb_embed_list_empty(r, member);
    }
    if (n > r->inputs.most) {
        return emb_refuse_invalid(&r->refusal, member, "`%s`: batch size %zu > maximum allowed batch size %zu", member,
                                  n, r->inputs.most);
    }
    return 0;
}

int emb_embed_list_add(struct emb_embed_request *r, const char *name, struct emb_json_value v)
{
    embellama_text text;
    if (emb_json_string(v, &text.bytes, &text.size)) {
        return emb_embed_inputs_add_text(&r->inputs, name, text, &r->refusal);
    }
    if (emb_json_type(v) == EMB_JSON_ARRAY) {
        return emb_embed_inputs_add_ids(&r->inputs, name, v, &r->refusal);
    }
    return emb_refuse_invalid(&r->refusal, name, "'$.%s' is invalid: it must be a string or token ids, but it is %s.",
                              name, emb_member_type(v));
}

int emb_embed_list(struct emb_embed_request *r, const char *member, struct emb_json_value v)
{
    if (emb_json_type(v) != EMB_JSON_ARRAY) {
        return emb_embed_list_add(r, member, v);
    }
    struct emb_json_iter it = emb_json_iterate(v);
    bool first = emb_json_next(&it);
    if (first && emb_json_type(it.value) == EMB_JSON_INT) {
        return emb_embed_inputs_add_ids(&r->inputs, member, v, &r->refusal);
    }
    int rc = emb_embed_list_check(r, member, emb_json_size(v));
    for (it = emb_json_iterate(v); rc == 0 && emb_json_next(&it);) {
        char name[48];
        snprintf(name, sizeof name, "%s[%zu]", member, r->inputs.count);
        rc = emb_embed_list_add(r, name, it.value);
    }
    return rc;
}

int emb_embed_list_strings(struct emb_embed_request *r, const char *member, struct emb_json_value list)
{
    size_t i = 0;
    int rc = emb_embed_list_check(r, member, emb_json_size(list));
    for (struct emb_json_iter it = emb_json_iterate(list); rc == 0 && emb_json_next(&it); i++) {
        char name[48];
        embellama_text text;
        snprintf(name, sizeof name, "%s[%zu]", member, i);
        if (!emb_json_string(it.value, &text.bytes, &text.size)) {
            return emb_refuse_invalid(&r->refusal, name, "'$.%s' is invalid: it must be a string, but it is %s.", name,
                                      emb_member_type(it.value));
        }
        rc = emb_embed_inputs_add_text(&r->inputs, name, text, &r->refusal);
    }
    return rc;
}
