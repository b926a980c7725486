/* Weights packed once and attached by others, through the public functions; and the counter of layers that tells that a context gets
 * on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "../base/tempdir.h"
#include "base/mem.h"
#include "base/memfd.h"
#include "engine/watch.h"
#include "testdata.h"

enum { DIM_MAX = 64 };

static const int32_t ids[] = {2, 7, 9, 11, 3};
static const embellama_ids input = {ids, 5};

static const char *tiny(void)
{
    return emb_test_source("tests/golden/tiny-a");
}

static int packed(const char *path)
{
    int fd = -1;
    embellama_error error;
    embellama_model_options options = embellama_model_options_default();
    options.precision = EMBELLAMA_PRECISION_F32;
    assert_int_equal(emb_memfd_new(&fd, "test", NULL), 0);
    if (embellama_model_pack(fd, path, &options, &error) != 0) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(emb_memfd_seal(fd, NULL), 0);
    return fd;
}

static embellama_model *attached(int fd, const char *path)
{
    embellama_model *model = NULL;
    embellama_error error;
    if (embellama_model_attach(&model, fd, path, NULL, &error) != 0) {
        fail_msg("%s", error.message);
    }
    return model;
}

static void embed(const embellama_model *model, float *out)
{
    embellama_ctx *ctx = NULL;
    assert_true(embellama_dim(model) <= DIM_MAX);
    assert_int_equal(embellama_ctx_new(&ctx, model, NULL, NULL), 0);
    assert_int_equal(embellama_embed_ids(ctx, &input, 1, NULL, out, NULL, NULL), 0);
    embellama_ctx_free(ctx);
}

static void test_same_vectors(void **state)
{
    (void)state;
    float own[DIM_MAX], bare[DIM_MAX], named[DIM_MAX];
    embellama_model *model = NULL;
    embellama_model_options options = embellama_model_options_default();
    options.precision = EMBELLAMA_PRECISION_F32;
    assert_int_equal(embellama_model_open(&model, tiny(), &options, NULL), 0);
    embed(model, own);
    size_t size = embellama_dim(model) * sizeof *own;
    int fd = packed(tiny());
    embellama_model *without = attached(fd, NULL), *with = attached(fd, tiny());
    close(fd);
    embed(without, bare);
    embed(with, named);
    assert_memory_equal(own, bare, size);
    assert_memory_equal(own, named, size);

    const embellama_model_info *a = embellama_model_get_info(model), *b = embellama_model_get_info(with);
    const embellama_model_info *c = embellama_model_get_info(without);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->path, b->path);
    assert_string_equal(a->format, b->format);
    assert_string_equal(a->file_types, b->file_types);
    assert_int_equal(a->context_length, c->context_length);
    assert_int_equal(a->vocab_size, c->vocab_size);
    assert_int_equal(a->precision, c->precision);
    assert_null(c->name);
    assert_null(c->path);
    assert_null(c->format);
    assert_null(c->file_types);
    embellama_model_close(model);
    embellama_model_close(with);
    embellama_model_close(without);
}

/* Without a path nothing needs a tokenizer and gets none. */
static void test_without_tokenizer(void **state)
{
    (void)state;
    int fd = packed(tiny());
    embellama_model *model = attached(fd, NULL);
    embellama_text text = {"abc", 3};
    embellama_ctx *ctx = NULL;
    float out[DIM_MAX];
    int32_t room[8] = {5, 6, 7, 8};
    size_t count = 0;
    close(fd);
    assert_int_equal(embellama_tokenize(model, text, NULL, room, NULL, 8, &count, NULL), EMBELLAMA_E_UNSUPPORTED);
    assert_int_equal(embellama_complete_ids(model, input, room, 8, &count, NULL), EMBELLAMA_E_UNSUPPORTED);
    assert_null(embellama_token_text(model, 1));
    assert_int_equal(embellama_truncate_ids(model, room, 4, 2), 2);
    assert_int_equal(embellama_ctx_new(&ctx, model, NULL, NULL), 0);
    assert_int_equal(embellama_embed(ctx, &text, 1, NULL, out, NULL, NULL), EMBELLAMA_E_UNSUPPORTED);
    embellama_ctx_free(ctx);
    embellama_model_close(model);
}

/* What a folder of packed weights has is copied from there, and is the same. */
static void test_pack_cache(void **state)
{
    (void)state;
    char folder[512];
    int plain = packed(tiny());
    snprintf(folder, sizeof folder, "%s", tempdir_path("packed"));
    for (int round = 0; round < 2; round++) {
        embellama_model_options options = embellama_model_options_default();
        uint8_t a[4096], b[4096];
        int fd = -1;
        off_t at = 0;
        ssize_t n;
        options.precision = EMBELLAMA_PRECISION_F32;
        options.pack_cache = folder;
        assert_int_equal(emb_memfd_new(&fd, "test", NULL), 0);
        assert_int_equal(embellama_model_pack(fd, tiny(), &options, NULL), 0);
        do {
            n = pread(plain, a, sizeof a, at);
            assert_int_equal(pread(fd, b, sizeof b, at), n);
            assert_memory_equal(a, b, (size_t)n);
            at += n;
        } while (n > 0);
        close(fd);
        assert_int_equal(access(folder, F_OK), 0);
    }
    close(plain);
}

static void test_refusals(void **state)
{
    (void)state;
    embellama_model *model = NULL;
    embellama_error error;
    int fd = packed(tiny()), empty = -1;
    assert_int_equal(emb_memfd_new(&empty, "test", NULL), 0);
    assert_int_equal(embellama_model_attach(&model, empty, NULL, NULL, &error), EMBELLAMA_E_FORMAT);
    assert_int_equal(embellama_model_attach(&model, -1, NULL, NULL, &error), EMBELLAMA_E_INVALID);
    assert_int_equal(embellama_model_pack(empty, NULL, NULL, &error), EMBELLAMA_E_INVALID);
    assert_int_equal(embellama_model_pack(empty, "/nonexistent/model", NULL, &error), EMBELLAMA_E_NOT_FOUND);
    assert_int_equal(embellama_model_attach(&model, fd, "/nonexistent/model", NULL, &error), EMBELLAMA_E_NOT_FOUND);
    /* Files of another shape than what was packed. */
    assert_int_equal(embellama_model_attach(&model, fd, emb_test_source("tests/golden/tiny-b"), NULL, &error),
                     EMBELLAMA_E_FORMAT);
    assert_non_null(strstr(error.message, "another model"));
    assert_null(model);
    close(fd);
    close(empty);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    int fd = packed(tiny());
    long allowed = 0;
    for (int rc = EMBELLAMA_E_NOMEM; rc != EMBELLAMA_OK; allowed++) {
        embellama_model *model = NULL;
        emb_mem_fail_after(allowed);
        rc = embellama_model_attach(&model, fd, tiny(), NULL, NULL);
        emb_mem_fail_after(-1);
        assert_true(rc == EMBELLAMA_OK || rc == EMBELLAMA_E_NOMEM);
        embellama_model_close(model);
    }
    assert_true(allowed > 20);
    close(fd);
}

/* One step a layer, however many threads take part. */
static void test_layers_counted(void **state)
{
    (void)state;
    int fd = packed(tiny());
    embellama_model *model = attached(fd, NULL);
    size_t layers = embellama_model_get_info(model)->layers;
    close(fd);
    for (int threads = 1; threads <= 3; threads += 2) {
        embellama_ctx_options options = embellama_ctx_options_default();
        embellama_ctx *ctx = NULL;
        _Atomic uint64_t done = 0;
        float out[DIM_MAX];
        options.threads = threads;
        assert_int_equal(embellama_ctx_new(&ctx, model, &options, NULL), 0);
        emb_ctx_count_layers(ctx, &done);
        assert_int_equal(embellama_embed_ids(ctx, &input, 1, NULL, out, NULL, NULL), 0);
        assert_int_equal(atomic_load(&done), layers);
        emb_ctx_count_layers(ctx, NULL);
        assert_int_equal(embellama_embed_ids(ctx, &input, 1, NULL, out, NULL, NULL), 0);
        assert_int_equal(atomic_load(&done), layers);
        embellama_ctx_free(ctx);
    }
    embellama_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack_cache),        cmocka_unit_test(test_same_vectors),
        cmocka_unit_test(test_without_tokenizer), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_out_of_memory),     cmocka_unit_test(test_layers_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
