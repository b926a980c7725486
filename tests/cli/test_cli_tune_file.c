/* tune.json: written, read back, replaced; not found for anything else; a broken one is an error and harms nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/tempdir.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/tune_file.h"

static char home[256], model[300], file[400];
static embellama_error error;

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* A folder of its own for each test. */
static int set_up(void **state)
{
    static int tests;
    char config[64];
    (void)state;
    snprintf(config, sizeof config, "%d/m/config.json", tests);
    tempdir_write(config, "{\"hidden_size\": 8}", 18);
    snprintf(home, sizeof home, "%s/%d", tempdir(), tests++);
    setenv("XDG_CONFIG_HOME", home, 1);
    snprintf(model, sizeof model, "%s/m", home);
    snprintf(file, sizeof file, "%s/embellama/tune.json", home);
    memset(&error, 0, sizeof error);
    return 0;
}

static const struct emb_cli_options automatic = {.tune = true, .precision = EMBELLAMA_PRECISION_AUTO, .cpu = "auto"};

static void save(const struct emb_tuning *tuning, const struct emb_cli_options *options, const char *path)
{
    char name[400];
    assert_int_equal(emb_tuning_save(tuning, options, path, "a \"model\"", name, sizeof name, &error), EMBELLAMA_OK);
    assert_string_equal(name, file);
}

static bool load(struct emb_tuning *out, const struct emb_cli_options *options, const char *path)
{
    bool found = true;
    assert_int_equal(emb_tuning_load(out, &found, options, path, &error), EMBELLAMA_OK);
    return found;
}

static void test_no_file(void **state)
{
    (void)state;
    struct emb_tuning t;
    assert_false(load(&t, &automatic, model));
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("HOME");
    assert_false(load(&t, &automatic, model));
    assert_int_equal(emb_tuning_save(&(struct emb_tuning){.workers = 1, .threads = 1}, &automatic, model, "m", file,
                                     sizeof file, &error),
                     EMBELLAMA_E_IO);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct emb_tuning t, other;
    save(&(struct emb_tuning){.workers = 3, .threads = 2, .batch_tokens = 512, .shard_tokens = 128}, &automatic, model);
    assert_true(load(&t, &automatic, model));
    assert_int_equal(t.workers, 3);
    assert_int_equal(t.threads, 2);
    assert_int_equal(t.batch_tokens, 512);
    assert_int_equal(t.shard_tokens, 128);
    struct emb_cli_options int8 = automatic, avx2 = automatic;
    int8.precision = EMBELLAMA_PRECISION_INT8;
    avx2.cpu = "avx2";
    assert_false(load(&t, &int8, model));
    assert_false(load(&t, &avx2, model));
    save(&(struct emb_tuning){.workers = 1, .threads = 9}, &int8, model);
    save(&(struct emb_tuning){.workers = 1, .threads = 7}, &automatic, model);
    assert_true(load(&t, &automatic, model) && load(&other, &int8, model));
    assert_int_equal(t.threads, 7);
    assert_int_equal(t.batch_tokens, 0);
    assert_int_equal(other.threads, 9);
    struct emb_json *json;
    struct emb_json_value list;
    assert_int_equal(emb_json_read(&json, file, 1 << 20, &error), EMBELLAMA_OK);
    assert_true(emb_json_get(emb_json_root(json), "tuned", &list));
    assert_int_equal(emb_json_size(list), 2);
    emb_json_free(json);
}

/* A model is its shape, not its place. */
static void test_model_is_known_by_shape(void **state)
{
    (void)state;
    struct emb_tuning t;
    char moved[300], weights[400], config[400];
    save(&(struct emb_tuning){.workers = 1, .threads = 1}, &automatic, model);
    snprintf(moved, sizeof moved, "%s/moved", home);
    assert_int_equal(rename(model, moved), 0);
    assert_true(load(&t, &automatic, moved));
    snprintf(weights, sizeof weights, "%s/model.safetensors", moved);
    write_text(weights, "12345678");
    assert_false(load(&t, &automatic, moved));
    remove(weights);
    assert_true(load(&t, &automatic, moved));
    snprintf(config, sizeof config, "%s/config.json", moved);
    write_text(config, "{\"hidden_size\": 9}");
    assert_false(load(&t, &automatic, moved));
}

static void replace_in_file(const char *old, const char *fresh)
{
    char *text, *at, changed[4096];
    size_t size;
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    text = emb_calloc(4096, 1);
    size = fread(text, 1, 2048, f);
    fclose(f);
    assert_true(size > 0);
    at = strstr(text, old);
    assert_non_null(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, fresh, at + strlen(old));
    write_text(file, changed);
    emb_free(text);
}

static void test_other_machine_or_version(void **state)
{
    (void)state;
    struct emb_tuning t;
    const char *const keys[] = {"\"cores\": ", "\"version\": \"", "\"cpu\": \"", "\"model\": \""};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char other[64];
        remove(file);
        save(&(struct emb_tuning){.workers = 1, .threads = 1}, &automatic, model);
        assert_true(load(&t, &automatic, model));
        snprintf(other, sizeof other, "%s9", keys[i]);
        replace_in_file(keys[i], other);
        assert_false(load(&t, &automatic, model));
    }
}

static void test_broken_file(void **state)
{
    (void)state;
    struct emb_tuning t = {.workers = 5};
    struct emb_cli_options options = automatic;
    bool found;
    const char *const broken[] = {"", "{", "[]", "{\"tuned\": 3}", "{\"tuned\": [}", "\xff"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        save(&(struct emb_tuning){.workers = 1, .threads = 1}, &automatic, model);
        write_text(file, broken[i]);
        assert_int_not_equal(emb_tuning_load(&t, &found, &automatic, model, &error), EMBELLAMA_OK);
        assert_false(found);
        assert_int_equal(t.workers, 5);
        assert_non_null(strstr(error.message, "tune.json"));
        assert_int_not_equal(emb_tuning_apply(&options, &found, model, &error), EMBELLAMA_OK);
        assert_false(found);
        assert_int_equal(options.threads, 0);
    }
    const char *const numbers[][2] = {{"\"workers\": 1", "\"workers\": 0"},
                                      {"\"threads\": 1", "\"threads\": 1025"},
                                      {"\"threads\": 1", "\"threads\": \"1\""},
                                      {"\"batch_tokens\": 0", "\"batch_tokens\": -1"},
                                      {"\"shard_tokens\": 0", "\"nothing\": 0"}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        save(&(struct emb_tuning){.workers = 1, .threads = 1}, &automatic, model);
        replace_in_file(numbers[i][0], numbers[i][1]);
        assert_int_equal(emb_tuning_load(&t, &found, &automatic, model, &error), EMBELLAMA_E_FORMAT);
        assert_false(found);
    }
    save(&(struct emb_tuning){.workers = 1, .threads = 1}, &automatic, model);
    assert_true(load(&t, &automatic, model));
}

static void test_what_is_given_wins(void **state)
{
    (void)state;
    bool used;
    save(&(struct emb_tuning){.workers = 3, .threads = 2, .batch_tokens = 512, .shard_tokens = 128}, &automatic, model);
    struct emb_cli_options options = automatic;
    assert_int_equal(emb_tuning_apply(&options, &used, model, &error), EMBELLAMA_OK);
    assert_true(used && options.workers == 3 && options.threads == 2 && options.batch_tokens == 512 &&
                options.shard_tokens == 128);
    options = automatic;
    options.batch_tokens = 99;
    assert_int_equal(emb_tuning_apply(&options, &used, model, &error), EMBELLAMA_OK);
    assert_true(used && options.threads == 2 && options.batch_tokens == 99);
    struct emb_cli_options workers = automatic, threads = automatic, off = automatic;
    workers.workers = 1;
    threads.threads = 1;
    off.tune = false;
    struct emb_cli_options *const given[] = {&workers, &threads, &off};
    for (size_t i = 0; i < 3; i++) {
        struct emb_cli_options before = *given[i];
        assert_int_equal(emb_tuning_apply(given[i], &used, model, &error), EMBELLAMA_OK);
        assert_false(used);
        assert_memory_equal(given[i], &before, sizeof before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_file, set_up),
        cmocka_unit_test_setup(test_round_trip, set_up),
        cmocka_unit_test_setup(test_model_is_known_by_shape, set_up),
        cmocka_unit_test_setup(test_other_machine_or_version, set_up),
        cmocka_unit_test_setup(test_broken_file, set_up),
        cmocka_unit_test_setup(test_what_is_given_wins, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
