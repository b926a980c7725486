/* Keys: lists and files of them, what is refused and with which words, and how one is found again. */
#include "server/access/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "server/access/key_file.h"
#include "../base/tempdir.h"

static const struct emb_client defaults = {
    .name = "anonymous", .priorities = EMB_PRIORITIES_ALL, .requests_per_s = 3, .tokens_per_s = 4, .burst_s = 60};

static const char *write_keys(const char *text)
{
    const char *path = tempdir_write("keys.yaml", text, strlen(text));
    chmod(path, 0600);
    return path;
}

static struct emb_auth *make(const char *keys, const char *file)
{
    struct emb_auth *auth;
    embellama_error error;
    struct emb_auth_options options = {.keys = keys, .key_file = file ? write_keys(file) : NULL, .defaults = defaults};
    if (emb_auth_new(&auth, &options, &error) != EMBELLAMA_OK) {
        fail_msg("%s", error.message);
    }
    return auth;
}

static void expect_failure(const char *keys, const char *file, const char *says)
{
    struct emb_auth *auth;
    embellama_error error;
    struct emb_auth_options options = {.keys = keys, .key_file = file ? write_keys(file) : NULL, .defaults = defaults};
    assert_int_equal(emb_auth_new(&auth, &options, &error), EMBELLAMA_E_INVALID);
    assert_null(auth);
    if (!strstr(error.message, says)) {
        fail_msg("'%s' does not say '%s'", error.message, says);
    }
}

static const char *name_of(const struct emb_auth *auth, const char *key)
{
    const struct emb_client *client = emb_auth_find(auth, key, strlen(key));
    return client ? client->name : "-";
}

static void test_list(void **state)
{
    (void)state;
    struct emb_auth *auth = make("first,second,!~", NULL);
    assert_int_equal(emb_auth_count(auth), 3);
    assert_string_equal(name_of(auth, "first"), "key-1");
    assert_string_equal(name_of(auth, "second"), "key-2");
    assert_string_equal(name_of(auth, "!~"), "key-3");
    const char *const wrong[] = {"", "firs", "first ", "firstx", "First", "first,second", "key-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_string_equal(name_of(auth, wrong[i]), "-");
    }
    const struct emb_client *client = emb_auth_find(auth, "second!", 6);
    assert_true(client && !client->admin && client->priorities == EMB_PRIORITIES_ALL && client->id == 2);
    assert_true(client->requests_per_s == 3 && client->tokens_per_s == 4 && client->burst_s == 60);
    emb_auth_free(auth);

    auth = make(NULL, NULL);
    assert_int_equal(emb_auth_count(auth), 0);
    assert_string_equal(name_of(auth, "x"), "-");
    emb_auth_free(auth);
    expect_failure("a,,b", NULL, "key-2");
    expect_failure("a b", NULL, "visible ASCII");
    expect_failure("a,b,a", NULL, "key-1 and key-3 are the same");
}

static void test_file(void **state)
{
    (void)state;
    /* sha256 of "second" */
    struct emb_auth *auth =
        make("argument", "keys:\n"
                         "  - name: one\n"
                         "    key: first\n"
                         "  - name: two\n"
                         "    sha256: 16367AACB67A4A017C8DA8AB95682CCB390863780F7114DDA0A0E0C55644C7C4\n"
                         "    role: admin\n"
                         "    priorities: [low, high]\n"
                         "    requests_per_second: 0.5\n"
                         "    tokens_per_second: 0\n"
                         "    burst_seconds: 10\n");
    assert_int_equal(emb_auth_count(auth), 3);
    assert_string_equal(name_of(auth, "argument"), "key-1");
    assert_string_equal(name_of(auth, "first"), "one");
    const struct emb_client *two = emb_auth_find(auth, "second", 6), *one = emb_auth_find(auth, "first", 5);
    assert_true(two && two->admin && two->priorities == 5);
    assert_true(two->requests_per_s == 0.5 && two->tokens_per_s == 0 && two->burst_s == 10);
    assert_true(one && !one->admin && one->priorities == EMB_PRIORITIES_ALL && one->tokens_per_s == 4);
    emb_auth_free(auth);
}

static void test_bad_files(void **state)
{
    (void)state;
    expect_failure(NULL, "", "no keys");
    expect_failure(NULL, "keys: []\n", "keys.yaml");
    expect_failure(NULL, "keys: 3\n", "(line: 1");
    expect_failure(NULL, "keys:\n  - name: a\n    kex: b\n", "Unexpected key: kex (line: 2");
    expect_failure(NULL, "key:\n  - name: a\n", "Unexpected key: key");
    expect_failure(NULL, "keys:\n  - key: b\n", "Missing required mapping field: name");
    expect_failure(NULL, "keys:\n  - name: a\n    key: b\n    role: boss\n", "boss (line: 4");
    expect_failure(NULL, "keys:\n  - name: a\n    key: b\n    priorities: [urgent]\n", "urgent");
    expect_failure(NULL, "keys:\n  - name: a\n    key: b\n    tokens_per_second: many\n", "many (line: 4");
    expect_failure(NULL, "keys:\n  - name: a\n    key: b\n    tokens_per_second: -1\n", "rates are numbers");
    expect_failure(NULL, "keys:\n  - name: a\n    key: b\n    requests_per_second: nan\n", "rates are numbers");
    expect_failure(NULL, "keys:\n  - name: a\n    key: b\n    burst_seconds: 1e999\n", "rates are numbers");
    expect_failure(NULL, "keys:\n  - name: a\n", "either key or sha256");
    expect_failure(NULL, "keys:\n  - name: a\n    sha256: abc\n", "length < 64");
    expect_failure(NULL, "keys:\n  - name: a b\n    key: b\n", "unlike 'a b'");
    expect_failure(NULL, "keys:\n  - name: anonymous\n    key: b\n", "anonymous");
    expect_failure(NULL, "keys:\n  - name: a\n    key: b c\n", "visible ASCII");
    expect_failure(NULL, "keys:\n  - name: a\n    key: b\n  - name: a\n    key: c\n", "two keys are named a");
    expect_failure("b", "keys:\n  - name: a\n    key: b\n", "key-1 and a are the same");
    expect_failure(NULL, "keys: &x\n  - *x\n", "alias");
    expect_failure(NULL, "keys: [\x01\n", "keys.yaml");
    expect_failure(NULL,
                   "keys:\n  - name: a\n    sha256: zz367AACB67A4A017C8DA8AB95682CCB390863780F7114DDA0A0E0C55644C7C4\n",
                   "hexadecimal");
}

static void test_secrets_stay(void **state)
{
    (void)state;
    struct emb_auth *auth;
    embellama_error error;
    struct emb_auth_options options = {.defaults = defaults};
    options.key_file = write_keys("keys:\n  - sk-0123456789abcdefghijklmnopqrstuv: alice\n");
    assert_int_equal(emb_auth_new(&auth, &options, &error), EMBELLAMA_E_INVALID);
    assert_non_null(strstr(error.message, "Unexpected key"));
    assert_null(strstr(error.message, "sk-0123"));

    const char *path = write_keys("keys:\n  - name: a\n    key: b\n");
    chmod(path, 0644);
    options.key_file = path;
    assert_int_equal(emb_auth_new(&auth, &options, &error), EMBELLAMA_E_INVALID);
    assert_non_null(strstr(error.message, "chmod"));
    path = write_keys("keys:\n  - name: a\n    "
                      "sha256: 16367AACB67A4A017C8DA8AB95682CCB390863780F7114DDA0A0E0C55644C7C4\n");
    chmod(path, 0644);
    assert_int_equal(emb_auth_new(&auth, &options, &error), EMBELLAMA_OK);
    emb_auth_free(auth);

    options.key_file = tempdir_path("absent.yaml");
    assert_int_equal(emb_auth_new(&auth, &options, &error), EMBELLAMA_E_IO);
    assert_non_null(strstr(error.message, "absent.yaml"));
    options.key_file = tempdir_path("");
    assert_int_equal(emb_auth_new(&auth, &options, &error), EMBELLAMA_E_IO);
    assert_non_null(strstr(error.message, "not a regular file"));
}

static void test_too_many(void **state)
{
    (void)state;
    static char list[EMB_KEYS_MAX * 8];
    size_t used = 0;
    for (int i = 0; i < EMB_KEYS_MAX; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "k%d,", i);
    }
    struct emb_auth *auth = make(list, NULL);
    assert_int_equal(emb_auth_count(auth), EMB_KEYS_MAX);
    assert_string_equal(name_of(auth, "k0"), "key-1");
    assert_string_equal(name_of(auth, "k1023"), "key-1024");
    emb_auth_free(auth);
    snprintf(list + used, sizeof list - used, "more");
    expect_failure(list, NULL, "more than 1024");
}

static void test_bearer(void **state)
{
    (void)state;
    static const char *const good[] = {"Bearer tok", "bearer tok", "BEARER   tok", "Bearer Bearer tok"};
    static const char *const bad[] = {"", "Bearer", "Bearer ", "Basic tok", "tok", "Bearertok", "Bearer Bearer"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_non_null(emb_auth_bearer(good[i]));
        assert_string_equal(emb_auth_bearer(good[i]), "tok");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(emb_auth_bearer(bad[i]));
    }
    assert_string_equal(emb_auth_bearer("Bearer Bearer Bearer tok"), "Bearer tok");
}

/* Every allocation fails in turn: an error of memory each time, and nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    struct emb_auth_options options = {.keys = "x", .defaults = defaults};
    options.key_file = write_keys("keys:\n  - name: a\n    key: b\n    priorities: [low]\n    burst_seconds: 5\n");
    for (long i = 0;; i++) {
        struct emb_auth *auth;
        embellama_error error;
        emb_mem_fail_after(i);
        int rc = emb_auth_new(&auth, &options, &error);
        emb_mem_fail_after(-1);
        if (rc == EMBELLAMA_OK) {
            assert_true(i > 5);
            emb_auth_free(auth);
            return;
        }
        assert_int_equal(rc, EMBELLAMA_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),         cmocka_unit_test(test_file),     cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_secrets_stay), cmocka_unit_test(test_too_many), cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
