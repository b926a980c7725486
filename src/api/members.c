/* Typed members. One wording for all dialects. */
#include "api/members.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"

bool emb_member(struct emb_json_value body, const char *key, struct emb_json_value *out)
{
    struct emb_json_value v;
    const char *dot = strrchr(key, '.');
    if (!emb_json_get(body, dot ? dot + 1 : key, &v) || emb_json_type(v) == EMB_JSON_NULL) {
        return false;
    }
    *out = v;
    return true;
}

const char *emb_member_type(struct emb_json_value v)
{
    return emb_json_type_name(emb_json_type(v));
}

bool emb_text_is(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && memcmp(text, word, size) == 0;
}

bool emb_text_is_nocase(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && strncasecmp(text, word, size) == 0;
}

int emb_member_bool(struct emb_json_value body, const char *key, bool *out, struct emb_refusal *refusal)
{
    struct emb_json_value v;
    if (!emb_member(body, key, &v) || emb_json_bool(v, out)) {
        return 0;
    }
    return emb_refuse_invalid(refusal, key, "'$.%s' is invalid: it must be true or false, but it is %s.", key,
                              emb_member_type(v));
}

int emb_member_int(struct emb_json_value body, const char *key, int64_t least, int64_t most, int64_t *out,
                   struct emb_refusal *refusal)
{
    struct emb_json_value v;
    int64_t value;
    if (!emb_member(body, key, &v)) {
        return 0;
    }
    if (!emb_json_int(v, &value)) {
        return emb_refuse_invalid(refusal, key,
                                  "'$.%s' is invalid: it must be an integer from %lld to %lld, but it is %s.", key,
                                  (long long)least, (long long)most, emb_member_type(v));
    }
    if (value < least || value > most) {
        return emb_refuse_invalid(refusal, key, "'$.%s' is invalid: it must be from %lld to %lld, but it is %lld.", key,
                                  (long long)least, (long long)most, (long long)value);
    }
    *out = value;
    return 0;
}

int emb_member_text(struct emb_json_value body, const char *key, embellama_text *out, struct emb_refusal *refusal)
{
    struct emb_json_value v;
    if (!emb_member(body, key, &v) || emb_json_string(v, &out->bytes, &out->size)) {
        return 0;
    }
    return emb_refuse_invalid(refusal, key, "'$.%s' is invalid: it must be a string, but it is %s.", key,
                              emb_member_type(v));
}

int emb_member_word(struct emb_json_value body, const char *key, const char *const *words, size_t *out,
                    struct emb_refusal *refusal)
{
    enum { LIST_BYTES = 512 };
    struct emb_json_value v;
    embellama_text text = {"", 0};
    if (!emb_member(body, key, &v)) {
        return 0;
    }
    bool string = emb_json_string(v, &text.bytes, &text.size);
    for (size_t i = 0; string && words[i]; i++) {
        if (emb_text_is(text.bytes, text.size, words[i])) {
            *out = i;
            return 0;
        }
    }
    char excerpt[64];
    struct emb_buf list;
    emb_buf_init(&list, LIST_BYTES);
    for (size_t i = 0; words[i]; i++) {
        emb_buf_printf(&list, "%s'%s'", i == 0 ? "" : ", ", words[i]);
    }
    emb_refuse_invalid(refusal, key, "Invalid value for '%s' = %s. Supported values: [%s].", key,
                       string ? emb_excerpt(text.bytes, text.size, excerpt, sizeof excerpt) : emb_member_type(v),
                       list.data ? list.data : "");
    emb_buf_deinit(&list);
    return -1;
}
