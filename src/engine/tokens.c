/* The public token functions. A model attached without a path has no tokenizer: what needs one says so, or leaves ids as they are. */
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "engine/handle.h"

int emb_fail_no_tokenizer(embellama_error *error)
{
    return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "a model attached without its path takes token ids only");
}

int embellama_tokenize(const embellama_model *model, embellama_text text, const embellama_text *pair, int32_t *ids,
                       int32_t *types, size_t capacity, size_t *count, embellama_error *error)
{
    struct emb_tokens tokens = {0};
    if (!model->loaded.tokenizer) {
        return emb_fail_no_tokenizer(error);
    }
    int rc = emb_tokenizer_encode(model->loaded.tokenizer, text, pair, &tokens, error);
    if (rc == EMBELLAMA_OK) {
        size_t n = tokens.count < capacity ? tokens.count : capacity;
        *count = tokens.count;
        if (n > 0) {
            memcpy(ids, tokens.ids, n * sizeof *ids);
        }
        if (n > 0 && types) {
            memcpy(types, tokens.types, n * sizeof *types);
        }
    }
    emb_tokens_deinit(&tokens);
    return rc;
}

int embellama_tokenize_spans(const embellama_model *model, embellama_text text, embellama_token *tokens,
                             size_t capacity, size_t *count, embellama_error *error)
{
    struct emb_spans spans = {0};
    if (!model->loaded.tokenizer) {
        return emb_fail_no_tokenizer(error);
    }
    int rc = emb_tokenizer_encode_spans(model->loaded.tokenizer, text, &spans, error);
    if (rc == EMBELLAMA_OK) {
        size_t n = spans.count < capacity ? spans.count : capacity;
        *count = spans.count;
        if (n > 0) {
            memcpy(tokens, spans.tokens, n * sizeof *tokens);
        }
    }
    emb_spans_deinit(&spans);
    return rc;
}

int embellama_detokenize(const embellama_model *model, embellama_ids ids, bool skip_special, char *text,
                         size_t capacity, size_t *size, embellama_error *error)
{
    struct emb_buf out;
    if (!model->loaded.tokenizer) {
        return emb_fail_no_tokenizer(error);
    }
    emb_buf_init(&out, SIZE_MAX / 2);
    int rc = emb_tokenizer_decode(model->loaded.tokenizer, ids, skip_special, &out, error);
    if (rc == EMBELLAMA_OK) {
        size_t n = out.size < capacity ? out.size : capacity;
        *size = out.size;
        if (n > 0) {
            memcpy(text, out.data, n);
        }
    }
    emb_buf_deinit(&out);
    return rc;
}

bool embellama_token_special(const embellama_model *model, int32_t id)
{
    return model->loaded.tokenizer && emb_tokenizer_special(model->loaded.tokenizer, id);
}

static bool starts_with(embellama_ids content, embellama_ids prefix)
{
    return content.count >= prefix.count &&
           (prefix.count == 0 || memcmp(content.ids, prefix.ids, prefix.count * sizeof *prefix.ids) == 0);
}

/* Appends to ids (as far as capacity reaches) and counts. */
static void append(embellama_ids part, int32_t *ids, size_t capacity, size_t *count)
{
    for (size_t i = 0; i < part.count; i++, ++*count) {
        if (*count < capacity) {
            ids[*count] = part.ids[i];
        }
    }
}

int embellama_complete_ids(const embellama_model *model, embellama_ids content, int32_t *ids, size_t capacity,
                           size_t *count, embellama_error *error)
{
    embellama_ids prefix, suffix;
    if (!model->loaded.tokenizer) {
        return emb_fail_no_tokenizer(error);
    }
    size_t vocab = emb_tokenizer_vocab_size(model->loaded.tokenizer);
    for (size_t i = 0; i < content.count; i++) {
        if (content.ids[i] < 0 || (size_t)content.ids[i] >= vocab) {
            return emb_fail_at(error, EMBELLAMA_E_TOKEN_ID, i, "token id %d at position %zu is not in 0..%zu",
                               content.ids[i], i, vocab - 1);
        }
    }
    emb_tokenizer_frame(model->loaded.tokenizer, &prefix, &suffix);
    bool opened = starts_with(content, prefix);
    size_t body = content.count - (opened ? prefix.count : 0);
    bool closed = body >= suffix.count &&
                  starts_with((embellama_ids){content.ids + content.count - suffix.count, suffix.count}, suffix);
    *count = 0;
    if (!opened) {
        append(prefix, ids, capacity, count);
    }
    append(content, ids, capacity, count);
    if (!closed) {
        append(suffix, ids, capacity, count);
    }
    return EMBELLAMA_OK;
}

/* The special tokens around an input, and its limit: at least these. */
static size_t frame(const embellama_model *model, size_t limit, embellama_ids *prefix, embellama_ids *suffix)
{
    *prefix = *suffix = (embellama_ids){0};
    if (limit == 0) {
        limit = model->loaded.spec.positions;
    }
    if (model->loaded.tokenizer) {
        emb_tokenizer_frame(model->loaded.tokenizer, prefix, suffix);
    }
    size_t least = prefix->count + suffix->count;
    return limit < least ? least : limit;
}

size_t embellama_truncate_ids(const embellama_model *model, int32_t *ids, size_t count, size_t limit)
{
    embellama_ids prefix, suffix;
    limit = frame(model, limit, &prefix, &suffix);
    if (count <= limit) {
        return count;
    }
    memmove(ids + limit - suffix.count, ids + count - suffix.count, suffix.count * sizeof *ids);
    return limit;
}

size_t embellama_truncate_ids_left(const embellama_model *model, int32_t *ids, size_t count, size_t limit)
{
    embellama_ids prefix, suffix;
    limit = frame(model, limit, &prefix, &suffix);
    if (count <= limit) {
        return count;
    }
    size_t kept = limit - prefix.count;
    memmove(ids + prefix.count, ids + count - kept, kept * sizeof *ids);
    return limit;
}

const char *embellama_token_text(const embellama_model *model, int32_t id)
{
    return model->loaded.tokenizer ? emb_tokenizer_token(model->loaded.tokenizer, id) : NULL;
}

const char *embellama_prompt(const embellama_model *model, const char *name)
{
    const struct emb_prompts *prompts = &model->loaded.prompts;
    const struct emb_prompt *prompt = name ? emb_prompts_find(prompts, name) : prompts->fallback;
    return prompt ? prompt->text : NULL;
}

const char *embellama_prompt_name(const embellama_model *model, size_t i)
{
    return i < model->loaded.prompts.count ? model->loaded.prompts.list[i].name : NULL;
}

const char *embellama_prompt_default(const embellama_model *model)
{
    return model->loaded.prompts.fallback ? model->loaded.prompts.fallback->name : NULL;
}
