/* tiktoken vocabularies: decoding, what becomes of bytes that are no UTF-8, and files that lie. */
#include <stdio.h>
#include <string.h>

#include "support.h"

#include "../base/tempdir.h"
#include "base/buf.h"
#include "base/mem.h"
#include "tokenizer/tiktoken.h"

static embellama_vocabulary *parse(const char *text)
{
    embellama_vocabulary *v = NULL;
    embellama_error error;
    if (emb_tiktoken_parse(&v, text, strlen(text), &error) != 0) {
        fail_msg("%s", error.message);
    }
    return v;
}

static void expect_text(const embellama_vocabulary *v, embellama_ids ids, const char *expected)
{
    char text[256];
    size_t size, again, length = strlen(expected);
    embellama_error error;
    if (embellama_vocabulary_decode(v, ids, text, sizeof text, &size, &error) != 0) {
        fail_msg("%s", error.message);
    }
    if (size != length || memcmp(text, expected, length) != 0) {
        fail_msg("\"%.*s\", not \"%s\"", (int)size, text, expected);
    }
    memset(text, '#', sizeof text);
    assert_int_equal(embellama_vocabulary_decode(v, ids, NULL, 0, &again, NULL), 0);
    assert_int_equal(again, size);
    assert_int_equal(embellama_vocabulary_decode(v, ids, text, size / 2, &again, NULL), 0);
    assert_int_equal(again, size);
    assert_memory_equal(text, expected, size / 2);
    assert_int_equal(text[size / 2], '#');
}
#define EXPECT_TEXT(v, expected, ...)                                                                                  \
    expect_text(v,                                                                                                     \
                (embellama_ids){(const int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)},   \
                expected)

static void decodes(void **state)
{
    (void)state;
    embellama_vocabulary *v = parse("SGVsbG8= 0\r\nLA== 1\n\nIHdvcmxk 5\n8J+m 7\nmQ== 8");
    assert_int_equal(embellama_vocabulary_size(v), 9);
    EXPECT_TEXT(v, "Hello, world", 0, 1, 5);
    EXPECT_TEXT(v, "\xF0\x9F\xA6\x99", 7, 8);
    EXPECT_TEXT(v, "\xEF\xBF\xBDHello", 7, 0);
    EXPECT_TEXT(v, "\xEF\xBF\xBD\xEF\xBF\xBD", 8, 7);
    size_t size = 9;
    assert_int_equal(embellama_vocabulary_decode(v, (embellama_ids){NULL, 0}, NULL, 0, &size, NULL), 0);
    assert_int_equal(size, 0);
    embellama_vocabulary_free(v);
    embellama_vocabulary_free(NULL);
}

static void unknown_ids(void **state)
{
    static const int32_t unknown[] = {-1, 2, 3, 9, INT32_MAX, INT32_MIN};
    (void)state;
    embellama_vocabulary *v = parse("SGVsbG8= 0\nLA== 1\nIHdvcmxk 5\nIHdvcmxk 8");
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        const int32_t ids[] = {0, unknown[i], 1};
        size_t size;
        embellama_error error;
        assert_int_equal(embellama_vocabulary_decode(v, (embellama_ids){ids, 3}, NULL, 0, &size, &error),
                         EMBELLAMA_E_TOKEN_ID);
        assert_int_equal(error.offset, 1);
    }
    embellama_vocabulary_free(v);
}

/* Every byte is a token; sequences and what Python's errors="replace" makes of them. */
static void invalid_utf8(void **state)
{
#define R "\xEF\xBF\xBD"
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"a\x80"
         "b",
         "a" R "b"},
        {"\xC0\x80", R R},
        {"\xC3\xC3\xA9", R "\xC3\xA9"},
        {"\xE0\x80\x80", R R R},
        {"\xE2\x82", R},
        {"\xE2\x82\xE2\x82\xAC", R "\xE2\x82\xAC"},
        {"\xED\xA0\x80", R R R},
        {"\xED\x9F\xBF", "\xED\x9F\xBF"},
        {"\xF0\x8F\xBF\xBF", R R R R},
        {"\xF0\x9F\xA6x", R "x"},
        {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
        {"\xF4\x90\x80\x80", R R R R},
        {"\xF5\xFF\xFE", R R R},
        {"\xF1\x80\x80", R},
    };
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (void)state;
    struct emb_buf file;
    emb_buf_init(&file, 1 << 16);
    for (unsigned b = 0; b < 256; b++) {
        emb_buf_printf(&file, "%c%c== %u\n", digits[b >> 2], digits[(b & 3) << 4], b);
    }
    embellama_vocabulary *v = parse(file.data);
    emb_buf_deinit(&file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t ids[16];
        size_t n = strlen(cases[i].bytes);
        for (size_t k = 0; k < n; k++) {
            ids[k] = (unsigned char)cases[i].bytes[k];
        }
        expect_text(v, (embellama_ids){ids, n}, cases[i].text);
    }
    embellama_vocabulary_free(v);
}

static void broken_files(void **state)
{
    static const struct {
        const char *text;
        size_t line;
    } cases[] = {
        {"", 0},
        {"\n\r\n", 0},
        {"SGVsbG8=", 1},
        {"SGVsbG8= ", 1},
        {" 0", 1},
        {"SGVsbG8= 0\nSGVsbG8= 1x", 2},
        {"SGVsbG8= -1", 1},
        {"SGVsbG8= 2097152", 1},
        {"SGVsbG8= 99999999999999999999999", 1},
        {"SGVsbG8= 0\nLA== 1\nSGVsbG8= 0", 3},
        {"SGVsbG8 0", 1},
        {"SGVsbG8== 0", 1},
        {"SGV*bG8= 0", 1},
        {"=GVs 0", 1},
        {"S=== 0", 1},
        {"==== 0", 1},
        {"SGVs\tLA== 0", 1},
        {"SGVs  0", 1},
        {"SGVs 0 1", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        embellama_vocabulary *v = NULL;
        embellama_error error;
        int status = emb_tiktoken_parse(&v, cases[i].text, strlen(cases[i].text), &error);
        if (status != EMBELLAMA_E_FORMAT || v || error.offset != cases[i].line || error.message[0] == 0) {
            fail_msg("\"%s\": %d at line %d", cases[i].text, status, (int)error.offset);
        }
    }
    struct emb_buf file;
    embellama_vocabulary *v = NULL;
    emb_buf_init(&file, 1 << 16);
    for (int i = 0; i < EMB_TIKTOKEN_MAX_TOKEN_BYTES / 3 + 1; i++) {
        emb_buf_puts(&file, "AAAA");
    }
    emb_buf_puts(&file, " 0\n");
    assert_int_equal(emb_tiktoken_parse(&v, file.data, file.size, NULL), EMBELLAMA_E_FORMAT);
    assert_int_equal(emb_tiktoken_parse(&v, file.data + 4, file.size - 4, NULL), 0);
    embellama_vocabulary_free(v);
    emb_buf_deinit(&file);
}

static void files(void **state)
{
    (void)state;
    embellama_vocabulary *v = NULL;
    embellama_error error;
    assert_int_equal(embellama_vocabulary_open(&v, tempdir_path("none.tiktoken"), &error), EMBELLAMA_E_NOT_FOUND);
    assert_int_equal(embellama_vocabulary_open(&v, tempdir_write("empty.tiktoken", "", 0), &error), EMBELLAMA_E_FORMAT);
    assert_int_equal(embellama_vocabulary_open(&v, NULL, &error), EMBELLAMA_E_INVALID);
    assert_null(v);
    assert_int_equal(embellama_vocabulary_open(&v, tempdir_write("good.tiktoken", "SGVsbG8= 3\n", 11), &error), 0);
    EXPECT_TEXT(v, "HelloHello", 3, 3);
    embellama_vocabulary_free(v);
}

static void out_of_memory(void **state)
{
    (void)state;
    int status = EMBELLAMA_E_NOMEM;
    for (long n = 0; status != 0; n++) {
        embellama_vocabulary *v = NULL;
        emb_mem_fail_after(n);
        status = emb_tiktoken_parse(&v, "SGVsbG8= 0\nLA== 999\n", 20, NULL);
        emb_mem_fail_after(-1);
        assert_true(n < 20 && (status == 0 ? v != NULL : status == EMBELLAMA_E_NOMEM && v == NULL));
        embellama_vocabulary_free(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes),      cmocka_unit_test(unknown_ids), cmocka_unit_test(invalid_utf8),
        cmocka_unit_test(broken_files), cmocka_unit_test(files),       cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
