/* JSON in: types, iteration, errors. Floats out. Strings out. */
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "tempdir.h"

/* Parses from memory of just the promised size, which is freed before the document is read. */
static int parse_bytes(struct emb_json **out, const char *text, size_t size, embellama_error *error)
{
    char *padded = emb_calloc(size + EMB_JSON_PADDING, 1);
    assert_non_null(padded);
    memcpy(padded, text, size);
    int rc = emb_json_parse(out, padded, size, error);
    emb_free(padded);
    return rc;
}

static struct emb_json *parse(const char *text)
{
    struct emb_json *json = NULL;
    embellama_error error = {0};
    if (parse_bytes(&json, text, strlen(text), &error) != EMBELLAMA_OK) {
        fail_msg("%s: %s", text, error.message);
    }
    return json;
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum emb_json_type type;
        const char *name;
    } rows[] = {
        {"null", EMB_JSON_NULL, "null"},
        {"true", EMB_JSON_BOOL, "a boolean"},
        {"-7", EMB_JSON_INT, "an integer"},
        {"9223372036854775807", EMB_JSON_INT, "an integer"},
        {"9223372036854775808", EMB_JSON_NUMBER, "a number"},
        {"7.0", EMB_JSON_INT, "an integer"},
        {"1e3", EMB_JSON_INT, "an integer"},
        {"-9007199254740992.0", EMB_JSON_INT, "an integer"},
        {"9007199254740994.0", EMB_JSON_NUMBER, "a number"},
        {"7.5", EMB_JSON_NUMBER, "a number"},
        {"1e300", EMB_JSON_NUMBER, "a number"},
        {"\"7\"", EMB_JSON_STRING, "a string"},
        {"[]", EMB_JSON_ARRAY, "an array"},
        {"{}", EMB_JSON_OBJECT, "an object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct emb_json *json = parse(rows[i].text);
        struct emb_json_value v = emb_json_root(json);
        bool b = false;
        int64_t n = 0;
        double d = 0;
        const char *s = NULL;
        size_t size;
        struct emb_json_value member;
        assert_int_equal(emb_json_type(v), rows[i].type);
        assert_string_equal(emb_json_type_name(rows[i].type), rows[i].name);
        assert_int_equal(emb_json_bool(v, &b), rows[i].type == EMB_JSON_BOOL);
        assert_int_equal(emb_json_int(v, &n), rows[i].type == EMB_JSON_INT);
        assert_int_equal(emb_json_number(v, &d), rows[i].type == EMB_JSON_INT || rows[i].type == EMB_JSON_NUMBER);
        assert_int_equal(emb_json_string(v, &s, &size), rows[i].type == EMB_JSON_STRING);
        assert_false(emb_json_get(v, "key", &member));
        assert_int_equal(emb_json_size(v), 0);
        struct emb_json_iter it = emb_json_iterate(v);
        assert_false(emb_json_next(&it));
        emb_json_free(json);
    }
}

static void test_members(void **state)
{
    (void)state;
    struct emb_json *json =
        parse("{\"a\":1,\"b\":2.5,\"c\":\"x\\u0000y\\u00e9\\ud83d\\ude00\",\"d\":true,\"a\":3,\"\":null,"
              "\"list\":[1,[2,3],{\"in\":4}]}");
    struct emb_json_value root = emb_json_root(json), list, item;
    int64_t n = 0;
    double d = 0;
    bool b = false;
    const char *s = NULL;
    size_t size = 0;
    assert_true(emb_json_get_int(root, "a", &n) && n == 3); /* the last of two */
    assert_true(emb_json_get_number(root, "b", &d) && d == 2.5);
    assert_true(emb_json_get_number(root, "a", &d) && d == 3);
    assert_true(emb_json_get_bool(root, "d", &b) && b);
    assert_true(emb_json_get_string(root, "c", &s, &size));
    assert_int_equal(size, 9);
    assert_memory_equal(s, "x\0y\xC3\xA9\xF0\x9F\x98\x80", 10);
    n = 42;
    assert_false(emb_json_get_int(root, "b", &n) || emb_json_get_int(root, "absent", &n) ||
                 emb_json_get_int(root, "c", &n));
    assert_int_equal(n, 42);
    assert_true(emb_json_get(root, "", &item) && emb_json_type(item) == EMB_JSON_NULL);
    assert_int_equal(emb_json_size(root), 7);
    assert_true(emb_json_get(root, "list", &list));
    assert_int_equal(emb_json_size(list), 3);
    emb_json_free(json);
}

static void test_iteration(void **state)
{
    (void)state;
    struct emb_json *json = parse("{\"one\":[10,20,{\"x\":[]},30],\"two\":{},\"one\":\"again\"}");
    static const char *const keys[] = {"one", "two", "one"};
    int i = 0;
    for (struct emb_json_iter it = emb_json_iterate(emb_json_root(json)); emb_json_next(&it); i++) {
        int64_t sum = 0, n;
        assert_true(i < 3);
        assert_string_equal(it.key, keys[i]);
        assert_int_equal(it.key_size, 3);
        for (struct emb_json_iter in = emb_json_iterate(it.value); emb_json_next(&in);) {
            assert_null(in.key);
            sum += emb_json_int(in.value, &n) ? n : 1;
        }
        assert_int_equal(sum, i == 0 ? 61 : 0);
    }
    assert_int_equal(i, 3);
    emb_json_free(json);
    emb_json_free(NULL);
}

static void test_invalid(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "[1] 2",
        "nul",
        "01",
        "+1",
        "1.",
        ".5",
        "NaN",
        "'a'",
        "\"a",
        "\"\\x41\"",
        "\"\n\"",
        "[1 2]",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\udc00\"",
        "\"\\u12g4\"",
        "\"\xC0\x80\"",
        "\"\xED\xA0\x80\"",
        "\"\xFF\"",
        "1e999",
        "[\"\x80\"]",
        "{\"\\ud800\":1}",
        "/* */ 1",
        "]",
        "\xEF\xBB\xBF{",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct emb_json *json = NULL;
        embellama_error error = {0};
        int rc = parse_bytes(&json, rows[i], strlen(rows[i]), &error);
        if (rc != EMBELLAMA_E_FORMAT || error.code != rc || json || !strstr(error.message, "invalid JSON: ")) {
            fail_msg("row %zu: %d \"%s\"", i, rc, error.message);
        }
    }
}

static void test_nesting(void **state)
{
    (void)state;
    enum { DEEP = 200000 };
    struct emb_json *json = NULL;
    embellama_error error = {0};
    char *text = emb_alloc(2 * DEEP, 1);
    assert_non_null(text);
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    assert_int_equal(parse_bytes(&json, text, 2 * DEEP, &error), EMBELLAMA_E_FORMAT);
    assert_int_equal(parse_bytes(&json, text, DEEP, &error), EMBELLAMA_E_FORMAT);
    assert_int_equal(parse_bytes(&json, text + DEEP - 500, 1000, &error), EMBELLAMA_OK);
    emb_json_free(json);
    emb_free(text);
}

static void test_read(void **state)
{
    (void)state;
    struct emb_json *json = NULL;
    embellama_error error = {0};
    int64_t n = 0;
    assert_int_equal(emb_json_read(&json, tempdir_write("a.json", "{\"n\":5}", 7), 7, &error), EMBELLAMA_OK);
    assert_true(emb_json_get_int(emb_json_root(json), "n", &n) && n == 5);
    emb_json_free(json);
    assert_int_equal(emb_json_read(&json, tempdir_path("a.json"), 6, &error), EMBELLAMA_E_FORMAT);
    assert_non_null(strstr(error.message, "a.json"));
    assert_int_equal(emb_json_read(&json, tempdir_write("b.json", "{\"n\":", 5), 100, &error), EMBELLAMA_E_FORMAT);
    assert_non_null(strstr(error.message, "b.json: invalid JSON: "));
    assert_int_equal(emb_json_read(&json, tempdir_path("absent.json"), 100, &error), EMBELLAMA_E_NOT_FOUND);
    assert_int_equal(emb_json_read(&json, tempdir(), 100, &error), EMBELLAMA_E_IO);
}

/* ---- Out ---------------------------------------------------------------------------------------- */

static void check_float(uint32_t bits)
{
    float value;
    char out[EMB_FLOAT_CHARS + 1], shorter[32];
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) {
        return;
    }
    memset(out, '#', sizeof out);
    size_t n = emb_json_write_float(value, out);
    assert_true(n > 0 && n < EMB_FLOAT_CHARS && out[EMB_FLOAT_CHARS] == '#');
    out[n] = '\0';
    if (strtof(out, NULL) != value || signbit(strtof(out, NULL)) != signbit(value)) {
        fail_msg("%a was written as %s", (double)value, out);
    }
    /* No fewer significant digits read back as the same value. */
    int digits = 0;
    for (const char *c = out; *c && *c != 'e'; c++) {
        digits += (*c >= '1' && *c <= '9') || (*c == '0' && digits > 0);
    }
    for (int fewer = 1; fewer < digits && fewer < 9; fewer++) {
        snprintf(shorter, sizeof shorter, "%.*e", fewer - 1, (double)value);
        if (strtof(shorter, NULL) == value && strlen(shorter) < n) {
            fail_msg("%s is shorter than %s", shorter, out);
        }
    }
}

static void test_floats(void **state)
{
    (void)state;
    static const uint32_t edges[] = {0,          0x80000000, 1,          0x80000001, 0x007FFFFF, 0x00800000,
                                     0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0x3DCCCCCD, 0x4B800000, 0x60AD78EC};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        check_float(edges[i]);
    }
    uint32_t random = 1;
    for (int i = 0; i < 100000; i++) {
        random = random * 1664525u + 1013904223u;
        check_float(random);
        check_float(0x3C000000u + (random >> 6)); /* the size of embeddings' values */
    }
}

static void test_strings_out(void **state)
{
    (void)state;
    static const char in[] = "plain \"q\" \\ \n\r\t\x01 \x7F \xC3\xA9 \xF0\x9F\x98\x80 / \0 end";
    struct emb_buf b;
    const char *s = NULL;
    size_t size = 0;
    emb_buf_init(&b, 1000);
    emb_json_write_string(&b, in, sizeof in - 1);
    assert_false(b.failed);
    struct emb_json *json = parse(b.data);
    assert_true(emb_json_string(emb_json_root(json), &s, &size));
    assert_int_equal(size, sizeof in - 1);
    assert_memory_equal(s, in, size);
    emb_json_free(json);
    emb_buf_clear(&b);
    emb_json_write_string(&b,
                          "a\xFF"
                          "b\xC3",
                          4);
    json = parse(b.data);
    assert_true(emb_json_string(emb_json_root(json), &s, &size));
    assert_string_equal(s, "a\xEF\xBF\xBD"
                           "b\xEF\xBF\xBD");
    emb_json_free(json);
    emb_buf_clear(&b);
    emb_json_write_cstring(&b, NULL);
    assert_string_equal(b.data, "null");
    emb_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),   cmocka_unit_test(test_members),     cmocka_unit_test(test_iteration),
        cmocka_unit_test(test_invalid), cmocka_unit_test(test_nesting),     cmocka_unit_test(test_read),
        cmocka_unit_test(test_floats),  cmocka_unit_test(test_strings_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
