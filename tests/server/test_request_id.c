/* Request ids and trace contexts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "server/http/request_id.h"

static bool is_uuid4(const char *id)
{
    if (strlen(id) != 36 || id[14] != '4' || !strchr("89ab", id[19])) {
        return false;
    }
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? id[i] != '-' : !strchr("0123456789abcdef", id[i])) {
            return false;
        }
    }
    return true;
}

static void test_given(void **state)
{
    (void)state;
    struct emb_random_pool pool = {0};
    char id[EMB_REQUEST_ID_MAX + 1], longest[EMB_REQUEST_ID_MAX + 2];
    static const char *const sane[] = {"a", "-", "req_0123.ABC-z", "00000000-0000-0000-0000-000000000000"};
    static const char *const insane[] = {"", "a b", "a\"b", "a\n", "\xC3\xA4", "a=b", "a/b", NULL};
    for (size_t i = 0; i < sizeof sane / sizeof *sane; i++) {
        emb_request_id_make(id, &pool, sane[i]);
        assert_string_equal(id, sane[i]);
    }
    for (size_t i = 0; i < sizeof insane / sizeof *insane; i++) {
        emb_request_id_make(id, &pool, insane[i]);
        assert_true(is_uuid4(id));
    }
    memset(longest, 'x', sizeof longest);
    longest[EMB_REQUEST_ID_MAX] = '\0';
    emb_request_id_make(id, &pool, longest);
    assert_string_equal(id, longest);
    longest[EMB_REQUEST_ID_MAX] = 'x';
    longest[EMB_REQUEST_ID_MAX + 1] = '\0';
    emb_request_id_make(id, &pool, longest);
    assert_true(is_uuid4(id));
}

/* None twice, over several fillings of the pool. */
static void test_random(void **state)
{
    (void)state;
    static struct emb_random_pool pool;
    static char ids[1000][EMB_REQUEST_ID_MAX + 1];
    for (int i = 0; i < 1000; i++) {
        emb_request_id_make(ids[i], &pool, NULL);
        assert_true(is_uuid4(ids[i]));
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(ids[i], ids[k]);
        }
    }
}

static void test_traceparent(void **state)
{
    (void)state;
    static const char valid[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_true(emb_traceparent_valid(valid));
    assert_true(emb_traceparent_valid("00-00000000000000000000000000000001-0000000000000001-ff"));
    static const char *const invalid[] = {
        "",
        "00",
        "00-",
        "00-0af7651916cd43dd8448eb211c80319c",
        "00-0af7651916cd43dd8448eb211c80319c-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-bb7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
    };
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        if (emb_traceparent_valid(invalid[i])) {
            fail_msg("taken: %s", invalid[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_given), cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_traceparent)};
    return cmocka_run_group_tests_name("request_id", tests, NULL, NULL);
}
