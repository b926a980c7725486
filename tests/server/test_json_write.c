/* JSON strings written: what comes out is valid and reads back as what went in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/json.h"
#include "base/json_write.h"

static void expect_text(const char *in, size_t size, const char *out)
{
    struct emb_buf buf;
    emb_buf_init(&buf, 1024);
    emb_json_write_string(&buf, in, size);
    assert_false(buf.failed);
    assert_string_equal(buf.data, out);
    emb_buf_deinit(&buf);
}

static void test_escapes(void **state)
{
    (void)state;
    expect_text("", 0, "\"\"");
    expect_text("plain", 5, "\"plain\"");
    expect_text("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    expect_text("\n\r\t\b\x1F\x7F", 6, "\"\\n\\r\\t\\u0008\\u001f\\u007f\"");
    expect_text("a\0b", 3, "\"a\\u0000b\"");
    expect_text("\xC3\xA9\xF0\x9F\x98\x80", 6, "\"\xC3\xA9\xF0\x9F\x98\x80\"");
}

static void test_invalid_utf8(void **state)
{
    (void)state;
    expect_text("a\xFF"
                "b",
                3,
                "\"a\xEF\xBF\xBD"
                "b\"");
    expect_text("\xC3", 1, "\"\xEF\xBF\xBD\"");
    expect_text("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void test_null(void **state)
{
    struct emb_buf buf;
    (void)state;
    emb_buf_init(&buf, 1024);
    emb_json_write_cstring(&buf, NULL);
    emb_json_write_cstring(&buf, "x");
    assert_string_equal(buf.data, "null\"x\"");
    emb_buf_deinit(&buf);
}

/* Every byte and pair of bytes of ASCII reads back. */
static void test_reads_back(void **state)
{
    struct emb_buf buf;
    char text[128 * 2];
    (void)state;
    for (int first = 0; first < 128; first++) {
        for (int i = 0; i < 128; i++) {
            text[2 * i] = (char)first;
            text[2 * i + 1] = (char)i;
        }
        struct emb_json *json;
        const char *back;
        size_t size;
        emb_buf_init(&buf, 1 << 16);
        emb_json_write_string(&buf, text, sizeof text);
        size_t written = buf.size;
        memset(emb_buf_reserve(&buf, EMB_JSON_PADDING), 0, EMB_JSON_PADDING);
        assert_int_equal(emb_json_parse(&json, buf.data, written, NULL), 0);
        assert_true(emb_json_string(emb_json_root(json), &back, &size));
        assert_int_equal(size, sizeof text);
        assert_memory_equal(back, text, size);
        emb_json_free(json);
        emb_buf_deinit(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_reads_back),
    };
    return cmocka_run_group_tests_name("json_write", tests, NULL, NULL);
}
