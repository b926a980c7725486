/* The option table and its parser: defaults, environment, arguments, and what each mistake is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/options.h"

static struct emb_cli_options options;
static embellama_error error;

static int parse(unsigned command, int argc, const char *const *words)
{
    static char *argv[16];
    for (int i = 0; i < argc; i++) {
        argv[i] = (char *)(uintptr_t)words[i];
    }
    memset(&error, 0, sizeof error);
    return emb_cli_parse(&options, command, argc, argv, &error);
}

#define PARSE(command, ...)                                                                                            \
    parse(command, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})

static void assert_says(const char *part)
{
    if (!strstr(error.message, part)) {
        fail_msg("'%s' does not say '%s'", error.message, part);
    }
}

static int clear_environment(void **state)
{
    (void)state;
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name; o++) {
        unsetenv(o->env ? o->env : "EMBELLAMA_");
        unsetenv(o->env_alias ? o->env_alias : "EMBELLAMA_");
    }
    for (const struct emb_cli_alias *a = emb_cli_alias_table; a->name || a->env; a++) {
        unsetenv(a->env ? a->env : "EMBELLAMA_");
    }
    return 0;
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse(EMB_CLI_SERVE, 0, NULL), EMBELLAMA_OK);
    assert_null(options.model);
    assert_string_equal(options.host, "127.0.0.1");
    assert_int_equal(options.port, 8080);
    assert_int_equal(options.workers, 0);
    assert_int_equal(options.pooling, EMBELLAMA_POOLING_AUTO);
    assert_true(options.p > 1.99 && options.p < 2.01);
    assert_string_equal(options.output, "-");
    assert_false(options.truncate);
}

static void test_every_form_of_a_value(void **state)
{
    (void)state;
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--model", "m", "--threads=3", "-ofile", "-i", "-", "--truncate", "--pooling",
                           "mean-sqrt-len", "--max-length", "recommended", "--p=0.5"),
                     EMBELLAMA_OK);
    assert_string_equal(options.model, "m");
    assert_int_equal(options.threads, 3);
    assert_string_equal(options.output, "file");
    assert_string_equal(options.input, "-");
    assert_true(options.truncate);
    assert_true(options.input_given);
    assert_int_equal(options.pooling, EMBELLAMA_POOLING_MEAN_SQRT_LEN);
    assert_int_equal(options.max_length, EMB_CLI_LENGTH_RECOMMENDED);
    assert_true(options.p > 0.49 && options.p < 0.51);
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--model-path", "a.gguf", "-p", "0", "--normalization-mode", "max-abs",
                           "--pooling-strategy=cls", "--pnorm-exponent", "3", "--log-level", "off"),
                     EMBELLAMA_OK);
    assert_string_equal(options.model, "a.gguf");
    assert_int_equal(options.port, 0);
    assert_int_equal(options.normalize, EMBELLAMA_NORMALIZE_MAX_ABS);
    assert_int_equal(options.pooling, EMBELLAMA_POOLING_CLS);
    assert_int_equal(options.log_level, -1);
}

static void test_arguments_stay_in_order(void **state)
{
    (void)state;
    assert_int_equal(PARSE(EMB_CLI_EMBED, "one", "--truncate", "-", "--", "--two", "-t"), EMBELLAMA_OK);
    assert_int_equal(options.argument_count, 4);
    assert_string_equal(options.arguments[0], "one");
    assert_string_equal(options.arguments[1], "-");
    assert_string_equal(options.arguments[2], "--two");
    assert_string_equal(options.arguments[3], "-t");
    assert_int_equal(options.threads, 0);
}

static void test_environment(void **state)
{
    (void)state;
    setenv("EMBELLAMA_THREADS", "2", 1);
    setenv("EMBELLAMA_TRUNCATE", "yes", 1);
    setenv("EMBELLAMA_MODEL_PATH", "old", 1);
    setenv("EMBELLAMA_POOLING", "", 1);
    setenv("EMBELLAMA_PORT", "nonsense", 1);
    assert_int_equal(PARSE(EMB_CLI_EMBED, "x"), EMBELLAMA_OK); /* embed has no port */
    assert_int_equal(options.threads, 2);
    assert_true(options.truncate);
    assert_string_equal(options.model, "old");
    setenv("EMBELLAMA_MODEL", "new", 1);
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--threads", "7", "--truncate=no"), EMBELLAMA_OK);
    assert_string_equal(options.model, "new");
    assert_int_equal(options.threads, 7);
    assert_false(options.truncate);
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--host=::1"), EMBELLAMA_E_INVALID);
    assert_says("EMBELLAMA_PORT: 'nonsense' is not a whole number");
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--help"), EMBELLAMA_OK);
    assert_true(options.help);
}

static void test_flag_that_turns_off(void **state)
{
    (void)state;
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--port=1"), EMBELLAMA_OK);
    assert_true(options.tune);
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--no-tune"), EMBELLAMA_OK);
    assert_false(options.tune);
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--no-tune=yes"), EMBELLAMA_E_INVALID);
    assert_says("--no-tune takes no value");
    setenv("EMBELLAMA_TUNE", "off", 1);
    assert_int_equal(PARSE(EMB_CLI_EMBED, "x"), EMBELLAMA_OK);
    assert_false(options.tune);
}

static void test_mistakes(void **state)
{
    (void)state;
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--dimension", "3"), EMBELLAMA_E_INVALID);
    assert_says("unknown option --dimension; did you mean --dimensions?");
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--xyzzy"), EMBELLAMA_E_INVALID);
    assert_says("unknown option --xyzzy");
    assert_null(strstr(error.message, "mean"));
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--port=1"), EMBELLAMA_E_INVALID);
    assert_says("does not belong");
    assert_int_equal(PARSE(EMB_CLI_EMBED, "-z"), EMBELLAMA_E_INVALID);
    assert_says("unknown option -z");
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--model"), EMBELLAMA_E_INVALID);
    assert_says("--model needs a value");
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--model="), EMBELLAMA_E_INVALID);
    assert_says("--model: the value is empty");
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--pooling", "sum"), EMBELLAMA_E_INVALID);
    assert_says("'sum' is not one of auto, mean, cls, max, mean-sqrt, last, none");
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--truncate=perhaps"), EMBELLAMA_E_INVALID);
    assert_says("neither true nor false");
}

static void test_numbers(void **state)
{
    (void)state;
    const char *const bad[] = {"", " 3", "3 ", "0x10", "1e3", "three", "+-1", "--"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(PARSE(EMB_CLI_SERVE, "--port", bad[i]), EMBELLAMA_E_INVALID);
    }
    const char *const far[] = {"-1", "65536", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        assert_int_equal(PARSE(EMB_CLI_SERVE, "--port", far[i]), EMBELLAMA_E_RANGE);
        assert_says("is not between 0 and 65535");
    }
    const char *const exponents[] = {"0", "-2", "nan", "inf", "1e999", "two", ""};
    for (size_t i = 0; i < sizeof exponents / sizeof exponents[0]; i++) {
        assert_int_not_equal(PARSE(EMB_CLI_EMBED, "--p", exponents[i]), EMBELLAMA_OK);
    }
}

/* The words must stand for what the library takes them for. */
static void test_words_agree_with_the_library(void **state)
{
    (void)state;
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name; o++) {
        for (const struct emb_cli_word *w = o->words; w && w->name; w++) {
            embellama_pooling pooling;
            embellama_normalize normalize;
            embellama_precision precision;
            if (strcmp(emb_cli_word_name(o->words, w->value), w->name) != 0) {
                continue;
            }
            if (strcmp(o->name, "pooling") == 0) {
                assert_int_equal(embellama_pooling_parse(w->name, &pooling), EMBELLAMA_OK);
                assert_int_equal(pooling, w->value);
            } else if (strcmp(o->name, "normalize") == 0) {
                assert_int_equal(embellama_normalize_parse(w->name, &normalize), EMBELLAMA_OK);
                assert_int_equal(normalize, w->value);
            } else if (strcmp(o->name, "precision") == 0) {
                assert_int_equal(embellama_precision_parse(w->name, &precision), EMBELLAMA_OK);
                assert_int_equal(precision, w->value);
            }
        }
    }
}

static void test_table_is_sound(void **state)
{
    (void)state;
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name; o++) {
        assert_true(o->offset < sizeof(struct emb_cli_options));
        assert_true((o->argument != NULL) == (o->kind != EMB_CLI_FLAG && o->kind != EMB_CLI_OFF));
        assert_true(o->kind != EMB_CLI_INT || o->min < o->max);
        assert_true(o->kind != EMB_CLI_WORD || o->words != NULL);
        assert_true(o->env != NULL || strcmp(o->name, "help") == 0 || strcmp(o->name, "version") == 0);
        for (const struct emb_cli_option *other = o + 1; other->name; other++) {
            assert_string_not_equal(o->name, other->name);
            assert_true(o->letter == 0 || o->letter != other->letter);
            assert_true(!o->env || !other->env || strcmp(o->env, other->env) != 0);
        }
    }
}

/* ---- Names of other servers ---- */

static bool noticed(const char *name)
{
    for (size_t i = 0; emb_cli_alias_table[i].name || emb_cli_alias_table[i].env; i++) {
        const char *own = emb_cli_alias_table[i].name;
        if (own && strcmp(own, name) == 0) {
            return options.aliased[i] && emb_cli_alias_table[i].notice;
        }
    }
    return false;
}

static void test_aliases_are_sound(void **state)
{
    (void)state;
    size_t n = 0;
    for (const struct emb_cli_alias *a = emb_cli_alias_table; a->name || a->env; a++, n++) {
        const struct emb_cli_option *o = emb_cli_option_table;
        assert_int_equal((a->option != NULL) + (a->notice != NULL) + (a->refusal != NULL), 1);
        assert_true(!a->value || (a->flag && a->option));
        while (o->name && a->option && strcmp(o->name, a->option) != 0) {
            o++;
        }
        assert_true(!a->option || (o->name && (o->commands & EMB_CLI_SERVE)));
        for (o = emb_cli_option_table; o->name; o++) {
            assert_true(!a->name || strcmp(a->name, o->name) != 0);
            assert_true(!a->name || !o->alias || strcmp(a->name, o->alias) != 0);
            assert_true(!a->env || !o->env || strcmp(a->env, o->env) != 0);
        }
        for (const struct emb_cli_alias *b = a + 1; b->name || b->env; b++) {
            assert_true(!a->name || !b->name || strcmp(a->name, b->name) != 0);
            assert_true(!a->env || !b->env || strcmp(a->env, b->env) != 0);
        }
    }
    assert_true(n > 0 && n < EMB_CLI_ALIASES);
}

static void test_other_servers_names(void **state)
{
    (void)state;
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--model-id", "m", "--served-model-name=n", "--hostname", "::", "--dtype",
                           "float32", "--pooling", "last-token", "--max-client-batch-size", "7", "--json-output",
                           "--max-concurrent-requests", "5", "--disable-spans"),
                     EMBELLAMA_OK);
    assert_string_equal(options.model, "m");
    assert_string_equal(options.model_name, "n");
    assert_string_equal(options.host, "::");
    assert_int_equal(options.precision, EMBELLAMA_PRECISION_F32);
    assert_int_equal(options.pooling, EMBELLAMA_POOLING_LAST);
    assert_int_equal(options.max_inputs, 7);
    assert_int_equal(options.log_format, EMB_LOG_JSON);
    assert_true(noticed("max-concurrent-requests") && noticed("disable-spans"));
    assert_false(noticed("max-batch-requests") || noticed("model-id"));
    assert_int_equal(options.argument_count, 0);

    assert_int_equal(PARSE(EMB_CLI_SERVE, "--payload-limit", "2000000", "--max-batch-tokens", "4096",
                           "--cors-allow-origin", "*", "--n-seq-max=8", "-p", "1", "--auto-truncate=false"),
                     EMBELLAMA_OK);
    assert_int_equal(options.max_body, 2000000);
    assert_int_equal(options.batch_tokens, 4096);
    assert_string_equal(options.cors_origins, "*");
    assert_true(noticed("n-seq-max"));
    assert_false(options.auto_truncate);
}

static void test_other_servers_names_refused(void **state)
{
    (void)state;
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--revision", "main"), EMBELLAMA_E_INVALID);
    assert_says("--revision: nothing is downloaded here");
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--cors-allow-origin", "a", "--cors-allow-origin", "b"), EMBELLAMA_E_INVALID);
    assert_says("--cors-allow-origin is given twice");
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--max-client-batch-size", "none"), EMBELLAMA_E_INVALID);
    assert_says("--max-client-batch-size: 'none' is not a whole number");
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--model-id"), EMBELLAMA_E_INVALID);
    assert_says("--model-id needs a value: --model-id MODEL");
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--hf-token"), EMBELLAMA_E_INVALID);
    assert_says("--hf-token needs a value");
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--json-output=yes"), EMBELLAMA_E_INVALID);
    assert_says("--json-output takes no value");
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--dtype", "float16"), EMBELLAMA_E_INVALID);
    assert_says("--dtype: 'float16' is not one of");
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--pooling-strategy", "rank"), EMBELLAMA_E_INVALID);
    assert_int_equal(PARSE(EMB_CLI_EMBED, "--model-id", "m", "x"), EMBELLAMA_E_INVALID); /* serve's alone */
    assert_says("unknown option --model-id");
}

static void test_other_servers_variables(void **state)
{
    (void)state;
    setenv("PORT", "9", 1);
    setenv("API_KEY", "secret", 1);
    setenv("EMBELLAMA_N_THREADS", "3", 1);
    setenv("EMBELLAMA_USE_GPU", "1", 1);
    assert_int_equal(parse(EMB_CLI_SERVE, 0, NULL), EMBELLAMA_OK);
    assert_int_equal(options.port, 8080); /* nobody says that these are of that server */
    assert_null(options.api_key);
    assert_int_equal(options.threads, 3);
    setenv("MODEL_ID", "m", 1);
    setenv("JSON_OUTPUT", "false", 1);
    setenv("AUTO_TRUNCATE", "false", 1);
    setenv("EMBELLAMA_MODEL_NAME", "ours", 1);
    setenv("SERVED_MODEL_NAME", "theirs", 1);
    setenv("MAX_BATCH_REQUESTS", "4", 1);
    assert_int_equal(parse(EMB_CLI_SERVE, 0, NULL), EMBELLAMA_OK);
    assert_int_equal(options.port, 9);
    assert_string_equal(options.api_key, "secret");
    assert_string_equal(options.model, "m");
    assert_string_equal(options.model_name, "ours");
    assert_false(options.auto_truncate);
    assert_int_equal(options.log_format, EMB_LOG_LOGFMT);
    assert_true(noticed("max-batch-requests"));
    assert_int_equal(PARSE(EMB_CLI_SERVE, "--port", "10", "--max-batch-requests", "5"), EMBELLAMA_OK);
    assert_int_equal(options.port, 10);
    assert_true(noticed("max-batch-requests"));
    setenv("REVISION", "main", 1);
    assert_int_equal(parse(EMB_CLI_SERVE, 0, NULL), EMBELLAMA_E_INVALID);
    assert_says("REVISION: nothing is downloaded");
    assert_int_equal(PARSE(EMB_CLI_EMBED, "x"), EMBELLAMA_OK);
    assert_null(options.model);
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(emb_cli_distance("", ""), 0);
    assert_int_equal(emb_cli_distance("abc", ""), 3);
    assert_int_equal(emb_cli_distance("kitten", "sitting"), 3);
    assert_int_equal(emb_cli_distance("modle", "model"), 1);
    assert_int_equal(emb_cli_distance("a", "0123456789012345678901234567890123456789012345678901234567890123"), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, clear_environment),
        cmocka_unit_test_setup(test_every_form_of_a_value, clear_environment),
        cmocka_unit_test_setup(test_arguments_stay_in_order, clear_environment),
        cmocka_unit_test_setup(test_environment, clear_environment),
        cmocka_unit_test_setup(test_flag_that_turns_off, clear_environment),
        cmocka_unit_test_setup(test_mistakes, clear_environment),
        cmocka_unit_test_setup(test_numbers, clear_environment),
        cmocka_unit_test_setup(test_words_agree_with_the_library, clear_environment),
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_aliases_are_sound),
        cmocka_unit_test_setup(test_other_servers_names, clear_environment),
        cmocka_unit_test_setup(test_other_servers_names_refused, clear_environment),
        cmocka_unit_test_setup(test_other_servers_variables, clear_environment),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
