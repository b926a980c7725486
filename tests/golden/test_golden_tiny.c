/* Two tiny seeded models of odd shapes against the reference: every pooling, token states, both precisions on every CPU tier, and
 * the promise that a vector's bits depend on nothing but its text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "testdata.h"

struct fixture {
    embellama_model *model;
    embellama_ctx *ctx;
    struct golden golden;
    size_t dim;
};

static struct fixture open_tiny(const char *name, embellama_precision precision, const char *tier, int threads)
{
    struct fixture f = {0};
    char path[256];
    embellama_error error;
    embellama_model_options options = embellama_model_options_default();
    embellama_ctx_options ctx_options = embellama_ctx_options_default();
    options.precision = precision;
    options.cpu = tier;
    ctx_options.threads = threads;
    snprintf(path, sizeof path, "tests/golden/%s", name);
    if (embellama_model_open(&f.model, emb_test_source(path), &options, &error) != EMBELLAMA_OK ||
        embellama_ctx_new(&f.ctx, f.model, &ctx_options, &error) != EMBELLAMA_OK) {
        fail_msg("%s: %s", name, error.message);
    }
    snprintf(path, sizeof path, "tests/golden/%s.json", name);
    f.golden = golden_read(emb_test_source(path));
    f.dim = embellama_dim(f.model);
    return f;
}

static void close_tiny(struct fixture *f)
{
    embellama_ctx_free(f->ctx);
    embellama_model_close(f->model);
    golden_free(&f->golden);
}

/* Worst cosine over all texts of one pooling. */
static double worst_pooled(const struct fixture *f, embellama_pooling pooling)
{
    double worst = 1;
    embellama_embed_options options = embellama_embed_options_default();
    options.pooling = pooling;
    options.normalize = EMBELLAMA_NORMALIZE_NONE;
    float *out = calloc(f->dim, sizeof *out);
    for (size_t i = 0; i < f->golden.n; i++) {
        struct emb_json_value pooled, wanted;
        size_t n;
        assert_true(emb_json_get(f->golden.rows[i].json, "pooled", &pooled));
        assert_true(emb_json_get(pooled, embellama_pooling_name(pooling), &wanted));
        float *expected = golden_floats(wanted, &n);
        assert_int_equal(n, f->dim);
        assert_int_equal(embellama_embed(f->ctx, &f->golden.rows[i].text, 1, &options, out, NULL, NULL), 0);
        double cosine = golden_cosine(out, expected, n);
        worst = cosine < worst ? cosine : worst;
        free(expected);
    }
    free(out);
    return worst;
}

/* Few dimensions average little out: below the floors of real models but for f32. */
static const struct {
    embellama_precision precision;
    double cosine;
} floors[] = {
    {EMBELLAMA_PRECISION_F32, 0.999999}, {EMBELLAMA_PRECISION_BF16, 0.9995}, {EMBELLAMA_PRECISION_INT8, 0.995}};

static void check_model(const char *name)
{
    for (const char *const *tier = embellama_cpu_tiers(); *tier; tier++) {
        for (size_t k = 0; k < 3; k++) {
            struct fixture f = open_tiny(name, floors[k].precision, *tier, 2);
            for (int p = EMBELLAMA_POOLING_MEAN; p < EMBELLAMA_POOLING_NONE; p++) {
                double worst = worst_pooled(&f, (embellama_pooling)p);
                if (!(worst >= floors[k].cosine)) {
                    fail_msg("%s, %s, %s, %s: worst cosine %.9f", name, *tier,
                             embellama_precision_name(floors[k].precision),
                             embellama_pooling_name((embellama_pooling)p), worst);
                }
            }
            close_tiny(&f);
        }
    }
}

static void test_tiny_a(void **state)
{
    (void)state;
    check_model("tiny-a");
}

static void test_tiny_b(void **state)
{
    (void)state;
    check_model("tiny-b");
}

static void test_ids_and_states(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-a", EMBELLAMA_PRECISION_F32, NULL, 1);
    embellama_embed_options options = embellama_embed_options_default();
    options.pooling = EMBELLAMA_POOLING_NONE;
    size_t with_states = 0;
    for (size_t i = 0; i < f.golden.n; i++) {
        const struct golden_row *row = &f.golden.rows[i];
        int32_t ids[128];
        size_t count, n;
        struct emb_json_value states;
        assert_int_equal(embellama_tokenize(f.model, row->text, NULL, ids, NULL, 128, &count, NULL), 0);
        assert_int_equal(count, row->n_ids);
        assert_memory_equal(ids, row->ids, count * sizeof *ids);
        if (!emb_json_get(row->json, "states", &states)) {
            continue;
        }
        float *expected = golden_floats(states, &n);
        assert_int_equal(n, count * f.dim);
        float *out = calloc(n, sizeof *out);
        embellama_ids input = {ids, count};
        assert_int_equal(embellama_embed_ids(f.ctx, &input, 1, &options, out, NULL, NULL), 0);
        assert_true(golden_difference(out, expected, n) < 2e-5);
        with_states++;
        free(out);
        free(expected);
    }
    assert_true(with_states > 0);
    close_tiny(&f);
}

static void test_what_the_files_say(void **state)
{
    (void)state;
    struct fixture a = open_tiny("tiny-a", EMBELLAMA_PRECISION_F32, NULL, 1);
    struct fixture b = open_tiny("tiny-b", EMBELLAMA_PRECISION_F32, NULL, 1);
    const embellama_model_info *ia = embellama_model_get_info(a.model), *ib = embellama_model_get_info(b.model);
    assert_int_equal(ia->pooling, EMBELLAMA_POOLING_MEAN);
    assert_int_equal(ia->normalize, EMBELLAMA_NORMALIZE_L2);
    assert_int_equal(ib->pooling, EMBELLAMA_POOLING_CLS);
    assert_int_equal(ib->normalize, EMBELLAMA_NORMALIZE_NONE);
    assert_int_equal(ia->context_length, 96);
    assert_int_equal(ia->recommended_length, 24);
    assert_int_equal(ia->dim, 40);
    assert_string_equal(ia->name, "tiny-a");
    assert_string_equal(ia->family, "bert");
    assert_string_equal(ib->file_types, "BF16 x 53");
    close_tiny(&a);
    close_tiny(&b);
}

/* ---- The same bits ---- */

enum { MANY = 300 };

/* Texts of many lengths, cut out of the golden ones. */
static size_t many_texts(const struct golden *golden, embellama_text *texts)
{
    for (size_t i = 0; i < MANY; i++) {
        embellama_text text = golden->rows[i % golden->n].text;
        size_t size = text.size > i % 37 ? text.size - i % 37 : text.size;
        while (size > 0 && size < text.size && ((unsigned char)text.bytes[size] & 0xC0) == 0x80) {
            size--;
        }
        texts[i] = (embellama_text){text.bytes, size};
    }
    return MANY;
}

static void check_same_bits(const char *name, embellama_precision precision)
{
    struct fixture one = open_tiny(name, precision, NULL, 1);
    embellama_text texts[MANY];
    size_t n = many_texts(&one.golden, texts), dim = one.dim;
    float *reference = calloc(n * dim, sizeof *reference), *out = calloc(n * dim, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(embellama_embed(one.ctx, &texts[i], 1, NULL, reference + i * dim, NULL, NULL), 0);
    }
    for (int threads = 1; threads <= 5; threads++) {
        embellama_ctx *ctx = NULL;
        embellama_ctx_options options = embellama_ctx_options_default();
        options.threads = threads;
        assert_int_equal(embellama_ctx_new(&ctx, one.model, &options, NULL), 0);
        /* everything at once, some at a time, backwards */
        for (size_t step = 1; step <= n; step = step * 5 + 2) {
            for (size_t i = 0; i < n; i += step) {
                size_t count = n - i < step ? n - i : step;
                assert_int_equal(embellama_embed(ctx, texts + i, count, NULL, out + i * dim, NULL, NULL), 0);
            }
            assert_memory_equal(out, reference, n * dim * sizeof *out);
        }
        embellama_text backwards[MANY];
        for (size_t i = 0; i < n; i++) {
            backwards[i] = texts[n - 1 - i];
        }
        assert_int_equal(embellama_embed(ctx, backwards, n, NULL, out, NULL, NULL), 0);
        for (size_t i = 0; i < n; i++) {
            assert_memory_equal(out + i * dim, reference + (n - 1 - i) * dim, dim * sizeof *out);
        }
        embellama_ctx_free(ctx);
    }
    free(reference);
    free(out);
    close_tiny(&one);
}

static void test_same_bits(void **state)
{
    (void)state;
    check_same_bits("tiny-a", EMBELLAMA_PRECISION_F32);
    check_same_bits("tiny-b", EMBELLAMA_PRECISION_BF16);
    check_same_bits("tiny-a", EMBELLAMA_PRECISION_INT8);
}

/* ---- Options and failures ---- */

static void test_one_bad_input_fails_alone(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-a", EMBELLAMA_PRECISION_F32, NULL, 2);
    char longer[400];
    memset(longer, 'x', sizeof longer);
    for (size_t i = 1; i < sizeof longer; i += 2) {
        longer[i] = ' ';
    }
    embellama_text texts[] = {{"hello", 5}, {"bad \xff", 5}, {"world", 5}, {longer, sizeof longer}, {"the end", 7}};
    int statuses[5];
    float out[5 * 40], alone[40];
    embellama_error error;
    int rc = embellama_embed(f.ctx, texts, 5, NULL, out, statuses, &error);
    assert_int_equal(rc, EMBELLAMA_E_UTF8);
    assert_int_equal(error.offset, 1);
    const int expected[] = {0, EMBELLAMA_E_UTF8, 0, EMBELLAMA_E_TOO_LONG, 0};
    assert_memory_equal(statuses, expected, sizeof expected);
    for (size_t i = 0; i < 5; i++) {
        if (expected[i] == 0) {
            assert_int_equal(embellama_embed(f.ctx, &texts[i], 1, NULL, alone, NULL, NULL), 0);
            assert_memory_equal(alone, out + i * 40, sizeof alone);
        } else {
            memset(alone, 0, sizeof alone);
            assert_memory_equal(alone, out + i * 40, sizeof alone);
        }
    }
    rc = embellama_embed(f.ctx, &texts[3], 1, NULL, out, NULL, &error);
    assert_int_equal(rc, EMBELLAMA_E_TOO_LONG);
    assert_string_equal(error.message, "input 0 has 202 tokens, and 96 fit");
    close_tiny(&f);
}

static void test_truncation(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-a", EMBELLAMA_PRECISION_F32, NULL, 1);
    embellama_embed_options options = embellama_embed_options_default();
    embellama_text text = {"a b c d e f g h i j", 19}, cut = {"a b c", 5};
    float whole[40], expected[40];
    options.max_length = 5;
    assert_int_equal(embellama_embed(f.ctx, &text, 1, &options, whole, NULL, NULL), EMBELLAMA_E_TOO_LONG);
    options.truncate = true;
    assert_int_equal(embellama_embed(f.ctx, &text, 1, &options, whole, NULL, NULL), 0);
    assert_int_equal(embellama_embed(f.ctx, &cut, 1, NULL, expected, NULL, NULL), 0);
    assert_memory_equal(whole, expected, sizeof whole);

    int32_t ids[16];
    size_t count;
    assert_int_equal(embellama_tokenize(f.model, text, NULL, ids, NULL, 16, &count, NULL), 0);
    embellama_ids input = {ids, count};
    assert_int_equal(embellama_embed_ids(f.ctx, &input, 1, &options, whole, NULL, NULL), 0);
    assert_memory_equal(whole, expected, sizeof whole);
    close_tiny(&f);
}

static void test_dimensions_and_normalisation(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-a", EMBELLAMA_PRECISION_F32, NULL, 1);
    embellama_text text = {"hello world", 11};
    embellama_embed_options options = embellama_embed_options_default();
    float raw[40], out[40];
    options.normalize = EMBELLAMA_NORMALIZE_NONE;
    assert_int_equal(embellama_embed(f.ctx, &text, 1, &options, raw, NULL, NULL), 0);
    static const struct {
        embellama_normalize normalize;
        float p;
    } kinds[] = {{EMBELLAMA_NORMALIZE_L2, 2}, {EMBELLAMA_NORMALIZE_MAX_ABS, 2}, {EMBELLAMA_NORMALIZE_P, 3}};
    for (size_t k = 0; k < 3; k++) {
        options.normalize = kinds[k].normalize;
        options.p = kinds[k].p;
        options.dimensions = 16;
        assert_int_equal(embellama_embed(f.ctx, &text, 1, &options, out, NULL, NULL), 0);
        double length = 0, scale = (double)out[0] / (double)raw[0];
        for (size_t i = 0; i < 16; i++) {
            double a = fabs((double)out[i]);
            length = kinds[k].normalize == EMBELLAMA_NORMALIZE_MAX_ABS ? fmax(length, a)
                                                                       : length + pow(a, (double)kinds[k].p);
            assert_true(fabs((double)out[i] - (double)raw[i] * scale) < 1e-6);
        }
        assert_true(fabs(length - 1) < 1e-5);
    }
    options.dimensions = 41;
    assert_int_equal(embellama_embed(f.ctx, &text, 1, &options, out, NULL, NULL), EMBELLAMA_E_INVALID);
    close_tiny(&f);
}

static void test_foreign_ids(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-a", EMBELLAMA_PRECISION_F32, NULL, 1);
    int32_t bare[] = {10, 11}, framed[] = {2, 10, 11, 3}, out[8], wrong[] = {5, 100000, 6};
    size_t count;
    embellama_error error;
    assert_int_equal(embellama_complete_ids(f.model, (embellama_ids){bare, 2}, out, 8, &count, NULL), 0);
    assert_int_equal(count, 4);
    assert_memory_equal(out, framed, sizeof framed);
    assert_int_equal(embellama_complete_ids(f.model, (embellama_ids){framed, 4}, out, 8, &count, NULL), 0);
    assert_int_equal(count, 4);
    assert_memory_equal(out, framed, sizeof framed);
    assert_int_equal(embellama_complete_ids(f.model, (embellama_ids){wrong, 3}, out, 8, &count, &error),
                     EMBELLAMA_E_TOKEN_ID);
    assert_int_equal(error.offset, 1);
    close_tiny(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiny_a),         cmocka_unit_test(test_tiny_b),
        cmocka_unit_test(test_ids_and_states), cmocka_unit_test(test_what_the_files_say),
        cmocka_unit_test(test_same_bits),      cmocka_unit_test(test_one_bad_input_fails_alone),
        cmocka_unit_test(test_truncation),     cmocka_unit_test(test_dimensions_and_normalisation),
        cmocka_unit_test(test_foreign_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
