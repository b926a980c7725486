/* Content codings: what is chosen, what comes back, and what is refused, also when memory runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/http/coding.h"

enum { SIZE = 300000 };

static char text[SIZE];

/* Decimals that do not repeat. */
static void fill(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < SIZE; i++) {
        state = state * 1664525u + 1013904223u;
        text[i] = "0123456789.,-"[(state >> 16) % 13];
    }
}

static bool encode_all(enum emb_coding coding, size_t step, struct emb_buf *out)
{
    struct emb_encoder *e = emb_encoder_new(coding);
    emb_buf_init(out, 1 << 22);
    bool ok = e != NULL;
    for (size_t at = 0; ok && at < SIZE; at += step) {
        size_t n = SIZE - at < step ? SIZE - at : step;
        ok = emb_encode(e, text + at, n, at + n == SIZE, out);
    }
    emb_encoder_free(e);
    return ok;
}

static void test_there_and_back(void **state)
{
    (void)state;
    for (enum emb_coding c = EMB_CODING_GZIP; c < EMB_CODING_COUNT; c++) {
        const size_t steps[] = {SIZE, 65536, 1000};
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            struct emb_buf coded, back;
            assert_true(encode_all(c, steps[i], &coded));
            assert_true(coded.size < SIZE * 6 / 10);
            assert_int_equal(emb_decode(c, coded.data, coded.size, SIZE, &back), EMB_DECODED);
            assert_int_equal(back.size, SIZE);
            assert_memory_equal(back.data, text, SIZE);
            emb_buf_deinit(&back);
            emb_buf_deinit(&coded);
        }
    }
}

static void expect(enum emb_coding c, const char *data, size_t size, size_t most, enum emb_decode wanted)
{
    struct emb_buf back;
    enum emb_decode got = emb_decode(c, data, size, most, &back);
    if (got != wanted) {
        fail_msg("%s: %d, not %d", emb_coding_name(c), got, wanted);
    }
    assert_true(back.size <= most + 1);
    assert_true(back.capacity <= 2 * most + 65536);
    emb_buf_deinit(&back);
}

static void test_refused(void **state)
{
    (void)state;
    for (enum emb_coding c = EMB_CODING_GZIP; c < EMB_CODING_COUNT; c++) {
        struct emb_buf coded;
        assert_true(encode_all(c, SIZE, &coded));
        expect(c, coded.data, coded.size, SIZE - 1, EMB_DECODE_TOO_LARGE);
        expect(c, coded.data, coded.size, 10, EMB_DECODE_TOO_LARGE);
        expect(c, coded.data, coded.size - 1, SIZE, EMB_DECODE_BROKEN);
        expect(c, coded.data, coded.size / 2, SIZE, EMB_DECODE_BROKEN);
        expect(c, "", 0, SIZE, EMB_DECODE_BROKEN);
        expect(c, "{\"input\":\"a\"}", 13, SIZE, EMB_DECODE_BROKEN);
        emb_buf_append(&coded, "x", 1);
        expect(c, coded.data, coded.size, SIZE, EMB_DECODE_BROKEN);
        emb_buf_deinit(&coded);
    }
}

/* 64 MB of zeros, in some KB: what a body may hold is all that is ever made of it. */
static void test_bomb(void **state)
{
    (void)state;
    static const char zeros[65536];
    for (enum emb_coding c = EMB_CODING_GZIP; c < EMB_CODING_COUNT; c++) {
        struct emb_buf coded;
        struct emb_encoder *e = emb_encoder_new(c);
        emb_buf_init(&coded, 1 << 22);
        for (int i = 0; i < 1024; i++) {
            assert_true(emb_encode(e, zeros, sizeof zeros, i == 1023, &coded));
        }
        emb_encoder_free(e);
        assert_true(coded.size < 1 << 20);
        expect(c, coded.data, coded.size, 1 << 20, EMB_DECODE_TOO_LARGE);
        emb_buf_deinit(&coded);
    }
}

static void test_bare_deflate(void **state)
{
    (void)state;
    struct emb_buf back;
    /* a stored block, with and without zlib's frame */
    static const char bare[] = "\x01\x05\x00\xfa\xffhello",
                      framed[] = "\x78\x01\x01\x05\x00\xfa\xffhello\x06\x2c\x02\x15";
    assert_int_equal(emb_decode(EMB_CODING_DEFLATE, bare, sizeof bare - 1, 100, &back), EMB_DECODED);
    assert_memory_equal(back.data, "hello", 6);
    emb_buf_deinit(&back);
    assert_int_equal(emb_decode(EMB_CODING_DEFLATE, framed, sizeof framed - 1, 5, &back), EMB_DECODED);
    assert_memory_equal(back.data, "hello", 6);
    emb_buf_deinit(&back);
}

static void test_names(void **state)
{
    (void)state;
    enum emb_coding coding;
    static const struct {
        const char *header;
        int coding; /* -1: refused */
    } cases[] = {{NULL, EMB_CODING_IDENTITY},
                 {"", EMB_CODING_IDENTITY},
                 {"identity", EMB_CODING_IDENTITY},
                 {"GZip", EMB_CODING_GZIP},
                 {"x-gzip", EMB_CODING_GZIP},
                 {"deflate", EMB_CODING_DEFLATE},
                 {"br", EMB_CODING_BR},
                 {"zstd", EMB_CODING_ZSTD},
                 {"gzip, br", -1},
                 {"snappy", -1},
                 {"gzip;q=1", -1},
                 {"*", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(emb_coding_parse(cases[i].header, &coding), cases[i].coding >= 0);
        assert_true(cases[i].coding < 0 || (int)coding == cases[i].coding);
    }
}

static void test_choice(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        enum emb_coding coding;
    } cases[] = {
        {NULL, EMB_CODING_IDENTITY},
        {"", EMB_CODING_IDENTITY},
        {"gzip", EMB_CODING_GZIP},
        {"gzip, deflate, br, zstd", EMB_CODING_ZSTD},
        {"gzip,deflate,br", EMB_CODING_BR},
        {"deflate ,\tGZIP", EMB_CODING_GZIP},
        {"gzip;q=1.0, br;q=0.9, zstd;q=0.8", EMB_CODING_GZIP},
        {"gzip ; q=0.5 , br ; q=0.501", EMB_CODING_BR},
        {"zstd;q=0, br;q=0, *", EMB_CODING_GZIP},
        {"*", EMB_CODING_ZSTD},
        {"*;q=0", EMB_CODING_IDENTITY},
        {"*;q=0, gzip", EMB_CODING_GZIP},
        {"identity;q=0, gzip;q=0.1", EMB_CODING_GZIP},
        {"identity;q=0", EMB_CODING_IDENTITY},
        {"identity, gzip;q=0.5", EMB_CODING_IDENTITY},
        {"identity;q=0.5, gzip;q=0.5", EMB_CODING_GZIP},
        {"x-gzip", EMB_CODING_GZIP},
        {"snappy, lz4", EMB_CODING_IDENTITY},
        {"gzip;q=2", EMB_CODING_IDENTITY},
        {"gzip;q=", EMB_CODING_IDENTITY},
        {"gzip;q=0.0000", EMB_CODING_IDENTITY},
        {"gzip;level=9;q=0.3, br;q=0.2", EMB_CODING_GZIP},
        {",,;,=,gzip;;q", EMB_CODING_GZIP},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum emb_coding got = emb_coding_choose(cases[i].header);
        if (got != cases[i].coding) {
            fail_msg("'%s': %s", cases[i].header ? cases[i].header : "(none)", emb_coding_name(got));
        }
    }
}

static void test_what_pays(void **state)
{
    (void)state;
    char base64[2000];
    for (size_t i = 0; i < sizeof base64; i++) {
        base64[i] = "ABCDxyz019+/"[(i * 7) % 12];
    }
    assert_true(emb_coding_pays(text, SIZE));
    assert_true(emb_coding_pays("", 0));
    assert_false(emb_coding_pays(base64, sizeof base64));
}

static void test_no_memory(void **state)
{
    (void)state;
    for (enum emb_coding c = EMB_CODING_GZIP; c < EMB_CODING_COUNT; c++) {
        struct emb_buf coded, back;
        bool ended = false;
        for (long n = 0; !ended; n++) {
            emb_mem_fail_after(n);
            ended = encode_all(c, 65536, &coded);
            emb_mem_fail_after(-1);
            if (!ended) {
                emb_buf_deinit(&coded);
            }
            assert_true(n < 1000);
        }
        ended = false;
        for (long n = 0; !ended; n++) {
            emb_mem_fail_after(n);
            enum emb_decode got = emb_decode(c, coded.data, coded.size, SIZE, &back);
            emb_mem_fail_after(-1);
            ended = got == EMB_DECODED;
            assert_true(ended || got == EMB_DECODE_NOMEM);
            emb_buf_deinit(&back);
            assert_true(n < 1000);
        }
        emb_buf_deinit(&coded);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_refused),   cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_bare_deflate),   cmocka_unit_test(test_names),     cmocka_unit_test(test_choice),
        cmocka_unit_test(test_what_pays),      cmocka_unit_test(test_no_memory),
    };
    fill();
    return cmocka_run_group_tests_name("coding", tests, NULL, NULL);
}
