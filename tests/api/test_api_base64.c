/* Vectors as base64, by the test vectors of RFC 4648 (section 10) where they are whole floats, and by decoding. */
#include "api/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int digit(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(alphabet, c);
    assert_true(c != '\0' && at != NULL);
    return (int)(at - alphabet);
}

static size_t decode(const char *text, size_t size, unsigned char *out)
{
    size_t n = 0;
    assert_int_equal(size % 4, 0);
    for (size_t i = 0; i < size; i += 4) {
        int pad = text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
        uint32_t bits = (uint32_t)digit(text[i]) << 18 | (uint32_t)digit(text[i + 1]) << 12;
        bits |= pad < 2 ? (uint32_t)digit(text[i + 2]) << 6 : 0;
        bits |= pad < 1 ? (uint32_t)digit(text[i + 3]) : 0;
        for (int k = 0; k < 3 - pad; k++) {
            out[n++] = (unsigned char)(bits >> (16 - 8 * k));
        }
        assert_true(pad == 0 || i + 4 == size);
    }
    return n;
}

static void test_known(void **state)
{
    (void)state;
    static const struct {
        float values[3];
        size_t n;
        const char *text;
    } rows[] = {
        {{1.0f}, 1, "AACAPw=="},
        {{1.0f, -2.5f}, 2, "AACAPwAAIMA="},
        {{0.0f, 1.0f, -0.0f}, 3, "AAAAAAAAgD8AAACA"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct emb_buf out;
        emb_buf_init(&out, 1000);
        emb_base64_floats(&out, rows[i].values, rows[i].n);
        assert_string_equal(out.data, rows[i].text);
        emb_buf_deinit(&out);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    unsigned char from[400], back[400];
    for (size_t i = 0; i < sizeof from; i++) {
        from[i] = (unsigned char)(i * 151 + 7);
    }
    for (size_t n = 0; n <= 100; n++) {
        float values[100];
        memcpy(values, from, n * sizeof *values);
        struct emb_buf out;
        emb_buf_init(&out, 1000);
        emb_buf_puts(&out, "x");
        emb_base64_floats(&out, values, n);
        assert_false(out.failed);
        assert_int_equal(decode(out.data + 1, out.size - 1, back), n * sizeof *values);
        assert_memory_equal(back, from, n * sizeof *values);
        emb_buf_deinit(&out);
    }
}

static void test_too_small(void **state)
{
    (void)state;
    float values[100] = {0};
    struct emb_buf out;
    emb_buf_init(&out, 100);
    emb_base64_floats(&out, values, 100);
    assert_true(out.failed);
    emb_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_too_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
