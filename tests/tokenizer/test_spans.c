/* Places of tokens and text of ids: the reference's, over the lists of tools/golden/spans.py and, where it is, the shared corpus. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support.h"

#include "base/json.h"
#include "base/mem.h"

#define MODEL "all-MiniLM-L6-v2"
#define CORPUS "data/corpus/wordpiece-dev.jsonl"

enum { IDS_MAX = 4096 };

static struct emb_json *read_json(const char *name)
{
    struct emb_json *json;
    embellama_error error;
    char *path = data_path(name);
    if (emb_json_read(&json, path, 64 << 20, &error) != 0) {
        fail_msg("%s", error.message);
    }
    emb_free(path);
    return json;
}

/* Integers of an array, at most IDS_MAX. */
static size_t read_ints(struct emb_json_value array, int64_t *out)
{
    size_t n = 0;
    for (struct emb_json_iter it = emb_json_iterate(array); emb_json_next(&it); n++) {
        assert_true(n < IDS_MAX && emb_json_int(it.value, &out[n]));
    }
    return n;
}

static void check_decoded(const struct emb_tokenizer *t, struct emb_json_value v, const int32_t *ids, size_t count,
                          size_t at)
{
    for (int skip = 0; skip < 2; skip++) {
        const char *expected;
        size_t size;
        struct emb_buf out;
        emb_buf_init(&out, 1 << 20);
        assert_true(emb_json_get_string(v, skip ? "plain" : "full", &expected, &size));
        assert_int_equal(emb_tokenizer_decode(t, (embellama_ids){ids, count}, skip, &out, NULL), 0);
        if (out.size != size || (size > 0 && memcmp(out.data, expected, size) != 0)) {
            fail_msg("case %zu: ids become \"%s\", the reference has \"%s\"", at, out.data ? out.data : "", expected);
        }
        emb_buf_deinit(&out);
    }
}

static void check_spans(const struct emb_tokenizer *t, struct emb_json_value v, embellama_text text, size_t at)
{
    static int64_t ids[IDS_MAX], frame[IDS_MAX], place[IDS_MAX];
    struct emb_json_value list, spans;
    struct emb_spans out = {0};
    assert_int_equal(emb_tokenizer_encode_spans(t, text, &out, NULL), 0);
    assert_true(emb_json_get(v, "ids", &list));
    size_t count = read_ints(list, ids), i = 0;
    assert_true(emb_json_get(v, "frame", &list));
    assert_int_equal(read_ints(list, frame), count);
    assert_true(emb_json_get(v, "spans", &spans));
    assert_int_equal(emb_json_size(spans), count);
    assert_int_equal(out.count, count);
    for (struct emb_json_iter it = emb_json_iterate(spans); emb_json_next(&it); i++) {
        const embellama_token *token = &out.tokens[i];
        assert_int_equal(read_ints(it.value, place), 2);
        if (token->id != ids[i] || token->special != (frame[i] != 0) || token->begin != (size_t)place[0] ||
            token->end != (size_t)place[1]) {
            fail_msg("case %zu, \"%s\": token %zu is %d [%zu, %zu), the reference has %lld [%lld, %lld)", at,
                     text.bytes, i, (int)token->id, token->begin, token->end, (long long)ids[i], (long long)place[0],
                     (long long)place[1]);
        }
    }
    emb_spans_deinit(&out);
}

/* All cases of one tokenizer; how many there were. */
static size_t check_all(const struct emb_tokenizer *t, const char *name)
{
    static int64_t read[IDS_MAX];
    static int32_t ids[IDS_MAX];
    struct emb_json *json = read_json("spans.json");
    size_t count = 0, at = 0;
    for (struct emb_json_iter it = emb_json_iterate(emb_json_root(json)); emb_json_next(&it); at++) {
        const char *tokenizer;
        size_t size;
        struct emb_json_value list;
        embellama_text text;
        assert_true(emb_json_get_string(it.value, "tokenizer", &tokenizer, &size));
        if (strcmp(tokenizer, name) != 0) {
            continue;
        }
        assert_true(emb_json_get(it.value, "ids", &list));
        size_t n = read_ints(list, read);
        for (size_t i = 0; i < n; i++) {
            ids[i] = (int32_t)read[i];
        }
        check_decoded(t, it.value, ids, n, at);
        if (emb_json_get_string(it.value, "text", &text.bytes, &text.size)) {
            check_spans(t, it.value, text, at);
        }
        count++;
    }
    emb_json_free(json);
    return count;
}

static struct emb_tokenizer *open_data(const char *name)
{
    char *path = data_path(name);
    struct emb_tokenizer *t = open_json(path);
    emb_free(path);
    return t;
}

static void small_tokenizers(void **state)
{
    static const char *const names[] = {"uncased", "cased", "accents", "raw", "added", "spaces", "contractions"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[32];
        (void)snprintf(file, sizeof file, "%s.json", names[i]);
        struct emb_tokenizer *t = open_data(file);
        assert_true(check_all(t, names[i]) > 80);
        emb_tokenizer_free(t);
    }
}

static void model_tokenizer(void **state)
{
    (void)state;
    char *path = model_path("tokenizer.json");
    if (!path) {
        print_message("skipped: no default model (EMBELLAMA_TEST_MODEL)\n");
        return;
    }
    struct emb_tokenizer *t = open_json(path);
    assert_true(check_all(t, MODEL) > 80);
    emb_tokenizer_free(t);
    emb_free(path);
}

/* ---- The corpus ---- */

static uint64_t digest(uint64_t value, const embellama_token *token)
{
    const uint64_t numbers[] = {(uint64_t)token->id, token->begin, token->end};
    for (int i = 0; i < 3; i++) {
        for (int shift = 0; shift < 32; shift += 8) {
            value = (value ^ (numbers[i] >> shift & 0xFF)) * UINT64_C(0x100000001B3);
        }
    }
    return value;
}

/* The text of a line of the corpus into *out, which the caller frees. */
static struct emb_json *parse_line(const char *line, size_t size, embellama_text *out)
{
    struct emb_json *json;
    char *padded = emb_calloc(size + EMB_JSON_PADDING, 1);
    assert_non_null(padded);
    memcpy(padded, line, size);
    assert_int_equal(emb_json_parse(&json, padded, size, NULL), 0);
    assert_true(emb_json_get_string(emb_json_root(json), "text", &out->bytes, &out->size));
    emb_free(padded);
    return json;
}

static void check_corpus(const struct emb_tokenizer *t, FILE *file)
{
    struct emb_json *json = read_json("spans_digest.json");
    struct emb_json_value digests = {0};
    struct emb_spans out = {0};
    int64_t texts = 0, block = 0;
    char *line = NULL, got[17];
    size_t room = 0;
    assert_true(emb_json_get_int(emb_json_root(json), "texts", &texts) &&
                emb_json_get_int(emb_json_root(json), "block", &block) &&
                emb_json_get(emb_json_root(json), "digests", &digests));
    int64_t at = 0;
    for (struct emb_json_iter it = emb_json_iterate(digests); emb_json_next(&it);) {
        const char *expected;
        size_t size;
        uint64_t value = UINT64_C(0xCBF29CE484222325);
        assert_true(emb_json_string(it.value, &expected, &size));
        for (int64_t i = 0; i < block && at < texts; i++, at++) {
            embellama_text text;
            ssize_t n = getline(&line, &room, file);
            assert_true(n > 0);
            struct emb_json *parsed = parse_line(line, (size_t)n, &text);
            assert_int_equal(emb_tokenizer_encode_spans(t, text, &out, NULL), 0);
            for (size_t k = 0; k < out.count; k++) {
                value = digest(value, &out.tokens[k]);
            }
            emb_json_free(parsed);
        }
        (void)snprintf(got, sizeof got, "%016llx", (unsigned long long)value);
        if (strcmp(got, expected) != 0) {
            fail_msg("texts %lld to %lld: places differ from the reference's", (long long)(at - block), (long long)at);
        }
    }
    assert_int_equal(at, texts);
    free(line);
    emb_spans_deinit(&out);
    emb_json_free(json);
}

static void corpus(void **state)
{
    (void)state;
    char *model = model_path("tokenizer.json"), *texts = shared_path(CORPUS);
    FILE *file = texts ? fopen(texts, "r") : NULL;
    if (model && file) {
        struct emb_tokenizer *t = open_json(model);
        check_corpus(t, file);
        emb_tokenizer_free(t);
    } else {
        print_message("skipped: no default model (EMBELLAMA_TEST_MODEL) or no shared data (EMBELLAMA_SHARED)\n");
    }
    if (file) {
        (void)fclose(file);
    }
    emb_free(model);
    emb_free(texts);
}

/* ---- Hostile texts ---- */

static void invalid_utf8(void **state)
{
    (void)state;
    struct emb_tokenizer *t = open_data("uncased.json");
    struct emb_spans out = {0};
    embellama_error error;
    assert_int_equal(emb_tokenizer_encode_spans(t, (embellama_text){"ab\xC3", 3}, &out, &error), EMBELLAMA_E_UTF8);
    assert_int_equal(error.offset, 2);
    assert_int_equal(out.count, 0);
    emb_spans_deinit(&out);
    emb_tokenizer_free(t);
}

/* The same ids as without places, in a time that a quadratic way would miss by far: a megabyte of what is slow to place. */
static void huge_texts(void **state)
{
    static const char *const units[] = {
        "a", "a ", "\xCC\x81", "\xCC\x81\xE0\xA3\x94\xCC\x96", "\xE4\xB8\xAD", "<l> ", "\xEA\xB0\x81", "."};
    (void)state;
    enum { SIZE = 1 << 20 };
    char *text = emb_alloc(SIZE + 16, 1);
    struct emb_tokenizer *t = open_data("added.json");
    struct emb_tokens plain = {0};
    struct emb_spans out = {0};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t unit = strlen(units[u]), size = 0;
        for (; size < SIZE; size += unit) {
            memcpy(text + size, units[u], unit);
        }
        clock_t before = clock();
        assert_int_equal(emb_tokenizer_encode(t, (embellama_text){text, size}, NULL, &plain, NULL), 0);
        assert_int_equal(emb_tokenizer_encode_spans(t, (embellama_text){text, size}, &out, NULL), 0);
        assert_true(clock() - before < 30 * (clock_t)CLOCKS_PER_SEC);
        assert_int_equal(plain.count, out.count);
        size_t last = 0;
        for (size_t i = 0; i < out.count; i++) {
            assert_int_equal(plain.ids[i], out.tokens[i].id);
            if (!out.tokens[i].special) {
                assert_true(out.tokens[i].begin >= last && out.tokens[i].end > out.tokens[i].begin);
                assert_true(out.tokens[i].end <= size);
                last = out.tokens[i].begin;
            }
        }
    }
    emb_free(text);
    emb_tokens_deinit(&plain);
    emb_spans_deinit(&out);
    emb_tokenizer_free(t);
}

static void out_of_memory(void **state)
{
    static const char bytes[] = "hello <x> w\xC3\xA9rld \xE0\xA3\x94\xCC\x96\xE0\xA3\x94 of words";
    (void)state;
    struct emb_tokenizer *t = open_data("added.json");
    embellama_text text = {bytes, sizeof bytes - 1};
    int status = EMBELLAMA_E_NOMEM;
    long n = 0;
    for (; status != 0; n++) {
        struct emb_spans out = {0};
        emb_mem_fail_after(n);
        status = emb_tokenizer_encode_spans(t, text, &out, NULL);
        emb_mem_fail_after(-1);
        assert_true(status == 0 || (status == EMBELLAMA_E_NOMEM && out.count == 0 && n < 100));
        emb_spans_deinit(&out);
    }
    assert_true(n > 3);
    emb_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_tokenizers), cmocka_unit_test(model_tokenizer), cmocka_unit_test(corpus),
        cmocka_unit_test(invalid_utf8),     cmocka_unit_test(huge_texts),      cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
