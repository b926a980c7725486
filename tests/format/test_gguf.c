/* GGUF: what a good file says, and that no broken one gets through or does harm. */
#include "format/gguf.h"

#include <errno.h>
#include <glob.h>
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

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };

static void put_u8(struct emb_buf *b, uint8_t v)
{
    emb_buf_append(b, &v, sizeof v);
}

static void put_u32(struct emb_buf *b, uint32_t v)
{
    emb_buf_append(b, &v, sizeof v);
}

static void put_u64(struct emb_buf *b, uint64_t v)
{
    emb_buf_append(b, &v, sizeof v);
}

static void put_string(struct emb_buf *b, const char *s)
{
    put_u64(b, strlen(s));
    emb_buf_puts(b, s);
}

static void put_header(struct emb_buf *b, uint32_t version, uint64_t tensors, uint64_t entries)
{
    emb_buf_puts(b, "GGUF");
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, entries);
}

static void put_key(struct emb_buf *b, const char *key, uint32_t type)
{
    put_string(b, key);
    put_u32(b, type);
}

static void put_array(struct emb_buf *b, uint32_t element, uint64_t count)
{
    put_u32(b, element);
    put_u64(b, count);
}

static void put_tensor(struct emb_buf *b, const char *name, uint32_t n_dims, uint64_t row, uint64_t rows, uint32_t type,
                       uint64_t offset)
{
    put_string(b, name);
    put_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        put_u64(b, i == 0 ? row : i == 1 ? rows : 1);
    }
    put_u32(b, type);
    put_u64(b, offset);
}

static void pad(struct emb_buf *b, size_t alignment)
{
    while (b->size % alignment != 0) {
        put_u8(b, 0);
    }
}

static int open_bytes(const struct emb_buf *b, struct emb_gguf **out, embellama_error *error)
{
    assert_false(b->failed);
    return emb_gguf_open(out, tempdir_write("test.gguf", b->data ? b->data : "", b->size), error);
}

/* ---- A good file -------------------------------------------------------------------------------- */

static void put_sample_numbers(struct emb_buf *b)
{
    const float f = 0.25f;
    const double d = -1e300;
    const int16_t i16 = -300;
    put_key(b, "u8", U8), put_u8(b, 200);
    put_key(b, "i8", I8), put_u8(b, 0x80);
    put_key(b, "i16", I16), emb_buf_append(b, &i16, sizeof i16);
    put_key(b, "u32", U32), put_u32(b, 4000000000u);
    put_key(b, "i32", I32), put_u32(b, (uint32_t)-5);
    put_key(b, "f32", F32), emb_buf_append(b, &f, sizeof f);
    put_key(b, "yes", BOOL), put_u8(b, 1);
    put_key(b, "u64", U64), put_u64(b, UINT64_MAX);
    put_key(b, "i64", I64), put_u64(b, (uint64_t)INT64_MIN);
    put_key(b, "f64", F64), emb_buf_append(b, &d, sizeof d);
}

static void put_sample_arrays(struct emb_buf *b)
{
    const float f[2] = {1.5f, -2.0f};
    put_key(b, "general.name", STRING), put_string(b, "sample");
    put_key(b, "words", ARRAY), put_array(b, STRING, 3);
    put_string(b, "one"), put_string(b, ""), put_string(b, "th\nree");
    put_key(b, "ints", ARRAY), put_array(b, I32, 2), put_u32(b, 7), put_u32(b, (uint32_t)-7);
    put_key(b, "floats", ARRAY), put_array(b, F32, 2), emb_buf_append(b, f, sizeof f);
    put_key(b, "flags", ARRAY), put_array(b, BOOL, 2), put_u8(b, 0), put_u8(b, 1);
    put_key(b, "huge", ARRAY), put_array(b, U64, 1), put_u64(b, UINT64_MAX);
    put_key(b, "none", ARRAY), put_array(b, I32, 0);
    put_key(b, "nested", ARRAY), put_array(b, ARRAY, 2);
    put_array(b, U8, 2), put_u8(b, 1), put_u8(b, 2);
    put_array(b, STRING, 1), put_string(b, "x");
}

/* 18 entries; 3 tensors, the last of which ends where the file ends. */
static void put_sample(struct emb_buf *b, uint32_t version)
{
    put_header(b, version, 3, 18);
    put_sample_numbers(b);
    put_sample_arrays(b);
    put_tensor(b, "matrix", 2, 3, 2, 0, 0);
    put_tensor(b, "quants", 2, 32, 2, 8, 32);
    put_tensor(b, "other", 1, 256, 1, 10, 128);
    pad(b, 32);
    for (int i = 0; i < 6; i++) {
        float f = (float)i;
        emb_buf_append(b, &f, sizeof f);
    }
    pad(b, 32);
    for (int i = 0; i < 68; i++) {
        put_u8(b, (uint8_t)i);
    }
    pad(b, 32);
    for (int i = 0; i < 84; i++) {
        put_u8(b, 0xAB);
    }
}

static void check_numbers(const struct emb_gguf *g)
{
    int64_t i = 0;
    double d = 0;
    bool flag = false;
    assert_true(emb_gguf_get_int(g, "u8", &i) && i == 200);
    assert_true(emb_gguf_get_int(g, "i8", &i) && i == -128);
    assert_true(emb_gguf_get_int(g, "i16", &i) && i == -300);
    assert_true(emb_gguf_get_int(g, "u32", &i) && i == 4000000000);
    assert_true(emb_gguf_get_int(g, "i32", &i) && i == -5);
    assert_true(emb_gguf_get_int(g, "i64", &i) && i == INT64_MIN);
    i = 42;
    assert_false(emb_gguf_get_int(g, "u64", &i) || emb_gguf_get_int(g, "f32", &i) || emb_gguf_get_int(g, "yes", &i));
    assert_false(emb_gguf_get_int(g, "absent", &i) || emb_gguf_get_int(g, "ints", &i));
    assert_int_equal(i, 42);
    assert_true(emb_gguf_get_number(g, "f32", &d) && d == 0.25);
    assert_true(emb_gguf_get_number(g, "f64", &d) && d == -1e300);
    assert_true(emb_gguf_get_number(g, "i8", &d) && d == -128);
    assert_false(emb_gguf_get_number(g, "general.name", &d));
    assert_true(emb_gguf_get_bool(g, "yes", &flag) && flag);
    assert_false(emb_gguf_get_bool(g, "u8", &flag));
}

static void check_arrays(const struct emb_gguf *g)
{
    struct emb_gguf_string s = {0}, words[3];
    uint64_t n = 99;
    int64_t ints[2];
    float floats[2];
    assert_true(emb_gguf_get_string(g, "general.name", &s));
    assert_true(s.size == 6 && memcmp(s.data, "sample", 6) == 0);
    assert_false(emb_gguf_get_string(g, "words", &s) || emb_gguf_get_string(g, "u8", &s));
    assert_true(emb_gguf_get_string_array(g, "words", &n) && n == 3);
    emb_gguf_read_strings(g, "words", words);
    assert_true(words[0].size == 3 && memcmp(words[0].data, "one", 3) == 0);
    assert_int_equal(words[1].size, 0);
    assert_true(words[2].size == 6 && memcmp(words[2].data, "th\nree", 6) == 0);
    assert_true(emb_gguf_get_int_array(g, "ints", &n) && n == 2);
    emb_gguf_read_ints(g, "ints", ints);
    assert_true(ints[0] == 7 && ints[1] == -7);
    assert_true(emb_gguf_get_number_array(g, "floats", &n) && n == 2);
    emb_gguf_read_numbers(g, "floats", floats);
    assert_true(floats[0] == 1.5f && floats[1] == -2.0f);
    assert_true(emb_gguf_get_number_array(g, "ints", &n));
    emb_gguf_read_numbers(g, "ints", floats);
    assert_true(floats[1] == -7.0f);
    assert_true(emb_gguf_get_int_array(g, "none", &n) && n == 0);
    n = 99;
    assert_false(emb_gguf_get_int_array(g, "floats", &n) || emb_gguf_get_int_array(g, "huge", &n) ||
                 emb_gguf_get_int_array(g, "words", &n) || emb_gguf_get_int_array(g, "flags", &n) ||
                 emb_gguf_get_int_array(g, "nested", &n) || emb_gguf_get_string_array(g, "ints", &n) ||
                 emb_gguf_get_number_array(g, "words", &n) || emb_gguf_get_string_array(g, "nested", &n));
    assert_int_equal(n, 99);
}

static void check_tensors(const struct emb_gguf *g)
{
    assert_int_equal(emb_gguf_tensor_count(g), 3);
    const struct emb_tensor *t = emb_gguf_tensor(g, "matrix");
    assert_non_null(t);
    assert_ptr_equal(t, emb_gguf_tensor_at(g, 0));
    assert_string_equal(t->name, "matrix");
    assert_string_equal(t->type_name, "F32");
    assert_true(t->type == EMB_DTYPE_F32 && t->n_dims == 2 && t->dims[0] == 2 && t->dims[1] == 3 && t->size == 24);
    float last;
    memcpy(&last, t->data + 20, sizeof last);
    assert_true(last == 5.0f);
    t = emb_gguf_tensor(g, "quants");
    assert_true(t && t->type == EMB_DTYPE_Q8_0 && t->dims[1] == 32 && t->size == 68 && t->data[67] == 67);
    t = emb_gguf_tensor(g, "other");
    assert_true(t && t->type == EMB_DTYPE_OTHER && t->n_dims == 1 && t->dims[0] == 256 && t->size == 84);
    assert_string_equal(t->type_name, "Q2_K");
    assert_int_equal(t->data[83], 0xAB);
    assert_null(emb_gguf_tensor(g, "matri"));
    assert_null(emb_gguf_tensor_at(g, 3));
}

static void test_good(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct emb_buf b;
        struct emb_gguf *g = NULL;
        embellama_error error;
        emb_buf_init(&b, 1 << 16);
        put_sample(&b, version);
        assert_int_equal(open_bytes(&b, &g, &error), EMBELLAMA_OK);
        assert_int_equal(emb_gguf_file_size(g), b.size);
        check_numbers(g);
        check_arrays(g);
        check_tensors(g);
        emb_gguf_close(g);
        emb_buf_deinit(&b);
    }
    emb_gguf_close(NULL);
}

static void test_alignment(void **state)
{
    (void)state;
    struct emb_buf b;
    struct emb_gguf *g = NULL;
    emb_buf_init(&b, 1 << 16);
    put_header(&b, 3, 1, 1);
    put_key(&b, "general.alignment", U32), put_u32(&b, 128);
    put_tensor(&b, "t", 0, 0, 0, 24, 128);
    pad(&b, 128);
    size_t data = b.size;
    for (int i = 0; i < 129; i++) {
        put_u8(&b, (uint8_t)i);
    }
    assert_int_equal(open_bytes(&b, &g, NULL), EMBELLAMA_OK);
    const struct emb_tensor *t = emb_gguf_tensor(g, "t");
    assert_true(t && t->n_dims == 0 && t->size == 1 && t->data[0] == 128);
    assert_int_equal(data % 128, 0);
    emb_gguf_close(g);
    emb_buf_deinit(&b);
}

/* ---- Broken files ------------------------------------------------------------------------------- */

static void cut_at_header(struct emb_buf *b)
{
    emb_buf_puts(b, "GGUF\3");
}
static void other_magic(struct emb_buf *b)
{
    emb_buf_puts(b, "GGML and some more bytes behind it");
}
static void version_0(struct emb_buf *b)
{
    put_header(b, 0, 0, 0);
}
static void version_1(struct emb_buf *b)
{
    put_header(b, 1, 0, 0);
}
static void version_4(struct emb_buf *b)
{
    put_header(b, 4, 0, 0);
}
static void big_endian(struct emb_buf *b)
{
    put_header(b, 0x03000000, 0, 0);
}
static void absurd_entries(struct emb_buf *b)
{
    put_header(b, 3, 0, (uint64_t)1 << 60);
}
static void absurd_tensors(struct emb_buf *b)
{
    put_header(b, 3, (uint64_t)1 << 60, 0);
}
static void many_entries(struct emb_buf *b)
{
    put_header(b, 3, 0, 60000);
    put_u64(b, 0);
}
static void many_tensors(struct emb_buf *b)
{
    put_header(b, 3, 60000, 0);
    put_u64(b, 0);
}
static void one_entry_too_many(struct emb_buf *b)
{
    put_header(b, 3, 0, 2);
    put_key(b, "general.name", STRING), put_string(b, "nothing comes after this one");
}
static void absurd_key(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_u64(b, (uint64_t)1 << 60);
    emb_buf_puts(b, "key key key key");
}
static void endless_key(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_u64(b, UINT64_MAX);
    emb_buf_puts(b, "key key key key");
}
static void empty_key(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "", U64), put_u64(b, 0);
}
static void control_in_key(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "a\nb", U8), put_u8(b, 0);
}
static void invalid_utf8_in_key(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "a\xC0\x80", U8), put_u8(b, 0);
}
static void undefined_type(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", 13), put_u64(b, 0);
}
static void undefined_element(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", ARRAY), put_array(b, 77, 1), put_u64(b, 0);
}
static void absurd_string(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", STRING), put_u64(b, (uint64_t)1 << 60);
}
static void absurd_array(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", ARRAY), put_array(b, U8, (uint64_t)1 << 60);
}
static void overflowing_array(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", ARRAY), put_array(b, U64, ((uint64_t)1 << 61) + 1), put_u64(b, 0);
}
static void absurd_string_array(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", ARRAY), put_array(b, STRING, UINT64_MAX), put_string(b, "only one");
}
static void absurd_string_in_array(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", ARRAY), put_array(b, STRING, 2), put_string(b, "one"), put_u64(b, UINT64_MAX - 4);
}
static void deep_arrays(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", ARRAY);
    for (int i = 0; i < 100000; i++) {
        put_array(b, ARRAY, 1);
    }
}
static void bad_bool(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", BOOL), put_u8(b, 2);
}
static void bad_bool_in_array(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "key", ARRAY), put_array(b, BOOL, 3), put_u8(b, 1), put_u8(b, 0), put_u8(b, 255);
}
static void same_key_twice(struct emb_buf *b)
{
    put_header(b, 3, 0, 2);
    put_key(b, "key", U8), put_u8(b, 1);
    put_key(b, "key", STRING), put_string(b, "again");
}
static void alignment_0(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "general.alignment", U32), put_u32(b, 0);
}
static void alignment_48(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "general.alignment", U32), put_u32(b, 48);
}
static void alignment_string(struct emb_buf *b)
{
    put_header(b, 3, 0, 1);
    put_key(b, "general.alignment", STRING), put_string(b, "32");
}
static void absurd_alignment(struct emb_buf *b)
{
    put_header(b, 3, 1, 1);
    put_key(b, "general.alignment", U64), put_u64(b, (uint64_t)1 << 62);
    put_tensor(b, "t", 1, 4, 1, 0, 0);
    put_u64(b, 0), put_u64(b, 0);
}

static void put_one(struct emb_buf *b, const char *name, uint32_t n_dims, uint64_t row, uint64_t rows, uint32_t type,
                    uint64_t offset)
{
    put_header(b, 3, 1, 0);
    put_tensor(b, name, n_dims, row, rows, type, offset);
    pad(b, 32);
    for (int i = 0; i < 256; i++) {
        put_u8(b, 0);
    }
}
static void five_dims(struct emb_buf *b)
{
    put_one(b, "t", 5, 1, 1, 0, 0);
}
static void absurd_dims(struct emb_buf *b)
{
    put_header(b, 3, 1, 0);
    put_string(b, "t"), put_u32(b, UINT32_MAX), put_u64(b, 1), put_u64(b, 1), put_u64(b, 1);
}
static void retired_type(struct emb_buf *b)
{
    put_one(b, "t", 1, 32, 1, 4, 0);
}
static void absurd_type(struct emb_buf *b)
{
    put_one(b, "t", 1, 32, 1, UINT32_MAX, 0);
}
static void overflowing_dims(struct emb_buf *b)
{
    put_one(b, "t", 2, (uint64_t)1 << 32, (uint64_t)1 << 32, 0, 0);
}
static void overflow_beside_zero(struct emb_buf *b)
{
    put_header(b, 3, 1, 0);
    put_string(b, "t"), put_u32(b, 3), put_u64(b, (uint64_t)1 << 40), put_u64(b, (uint64_t)1 << 40), put_u64(b, 0);
    put_u32(b, 0), put_u64(b, 0);
    pad(b, 32);
}
static void overflowing_bytes(struct emb_buf *b)
{
    put_one(b, "t", 1, ((uint64_t)1 << 62) + 1, 1, 0, 0);
}
static void absurd_size(struct emb_buf *b)
{
    put_one(b, "t", 1, (uint64_t)1 << 60, 1, 24, 0);
}
static void part_of_a_block(struct emb_buf *b)
{
    put_one(b, "t", 2, 16, 2, 8, 0);
}
static void one_byte_too_long(struct emb_buf *b)
{
    put_one(b, "t", 1, 257, 1, 24, 0);
}
static void offset_between(struct emb_buf *b)
{
    put_one(b, "t", 1, 4, 1, 0, 16);
}
static void offset_behind(struct emb_buf *b)
{
    put_one(b, "t", 1, 4, 1, 0, 256);
}
static void empty_behind(struct emb_buf *b)
{
    put_one(b, "t", 1, 0, 1, 0, 288);
}
static void wrapping_offset(struct emb_buf *b)
{
    put_one(b, "t", 1, 4, 1, 0, UINT64_MAX - 31);
}
static void nameless(struct emb_buf *b)
{
    put_one(b, "", 1, 4, 1, 0, 0);
}
static void zero_in_name(struct emb_buf *b)
{
    put_header(b, 3, 1, 0);
    put_u64(b, 3), emb_buf_append(b, "a\0b", 3), put_u32(b, 0), put_u32(b, 24), put_u64(b, 0);
    pad(b, 32), put_u8(b, 0);
}
static void same_name_twice(struct emb_buf *b)
{
    put_header(b, 3, 2, 0);
    put_tensor(b, "weight", 1, 4, 1, 0, 0);
    put_tensor(b, "weight", 1, 4, 1, 0, 0);
    pad(b, 32);
    put_u64(b, 0), put_u64(b, 0);
}

static void test_broken(void **state)
{
    (void)state;
    static const struct {
        void (*put)(struct emb_buf *b);
        int code;
        const char *says;
    } rows[] = {
        {cut_at_header, EMBELLAMA_E_FORMAT, "ends inside its header"},
        {other_magic, EMBELLAMA_E_FORMAT, "not a GGUF file"},
        {version_0, EMBELLAMA_E_UNSUPPORTED, "version 0"},
        {version_1, EMBELLAMA_E_UNSUPPORTED, "version 1"},
        {version_4, EMBELLAMA_E_UNSUPPORTED, "version 4"},
        {big_endian, EMBELLAMA_E_UNSUPPORTED, "big-endian"},
        {absurd_entries, EMBELLAMA_E_FORMAT, "1152921504606846976 metadata entries"},
        {absurd_tensors, EMBELLAMA_E_FORMAT, "1152921504606846976 tensors"},
        {many_entries, EMBELLAMA_E_FORMAT, "60000 metadata entries: more than the file"},
        {many_tensors, EMBELLAMA_E_FORMAT, "60000 tensors: more than the file"},
        {one_entry_too_many, EMBELLAMA_E_FORMAT, "metadata entry 1 of 2 runs past the end"},
        {absurd_key, EMBELLAMA_E_FORMAT, "metadata entry 0 of 1 runs past the end"},
        {endless_key, EMBELLAMA_E_FORMAT, "metadata entry 0 of 1 runs past the end"},
        {empty_key, EMBELLAMA_E_FORMAT, "metadata key 0"},
        {control_in_key, EMBELLAMA_E_FORMAT, "metadata key 0"},
        {invalid_utf8_in_key, EMBELLAMA_E_FORMAT, "metadata key 0"},
        {undefined_type, EMBELLAMA_E_FORMAT, "type 13 is not defined"},
        {undefined_element, EMBELLAMA_E_FORMAT, "type 77 is not defined"},
        {absurd_string, EMBELLAMA_E_FORMAT, "runs past the end"},
        {absurd_array, EMBELLAMA_E_FORMAT, "runs past the end"},
        {overflowing_array, EMBELLAMA_E_FORMAT, "runs past the end"},
        {absurd_string_array, EMBELLAMA_E_FORMAT, "runs past the end"},
        {absurd_string_in_array, EMBELLAMA_E_FORMAT, "runs past the end"},
        {deep_arrays, EMBELLAMA_E_FORMAT, "nested deeper"},
        {bad_bool, EMBELLAMA_E_FORMAT, "a boolean is 2"},
        {bad_bool_in_array, EMBELLAMA_E_FORMAT, "a boolean is 255"},
        {same_key_twice, EMBELLAMA_E_FORMAT, "key is there twice"},
        {alignment_0, EMBELLAMA_E_FORMAT, "power of two"},
        {alignment_48, EMBELLAMA_E_FORMAT, "power of two"},
        {alignment_string, EMBELLAMA_E_FORMAT, "power of two"},
        {absurd_alignment, EMBELLAMA_E_FORMAT, "run past the end"},
        {five_dims, EMBELLAMA_E_FORMAT, "5 dimensions"},
        {absurd_dims, EMBELLAMA_E_FORMAT, "4294967295 dimensions"},
        {retired_type, EMBELLAMA_E_UNSUPPORTED, "unknown type 4"},
        {absurd_type, EMBELLAMA_E_UNSUPPORTED, "unknown type 4294967295"},
        {overflowing_dims, EMBELLAMA_E_FORMAT, "overflow"},
        {overflow_beside_zero, EMBELLAMA_E_FORMAT, "overflow"},
        {overflowing_bytes, EMBELLAMA_E_FORMAT, "overflow"},
        {absurd_size, EMBELLAMA_E_FORMAT, "1152921504606846976 bytes at offset 0 run past the end"},
        {part_of_a_block, EMBELLAMA_E_FORMAT, "whole blocks of Q8_0"},
        {one_byte_too_long, EMBELLAMA_E_FORMAT, "tensor t: its 257 bytes"},
        {offset_between, EMBELLAMA_E_FORMAT, "offset 16 is not a multiple of 32"},
        {offset_behind, EMBELLAMA_E_FORMAT, "run past the end"},
        {empty_behind, EMBELLAMA_E_FORMAT, "run past the end"},
        {wrapping_offset, EMBELLAMA_E_FORMAT, "run past the end"},
        {nameless, EMBELLAMA_E_FORMAT, "name of tensor 0"},
        {zero_in_name, EMBELLAMA_E_FORMAT, "name of tensor 0"},
        {same_name_twice, EMBELLAMA_E_FORMAT, "two tensors are named weight"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct emb_buf b;
        struct emb_gguf *g = NULL;
        embellama_error error = {0};
        emb_buf_init(&b, 1 << 22);
        rows[i].put(&b);
        int rc = open_bytes(&b, &g, &error);
        if (rc != rows[i].code || error.code != rc || g || !strstr(error.message, rows[i].says)) {
            fail_msg("row %zu: %d \"%s\", not %d \"%s\"", i, rc, error.message, rows[i].code, rows[i].says);
        }
        emb_buf_deinit(&b);
    }
}

static void test_truncated_anywhere(void **state)
{
    (void)state;
    struct emb_buf b;
    emb_buf_init(&b, 1 << 16);
    put_sample(&b, 3);
    size_t whole = b.size;
    for (size_t size = 0; size < whole; size++) {
        struct emb_gguf *g = NULL;
        embellama_error error = {0};
        b.size = size;
        if (open_bytes(&b, &g, &error) != EMBELLAMA_E_FORMAT || g || !strstr(error.message, "test.gguf: ")) {
            fail_msg("cut to %zu bytes: \"%s\"", size, error.message);
        }
    }
    emb_buf_deinit(&b);
}

/* Reads all that an open file offers. */
static unsigned use(const struct emb_gguf *g)
{
    unsigned sum = 0;
    for (size_t i = 0; i < emb_gguf_tensor_count(g); i++) {
        const struct emb_tensor *t = emb_gguf_tensor_at(g, i);
        for (uint64_t j = 0; j < t->size; j++) {
            sum += t->data[j];
        }
        assert_ptr_equal(emb_gguf_tensor(g, t->name), t);
    }
    return sum;
}

static void test_any_byte_changed(void **state)
{
    (void)state;
    struct emb_buf b;
    unsigned opened = 0, refused = 0;
    emb_buf_init(&b, 1 << 16);
    put_sample(&b, 3);
    for (size_t i = 0; i < b.size; i++) {
        const char was = b.data[i];
        const char tries[] = {0, (char)0xFF, (char)(was ^ 1), (char)(was ^ 0x80)};
        for (size_t j = 0; j < sizeof tries; j++) {
            struct emb_gguf *g = NULL;
            embellama_error error = {0};
            b.data[i] = tries[j];
            if (open_bytes(&b, &g, &error) == EMBELLAMA_OK) {
                opened += use(g) > 0;
                emb_gguf_close(g);
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

static void test_not_a_file(void **state)
{
    (void)state;
    struct emb_gguf *g = NULL;
    embellama_error error = {0};
    assert_int_equal(emb_gguf_open(&g, tempdir_path("absent.gguf"), &error), EMBELLAMA_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "absent.gguf"));
    assert_int_equal(emb_gguf_open(&g, tempdir(), &error), EMBELLAMA_E_IO);
    assert_int_equal(emb_gguf_open(&g, tempdir_write("empty.gguf", "", 0), &error), EMBELLAMA_E_FORMAT);
    assert_int_equal(emb_gguf_open(&g, tempdir_path("absent.gguf"), NULL), EMBELLAMA_E_NOT_FOUND);
    assert_null(g);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct emb_buf b;
    struct emb_gguf *g = NULL;
    int rc = EMBELLAMA_E_NOMEM;
    long allowed = 0;
    emb_buf_init(&b, 1 << 16);
    put_sample(&b, 3);
    const char *path = tempdir_write("test.gguf", b.data, b.size);
    for (; rc == EMBELLAMA_E_NOMEM && allowed < 1000; allowed++) {
        embellama_error error = {0};
        emb_mem_fail_after(allowed);
        rc = emb_gguf_open(&g, path, &error);
        emb_mem_fail_after(-1);
        assert_int_equal(error.code, rc == EMBELLAMA_OK ? 0 : rc);
    }
    assert_int_equal(rc, EMBELLAMA_OK);
    assert_true(allowed > 5);
    emb_gguf_close(g);
    emb_buf_deinit(&b);
}

/* ---- Real files --------------------------------------------------------------------------------- */

static const char *shared_folder(void)
{
    const char *folder = getenv("EMBELLAMA_SHARED");
    return folder ? folder : EMB_SOURCE_DIR "/../shared";
}

static void check_real(const char *path, unsigned *tensors)
{
    struct emb_gguf *g = NULL;
    embellama_error error = {0};
    uint64_t words = 0;
    if (emb_gguf_open(&g, path, &error) != EMBELLAMA_OK) {
        fail_msg("%s", error.message);
    }
    assert_true(emb_gguf_get_string_array(g, "tokenizer.ggml.tokens", &words) && words > 1000);
    struct emb_gguf_string *list = calloc(words, sizeof *list);
    assert_non_null(list);
    emb_gguf_read_strings(g, "tokenizer.ggml.tokens", list);
    assert_true((const uint8_t *)list[words - 1].data != NULL && list[words - 1].size > 0);
    free(list);
    for (size_t i = 0; i < emb_gguf_tensor_count(g); i++) {
        const struct emb_tensor *t = emb_gguf_tensor_at(g, i);
        const struct emb_dtype_traits *traits = emb_dtype_traits(t->type);
        float values[256];
        if (traits->to_f32) {
            traits->to_f32(t->data + t->size - traits->block_bytes, traits->block, values);
            assert_true(values[0] > -1000 && values[0] < 1000);
        }
        ++*tensors;
    }
    emb_gguf_close(g);
}

static void test_real_files(void **state)
{
    (void)state;
    glob_t found = {0};
    char pattern[4096];
    unsigned tensors = 0;
    snprintf(pattern, sizeof pattern, "%s/data/{gguf,vocab}/*.gguf", shared_folder());
    if (glob(pattern, GLOB_BRACE, NULL, &found) != 0) {
        print_message("no %s: skipped\n", pattern);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        check_real(found.gl_pathv[i], &tensors);
    }
    assert_true(tensors >= 101);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_any_byte_changed),
        cmocka_unit_test(test_not_a_file),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
