/* Element types: sizes, and conversion to f32 against the reference's values (bit for bit; any NaN equals any NaN). */
#include "format/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN EMB_SOURCE_DIR "/tests/format/dtype.golden"

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static bool same(float a, float b)
{
    return (isnan(a) && isnan(b)) || bits_of(a) == bits_of(b);
}

static enum emb_dtype type_named(const char *name)
{
    for (int i = 0; i < EMB_DTYPE_COUNT; i++) {
        if (strcmp(emb_dtype_traits((enum emb_dtype)i)->name, name) == 0) {
            return (enum emb_dtype)i;
        }
    }
    fail_msg("no type %s", name);
    return EMB_DTYPE_COUNT;
}

/* Every value of a record, from an address that is not aligned to anything. */
static void check_record(const char *name, const uint8_t *src, uint32_t bytes, const uint8_t *expected, uint32_t n)
{
    const struct emb_dtype_traits *t = emb_dtype_traits(type_named(name));
    uint64_t size = 0;
    assert_true(emb_dtype_bytes(type_named(name), n, &size));
    assert_int_equal(size, bytes);
    uint8_t *odd = malloc(bytes + 1);
    float *out = malloc((n + 1) * sizeof *out);
    assert_true(odd && out);
    memcpy(odd + 1, src, bytes);
    out[n] = 42.0f;
    t->to_f32(odd + 1, n, out);
    for (uint32_t i = 0; i < n; i++) {
        float want;
        memcpy(&want, expected + 4 * i, sizeof want);
        if (!same(out[i], want)) {
            fail_msg("%s element %u: %a, the reference has %a", name, i, (double)out[i], (double)want);
        }
    }
    assert_true(out[n] == 42.0f);
    free(odd);
    free(out);
}

static void test_golden(void **state)
{
    (void)state;
    static uint8_t data[65536];
    FILE *f = fopen(GOLDEN, "rb");
    assert_non_null(f);
    size_t size = fread(data, 1, sizeof data, f), at = 0;
    int records = 0;
    fclose(f);
    assert_true(size > 0 && size < sizeof data);
    while (at < size) {
        uint32_t n, bytes;
        memcpy(&n, data + at + 8, 4);
        memcpy(&bytes, data + at + 12, 4);
        check_record((const char *)data + at, data + at + 16, bytes, data + at + 16 + bytes, n);
        at += 16 + bytes + 4 * (size_t)n;
        records++;
    }
    assert_int_equal(at, size);
    assert_int_equal(records, 7);
}

/* All 65,536 halves against their definition (IEEE 754-2019, 3.4). */
static void test_every_half(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        int exponent = (int)(h >> 10 & 31);
        double mantissa = h & 1023;
        double value = exponent == 31  ? (mantissa > 0 ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -24)
                                       : ldexp(1024 + mantissa, exponent - 25);
        float want = (float)(h & 0x8000 ? -value : value);
        assert_true(same(emb_f16_to_f32((uint16_t)h), want));
    }
}

static void test_plain_types(void **state)
{
    (void)state;
    const float in[3] = {1.5f, -0.0f, INFINITY};
    float out[3] = {0};
    emb_dtype_traits(EMB_DTYPE_F32)->to_f32((const uint8_t *)in, 3, out);
    assert_memory_equal(in, out, sizeof in);
    assert_null(emb_dtype_traits(EMB_DTYPE_I64)->to_f32);
    assert_null(emb_dtype_traits(EMB_DTYPE_OTHER)->to_f32);
}

static void test_bytes(void **state)
{
    (void)state;
    static const struct {
        enum emb_dtype type;
        uint64_t n, bytes;
        bool ok;
    } rows[] = {
        {EMB_DTYPE_F32, 0, 0, true},
        {EMB_DTYPE_F32, 7, 28, true},
        {EMB_DTYPE_F16, 7, 14, true},
        {EMB_DTYPE_I64, 3, 24, true},
        {EMB_DTYPE_Q4_0, 64, 36, true},
        {EMB_DTYPE_Q4_0, 63, 0, false},
        {EMB_DTYPE_Q5_0, 32, 22, true},
        {EMB_DTYPE_Q8_0, 32, 34, true},
        {EMB_DTYPE_Q8_0, 33, 0, false},
        {EMB_DTYPE_Q4_K, 512, 288, true},
        {EMB_DTYPE_Q4_K, 128, 0, false},
        {EMB_DTYPE_Q6_K, 256, 210, true},
        {EMB_DTYPE_OTHER, 32, 0, false},
        {EMB_DTYPE_F32, UINT64_MAX / 2, 0, false},
        {EMB_DTYPE_Q8_0, UINT64_MAX - 31, 0, false},
        {EMB_DTYPE_Q4_0, UINT64_MAX - 31, (UINT64_MAX - 31) / 32 * 18, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t bytes = 0;
        assert_int_equal(emb_dtype_bytes(rows[i].type, rows[i].n, &bytes), rows[i].ok);
        if (rows[i].ok) {
            assert_int_equal(bytes, rows[i].bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_plain_types),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
