/* Model directories that are broken, or lie: each opens with one clear error, and nothing crashes or leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/tempdir.h"
#include "base/file.h"
#include "base/mem.h"
#include "embellama/embellama.h"
#include "testdata.h"

static const char *const files[] = {"config.json",  "tokenizer.json",        "model.safetensors",
                                    "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"};

/* Copies the tiny model into model/ of the test's folder, with old in one file replaced by new. */
static const char *broken_copy(const char *file, const char *old, const char *new)
{
    static char path[512];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[128], *data;
        size_t size;
        snprintf(name, sizeof name, "tests/golden/tiny-a/%s", files[i]);
        assert_int_equal(emb_file_read(emb_test_source(name), 1 << 20, 0, &data, &size, NULL), 0);
        snprintf(name, sizeof name, "model/%s", files[i]);
        char *at = file && strcmp(file, files[i]) == 0 ? memmem(data, size, old, strlen(old)) : NULL;
        if (at) {
            size_t before = (size_t)(at - data), after = size - before - strlen(old);
            char *changed = calloc(size + strlen(new) + 1, 1);
            memcpy(changed, data, before);
            memcpy(changed + before, new, strlen(new));
            memcpy(changed + before + strlen(new), at + strlen(old), after);
            tempdir_write(name, changed, before + strlen(new) + after);
            free(changed);
        } else {
            assert_true(!file || strcmp(file, files[i]) != 0);
            tempdir_write(name, data, size);
        }
        emb_free(data);
    }
    snprintf(path, sizeof path, "%s", tempdir_path("model"));
    return path;
}

static void refused(const char *path, int code, const char *words)
{
    embellama_model *model = NULL;
    embellama_error error = {0};
    int rc = embellama_model_open(&model, path, NULL, &error);
    if (rc != code || error.code != code || !strstr(error.message, words)) {
        fail_msg("expected %s with \"%s\", got %s: %s", embellama_status_name(code), words, embellama_status_name(rc),
                 error.message);
    }
    assert_null(model);
}

static void test_config(void **state)
{
    (void)state;
    refused(broken_copy("config.json", "\"hidden_size\": 40", "\"hidden_size\": 41"), EMBELLAMA_E_FORMAT, "multiple");
    refused(broken_copy("config.json", "\"hidden_size\": 40", "\"hidden_size\": 80"), EMBELLAMA_E_FORMAT,
            "is not the hidden size");
    refused(broken_copy("config.json", "\"hidden_size\"", "\"x\""), EMBELLAMA_E_FORMAT, "hidden size");
    refused(broken_copy("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), EMBELLAMA_E_FORMAT,
            "encoder.layer.2.attention.self.query.weight is missing");
    refused(broken_copy("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4611686018427387904"),
            EMBELLAMA_E_FORMAT, "number of layers");
    refused(broken_copy("config.json", "\"vocab_size\": ", "\"vocab_size\": 9"), EMBELLAMA_E_FORMAT, "has the shape");
    refused(broken_copy("config.json", "\"intermediate_size\": 72", "\"intermediate_size\": 71"), EMBELLAMA_E_FORMAT,
            "intermediate.dense.weight has the shape [72, 40] where 71 rows of 40 belong");
    refused(broken_copy("config.json", "\"bert\"", "\"gpt2\""), EMBELLAMA_E_UNSUPPORTED, "model_type \"gpt2\"");
    refused(broken_copy("config.json", "\"gelu\"", "\"mish\""), EMBELLAMA_E_UNSUPPORTED, "hidden_act \"mish\"");
    refused(broken_copy("config.json", "{", ""), EMBELLAMA_E_FORMAT, "config.json: invalid JSON");
}

static void test_modules(void **state)
{
    (void)state;
    refused(broken_copy("modules.json", "models.Normalize", "models.Dense"), EMBELLAMA_E_UNSUPPORTED, "models.Dense");
    refused(broken_copy("modules.json", "\"1_Pooling\"", "\"../1_Pooling\""), EMBELLAMA_E_FORMAT,
            "leaves the directory");
    refused(broken_copy("1_Pooling/config.json", "true", "false"), EMBELLAMA_E_UNSUPPORTED, "mode is not one of");
    refused(broken_copy("1_Pooling/config.json", "40", "39"), EMBELLAMA_E_FORMAT, "not the hidden size");
}

static void test_weights(void **state)
{
    (void)state;
    refused(broken_copy("model.safetensors", "embeddings.LayerNorm.bias", "embeddings.LayerNorm.bios"),
            EMBELLAMA_E_FORMAT, "tensor embeddings.LayerNorm.bias is missing");
    refused(broken_copy("model.safetensors", "{\"dtype\":\"F32\"", "{\"dtype\":\"I32\""), EMBELLAMA_E_UNSUPPORTED,
            "which is not supported");
    refused(broken_copy("model.safetensors", "[72]", "[73]"), EMBELLAMA_E_FORMAT, "model.safetensors");
}

static void test_tokenizer_and_weights_disagree(void **state)
{
    (void)state;
    refused(broken_copy("tokenizer.json", "\"vector\": ", "\"vector\": 9"), EMBELLAMA_E_FORMAT, "the tokenizer has");
    refused(broken_copy("tokenizer.json", "\"WordPiece\", \"unk_token\"", "\"Unigram\", \"unk_token\""),
            EMBELLAMA_E_UNSUPPORTED, "Unigram");
}

static void test_absent(void **state)
{
    (void)state;
    broken_copy(NULL, NULL, NULL);
    refused(tempdir_path("nowhere"), EMBELLAMA_E_NOT_FOUND, "nowhere");
    refused(tempdir_path("model/config.json"), EMBELLAMA_E_FORMAT, "config.json");
    refused("", EMBELLAMA_E_INVALID, "no model path");
    tempdir_remove("model/tokenizer.json");
    refused(tempdir_path("model"), EMBELLAMA_E_NOT_FOUND, "tokenizer.json");
    tempdir_remove("model/model.safetensors");
    refused(tempdir_path("model"), EMBELLAMA_E_NOT_FOUND, "model.safetensors");
}

static void test_options(void **state)
{
    (void)state;
    embellama_model *model = NULL;
    embellama_error error;
    embellama_model_options options = embellama_model_options_default();
    options.cpu = "z80";
    assert_int_equal(embellama_model_open(&model, broken_copy(NULL, NULL, NULL), &options, &error),
                     EMBELLAMA_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "z80"));
}

/* Every allocation of opening, making a context and embedding fails in turn. */
static void test_out_of_memory(void **state)
{
    (void)state;
    const char *path = broken_copy(NULL, NULL, NULL);
    embellama_text texts[] = {{"hello", 5}, {"the world of texts and vectors", 30}};
    float out[2 * 40];
    long allowed = 0;
    for (int rc = EMBELLAMA_E_NOMEM; rc != EMBELLAMA_OK; allowed++) {
        embellama_model *model = NULL;
        embellama_ctx *ctx = NULL;
        embellama_error error;
        emb_mem_fail_after(allowed);
        rc = embellama_model_open(&model, path, NULL, &error);
        if (rc == EMBELLAMA_OK) {
            rc = embellama_ctx_new(&ctx, model, NULL, &error);
        }
        if (rc == EMBELLAMA_OK) {
            rc = embellama_embed(ctx, texts, 2, NULL, out, NULL, &error);
        }
        emb_mem_fail_after(-1);
        embellama_ctx_free(ctx);
        embellama_model_close(model);
        if (rc != EMBELLAMA_OK) {
            assert_int_equal(rc, EMBELLAMA_E_NOMEM);
        }
    }
    assert_true(allowed > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_weights),       cmocka_unit_test(test_tokenizer_and_weights_disagree),
        cmocka_unit_test(test_absent),        cmocka_unit_test(test_options),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
