/* A context that has seen a shape allocates nothing for it any more, whichever thread does what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "embellama/embellama.h"
#include "testdata.h"

enum { TEXTS = 60, SHAPES = 5, ROUNDS = 40 };

static embellama_model *model;
static embellama_text texts[TEXTS];
static int32_t ids[TEXTS];
static float *out;

static int open_model(void **state)
{
    (void)state;
    static char words[TEXTS * 8];
    embellama_error error;
    if (embellama_model_open(&model, emb_test_source("tests/golden/tiny-a"), NULL, &error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < TEXTS; i++) {
        memcpy(words + i * 8, "vectors ", 8);
        ids[i] = (int32_t)(5 + i % 20);
    }
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = (embellama_text){words, (1 + i * 7 % 13) * 8};
    }
    out = calloc(TEXTS * 64, embellama_dim(model) * sizeof *out);
    return out ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    embellama_model_close(model);
    free(out);
    return 0;
}

/* One call of a shape. */
static void call(embellama_ctx *ctx, size_t shape)
{
    static const size_t counts[SHAPES - 1] = {1, TEXTS, 7, 2};
    embellama_embed_options options = embellama_embed_options_default();
    options.truncate = true;
    if (shape < SHAPES - 1) {
        assert_int_equal(embellama_embed(ctx, texts + shape, counts[shape] - (shape == 1), &options, out, NULL, NULL),
                         0);
        return;
    }
    embellama_ids inputs[] = {{ids, 9}, {ids + 9, 1}, {ids + 10, 20}};
    options.truncate = false;
    options.pooling = EMBELLAMA_POOLING_NONE;
    assert_int_equal(embellama_embed_ids(ctx, inputs, 3, &options, out, NULL, NULL), 0);
    options = embellama_embed_options_default();
    options.truncate = true;
    options.max_length = 5;
    assert_int_equal(embellama_embed_ids(ctx, inputs, 3, &options, out, NULL, NULL), 0);
}

static void test_nothing_is_allocated(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        embellama_ctx_options options = embellama_ctx_options_default();
        embellama_ctx *ctx = NULL;
        options.threads = threads;
        assert_int_equal(embellama_ctx_new(&ctx, model, &options, NULL), 0);
        for (size_t shape = 0; shape < SHAPES; shape++) {
            call(ctx, shape);
        }
        long before = emb_mem_count();
        for (size_t i = 0; i < ROUNDS; i++) {
            call(ctx, i * 3 % SHAPES);
        }
        assert_int_equal(emb_mem_count(), before);
        embellama_ctx_free(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_allocated)};
    return cmocka_run_group_tests(tests, open_model, close_model);
}
