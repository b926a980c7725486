/* Texts in: lines, JSON lines and arguments, in windows, and every way a line can be broken. */
#include "cli/input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../base/tempdir.h"

static embellama_error error;
static struct emb_window window;

static struct emb_input *open_bytes(const char *bytes, size_t size, enum emb_cli_input_format format)
{
    struct emb_cli_options options = {.input_format = format, .field = "text"};
    struct emb_input *in = NULL;
    options.input = tempdir_write("input", bytes, size);
    assert_int_equal(emb_input_open(&in, &options, &error), EMBELLAMA_OK);
    return in;
}

static struct emb_input *open_text(const char *text, enum emb_cli_input_format format)
{
    return open_bytes(text, strlen(text), format);
}

static void assert_text(size_t i, const char *text, uint64_t place)
{
    assert_true(i < window.n);
    assert_int_equal(window.texts[i].size, strlen(text));
    assert_memory_equal(window.texts[i].bytes, text, strlen(text));
    assert_int_equal(window.places[i], place);
}

static int fill(struct emb_input *in)
{
    memset(&error, 0, sizeof error);
    return emb_input_fill(in, &window, 100, SIZE_MAX, &error);
}

static void test_lines(void **state)
{
    (void)state;
    struct emb_input *in = open_text("\xEF\xBB\xBFone\r\n\n \xEF\xBB\xBF\r\r\nlast", EMB_CLI_INPUT_TEXT);
    assert_int_equal(fill(in), EMBELLAMA_OK);
    assert_int_equal(window.n, 4);
    assert_text(0, "one", 1);
    assert_text(1, "", 2);
    assert_text(2, " \xEF\xBB\xBF\r", 3);
    assert_text(3, "last", 4);
    assert_int_equal(emb_input_done(in), emb_input_total(in));
    assert_int_equal(fill(in), EMBELLAMA_OK);
    assert_int_equal(window.n, 0);
    emb_input_close(in);
}

static void test_zero_bytes_are_text(void **state)
{
    (void)state;
    struct emb_input *in = open_bytes("a\0b\n", 4, EMB_CLI_INPUT_TEXT);
    assert_int_equal(fill(in), EMBELLAMA_OK);
    assert_int_equal(window.n, 1);
    assert_int_equal(window.texts[0].size, 3);
    emb_input_close(in);
    in = open_text("{\"text\":\"a\\u0000b\"}", EMB_CLI_INPUT_JSONL);
    assert_int_equal(fill(in), EMBELLAMA_OK);
    assert_int_equal(window.texts[0].size, 3);
    emb_input_close(in);
}

static void test_empty_input(void **state)
{
    (void)state;
    for (int format = EMB_CLI_INPUT_TEXT; format <= EMB_CLI_INPUT_JSONL; format++) {
        struct emb_input *in = open_text("", (enum emb_cli_input_format)format);
        assert_int_equal(fill(in), EMBELLAMA_OK);
        assert_int_equal(window.n, 0);
        emb_input_close(in);
    }
}

static void test_windows_are_bounded(void **state)
{
    (void)state;
    struct emb_input *in = open_text("aaaa\nbbbb\ncccc\ndddd\neeee\n", EMB_CLI_INPUT_TEXT);
    assert_int_equal(emb_input_fill(in, &window, 2, 100, &error), EMBELLAMA_OK);
    assert_int_equal(window.n, 2);
    assert_int_equal(emb_input_fill(in, &window, 100, 5, &error), EMBELLAMA_OK);
    assert_int_equal(window.n, 2);
    assert_text(1, "dddd", 4);
    assert_int_equal(emb_input_fill(in, &window, 100, 100, &error), EMBELLAMA_OK);
    assert_int_equal(window.n, 1);
    assert_text(0, "eeee", 5);
    emb_input_close(in);
}

static void test_json_lines(void **state)
{
    (void)state;
    struct emb_input *in =
        open_text("{\"text\":\"caf\\u00e9\"}\n\n  \r\n{\"id\":1,\"text\":\"b\",\"text\":\"c\"}\r\n{\"text\":\"\"}",
                  EMB_CLI_INPUT_JSONL);
    assert_int_equal(fill(in), EMBELLAMA_OK);
    assert_int_equal(window.n, 3);
    assert_text(0, "caf\xC3\xA9", 1);
    assert_text(1, "c", 4);
    assert_text(2, "", 5);
    emb_input_close(in);
}

static void assert_fault(const char *bytes, enum emb_cli_input_format format, const char *says)
{
    struct emb_input *in = open_text(bytes, format);
    assert_int_not_equal(fill(in), EMBELLAMA_OK);
    assert_int_equal(window.n, 1); /* what came before is kept */
    if (!strstr(error.message, says) || !strstr(error.message, "input:2: ")) {
        fail_msg("'%s' does not say '%s'", error.message, says);
    }
    emb_input_close(in);
}

static void test_faults_name_their_line(void **state)
{
    (void)state;
    assert_fault("{\"text\":\"a\"}\n{\"text\":", EMB_CLI_INPUT_JSONL, "invalid JSON");
    assert_fault("{\"text\":\"a\"}\n[1]", EMB_CLI_INPUT_JSONL, "an array, not an object");
    assert_fault("{\"text\":\"a\"}\n{\"body\":\"b\"}", EMB_CLI_INPUT_JSONL, "no member \"text\"");
    assert_fault("{\"text\":\"a\"}\n{\"text\":null}", EMB_CLI_INPUT_JSONL, "is null, not a string");
    assert_fault("{\"text\":\"a\"}\n{\"text\":\"\\ud800\"}", EMB_CLI_INPUT_JSONL, "invalid JSON");
    assert_fault("{\"text\":\"a\"}\n{\"text\":\"\xFF\"}", EMB_CLI_INPUT_JSONL, "invalid JSON");
    assert_fault("good\nb\xC0\xAF", EMB_CLI_INPUT_TEXT, "not valid UTF-8");
}

static void test_line_limit(void **state)
{
    (void)state;
    size_t size = EMB_INPUT_LINE_MAX;
    char *bytes = malloc(size + 4);
    assert_non_null(bytes);
    memcpy(bytes, "a\n", 2);
    memset(bytes + 2, 'x', size + 1);
    bytes[size + 2] = '\n';
    struct emb_input *in = open_bytes(bytes, size + 3, EMB_CLI_INPUT_TEXT);
    assert_int_equal(fill(in), EMBELLAMA_OK);
    assert_int_equal(window.n, 2);
    assert_int_equal(window.texts[1].size, size);
    emb_input_close(in);
    bytes[size + 2] = 'x';
    bytes[size + 3] = '\n';
    in = open_bytes(bytes, size + 4, EMB_CLI_INPUT_TEXT);
    assert_int_equal(fill(in), EMBELLAMA_E_FORMAT);
    assert_int_equal(window.n, 1);
    assert_non_null(strstr(error.message, "input:2: the line is longer than 16 MiB"));
    emb_input_close(in);
    free(bytes);
}

static void test_arguments(void **state)
{
    (void)state;
    char first[] = "one", second[] = "", third[] = "\xFF";
    char *arguments[] = {first, second, third};
    struct emb_cli_options options = {.arguments = arguments, .argument_count = 3};
    struct emb_input *in = NULL;
    assert_int_equal(emb_input_open(&in, &options, &error), EMBELLAMA_OK);
    assert_int_equal(fill(in), EMBELLAMA_E_UTF8);
    assert_string_equal(error.message, "argument 3: not valid UTF-8");
    assert_text(0, "one", 1);
    assert_text(1, "", 2);
    emb_input_close(in);
}

static int window_new(void **state)
{
    (void)state;
    emb_window_init(&window);
    return 0;
}

static int window_free(void **state)
{
    (void)state;
    emb_window_deinit(&window);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, window_new, window_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines),      TEST(test_zero_bytes_are_text), TEST(test_empty_input),
        TEST(test_json_lines), TEST(test_windows_are_bounded), TEST(test_faults_name_their_line),
        TEST(test_line_limit), TEST(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
