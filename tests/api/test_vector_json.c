/* Small types of vectors against sentence-transformers' (quantized.json, tools/golden/quantized.py), and how all
 * forms are written. */
#include "api/vector_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

enum { MOST = 512 };

static size_t read_floats(struct emb_json_value list, float *out)
{
    size_t n = 0;
    for (struct emb_json_iter it = emb_json_iterate(list); emb_json_next(&it);) {
        double value = 0;
        assert_true(n < MOST && emb_json_number(it.value, &value));
        out[n++] = (float)value;
    }
    return n;
}

static void compare(const unsigned char *got, size_t size, struct emb_json_value list, bool is_signed)
{
    size_t i = 0;
    assert_int_equal(emb_json_size(list), size);
    for (struct emb_json_iter it = emb_json_iterate(list); emb_json_next(&it); i++) {
        int64_t value;
        assert_true(emb_json_int(it.value, &value));
        assert_int_equal(is_signed ? (int8_t)got[i] : got[i], value);
    }
}

static void test_golden(void **state)
{
    (void)state;
    struct emb_json *json;
    embellama_error error;
    size_t rows = 0;
    assert_int_equal(emb_json_read(&json, EMB_SOURCE_DIR "/tests/api/quantized.json", 1 << 20, &error), EMBELLAMA_OK);
    for (struct emb_json_iter it = emb_json_iterate(emb_json_root(json)); emb_json_next(&it); rows++) {
        float values[MOST];
        unsigned char bytes[MOST];
        struct emb_json_value v;
        assert_true(emb_json_get(it.value, "vector", &v));
        size_t n = read_floats(v, values);
        for (int type = EMB_VECTOR_INT8; type <= EMB_VECTOR_UBINARY; type++) {
            emb_vector_quantize(bytes, values, n, (enum emb_vector_type)type);
            assert_true(emb_json_get(it.value, emb_vector_type_names[type], &v));
            compare(bytes, emb_vector_bytes((enum emb_vector_type)type, n), v,
                    type == EMB_VECTOR_INT8 || type == EMB_VECTOR_BINARY);
        }
    }
    assert_true(rows >= 10);
    emb_json_free(json);
}

static void written(const float *values, size_t n, enum emb_vector_type type, bool base64, const char *want)
{
    struct emb_buf out;
    emb_buf_init(&out, 1000);
    emb_vector_write(&out, values, n, (struct emb_vector_form){.type = type, .base64 = base64});
    assert_false(out.failed);
    assert_string_equal(out.data, want);
    emb_buf_deinit(&out);
}

static void test_writing(void **state)
{
    (void)state;
    const float values[] = {1, -1, 0.5F, -0.25F, 0, 1, 1, 1, -1, 0.125F};
    written(values, 10, EMB_VECTOR_FLOAT, false, "[1,-1,0.5,-0.25,0,1,1,1,-1,0.125]");
    written(values, 2, EMB_VECTOR_FLOAT, true, "\"AACAPwAAgL8=\"");
    written(values, 5, EMB_VECTOR_INT8, false, "[126,-128,63,-33,-1]");
    written(values, 5, EMB_VECTOR_UINT8, false, "[254,0,191,95,127]");
    written(values, 5, EMB_VECTOR_UINT8, true, "\"/gC/X38=\"");
    written(values, 10, EMB_VECTOR_UBINARY, false, "[167,64]");
    written(values, 10, EMB_VECTOR_BINARY, false, "[39,-64]");
    written(values, 10, EMB_VECTOR_BINARY, true, "\"J8A=\"");
    written(NULL, 10, EMB_VECTOR_INT8, true, "null");
}

/* A buffer that cannot take it says so, and holds nothing. */
static void test_full(void **state)
{
    (void)state;
    float values[64] = {1};
    for (int base64 = 0; base64 < 2; base64++) {
        for (int type = EMB_VECTOR_FLOAT; type <= EMB_VECTOR_UINT8; type++) {
            struct emb_buf out;
            emb_buf_init(&out, 60);
            emb_vector_write(&out, values, 64,
                             (struct emb_vector_form){.type = (enum emb_vector_type)type, .base64 = base64 == 1});
            assert_true(out.failed);
            emb_buf_deinit(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
