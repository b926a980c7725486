/* Token buckets: what they hold, how they fill, who shares one, and a table that is full. */
#include "server/access/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"

#define SECOND 1000000000ull

static struct emb_limits *limits;
static struct emb_limit_state got;

static int setup(void **state)
{
    (void)state;
    limits = emb_limits_new();
    return limits ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    emb_limits_free(limits);
    return 0;
}

static bool charge(const struct emb_client *client, enum emb_limit kind, double amount, uint64_t now)
{
    return emb_limits_charge(limits, client, kind, amount, now, &got);
}

static void test_requests(void **state)
{
    (void)state;
    struct emb_client client = {.id = 1, .requests_per_s = 0.5, .burst_s = 6};
    uint64_t now = 100 * SECOND;
    for (int i = 0; i < 3; i++) {
        assert_true(charge(&client, EMB_LIMIT_REQUESTS, 1, now));
        assert_true(got.limit == 3 && got.remaining == 2 - i);
        assert_int_equal(got.reset_ms, 2000 * (i + 1));
        assert_int_equal(got.retry_after_ms, 0);
    }
    assert_false(charge(&client, EMB_LIMIT_REQUESTS, 1, now + SECOND / 2));
    assert_int_equal(got.retry_after_ms, 1500);
    assert_int_equal(got.reset_ms, 5500);
    assert_false(got.hopeless);
    assert_false(charge(&client, EMB_LIMIT_REQUESTS, 1, now + SECOND)); /* asking does not cost */
    assert_int_equal(got.retry_after_ms, 1000);
    assert_true(charge(&client, EMB_LIMIT_REQUESTS, 1, now + 2 * SECOND));
    assert_false(charge(&client, EMB_LIMIT_REQUESTS, 1, now)); /* a clock that goes back fills nothing */
    assert_true(charge(&client, EMB_LIMIT_REQUESTS, 1, now + 100 * SECOND));
    assert_true(got.remaining == 2); /* never more than full */
}

static void test_tokens(void **state)
{
    (void)state;
    struct emb_client client = {.id = 1, .requests_per_s = 1, .tokens_per_s = 100, .burst_s = 10};
    assert_false(charge(&client, EMB_LIMIT_TOKENS, 1001, 0));
    assert_true(got.hopeless && got.retry_after_ms == 0 && got.remaining == 1000);
    assert_true(charge(&client, EMB_LIMIT_TOKENS, 1000, 0));
    assert_true(got.limit == 1000 && got.remaining == 0 && got.reset_ms == 10000);
    assert_false(charge(&client, EMB_LIMIT_TOKENS, 250, 0));
    assert_int_equal(got.retry_after_ms, 2500);
    assert_true(charge(&client, EMB_LIMIT_TOKENS, 0, 0));
    assert_true(charge(&client, EMB_LIMIT_REQUESTS, 1, 0)); /* the other bucket is its own */
    assert_true(got.remaining == 9);
}

static void test_odd_rates(void **state)
{
    (void)state;
    struct emb_client none = {.id = 1, .burst_s = 60}, little = {.id = 2, .requests_per_s = 0.01, .burst_s = 1};
    assert_true(charge(&none, EMB_LIMIT_REQUESTS, 1e9, 0));
    assert_true(got.limit == 0);
    assert_int_equal(emb_limits_count(limits), 0);
    assert_true(charge(&little, EMB_LIMIT_REQUESTS, 1, 0)); /* one always fits */
    assert_false(charge(&little, EMB_LIMIT_REQUESTS, 1, 99 * SECOND));
    assert_int_equal(got.retry_after_ms, 1000);
    assert_true(charge(&little, EMB_LIMIT_REQUESTS, 1, 100 * SECOND));
}

static void test_full_table(void **state)
{
    (void)state;
    struct emb_client client = {.requests_per_s = 1, .burst_s = 2};
    for (uint64_t id = 1; id <= EMB_LIMITS_CLIENTS; id++) {
        client.id = id * 0x9E3779B97F4A7C15u;
        assert_true(charge(&client, EMB_LIMIT_REQUESTS, 2, 0));
    }
    assert_int_equal(emb_limits_count(limits), EMB_LIMITS_CLIENTS);
    client.id = 0x9E3779B97F4A7C15u;
    assert_false(charge(&client, EMB_LIMIT_REQUESTS, 1, 0)); /* used now: the second is the oldest */
    client.id = 1;
    assert_true(charge(&client, EMB_LIMIT_REQUESTS, 2, 0));
    assert_int_equal(emb_limits_count(limits), EMB_LIMITS_CLIENTS);
    client.id = 0x9E3779B97F4A7C15u;
    assert_false(charge(&client, EMB_LIMIT_REQUESTS, 1, 0));
    client.id = 3 * 0x9E3779B97F4A7C15u;
    assert_false(charge(&client, EMB_LIMIT_REQUESTS, 1, 0));
    client.id = 2 * 0x9E3779B97F4A7C15u;
    assert_true(charge(&client, EMB_LIMIT_REQUESTS, 2, 0)); /* forgotten: full again */
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        uint64_t ms;
        const char *text;
    } times[] = {{0, "0ms"},       {12, "12ms"},     {999, "999ms"},      {1000, "1s"},
                 {2812, "2.812s"}, {8640, "8.64s"},  {10000, "10s"},      {59999, "59.999s"},
                 {60000, "1m0s"},  {360000, "6m0s"}, {3605000, "1h0m5s"}, {90061500, "25h1m1.5s"}};
    char out[EMB_LIMITS_TIME];
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        emb_limits_format(times[i].ms, out);
        assert_string_equal(out, times[i].text);
    }
    emb_limits_format(UINT64_MAX, out);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        emb_mem_fail_after(i);
        struct emb_limits *made = emb_limits_new();
        emb_mem_fail_after(-1);
        assert_null(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_rates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_table, setup, teardown),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
