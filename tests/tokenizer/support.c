/* See support.h. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "format/gguf.h"

char *data_path(const char *name)
{
    return emb_path_join(EMB_SOURCE_DIR "/tests/tokenizer/data", name);
}

/* directory/name if that is there; takes directory. */
static char *existing(char *directory, const char *name)
{
    char *path = directory ? emb_path_join(directory, name) : NULL;
    emb_free(directory);
    if (path && !emb_path_exists(path)) {
        emb_free(path);
        path = NULL;
    }
    return path;
}

char *model_path(const char *name)
{
    const char *given = getenv("EMBELLAMA_TEST_MODEL"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (given) {
        return existing(emb_strdup(given), name);
    }
    if (cache && *cache) {
        return existing(emb_path_join(cache, "embellama/models/all-MiniLM-L6-v2"), name);
    }
    return home ? existing(emb_path_join(home, ".cache/embellama/models/all-MiniLM-L6-v2"), name) : NULL;
}

char *shared_path(const char *name)
{
    const char *given = getenv("EMBELLAMA_SHARED");
    return existing(emb_strdup(given ? given : EMB_SOURCE_DIR "/../shared"), name);
}

struct emb_tokenizer *open_json(const char *path)
{
    struct emb_tokenizer *t = NULL;
    embellama_error error;
    if (emb_tokenizer_from_json(&t, path, &error) != 0) {
        fail_msg("%s: %s", path, error.message);
    }
    return t;
}

struct emb_tokenizer *open_gguf(const char *path)
{
    struct emb_tokenizer *t = NULL;
    struct emb_gguf *gguf;
    embellama_error error;
    if (emb_gguf_open(&gguf, path, &error) != 0 || emb_tokenizer_from_gguf(&t, gguf, &error) != 0) {
        fail_msg("%s: %s", path, error.message);
    }
    emb_gguf_close(gguf);
    return t;
}

static void expect_array(struct emb_json_value array, const int32_t *got, size_t count, const char *what, size_t at,
                         const char *text)
{
    size_t i = 0;
    if (emb_json_size(array) != count) {
        fail_msg("case %zu, \"%s\": %zu %s, the reference has %zu", at, text, count, what, emb_json_size(array));
    }
    for (struct emb_json_iter it = emb_json_iterate(array); emb_json_next(&it); i++) {
        int64_t expected = -1;
        if (!emb_json_int(it.value, &expected) || expected != got[i]) {
            fail_msg("case %zu, \"%s\": %s[%zu] is %d, the reference has %lld", at, text, what, i, (int)got[i],
                     (long long)expected);
        }
    }
}

static void check_case(const struct emb_tokenizer *t, struct emb_json_value v, size_t at, struct emb_tokens *out)
{
    embellama_text text, pair;
    struct emb_json_value ids, types;
    embellama_error error;
    assert_true(emb_json_get_string(v, "text", &text.bytes, &text.size));
    assert_true(emb_json_get(v, "ids", &ids));
    bool paired = emb_json_get_string(v, "pair", &pair.bytes, &pair.size);
    if (emb_tokenizer_encode(t, text, paired ? &pair : NULL, out, &error) != 0) {
        fail_msg("case %zu, \"%s\": %s", at, text.bytes, error.message);
    }
    expect_array(ids, out->ids, out->count, "ids", at, text.bytes);
    if (emb_json_get(v, "types", &types)) {
        expect_array(types, out->types, out->count, "types", at, text.bytes);
    }
}

size_t check_cases(const struct emb_tokenizer *t, const char *path, const char *name)
{
    struct emb_json *json;
    struct emb_tokens out = {0};
    embellama_error error;
    size_t count = 0, at = 0;
    if (emb_json_read(&json, path, 64 << 20, &error) != 0) {
        fail_msg("%s", error.message);
    }
    for (struct emb_json_iter it = emb_json_iterate(emb_json_root(json)); emb_json_next(&it); at++) {
        const char *tokenizer;
        size_t size;
        assert_true(emb_json_get_string(it.value, "tokenizer", &tokenizer, &size));
        if (strcmp(tokenizer, name) == 0) {
            check_case(t, it.value, at, &out);
            count++;
        }
    }
    emb_tokens_deinit(&out);
    emb_json_free(json);
    return count;
}

size_t check_lines(const struct emb_tokenizer *t, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0, count = 0;
    struct emb_tokens out = {0};
    assert_non_null(file);
    for (ssize_t n; (n = getline(&line, &room, file)) > 0; count++) {
        struct emb_json *json;
        embellama_error error;
        char *padded = emb_calloc((size_t)n + EMB_JSON_PADDING, 1);
        assert_non_null(padded);
        memcpy(padded, line, (size_t)n);
        if (emb_json_parse(&json, padded, (size_t)n, &error) != 0) {
            fail_msg("line %zu: %s", count, error.message);
        }
        check_case(t, emb_json_root(json), count, &out);
        emb_json_free(json);
        emb_free(padded);
    }
    free(line);
    (void)fclose(file);
    emb_tokens_deinit(&out);
    return count;
}

void expect_ids(const struct emb_tokenizer *t, const char *text, const int32_t *ids, size_t count)
{
    struct emb_tokens out = {0};
    embellama_error error;
    int status = emb_tokenizer_encode(t, (embellama_text){text, strlen(text)}, NULL, &out, &error);
    if (status != 0) {
        fail_msg("\"%s\": %s", text, error.message);
    }
    if (out.count != count || (count > 0 && memcmp(out.ids, ids, count * sizeof *ids) != 0)) {
        for (size_t i = 0; i < out.count; i++) {
            print_error("%d ", (int)out.ids[i]);
        }
        fail_msg("are the ids of \"%s\", not the %zu expected", text, count);
    }
    emb_tokens_deinit(&out);
}
