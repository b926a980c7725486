/* Buffers, memory, maps, UTF-8, logging. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"

/* ---- buf ---------------------------------------------------------------------------------------- */

static void test_buf(void **state)
{
    (void)state;
    struct emb_buf b;
    emb_buf_init(&b, 100);
    emb_buf_consume(&b, 0);
    emb_buf_append(&b, NULL, 0);
    emb_buf_puts(&b, "hello");
    emb_buf_printf(&b, " %d %s", 42, "worlds");
    assert_string_equal(b.data, "hello 42 worlds");
    assert_int_equal(b.size, 15);
    emb_buf_consume(&b, 6);
    assert_string_equal(b.data, "42 worlds");
    char *to = emb_buf_reserve(&b, 10);
    assert_non_null(to);
    memcpy(to, "!!", 2);
    emb_buf_commit(&b, 2);
    assert_string_equal(b.data, "42 worlds!!");
    emb_buf_consume(&b, b.size);
    assert_int_equal(b.size, 0);
    emb_buf_append(&b, "a\0b", 3);
    assert_memory_equal(b.data, "a\0b", 4);
    emb_buf_deinit(&b);
    assert_null(b.data);
}

/* A zero always fits behind the content. */
static void test_buf_growth(void **state)
{
    (void)state;
    struct emb_buf b;
    emb_buf_init(&b, 5000);
    for (size_t i = 1; i <= 5000; i++) {
        emb_buf_append(&b, "a", 1);
        assert_true(b.size == i && b.capacity > i && b.data[i] == '\0');
    }
    assert_false(b.failed);
    emb_buf_deinit(&b);
}

static void test_buf_limit(void **state)
{
    (void)state;
    struct emb_buf b;
    emb_buf_init(&b, 10);
    emb_buf_puts(&b, "0123456789");
    assert_false(b.failed);
    assert_int_equal(b.size, 10);
    emb_buf_puts(&b, "x");
    assert_true(b.failed);
    assert_int_equal(b.size, 0);
    emb_buf_printf(&b, "%d", 1);
    emb_buf_puts(&b, "y");
    assert_true(b.failed && b.size == 0 && !emb_buf_reserve(&b, 1));
    emb_buf_clear(&b);
    emb_buf_puts(&b, "z");
    assert_false(b.failed);
    assert_string_equal(b.data, "z");
    assert_null(emb_buf_reserve(&b, SIZE_MAX));
    emb_buf_deinit(&b);

    emb_buf_init(&b, SIZE_MAX);
    emb_buf_puts(&b, "x");
    assert_null(emb_buf_reserve(&b, SIZE_MAX - 1));
    emb_buf_deinit(&b);

    emb_buf_init(&b, 1000);
    emb_mem_fail_after(0);
    emb_buf_puts(&b, "no memory");
    emb_mem_fail_after(-1);
    assert_true(b.failed && b.size == 0);
    emb_buf_deinit(&b);
}

/* ---- mem ---------------------------------------------------------------------------------------- */

static void test_mem_overflow(void **state)
{
    (void)state;
    size_t out;
    assert_false(emb_mul(SIZE_MAX, 2, &out));
    assert_true(emb_mul(SIZE_MAX / 2, 2, &out) && out == SIZE_MAX - 1);
    assert_false(emb_add(SIZE_MAX, 1, &out));
    assert_true(emb_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    assert_null(emb_calloc(SIZE_MAX / 4, 8));
    assert_null(emb_alloc(SIZE_MAX / 4, 8));
    assert_null(emb_strndup("", SIZE_MAX));
    char *p = emb_alloc(1, 8);
    assert_non_null(p);
    assert_null(emb_realloc(p, SIZE_MAX / 4, 8));
    emb_free(p);
    emb_free(NULL);
}

static void test_mem_zero(void **state)
{
    (void)state;
    void *a = emb_calloc(0, 8), *b = emb_alloc(0, 8), *c = emb_alloc_aligned(64, 0);
    assert_true(a && b && c);
    assert_int_equal((uintptr_t)c % 64, 0);
    emb_free(a);
    emb_free(b);
    emb_free(c);
    char *s = emb_strdup("text");
    assert_string_equal(s, "text");
    emb_free(s);
    s = emb_strndup("text", 2);
    assert_string_equal(s, "te");
    emb_free(s);
}

static void test_mem_grow(void **state)
{
    (void)state;
    uint32_t *array = NULL;
    size_t capacity = 0, before;
    for (size_t n = 1; n <= 10000; n++) {
        before = capacity;
        assert_true(emb_grow(&array, &capacity, n, sizeof *array));
        assert_true(capacity >= n && (capacity == before || capacity >= 2 * before));
        array[n - 1] = (uint32_t)n;
    }
    assert_true(array[0] == 1 && array[9999] == 10000);
    before = capacity;
    assert_false(emb_grow(&array, &capacity, SIZE_MAX / 2, sizeof *array));
    emb_mem_fail_after(0);
    assert_false(emb_grow(&array, &capacity, capacity + 1, sizeof *array));
    emb_mem_fail_after(-1);
    assert_true(capacity == before && array[9999] == 10000);
    emb_free(array);
}

static void test_mem_fail_after(void **state)
{
    (void)state;
    emb_mem_fail_after(2);
    void *a = emb_alloc(1, 1), *b = emb_calloc(1, 1), *c = emb_alloc(1, 1), *d = emb_alloc_aligned(64, 1);
    void *e = emb_realloc(a, 100, 1);
    emb_mem_fail_after(-1);
    assert_true(a && b && !c && !d && !e);
    emb_free(a);
    emb_free(b);
}

/* ---- map ---------------------------------------------------------------------------------------- */

enum { KEYS = 20000 };

static void test_map(void **state)
{
    (void)state;
    static char keys[KEYS][12];
    struct emb_map map;
    uint32_t value = 7;
    emb_map_init(&map);
    assert_false(emb_map_get(&map, "absent", 6, &value));
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "key %u", i);
        assert_int_equal(emb_map_add(&map, keys[i], strlen(keys[i]), i), EMBELLAMA_OK);
        assert_false(emb_map_get(&map, "absent", 6, &value));
        assert_true(map.count < map.capacity);
    }
    assert_int_equal(emb_map_add(&map, "key 5", 5, 1), EMBELLAMA_E_INVALID);
    assert_int_equal(map.count, KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_true(emb_map_get(&map, keys[i], strlen(keys[i]), &value) && value == i);
    }
    value = 7;
    assert_false(emb_map_get(&map, "key 5", 4, &value) || emb_map_get(&map, "key 20000", 9, &value) ||
                 emb_map_get(&map, "", 0, &value));
    assert_int_equal(value, 7);
    assert_int_equal(emb_map_add(&map, "a\0b", 3, 1), EMBELLAMA_OK);
    assert_int_equal(emb_map_add(&map, "a\0c", 3, 2), EMBELLAMA_OK);
    assert_int_equal(emb_map_add(&map, "a", 1, 3), EMBELLAMA_OK);
    assert_int_equal(emb_map_add(&map, "", 0, 4), EMBELLAMA_OK);
    assert_true(emb_map_get(&map, "a\0c", 3, &value) && value == 2);
    assert_true(emb_map_get(&map, "", 0, &value) && value == 4);
    emb_map_deinit(&map);
    emb_map_deinit(&map);
}

static void test_map_memory(void **state)
{
    (void)state;
    static const char *const keys = "abcdefghijklmnopqrstuvwxyz";
    struct emb_map map;
    uint32_t value;
    emb_map_init(&map);
    emb_mem_fail_after(1);
    int rc = EMBELLAMA_OK;
    uint32_t added = 0;
    for (; added < 26 && rc == EMBELLAMA_OK; added += rc == EMBELLAMA_OK) {
        rc = emb_map_add(&map, keys + added, 1, added);
    }
    emb_mem_fail_after(-1);
    assert_int_equal(rc, EMBELLAMA_E_NOMEM);
    assert_true(added >= 8 && added == map.count);
    assert_true(emb_map_get(&map, keys + added - 1, 1, &value) && value == added - 1);
    assert_false(emb_map_reserve(&map, SIZE_MAX));
    assert_int_equal(emb_map_add(&map, keys + added, 1, added), EMBELLAMA_OK);
    emb_map_deinit(&map);
}

/* ---- UTF-8 -------------------------------------------------------------------------------------- */

static void test_utf8_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char bytes[4];
        size_t length = 0;
        if (c >= 0xD800 && c < 0xE000) {
            continue;
        }
        size_t n = emb_utf8_encode(c, bytes);
        assert_int_equal(n, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        assert_int_equal(emb_utf8_valid_prefix(bytes, n), n);
        assert_int_equal(emb_utf8_decode(bytes, &length), c);
        assert_int_equal(length, n);
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(emb_utf8_valid_prefix(bytes, cut), 0);
        }
    }
}

static void test_utf8_malformed(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xC2",
        "\xC2\x41",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xE1\x80",
        "\xE1\x80\xC0",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xEF\xBF",
        "\xF0\x80\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF0\x90\x80",
        "\xF0\x90\x80\x41",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xF8\x88\x80\x80\x80",
        "\xFE",
        "\xFF",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        /* Alone, and behind text of every length around the fast path's eight bytes. */
        for (size_t before = 0; before < 20; before++) {
            char text[64];
            memset(text, 'a', before);
            memcpy(text + before, rows[i], strlen(rows[i]));
            memcpy(text + before + strlen(rows[i]), "aaaaaaaaaaaaaaaa", 16);
            if (emb_utf8_valid_prefix(text, before + strlen(rows[i]) + 16) != before) {
                fail_msg("row %zu behind %zu bytes", i, before);
            }
            assert_int_equal(emb_utf8_valid_prefix(text, before + strlen(rows[i])), before);
        }
    }
    assert_int_equal(emb_utf8_valid_prefix("", 0), 0);
    assert_int_equal(emb_utf8_valid_prefix("a\0b", 3), 3);
}

/* ---- log and status ----------------------------------------------------------------------------- */

static void test_log_quote(void **state)
{
    (void)state;
    char out[64];
    assert_string_equal(emb_log_quote("plain", out, sizeof out), "\"plain\"");
    assert_string_equal(emb_log_quote("", out, sizeof out), "\"\"");
    assert_string_equal(emb_log_quote("a \"b\" \\ c", out, sizeof out), "\"a \\\"b\\\" \\\\ c\"");
    assert_string_equal(emb_log_quote("line\nbreak\x7F\x1B", out, sizeof out), "\"line\\x0abreak\\x7f\\x1b\"");
    assert_string_equal(emb_log_quote("\xC3\xA9", out, sizeof out), "\"\xC3\xA9\"");
    for (unsigned size = 0; size < sizeof out; size++) {
        memset(out, '#', sizeof out);
        const char *quoted = emb_log_quote("\n\n\"\n\\\nabcdefgh\n\n\n\n", out, size);
        size_t n = strlen(quoted);
        assert_true(n >= 2 && quoted[0] == '"' && quoted[n - 1] == '"');
        assert_true(size < 3 || n < size);
        for (unsigned i = size; i < sizeof out; i++) {
            assert_int_equal(out[i], '#');
        }
    }
}

/* What emb_log writes to the standard error stream. */
static size_t log_line(enum emb_log_level level, const char *text, char *out, size_t size)
{
    FILE *f = tmpfile();
    int before = dup(STDERR_FILENO);
    assert_true(f && before >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0);
    emb_log(level, "test", "text=%s", text);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(f);
    size_t n = fread(out, 1, size - 1, f);
    out[n] = '\0';
    fclose(f);
    return n;
}

static void test_log(void **state)
{
    (void)state;
    static char out[8192], text[6000];
    enum emb_log_level level = EMB_LOG_ERROR;
    size_t n = log_line(EMB_LOG_INFO, "hello", out, sizeof out);
    assert_true(n > 30 && memcmp(out, "time=2", 6) == 0);
    assert_non_null(strstr(out, "Z level=info event=test text=hello\n"));
    assert_int_equal(log_line(EMB_LOG_DEBUG, "hello", out, sizeof out), 0);
    assert_int_equal(emb_log_level_parse("debug", &level), 0);
    emb_log_set_level(level);
    assert_true(log_line(EMB_LOG_DEBUG, "hello", out, sizeof out) > 0);
    assert_int_equal(emb_log_level_parse("off", &level), 0);
    emb_log_set_level(level);
    assert_int_equal(log_line(EMB_LOG_ERROR, "hello", out, sizeof out), 0);
    assert_int_equal(emb_log_level_parse("loud", &level), -1);
    emb_log_set_level(EMB_LOG_INFO);
    memset(text, 'x', sizeof text - 1);
    n = log_line(EMB_LOG_WARN, text, out, sizeof out);
    assert_int_equal(n, 4096);
    assert_true(out[n - 1] == '\n' && out[n - 2] == 'x');
}

static void test_status(void **state)
{
    (void)state;
    char text[300];
    embellama_error error = {0};
    assert_string_equal(embellama_status_name(EMBELLAMA_E_TOO_LONG), "E_TOO_LONG");
    assert_int_equal(embellama_status_http(EMBELLAMA_E_TOO_LONG), 400);
    assert_string_equal(embellama_status_name(-999), "E_UNKNOWN");
    assert_int_equal(embellama_status_http(-999), 500);
    assert_int_equal(emb_fail_at(&error, EMBELLAMA_E_FORMAT, 77, "bad %s", "thing"), EMBELLAMA_E_FORMAT);
    assert_true(error.code == EMBELLAMA_E_FORMAT && error.offset == 77);
    assert_string_equal(error.message, "bad thing");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    emb_fail(&error, EMBELLAMA_E_IO, "%s", text);
    assert_true(strlen(error.message) == sizeof error.message - 1 && error.offset == 0);
    assert_int_equal(emb_fail_nomem(NULL), EMBELLAMA_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf),
        cmocka_unit_test(test_buf_growth),
        cmocka_unit_test(test_buf_limit),
        cmocka_unit_test(test_mem_overflow),
        cmocka_unit_test(test_mem_zero),
        cmocka_unit_test(test_mem_grow),
        cmocka_unit_test(test_mem_fail_after),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_map_memory),
        cmocka_unit_test(test_utf8_every_code_point),
        cmocka_unit_test(test_utf8_malformed),
        cmocka_unit_test(test_log_quote),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
