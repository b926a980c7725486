/* A context's shards and clock: neither changes a bit, and the clock counts what was done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embellama/embellama.h"
#include "testdata.h"

enum { TEXTS = 60 };

static embellama_model *model;
static embellama_text texts[TEXTS];
static char bytes[TEXTS][128];
static embellama_error error;

static embellama_ctx *context(int threads, size_t shard_tokens)
{
    embellama_ctx *ctx = NULL;
    embellama_ctx_options options = embellama_ctx_options_default();
    options.threads = threads;
    options.shard_tokens = shard_tokens;
    assert_int_equal(embellama_ctx_new(&ctx, model, &options, &error), EMBELLAMA_OK);
    return ctx;
}

/* Vectors of the first n texts, to be freed. */
static float *embed(embellama_ctx *ctx, size_t n)
{
    embellama_embed_options options = embellama_embed_options_default();
    float *out = calloc(TEXTS * embellama_dim(model), sizeof *out);
    options.truncate = true;
    assert_non_null(out);
    assert_int_equal(embellama_embed(ctx, texts, n, &options, out, NULL, &error), EMBELLAMA_OK);
    return out;
}

static void open_model(embellama_precision precision)
{
    embellama_model_options options = embellama_model_options_default();
    options.precision = precision;
    assert_int_equal(embellama_model_open(&model, emb_test_source("tests/golden/tiny-a"), &options, &error),
                     EMBELLAMA_OK);
    for (size_t i = 0; i < TEXTS; i++) {
        size_t size = 0, words = 1 + i * 7 % 20;
        for (size_t k = 0; k < words; k++) {
            size += (size_t)snprintf(bytes[i] + size, sizeof bytes[i] - size, "%s%c%zu", k ? " " : "",
                                     (char)('a' + (i + k) % 26), (i * k) % 10);
        }
        texts[i] = (embellama_text){bytes[i], size};
    }
}

static void test_shards_change_no_bit(void **state)
{
    (void)state;
    open_model(EMBELLAMA_PRECISION_AUTO);
    size_t size = TEXTS * embellama_dim(model) * sizeof(float);
    embellama_ctx *usual = context(1, 0);
    float *want = embed(usual, TEXTS);
    embellama_ctx_free(usual);
    const size_t shards[] = {1, 7, 100, 512, 8192, SIZE_MAX};
    for (size_t i = 0; i < sizeof shards / sizeof shards[0]; i++) {
        for (int threads = 1; threads <= 3; threads++) {
            embellama_ctx *ctx = context(threads, shards[i]);
            float *got = embed(ctx, TEXTS);
            assert_memory_equal(got, want, size);
            free(got);
            embellama_ctx_free(ctx);
        }
    }
    free(want);
    embellama_model_close(model);
}

static void test_profile(void **state)
{
    (void)state;
    const embellama_precision precisions[] = {EMBELLAMA_PRECISION_F32, EMBELLAMA_PRECISION_BF16,
                                              EMBELLAMA_PRECISION_INT8};
    for (size_t p = 0; p < 3; p++) {
        open_model(precisions[p]);
        for (size_t n = 1; n <= TEXTS; n += TEXTS - 1) { /* all threads on one text; a shard each */
            embellama_profile profile = {0}, before;
            embellama_ctx *ctx = context(2, 0);
            float *want = embed(ctx, n);
            embellama_ctx_profile(ctx, &profile);
            float *got = embed(ctx, n);
            assert_memory_equal(got, want, n * embellama_dim(model) * sizeof *got);
            for (int i = 0; i < EMBELLAMA_OPERATION_COUNT; i++) {
                bool none = i == EMBELLAMA_OPERATION_ENCODE && precisions[p] != EMBELLAMA_PRECISION_INT8;
                assert_true(none == (profile.ns[i] == 0));
                assert_true(profile.ns[i] < 60ull * 1000 * 1000 * 1000);
                assert_string_not_equal(embellama_operation_name((embellama_operation)i), "unknown");
            }
            before = profile;
            free(embed(ctx, n));
            for (int i = 0; i < EMBELLAMA_OPERATION_COUNT; i++) {
                assert_true(profile.ns[i] >= before.ns[i]);
            }
            before = profile;
            embellama_ctx_profile(ctx, NULL);
            free(embed(ctx, n));
            assert_memory_equal(&profile, &before, sizeof profile);
            free(want);
            free(got);
            embellama_ctx_free(ctx);
        }
        embellama_model_close(model);
    }
    assert_string_equal(embellama_operation_name(EMBELLAMA_OPERATION_COUNT), "unknown");
}

static void test_token_flops(void **state)
{
    (void)state;
    open_model(EMBELLAMA_PRECISION_F32);
    const embellama_model_info *info = embellama_model_get_info(model);
    uint64_t h = info->dim, inner = info->intermediate_size;
    assert_int_equal(info->token_flops, 2 * info->layers * (4 * h * h + 2 * h * inner));
    embellama_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards_change_no_bit),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_token_flops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
