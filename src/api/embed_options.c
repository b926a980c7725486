/* Shared options. Owns nothing. */
#include "api/embed_options.h"

#include <stdio.h>
#include <string.h>

/* ---- Truncation ---- */

static void limit_tokens(struct emb_embed_inputs *in, int64_t tokens)
{
    in->truncate = true;
    if ((uint64_t)tokens < in->limit) {
        in->limit = (size_t)tokens;
    }
}

/* Returns whether the word is one. */
static bool truncate_word(struct emb_embed_inputs *in, const char *text, size_t size)
{
    static const struct {
        const char *word;
        bool truncate, left;
    } words[] = {{"none", false, false},
                 {"no", false, false},
                 {"end", true, false},
                 {"yes", true, false},
                 {"start", true, true}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (emb_text_is_nocase(text, size, words[i].word)) {
            in->truncate = words[i].truncate;
            in->truncate_left = words[i].left;
            return true;
        }
    }
    return false;
}

static int read_truncate(struct emb_embed_inputs *in, struct emb_json_value body, struct emb_refusal *refusal)
{
    struct emb_json_value v;
    const char *text;
    size_t size;
    int64_t limit = 0;
    if (!emb_member(body, "truncate", &v) || emb_json_bool(v, &in->truncate)) {
        return 0;
    }
    if (emb_json_string(v, &text, &size) && truncate_word(in, text, size)) {
        return 0;
    }
    if (emb_json_get_int(v, "Limit", &limit) && limit > 0) {
        limit_tokens(in, limit);
        return 0;
    }
    return emb_refuse_invalid(refusal, "truncate",
                              "'$.truncate' is invalid: it must be true or false, \"NONE\", \"START\" or \"END\", or "
                              "{\"Limit\": tokens}.");
}

static int read_side(struct emb_embed_inputs *in, const char *key, struct emb_json_value body,
                     struct emb_refusal *refusal)
{
    struct emb_json_value v;
    const char *text;
    size_t size;
    if (!emb_member(body, key, &v)) {
        return 0;
    }
    bool string = emb_json_string(v, &text, &size);
    if (string && emb_text_is_nocase(text, size, "left")) {
        in->truncate_left = true;
        return 0;
    }
    if (string && emb_text_is_nocase(text, size, "right")) {
        in->truncate_left = false;
        return 0;
    }
    return emb_refuse_invalid(refusal, key, "'$.%s' is invalid: it must be \"left\" or \"right\".", key);
}

int emb_options_truncate(struct emb_embed_inputs *in, struct emb_json_value body, struct emb_refusal *refusal)
{
    int64_t limit = 0;
    if (read_truncate(in, body, refusal) != 0 || emb_member_bool(body, "truncation", &in->truncate, refusal) != 0 ||
        emb_member_int(body, "truncate_prompt_tokens", -1, INT32_MAX, &limit, refusal) != 0 ||
        read_side(in, "truncation_side", body, refusal) != 0 ||
        read_side(in, "truncation_direction", body, refusal) != 0) {
        return -1;
    }
    if (limit != 0) {
        limit_tokens(in, limit < 0 ? INT32_MAX : limit);
    }
    return 0;
}

/* ---- Vectors ---- */

int emb_options_dimensions(struct emb_embed_request *r, struct emb_json_value body)
{
    int64_t dimensions = (int64_t)r->dimensions, dim = (int64_t)embellama_dim(r->inputs.model);
    if (emb_member_int(body, "output_dimension", 1, dim, &dimensions, &r->refusal) != 0 ||
        emb_member_int(body, "dimensions", 1, dim, &dimensions, &r->refusal) != 0) {
        return -1;
    }
    r->dimensions = (size_t)dimensions;
    return 0;
}

int emb_options_normalize(struct emb_embed_request *r, struct emb_json_value body)
{
    bool normalize = r->task != EMB_TASK_RAW;
    if (emb_member_bool(body, "use_activation", &normalize, &r->refusal) != 0 ||
        emb_member_bool(body, "normalized", &normalize, &r->refusal) != 0 ||
        emb_member_bool(body, "normalize", &normalize, &r->refusal) != 0) {
        return -1;
    }
    r->task = normalize ? EMB_TASK_EMBED : EMB_TASK_RAW;
    return 0;
}

/* ---- Prompts ---- */

/* What queries and documents are called by clients, and their prompts by models. */
static const char *const queries[] = {"query", "search_query", "retrieval.query", "retrieval_query", NULL};
static const char *const documents[] = {"document",
                                        "passage",
                                        "search_document",
                                        "retrieval.document",
                                        "retrieval.passage",
                                        "retrieval_document",
                                        "retrieval_passage",
                                        "corpus",
                                        NULL};

static bool among(const char *const *words, embellama_text text)
{
    for (; *words; words++) {
        if (emb_text_is_nocase(text.bytes, text.size, *words)) {
            return true;
        }
    }
    return false;
}

static embellama_text as_text(const char *string)
{
    return (embellama_text){.bytes = string ? string : "", .size = string ? strlen(string) : 0};
}

embellama_text emb_options_role_prompt(const embellama_model *model, bool query)
{
    const char *prompt = NULL;
    for (const char *const *name = query ? queries : documents; *name && !prompt; name++) {
        prompt = embellama_prompt(model, *name);
    }
    return as_text(prompt);
}

/* The model's prompt of that very name; false where it has none. */
static bool find_prompt(const embellama_model *model, embellama_text name, embellama_text *prompt)
{
    const char *has;
    for (size_t i = 0; (has = embellama_prompt_name(model, i)) != NULL; i++) {
        if (emb_text_is(name.bytes, name.size, has)) {
            *prompt = as_text(embellama_prompt(model, has));
            return true;
        }
    }
    return false;
}

static void use_word(struct emb_embed_inputs *in, embellama_text word)
{
    if (find_prompt(in->model, word, &in->prompt)) {
        return;
    }
    if (among(queries, word) || among(documents, word)) {
        in->prompt = emb_options_role_prompt(in->model, among(queries, word));
    }
}

int emb_options_prompt_name(const embellama_model *model, struct emb_json_value body, embellama_text *prompt,
                            struct emb_refusal *refusal)
{
    embellama_text name = {0};
    char excerpt[64], list[256] = "none";
    if (emb_member_text(body, "prompt_name", &name, refusal) != 0) {
        return -1;
    }
    if (!name.bytes || find_prompt(model, name, prompt)) {
        return 0;
    }
    if (emb_text_is(name.bytes, name.size, "query") || emb_text_is(name.bytes, name.size, "document")) {
        *prompt = emb_options_role_prompt(model, name.bytes[0] == 'q');
        return 0;
    }
    const char *has;
    for (size_t i = 0, used = 0; used < sizeof list && (has = embellama_prompt_name(model, i)) != NULL; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", has);
    }
    return emb_refuse_invalid(refusal, "prompt_name",
                              "'$.prompt_name' is invalid: this model has no prompt named '%s'. It has: %s.",
                              emb_excerpt(name.bytes, name.size, excerpt, sizeof excerpt), list);
}

int emb_options_prompt(struct emb_embed_inputs *in, struct emb_json_value body, struct emb_refusal *refusal)
{
    embellama_text type = {0}, task = {0};
    if (emb_member_text(body, "input_type", &type, refusal) != 0 ||
        emb_member_text(body, "task", &task, refusal) != 0) {
        return -1;
    }
    in->prompt = as_text(embellama_prompt(in->model, NULL));
    if (type.bytes || task.bytes) {
        use_word(in, type.bytes ? type : task);
    }
    return emb_options_prompt_name(in->model, body, &in->prompt, refusal);
}

/* ---- Forms ---- */

bool emb_options_form_named(struct emb_vector_form *form, struct emb_json_value v)
{
    const char *text;
    size_t size;
    if (!emb_json_string(v, &text, &size)) {
        return false;
    }
    if (emb_text_is(text, size, "base64")) {
        form->base64 = true;
        return true;
    }
    for (size_t i = 0; emb_vector_type_names[i]; i++) {
        if (emb_text_is(text, size, emb_vector_type_names[i])) {
            form->type = (enum emb_vector_type)i;
            return true;
        }
    }
    return false;
}

static int read_form(struct emb_embed_request *r, const char *key, struct emb_json_value body)
{
    struct emb_json_value v;
    char excerpt[64];
    const char *text;
    size_t size;
    if (!emb_member(body, key, &v)) {
        return 0;
    }
    struct emb_json_iter it = emb_json_iterate(v);
    if (emb_json_type(v) == EMB_JSON_ARRAY && emb_json_size(v) == 1 && emb_json_next(&it)) {
        v = it.value;
    }
    if (emb_options_form_named(&r->form, v)) {
        return 0;
    }
    return emb_refuse_invalid(
        &r->refusal, key,
        "Invalid value for '%s' = %s. Supported values: ['float', 'base64', 'int8', 'uint8', 'binary', 'ubinary'].",
        key, emb_json_string(v, &text, &size) ? emb_excerpt(text, size, excerpt, sizeof excerpt) : emb_member_type(v));
}

int emb_options_form(struct emb_embed_request *r, struct emb_json_value body)
{
    static const char *const keys[] = {"encoding_format", "embedding_type", "embedding_types", "output_dtype"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (read_form(r, keys[i], body) != 0) {
            return -1;
        }
    }
    return 0;
}
