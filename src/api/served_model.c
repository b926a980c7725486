/* Which names are the model's, and what holds where an option leaves it to the model. */
#include "api/served_model.h"

#include <string.h>

#include "api/members.h"

/* The organisation under which this kind of model is published: clients often give the full name. */
static const char publisher[] = "sentence-transformers/";

/* A name stands for the model with or without its publisher, "all-MiniLM-L6-v2" and
 * "sentence-transformers/all-MiniLM-L6-v2"; one of another organisation with or without it, too, where the model
 * is served under that name. */
static bool names(const char *name, const char *text, size_t size)
{
    if (emb_text_is(text, size, name)) {
        return true;
    }
    const char *slash = strrchr(name, '/');
    if (slash) {
        return emb_text_is(text, size, slash + 1);
    }
    size_t prefix = sizeof publisher - 1;
    return size > prefix && memcmp(text, publisher, prefix) == 0 && emb_text_is(text + prefix, size - prefix, name);
}

bool emb_served_model_is(const embellama_model *model, const char *served, const char *text, size_t size)
{
    return names(served, text, size) || names(embellama_model_get_info(model)->name, text, size);
}

int emb_served_model_check(const embellama_model *model, const char *served, struct emb_json_value body, bool required,
                           struct emb_refusal *refusal)
{
    struct emb_json_value v;
    embellama_text name = {"", 0};
    char asked[128], has[128];
    if (emb_member(body, "model", &v) && !emb_json_string(v, &name.bytes, &name.size)) {
        return emb_refuse_invalid(refusal, "model", "'$.model' is invalid: it must be a string, but it is %s.",
                                  emb_member_type(v));
    }
    if (name.size == 0) {
        return required ? emb_refuse_invalid(refusal, "model", "you must provide a model parameter") : 0;
    }
    if (emb_served_model_is(model, served, name.bytes, name.size)) {
        return 0;
    }
    return emb_refuse(refusal, 404, "invalid_request_error", "model", "model_not_found",
                      "The model '%s' does not exist. This server has '%s'.",
                      emb_excerpt(name.bytes, name.size, asked, sizeof asked),
                      emb_excerpt(served, strlen(served), has, sizeof has));
}

size_t emb_served_limit(const embellama_model *model, const struct emb_server_options *options)
{
    size_t context = embellama_model_get_info(model)->context_length;
    return options->max_length > 0 && options->max_length < context ? options->max_length : context;
}

embellama_pooling emb_served_pooling(const embellama_model *model, const struct emb_server_options *options)
{
    return options->pooling != EMBELLAMA_POOLING_AUTO ? options->pooling : embellama_model_get_info(model)->pooling;
}

embellama_normalize emb_served_normalize(const embellama_model *model, const struct emb_server_options *options)
{
    return options->normalize != EMBELLAMA_NORMALIZE_AUTO ? options->normalize
                                                          : embellama_model_get_info(model)->normalize;
}
