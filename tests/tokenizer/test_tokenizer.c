/* Encoding with small tokenizers: the reference's ids, pairs and frames, hostile texts, and running out of memory. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support.h"

#include "base/mem.h"

static struct emb_tokenizer *open_data(const char *name)
{
    char *path = data_path(name);
    struct emb_tokenizer *t = open_json(path);
    emb_free(path);
    return t;
}

static void reference_cases(void **state)
{
    static const char *const names[] = {"uncased", "cased", "accents", "raw", "added", "spaces"};
    (void)state;
    char *cases = data_path("cases.json");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[32];
        (void)snprintf(file, sizeof file, "%s.json", names[i]);
        struct emb_tokenizer *t = open_data(file);
        assert_true(check_cases(t, cases, names[i]) > 100);
        emb_tokenizer_free(t);
    }
    emb_free(cases);
}

static void vocabulary(void **state)
{
    (void)state;
    struct emb_tokenizer *t = open_data("added.json");
    size_t size = emb_tokenizer_vocab_size(t);
    assert_string_equal(emb_tokenizer_token(t, 0), "[PAD]");
    assert_string_equal(emb_tokenizer_token(t, 4), "[MASK]");
    assert_non_null(emb_tokenizer_token(t, (int32_t)size - 1));
    assert_null(emb_tokenizer_token(t, (int32_t)size));
    assert_null(emb_tokenizer_token(t, -1));
    assert_null(emb_tokenizer_token(t, INT32_MAX));
    bool continuation = false;
    for (int32_t id = 0; id < (int32_t)size; id++) {
        continuation |= strcmp(emb_tokenizer_token(t, id), "##ing") == 0;
    }
    assert_true(continuation);
    emb_tokenizer_free(t);
    emb_tokenizer_free(NULL);
}

static void frames(void **state)
{
    (void)state;
    embellama_ids prefix, suffix;
    struct emb_tokenizer *t = open_data("uncased.json");
    emb_tokenizer_frame(t, &prefix, &suffix);
    assert_int_equal(prefix.count, 1);
    assert_int_equal(prefix.ids[0], 2);
    assert_int_equal(suffix.count, 1);
    assert_int_equal(suffix.ids[0], 3);
    EXPECT(t, "", 2, 3);
    emb_tokenizer_free(t);
    t = open_data("accents.json");
    emb_tokenizer_frame(t, &prefix, &suffix);
    assert_int_equal(prefix.count + suffix.count, 0);
    emb_tokenizer_free(t);
}

static void invalid_utf8(void **state)
{
    static const struct {
        const char *bytes;
        size_t size, offset;
    } bad[] = {
        {"\xFF", 1, 0},           {"abc\x80", 4, 3},          {"a\xC3", 2, 1},    {"\xC0\x80", 2, 0},
        {"ab\xED\xA0\x80", 5, 2}, {"\xF4\x90\x80\x80", 4, 0}, {"\xE2\x82", 2, 0}, {"12345678\xE2\x28\xA1", 11, 8}};
    (void)state;
    struct emb_tokenizer *t = open_data("uncased.json");
    struct emb_tokens out = {0};
    embellama_text good = {"a", 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        embellama_text text = {bad[i].bytes, bad[i].size};
        embellama_error error;
        assert_int_equal(emb_tokenizer_encode(t, text, NULL, &out, &error), EMBELLAMA_E_UTF8);
        assert_int_equal(error.code, EMBELLAMA_E_UTF8);
        assert_int_equal(error.offset, bad[i].offset);
        assert_int_equal(emb_tokenizer_encode(t, good, &text, &out, NULL), EMBELLAMA_E_UTF8);
        assert_int_equal(out.count, 0);
    }
    emb_tokens_deinit(&out);
    emb_tokenizer_free(t);
}

/* A text may hold zeros, and an empty one may have no bytes at all. */
static void odd_texts(void **state)
{
    (void)state;
    struct emb_tokenizer *t = open_data("uncased.json");
    struct emb_tokens out = {0};
    embellama_text none = {NULL, 0}, zeros = {"a\0b", 3};
    assert_int_equal(emb_tokenizer_encode(t, none, &none, &out, NULL), 0);
    assert_int_equal(out.count, 3);
    assert_int_equal(emb_tokenizer_encode(t, zeros, NULL, &out, NULL), 0);
    assert_int_equal(out.count, 3);
    assert_string_equal(emb_tokenizer_token(t, out.ids[1]), "ab");
    emb_tokens_deinit(&out);
    emb_tokenizer_free(t);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A megabyte of one unit, over and over: it must not take more than linear time (seconds would mean it does). */
static size_t encode_megabyte(const struct emb_tokenizer *t, const char *unit)
{
    size_t n = strlen(unit), count = (1 << 20) / n;
    char *text = emb_alloc(count, n);
    struct emb_tokens out = {0};
    assert_non_null(text);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + i * n, unit, n);
    }
    double start = seconds();
    assert_int_equal(emb_tokenizer_encode(t, (embellama_text){text, count * n}, NULL, &out, NULL), 0);
    assert_true(seconds() - start < 10);
    size_t ids = out.count;
    emb_tokens_deinit(&out);
    emb_free(text);
    return ids;
}

static void huge_texts(void **state)
{
    static const char *const units[] = {" ",
                                        "\xE4\xB8\xAD",
                                        "\xC3\xA9 ",
                                        "<r> ",
                                        "<r>",
                                        " <l>",
                                        "<x><",
                                        "[CLS",
                                        "\xE3\x80\x82",
                                        "\xE0\xA3\x94\xF0\x9E\xA5\x8A",
                                        "\xCC\x81",
                                        "\x01",
                                        "[",
                                        "\t",
                                        "_\t",
                                        "\xF0\x9F\xA6\x99"};
    static const char *const files[] = {"uncased.json", "raw.json", "added.json", "spaces.json"};
    (void)state;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        struct emb_tokenizer *t = open_data(files[f]);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            (void)encode_megabyte(t, units[i]);
        }
        emb_tokenizer_free(t);
    }
    struct emb_tokenizer *t = open_data("uncased.json");
    assert_int_equal(encode_megabyte(t, "a"), 3);
    assert_int_equal(encode_megabyte(t, "\xE4\xB8\xAD"), (1 << 20) / 3 + 2);
    emb_tokenizer_free(t);
}

/* A word far longer than what is normalised at once, between others, and words across every border
 * of such stretches. */
static void stretches(void **state)
{
    enum { SIZE = 6000 };
    (void)state;
    struct emb_tokenizer *t = open_data("uncased.json");
    struct emb_tokens out = {0};
    char text[SIZE];
    for (size_t gap = 1; gap < 12; gap++) {
        size_t words = 0, expected;
        for (size_t i = 0; i < SIZE; i++) {
            bool space = i % (gap + 1) == gap;
            text[i] = space ? ' ' : 'a';
            words += space;
        }
        assert_int_equal(emb_tokenizer_encode(t, (embellama_text){text, gap}, NULL, &out, NULL), 0);
        expected = (out.count - 2) * words;
        assert_int_equal(emb_tokenizer_encode(t, (embellama_text){text, words * (gap + 1)}, NULL, &out, NULL), 0);
        assert_int_equal(out.count, expected + 2);
    }
    memset(text, 'a', SIZE);
    memcpy(text, "a ", 2);
    memcpy(text + SIZE - 2, " b", 2);
    assert_int_equal(emb_tokenizer_encode(t, (embellama_text){text, SIZE}, NULL, &out, NULL), 0);
    assert_int_equal(out.count, 5);
    assert_int_equal(out.ids[2], 1);
    emb_tokens_deinit(&out);
    emb_tokenizer_free(t);
}

/* Every allocation of loading and of encoding fails once: an error each time, nothing leaks or breaks. */
static void out_of_memory(void **state)
{
    (void)state;
    char *path = data_path("added.json");
    struct emb_tokenizer *t = NULL;
    embellama_error error;
    int status = EMBELLAMA_E_NOMEM;
    for (long n = 0; status != 0; n++) {
        emb_mem_fail_after(n);
        status = emb_tokenizer_from_json(&t, path, &error);
        emb_mem_fail_after(-1);
        assert_true(status == 0 ? t != NULL : status == EMBELLAMA_E_NOMEM && t == NULL && error.code == status);
    }
    static char text[10000];
    memset(text, 'a', sizeof text);
    status = EMBELLAMA_E_NOMEM;
    for (long n = 0; status != 0; n++) {
        struct emb_tokens out = {0};
        embellama_text long_text = {text, sizeof text}, words = {"hello <x> world of words", 24};
        emb_mem_fail_after(n);
        status = emb_tokenizer_encode(t, words, &long_text, &out, &error);
        emb_mem_fail_after(-1);
        assert_true(status == 0 || (status == EMBELLAMA_E_NOMEM && out.count == 0 && n < 100));
        emb_tokens_deinit(&out);
    }
    emb_tokenizer_free(t);
    emb_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_cases), cmocka_unit_test(vocabulary),    cmocka_unit_test(frames),
        cmocka_unit_test(invalid_utf8),    cmocka_unit_test(odd_texts),     cmocka_unit_test(huge_texts),
        cmocka_unit_test(stretches),       cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
