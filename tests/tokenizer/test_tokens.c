/* The public functions over tokens and prompts, with a small model and copies of it that say other things. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

#include "../base/tempdir.h"
#include "base/mem.h"

#define TINY EMB_SOURCE_DIR "/tests/golden/tiny-a"

static embellama_model *open_at(const char *path)
{
    embellama_model *model = NULL;
    embellama_error error;
    if (embellama_model_open(&model, path, NULL, &error) != 0) {
        fail_msg("%s", error.message);
    }
    return model;
}

/* A folder name below the temporary one with the small model's files and this config_sentence_transformers.json. */
static const char *make_model(const char *name, const char *config, const char *pooling)
{
    static const char *const linked[] = {"config.json", "model.safetensors", "modules.json", "tokenizer.json"};
    char file[256];
    (void)snprintf(file, sizeof file, "%s/config_sentence_transformers.json", name);
    (void)tempdir_write(file, config, strlen(config));
    for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
        char target[512];
        (void)snprintf(target, sizeof target, "%s/%s", TINY, linked[i]);
        (void)snprintf(file, sizeof file, "%s/%s", name, linked[i]);
        assert_int_equal(symlink(target, tempdir_path(file)), 0);
    }
    (void)snprintf(file, sizeof file, "%s/1_Pooling/config.json", name);
    (void)tempdir_write(file, pooling, strlen(pooling));
    return tempdir_path(name);
}

#define POOLING "{\"pooling_mode_mean_tokens\": true}"

static void prompts(void **state)
{
    (void)state;
    embellama_model *model = open_at(make_model("prompts",
                                                "{\"prompts\": {\"query\": \"query: \", \"passage\": \"\", \"z\": "
                                                "\"\xC3\xA9\"}, \"default_prompt_name\": \"query\"}",
                                                POOLING));
    assert_string_equal(embellama_prompt(model, "query"), "query: ");
    assert_string_equal(embellama_prompt(model, "passage"), "");
    assert_string_equal(embellama_prompt(model, "z"), "\xC3\xA9");
    assert_null(embellama_prompt(model, "Query"));
    assert_null(embellama_prompt(model, ""));
    assert_string_equal(embellama_prompt(model, NULL), "query: ");
    assert_string_equal(embellama_prompt_default(model), "query");
    assert_string_equal(embellama_prompt_name(model, 0), "query");
    assert_string_equal(embellama_prompt_name(model, 1), "passage");
    assert_string_equal(embellama_prompt_name(model, 2), "z");
    assert_null(embellama_prompt_name(model, 3));
    assert_null(embellama_prompt_name(model, SIZE_MAX));
    embellama_model_close(model);
}

static void no_prompts(void **state)
{
    static const char *const configs[] = {"{}", "{\"prompts\": null}",
                                          "{\"prompts\": {}, \"default_prompt_name\": null}"};
    (void)state;
    for (size_t i = 0; i <= sizeof configs / sizeof *configs; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "none-%zu", i);
        embellama_model *model = open_at(i == 0 ? TINY : make_model(name, configs[i - 1], POOLING));
        assert_null(embellama_prompt(model, NULL));
        assert_null(embellama_prompt(model, "query"));
        assert_null(embellama_prompt_name(model, 0));
        assert_null(embellama_prompt_default(model));
        embellama_model_close(model);
    }
}

static void bad_prompts(void **state)
{
    static const struct {
        const char *config, *pooling, *says;
        int status;
    } cases[] = {
        {"{\"prompts\": {\"q\": \"x\"}}", "{\"pooling_mode_mean_tokens\": true, \"include_prompt\": false}",
         "include_prompt", EMBELLAMA_E_UNSUPPORTED},
        {"{\"prompts\": {\"q\": 1}}", POOLING, "\"q\"", EMBELLAMA_E_FORMAT},
        {"{\"prompts\": [\"q\"]}", POOLING, "prompts", EMBELLAMA_E_FORMAT},
        {"{\"prompts\": {\"q\": \"x\"}, \"default_prompt_name\": \"r\"}", POOLING, "default_prompt_name",
         EMBELLAMA_E_FORMAT},
        {"{\"prompts\": {\"q\": \"x\"}, \"default_prompt_name\": 0}", POOLING, "default_prompt_name",
         EMBELLAMA_E_FORMAT},
        {"{\"default_prompt_name\": \"q\"}", POOLING, "default_prompt_name", EMBELLAMA_E_FORMAT},
        {"{\"prompts\": {\"q\": \"a\\u0000b\"}}", POOLING, "\"q\"", EMBELLAMA_E_FORMAT},
        {"{\"prompts\": {\"q\": \"a\", \"q\": \"b\"}}", POOLING, "\"q\"", EMBELLAMA_E_FORMAT},
        {"{", POOLING, "config_sentence_transformers.json", EMBELLAMA_E_FORMAT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        embellama_model *model = NULL;
        embellama_error error;
        char name[32];
        (void)snprintf(name, sizeof name, "bad-%zu", i);
        int status = embellama_model_open(&model, make_model(name, cases[i].config, cases[i].pooling), NULL, &error);
        if (status != cases[i].status || !strstr(error.message, cases[i].says)) {
            fail_msg("case %zu: %d, %s", i, status, status ? error.message : "opened");
        }
    }
    /* Without a prompt that says something, leaving prompts out changes nothing. */
    embellama_model_close(open_at(make_model("left-out", "{\"prompts\": {\"query\": \"\"}}",
                                             "{\"pooling_mode_mean_tokens\": true, \"include_prompt\": false}")));
}

static void spans(void **state)
{
    static const char bytes[] = "Hello  w\xC3\xB6rld [SEP]";
    (void)state;
    embellama_model *model = open_at(TINY);
    embellama_text text = {bytes, sizeof bytes - 1};
    embellama_token tokens[32] = {{0}};
    int32_t ids[32];
    size_t count = 0, plain = 0;
    embellama_error error;
    assert_int_equal(embellama_tokenize_spans(model, text, NULL, 0, &count, &error), 0);
    assert_true(count > 4 && count < 32);
    assert_int_equal(embellama_tokenize_spans(model, text, tokens, 2, &plain, &error), 0);
    assert_int_equal(plain, count);
    assert_int_equal(tokens[2].id, 0);
    assert_int_equal(tokens[2].end, 0);
    assert_int_equal(embellama_tokenize_spans(model, text, tokens, 32, &count, &error), 0);
    assert_int_equal(embellama_tokenize(model, text, NULL, ids, NULL, 32, &plain, &error), 0);
    assert_int_equal(plain, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ids[i], tokens[i].id);
        assert_int_equal(tokens[i].special, i == 0 || i == count - 1);
        assert_true(embellama_token_special(model, ids[i]) || !tokens[i].special);
    }
    assert_int_equal(tokens[0].end, 0);
    assert_int_equal(tokens[count - 1].end, 0);
    assert_int_equal(tokens[1].begin, 0);
    assert_int_equal(tokens[count - 2].begin, 14); /* [SEP] of the text */
    assert_int_equal(tokens[count - 2].end, 19);
    assert_int_equal(tokens[count - 2].id, tokens[count - 1].id);
    assert_int_equal(embellama_tokenize_spans(model, (embellama_text){"\xFF", 1}, tokens, 32, &count, &error),
                     EMBELLAMA_E_UTF8);
    embellama_model_close(model);
}

static void special_ids(void **state)
{
    (void)state;
    embellama_model *model = open_at(TINY);
    size_t special = 0, vocab = embellama_model_get_info(model)->vocab_size;
    for (int32_t id = 0; id < (int32_t)vocab; id++) {
        const char *text = embellama_token_text(model, id);
        bool expected = text && text[0] == '[' && strlen(text) > 2;
        assert_int_equal(embellama_token_special(model, id), expected);
        special += expected;
    }
    assert_int_equal(special, 5);
    assert_false(embellama_token_special(model, -1));
    assert_false(embellama_token_special(model, (int32_t)vocab));
    assert_false(embellama_token_special(model, INT32_MAX));
    embellama_model_close(model);
}

static void detokenize(void **state)
{
    (void)state;
    embellama_model *model = open_at(TINY);
    int32_t ids[32];
    char text[64], part[64];
    size_t count, size, again;
    assert_int_equal(embellama_tokenize(model, (embellama_text){"a b.", 4}, NULL, ids, NULL, 32, &count, NULL), 0);
    embellama_ids all = {ids, count};
    assert_int_equal(embellama_detokenize(model, all, false, text, sizeof text, &size, NULL), 0);
    assert_true(size > 12 && memcmp(text, "[CLS] ", 6) == 0 && memcmp(text + size - 6, " [SEP]", 6) == 0);
    memset(part, '#', sizeof part);
    assert_int_equal(embellama_detokenize(model, all, false, part, 3, &again, NULL), 0);
    assert_int_equal(again, size);
    assert_memory_equal(part, "[CL#", 4);
    assert_int_equal(embellama_detokenize(model, all, true, part, sizeof part, &again, NULL), 0);
    assert_int_equal(again, size - 12);
    assert_memory_equal(part, text + 6, again);
    assert_int_equal(
        embellama_detokenize(model, (embellama_ids){(const int32_t[]){-1, 1 << 20}, 2}, true, NULL, 0, &size, NULL), 0);
    assert_int_equal(size, 0);
    embellama_model_close(model);
}

static void truncation(void **state)
{
    (void)state;
    embellama_model *model = open_at(TINY);
    int32_t all[8] = {0, 10, 11, 12, 13, 14, 15, 1}, ids[8];
    int32_t frame[2];
    size_t count;
    assert_int_equal(embellama_tokenize(model, (embellama_text){"", 0}, NULL, frame, NULL, 2, &count, NULL), 0);
    assert_int_equal(count, 2);
    all[0] = frame[0];
    all[7] = frame[1];
    for (size_t limit = 1; limit <= 9; limit++) {
        size_t kept = limit < 2 ? 2 : limit > 8 ? 8 : limit;
        memcpy(ids, all, sizeof ids);
        assert_int_equal(embellama_truncate_ids(model, ids, 8, limit), kept);
        assert_memory_equal(ids, all, (kept - 1) * sizeof *ids);
        assert_int_equal(ids[kept - 1], frame[1]);
        memcpy(ids, all, sizeof ids);
        assert_int_equal(embellama_truncate_ids_left(model, ids, 8, limit), kept);
        assert_int_equal(ids[0], frame[0]);
        assert_memory_equal(ids + 1, all + 8 - (kept - 1), (kept - 1) * sizeof *ids);
    }
    assert_int_equal(embellama_truncate_ids_left(model, ids, 8, 0), 8);
    embellama_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts),    cmocka_unit_test(no_prompts),  cmocka_unit_test(bad_prompts),
        cmocka_unit_test(spans),      cmocka_unit_test(special_ids), cmocka_unit_test(detokenize),
        cmocka_unit_test(truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
