/* Bodies: which content types say JSON, and what the errors of a broken one name. */
#include "api/body_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_content_types(void **state)
{
    (void)state;
    static const char *const json[] = {NULL,
                                       "",
                                       "application/json",
                                       "Application/JSON; charset=utf-8",
                                       "application/json;charset=UTF-8",
                                       "text/json",
                                       "application/vnd.api+json"};
    static const char *const other[] = {
        "text/plain",        "application/x-www-form-urlencoded", "json", "application/jsonl",
        "application/+json", "multipart/form-data; boundary=json"};
    for (size_t i = 0; i < sizeof json / sizeof json[0]; i++) {
        assert_true(emb_body_is_json(json[i]));
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        assert_false(emb_body_is_json(other[i]));
    }
}

static void test_broken(void **state)
{
    (void)state;
    static const struct {
        const char *body, *named;
        uint64_t offset;
    } rows[] = {
        {"", "empty", 0},
        {"{\"input\":\"\\ud800\"}", "\\ud800 at byte 10 is a lone surrogate", 10},
        {"{\"input\":\"ab\\uDFFFcd\"}", "\\uDFFF at byte 12 is a lone surrogate", 12},
        {"{\"input\":\"\\ud83d\\ude00\\ud83d\"}", "\\ud83d at byte 22 is a lone surrogate", 22},
        {"{\"input\":\"\\ud800\\ud800\\udc00\"}", "\\ud800 at byte 10 is a lone surrogate", 10},
        {"{\"input\":\"caf\xe9\"}", "byte 13 of the body is not valid UTF-8", 13},
        {"{\"input\":", "invalid JSON", 0},
        {"{\"input\":\"\\\\ud800\"", "invalid JSON", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256] = {0};
        size_t size = strlen(rows[i].body);
        memcpy(text, rows[i].body, size);
        struct emb_json *json = NULL;
        embellama_error error = {0};
        assert_int_equal(emb_body_parse(&json, text, size, &error), EMBELLAMA_E_FORMAT);
        if (!strstr(error.message, rows[i].named)) {
            fail_msg("'%s' does not say '%s'", error.message, rows[i].named);
        }
        assert_int_equal(error.offset, rows[i].offset);
    }
}

static void test_sound(void **state)
{
    (void)state;
    char text[256] = "{\"input\":\"\\ud83d\\ude00 \\\\ud800\"}";
    struct emb_json *json = NULL;
    const char *input;
    size_t size;
    assert_int_equal(emb_body_parse(&json, text, strlen(text), NULL), EMBELLAMA_OK);
    assert_true(emb_json_get_string(emb_json_root(json), "input", &input, &size));
    assert_string_equal(input, "\xf0\x9f\x98\x80 \\ud800");
    emb_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
