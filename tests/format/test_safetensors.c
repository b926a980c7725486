/* Safetensors: what good files say, and that no broken one gets through or does harm. */
#include "format/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/tempdir.h"
#include "base/buf.h"
#include "base/mem.h"

#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

static void put_file(struct emb_buf *b, uint64_t length, const char *header, size_t data)
{
    emb_buf_init(b, 1 << 22);
    emb_buf_append(b, &length, sizeof length);
    emb_buf_puts(b, header);
    for (size_t i = 0; i < data; i++) {
        const char byte = (char)i;
        emb_buf_append(b, &byte, 1);
    }
}

/* Writes a file of this header and data bytes behind it. */
static void write_file(const char *name, const char *header, size_t data)
{
    struct emb_buf b;
    put_file(&b, strlen(header), header, data);
    assert_false(b.failed);
    tempdir_write(name, b.data, b.size);
    emb_buf_deinit(&b);
}

static void write_text(const char *name, const char *text)
{
    tempdir_write(name, text, strlen(text));
}

/* ---- Good files --------------------------------------------------------------------------------- */

static const char sample[] = "{\"__metadata__\":{\"format\":\"pt\",\"shape\":7},"
                             "\"matrix\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
                             "\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
                             "\"\\u00e9tat\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[32,34]},"
                             "\"empty\":{\"dtype\":\"F16\",\"shape\":[0,4],\"data_offsets\":[34,34]},"
                             "\"nibbles\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[34,36]}}   ";

static void test_good(void **state)
{
    (void)state;
    struct emb_safetensors *st = NULL;
    embellama_error error = {0};
    write_file("good/" SINGLE, sample, 36);
    assert_int_equal(emb_safetensors_open(&st, tempdir_path("good"), &error), EMBELLAMA_OK);
    assert_int_equal(emb_safetensors_tensor_count(st), 5);
    assert_int_equal(emb_safetensors_file_size(st), 8 + strlen(sample) + 36);
    const struct emb_tensor *t = emb_safetensors_tensor(st, "matrix");
    assert_true(t && t == emb_safetensors_tensor_at(st, 0));
    assert_string_equal(t->name, "matrix");
    assert_string_equal(t->type_name, "F32");
    assert_true(t->type == EMB_DTYPE_F32 && t->n_dims == 2 && t->dims[0] == 2 && t->dims[1] == 3 && t->size == 24);
    assert_true(t->data[0] == 8 && t->data[23] == 31);
    t = emb_safetensors_tensor(st, "ids");
    assert_true(t && t->type == EMB_DTYPE_I64 && t->size == 8 && t->data[0] == 0);
    t = emb_safetensors_tensor(st, "\xC3\xA9tat");
    assert_true(t && t->type == EMB_DTYPE_BF16 && t->n_dims == 0 && t->size == 2 && t->data[0] == 32);
    t = emb_safetensors_tensor(st, "empty");
    assert_true(t && t->type == EMB_DTYPE_F16 && t->dims[0] == 0 && t->dims[1] == 4 && t->size == 0);
    t = emb_safetensors_tensor(st, "nibbles");
    assert_true(t && t->type == EMB_DTYPE_OTHER && t->size == 2);
    assert_string_equal(t->type_name, "F4");
    assert_null(emb_safetensors_tensor(st, "__metadata__"));
    assert_null(emb_safetensors_tensor_at(st, 5));
    emb_safetensors_close(st);
    emb_safetensors_close(NULL);
}

#define A_BYTES "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}"
#define B_BYTES "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}"

static void write_shards(const char *index)
{
    write_file("shards/one.safetensors", "{" A_BYTES "," B_BYTES "}", 4);
    write_file("shards/two.safetensors", "{" B_BYTES "}", 5);
    write_text("shards/" INDEX, index);
}

/* b is in both shards: the index says which one counts. A tensor the index does not name is left out. */
static void test_shards(void **state)
{
    (void)state;
    struct emb_safetensors *st = NULL;
    embellama_error error = {0};
    write_shards("{\"metadata\":{\"total_size\":4},"
                 "\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}");
    assert_int_equal(emb_safetensors_open(&st, tempdir_path("shards"), &error), EMBELLAMA_OK);
    assert_int_equal(emb_safetensors_tensor_count(st), 2);
    const struct emb_tensor *a = emb_safetensors_tensor(st, "a"), *b = emb_safetensors_tensor(st, "b");
    assert_true(a && b && a->data[1] == 1 && b->data[0] == 1);
    emb_safetensors_close(st);

    write_shards("{\"weight_map\":{\"a\":\"one.safetensors\"}}");
    assert_int_equal(emb_safetensors_open(&st, tempdir_path("shards"), &error), EMBELLAMA_OK);
    assert_int_equal(emb_safetensors_tensor_count(st), 1);
    emb_safetensors_close(st);
}

/* ---- Broken files ------------------------------------------------------------------------------- */

static int open_single(const struct emb_buf *b, embellama_error *error)
{
    struct emb_safetensors *st = NULL;
    tempdir_write("broken/" SINGLE, b->data, b->size);
    int rc = emb_safetensors_open(&st, tempdir_path("broken"), error);
    if (rc == EMBELLAMA_OK) {
        for (size_t i = 0; i < emb_safetensors_tensor_count(st); i++) {
            const struct emb_tensor *t = emb_safetensors_tensor_at(st, i);
            unsigned sum = 0;
            for (uint64_t j = 0; j < t->size; j++) {
                sum += t->data[j];
            }
            assert_true(sum < 36 * 256);
        }
        emb_safetensors_close(st);
    } else {
        assert_null(st);
    }
    return rc;
}

#define TENSOR(dtype, shape, offsets) "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_broken_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *says;
        int code;
    } rows[] = {
        {"", "invalid JSON", EMBELLAMA_E_FORMAT},
        {"[]", "not a JSON object", EMBELLAMA_E_FORMAT},
        {"{\"t\":", "invalid JSON", EMBELLAMA_E_FORMAT},
        {"{} {}", "invalid JSON", EMBELLAMA_E_FORMAT},
        {"{\"t\":7}", "tensor t has no dtype", EMBELLAMA_E_FORMAT},
        {TENSOR("7", "[1]", "[0,4]"), "has no dtype", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F31\"", "[1]", "[0,4]"), "unknown dtype F31", EMBELLAMA_E_FORMAT},
        {TENSOR("\"f32\"", "[1]", "[0,4]"), "unknown dtype f32", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\\u0000\"", "[1]", "[0,4]"), "unknown dtype F32", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "4", "[0,4]"), "shape is not a list", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[-1]", "[0,4]"), "shape is not a list", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1.0]", "[0,4]"), "shape is not a list", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[18446744073709551615]", "[0,4]"), "shape is not a list", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[\"1\"]", "[0,4]"), "shape is not a list", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1,1,1,1,1]", "[0,4]"), "5 dimensions", EMBELLAMA_E_UNSUPPORTED},
        {TENSOR("\"F32\"", "[1]", "[0]"), "not two sizes", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1]", "[0,4,8]"), "not two sizes", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1]", "{\"0\":0,\"1\":4}"), "not two sizes", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1]", "[-4,0]"), "not two sizes", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1]", "[8,4]"), "not inside the 16", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1]", "[16,20]"), "not inside the 16", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1]", "[9223372036854775804,9223372036854775807]"), "not inside", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[0]", "[17,17]"), "not inside the 16", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[2]", "[0,4]"), "does not make its 4 bytes", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F16\"", "[1]", "[0,4]"), "does not make its 4 bytes", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F4\"", "[3]", "[0,1]"), "does not make its 1 bytes", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[1152921504606846976]", "[0,16]"), "does not make", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[4294967296,4294967296]", "[0,0]"), "does not make", EMBELLAMA_E_FORMAT},
        {TENSOR("\"F32\"", "[0,1099511627776,1099511627776]", "[0,0]"), "does not make", EMBELLAMA_E_FORMAT},
        {TENSOR("\"U8\"", "[2305843009213693953]", "[0,1]"), "does not make", EMBELLAMA_E_FORMAT},
        {"{\"\":{}}", "name of tensor 0", EMBELLAMA_E_FORMAT},
        {"{\"a\\u0000b\":{}}", "name of tensor 0", EMBELLAMA_E_FORMAT},
        {"{\"a\\nb\":{}}", "name of tensor 0", EMBELLAMA_E_FORMAT},
        {"{\"\\ud800\":{}}", "invalid JSON", EMBELLAMA_E_FORMAT},
        {"{" A_BYTES "," A_BYTES "}", "two tensors are named a", EMBELLAMA_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct emb_buf b;
        embellama_error error = {0};
        put_file(&b, strlen(rows[i].header), rows[i].header, 16);
        int rc = open_single(&b, &error);
        if (rc != rows[i].code || error.code != rc || !strstr(error.message, rows[i].says) ||
            !strstr(error.message, "broken/" SINGLE ": ")) {
            fail_msg("%s: %d \"%s\", not \"%s\"", rows[i].header, rc, error.message, rows[i].says);
        }
        emb_buf_deinit(&b);
    }
}

static void test_lying_lengths(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        const char *says;
    } rows[] = {
        {0, "invalid JSON"},
        {sizeof sample, "invalid JSON"},
        {sizeof sample + 36, "ends inside its header"},
        {(uint64_t)100000000, "ends inside its header of 100000000 bytes"},
        {(uint64_t)100000001, "longer than the 100000000 allowed"},
        {(uint64_t)1 << 60, "longer than the 100000000 allowed"},
        {UINT64_MAX - 7, "longer than the 100000000 allowed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct emb_buf b;
        embellama_error error = {0};
        put_file(&b, rows[i].length, sample, 36);
        int rc = open_single(&b, &error);
        if (rc != EMBELLAMA_E_FORMAT || !strstr(error.message, rows[i].says)) {
            fail_msg("row %zu: %d \"%s\"", i, rc, error.message);
        }
        emb_buf_deinit(&b);
    }
}

static void test_truncated_anywhere(void **state)
{
    (void)state;
    struct emb_buf b;
    put_file(&b, strlen(sample), sample, 36);
    size_t whole = b.size;
    for (b.size = 0; b.size < whole; b.size++) {
        embellama_error error = {0};
        if (open_single(&b, &error) != EMBELLAMA_E_FORMAT || error.message[0] == '\0') {
            fail_msg("cut to %zu bytes: \"%s\"", b.size, error.message);
        }
    }
    emb_buf_deinit(&b);
}

static void test_any_byte_changed(void **state)
{
    (void)state;
    struct emb_buf b;
    unsigned opened = 0, refused = 0;
    put_file(&b, strlen(sample), sample, 36);
    for (size_t i = 0; i < b.size; i++) {
        const char was = b.data[i];
        const char tries[] = {0, '9', '"', (char)(was ^ 1), (char)(was ^ 0x80)};
        for (size_t j = 0; j < sizeof tries; j++) {
            embellama_error error = {0};
            b.data[i] = tries[j];
            if (open_single(&b, &error) == EMBELLAMA_OK) {
                opened++;
            } else {
                assert_true(error.message[0] != '\0');
                refused++;
            }
        }
        b.data[i] = was;
    }
    assert_true(opened > 100 && refused > 100);
    emb_buf_deinit(&b);
}

static void test_broken_indexes(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        const char *says;
        int code;
    } rows[] = {
        {"", "invalid JSON", EMBELLAMA_E_FORMAT},
        {"[]", "no weight_map", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":[]}", "no weight_map", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":7}}", "tensor a: its shard is not", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\"\"}}", "its shard is not", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\".\"}}", "its shard is not", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\"..\"}}", "its shard is not", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\"../good/model.safetensors\"}}", "its shard is not", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\"/dev/zero\"}}", "its shard is not", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\"sub/one.safetensors\"}}", "its shard is not", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\"one.safetensors\\u0000\"}}", "its shard is not", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\\u0000\":\"one.safetensors\"}}", "a tensor's name", EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}}", "two tensors are named a",
         EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"a\":\"absent.safetensors\"}}", "absent.safetensors: No such file", EMBELLAMA_E_NOT_FOUND},
        {"{\"weight_map\":{\"a\":\"two.safetensors\"}}", "tensor a is not in its shard two.safetensors",
         EMBELLAMA_E_FORMAT},
        {"{\"weight_map\":{\"b\":\"two.safetensors\",\"c\":\"one.safetensors\"}}", "tensor c is not in its shard",
         EMBELLAMA_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct emb_safetensors *st = NULL;
        embellama_error error = {0};
        write_shards(rows[i].index);
        int rc = emb_safetensors_open(&st, tempdir_path("shards"), &error);
        if (rc != rows[i].code || error.code != rc || st || !strstr(error.message, rows[i].says)) {
            fail_msg("%s: %d \"%s\"", rows[i].index, rc, error.message);
        }
    }
}

static void test_too_many_shards(void **state)
{
    (void)state;
    struct emb_safetensors *st = NULL;
    struct emb_buf b;
    embellama_error error = {0};
    emb_buf_init(&b, 1 << 20);
    emb_buf_puts(&b, "{\"weight_map\":{");
    for (int i = 0; i < 1025; i++) {
        emb_buf_printf(&b, "%s\"t%d\":\"s%d\"", i ? "," : "", i, i);
    }
    emb_buf_puts(&b, "}}");
    tempdir_write("many/" INDEX, b.data, b.size);
    emb_buf_deinit(&b);
    assert_int_equal(emb_safetensors_open(&st, tempdir_path("many"), &error), EMBELLAMA_E_FORMAT);
    assert_non_null(strstr(error.message, "more than 1024 shards"));
}

static void test_not_a_directory(void **state)
{
    (void)state;
    struct emb_safetensors *st = NULL;
    embellama_error error = {0};
    assert_int_equal(emb_safetensors_open(&st, tempdir_path("absent"), &error), EMBELLAMA_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "is not a directory"));
    tempdir_write("nothing/config.json", "{}", 2);
    assert_int_equal(emb_safetensors_open(&st, tempdir_path("nothing"), &error), EMBELLAMA_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "holds neither"));
    tempdir_write("folder/" SINGLE "/x", "", 0);
    assert_int_equal(emb_safetensors_open(&st, tempdir_path("folder"), &error), EMBELLAMA_E_IO);
    assert_null(st);
}

static void check_out_of_memory(const char *name)
{
    struct emb_safetensors *st = NULL;
    const char *path = tempdir_path(name);
    int rc = EMBELLAMA_E_NOMEM;
    long allowed = 0;
    for (; rc == EMBELLAMA_E_NOMEM && allowed < 1000; allowed++) {
        embellama_error error = {0};
        emb_mem_fail_after(allowed);
        rc = emb_safetensors_open(&st, path, &error);
        emb_mem_fail_after(-1);
        assert_int_equal(error.code, rc == EMBELLAMA_OK ? 0 : rc);
    }
    assert_int_equal(rc, EMBELLAMA_OK);
    assert_true(allowed > 5);
    emb_safetensors_close(st);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    write_file("good/" SINGLE, sample, 36);
    check_out_of_memory("good");
    write_shards("{\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}");
    check_out_of_memory("shards");
}

/* ---- The real model ----------------------------------------------------------------------------- */

static const char *model_folder(char *out, size_t size)
{
    const char *given = getenv("EMBELLAMA_TEST_MODEL"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *rest = "embellama/models/all-MiniLM-L6-v2";
    if (given && *given) {
        snprintf(out, size, "%s", given);
    } else if (cache && *cache) {
        snprintf(out, size, "%s/%s", cache, rest);
    } else {
        snprintf(out, size, "%s/.cache/%s", home ? home : "", rest);
    }
    return out;
}

static void test_real_model(void **state)
{
    (void)state;
    char folder[4096];
    struct emb_safetensors *st = NULL;
    embellama_error error = {0};
    int rc = emb_safetensors_open(&st, model_folder(folder, sizeof folder), &error);
    if (rc == EMBELLAMA_E_NOT_FOUND) {
        print_message("%s: skipped\n", error.message);
        skip();
    }
    assert_int_equal(rc, EMBELLAMA_OK);
    const struct emb_tensor *t = emb_safetensors_tensor(st, "embeddings.word_embeddings.weight");
    assert_true(t && t->type == EMB_DTYPE_F32 && t->n_dims == 2 && t->dims[0] == 30522 && t->dims[1] == 384);
    assert_int_equal(t->size, 30522u * 384 * 4);
    emb_safetensors_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_broken_headers),
        cmocka_unit_test(test_lying_lengths),
        cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_any_byte_changed),
        cmocka_unit_test(test_broken_indexes),
        cmocka_unit_test(test_too_many_shards),
        cmocka_unit_test(test_not_a_directory),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_real_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
