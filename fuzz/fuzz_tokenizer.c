/* A tokenizer.json, a zero byte and a text: loads the one and encodes the other, alone and as a
 * pair; places must belong to the same ids and lie in the text, and the ids become text again.
 * Without a zero byte the text is the whole input. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The path of a file in memory that holds exactly data. */
static const char *memory_file(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("tokenizer.json", 0);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) {
        abort();
    }
    return path;
}

static void check_tokens(const struct emb_tokenizer *t, const struct emb_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++) {
        if (!emb_tokenizer_token(t, tokens->ids[i]) || tokens->types[i] < 0) {
            abort();
        }
    }
}

static void check_spans(const struct emb_tokenizer *t, embellama_text text, const struct emb_tokens *tokens)
{
    struct emb_spans spans = {0};
    if (emb_tokenizer_encode_spans(t, text, &spans, NULL) != 0 || spans.count != tokens->count) {
        abort();
    }
    for (size_t i = 0; i < spans.count; i++) {
        const embellama_token *token = &spans.tokens[i];
        if (token->id != tokens->ids[i] || token->end > text.size || token->begin > token->end ||
            (token->special ? token->end > 0 : token->begin == token->end) ||
            emb_utf8_valid_prefix(text.bytes, token->end) != token->end) {
            abort();
        }
    }
    emb_spans_deinit(&spans);
}

static void check_decoding(const struct emb_tokenizer *t, const struct emb_tokens *tokens)
{
    struct emb_buf all, plain;
    embellama_error error;
    emb_buf_init(&all, SIZE_MAX / 2);
    emb_buf_init(&plain, SIZE_MAX / 2);
    embellama_ids ids = {tokens->ids, tokens->count};
    int status = emb_tokenizer_decode(t, ids, false, &all, &error);
    if (status != emb_tokenizer_decode(t, ids, true, &plain, &error) ||
        (status != 0 && status != EMBELLAMA_E_UNSUPPORTED) || emb_utf8_valid_prefix(all.data, all.size) != all.size) {
        abort();
    }
    emb_buf_deinit(&all);
    emb_buf_deinit(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t json = zero ? (size_t)(zero - data) : size;
    embellama_text text = {(const char *)data, size};
    if (zero) {
        text = (embellama_text){(const char *)zero + 1, size - json - 1};
    }
    struct emb_tokenizer *t;
    struct emb_tokens tokens = {0};
    embellama_error error;
    if (emb_tokenizer_from_json(&t, memory_file(data, json), &error) != 0) {
        if (!memchr(error.message, 0, sizeof error.message) || error.message[0] == 0) {
            abort();
        }
        return 0;
    }
    if (emb_tokenizer_encode(t, text, NULL, &tokens, &error) == 0) {
        check_tokens(t, &tokens);
        check_spans(t, text, &tokens);
        check_decoding(t, &tokens);
    }
    if (emb_tokenizer_encode(t, text, &text, &tokens, &error) == 0) {
        check_tokens(t, &tokens);
    }
    emb_tokens_deinit(&tokens);
    emb_tokenizer_free(t);
    return 0;
}
