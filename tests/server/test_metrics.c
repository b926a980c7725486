/* Metrics: what is counted, what Prometheus's format makes of it, bounded labels, a loop's lag. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/observe/lag.h"
#include "server/observe/metrics.h"

enum { PAGE_BYTES = 1 << 24 };

/* The value of the sample whose name and labels are exactly this, or -1. */
static double value_of(const struct emb_buf *page, const char *sample)
{
    size_t size = strlen(sample);
    for (const char *line = page->data; line && *line; line = strchr(line, '\n') + 1) {
        if (strncmp(line, sample, size) == 0 && line[size] == ' ') {
            return strtod(line + size + 1, NULL);
        }
    }
    return -1;
}

static void write_page(const struct emb_metrics *m, struct emb_buf *page)
{
    emb_buf_init(page, PAGE_BYTES);
    emb_metrics_write(m, page);
    assert_false(page->failed);
}

static struct emb_metrics *metrics_new(const char *buckets, double cost)
{
    struct emb_metrics *m;
    embellama_error error;
    struct emb_metrics_setup setup = {.buckets = buckets, .token_cost = cost};
    assert_int_equal(emb_metrics_new(&m, &setup, &error), EMBELLAMA_OK);
    return m;
}

static void test_buckets(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",    "a",   "1,",  ",1",  "0",   "-1",
        "2,1", "1,1", "nan", "inf", "1 2", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25"};
    struct emb_histogram h;
    embellama_error error;
    assert_int_equal(emb_expo_buckets(&h, "0.5,1,2.5", &error), EMBELLAMA_OK);
    assert_int_equal(h.bounds, 3);
    assert_true(h.bound[0] == 0.5 && h.bound[2] == 2.5 && h.count == 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct emb_metrics *m;
        struct emb_metrics_setup setup = {.buckets = wrong[i]};
        assert_int_equal(emb_expo_buckets(&h, wrong[i], &error), EMBELLAMA_E_INVALID);
        assert_non_null(strstr(error.message, "buckets"));
        assert_int_equal(emb_metrics_new(&m, &setup, &error), EMBELLAMA_E_INVALID);
        assert_null(m);
    }
}

static void test_histogram(void **state)
{
    (void)state;
    struct emb_histogram h;
    struct emb_buf page;
    embellama_error error;
    emb_expo_buckets(&h, "0.5,1,2.5", &error);
    emb_histogram_add(&h, 0.5);
    emb_histogram_add(&h, 0.75);
    emb_histogram_add(&h, 2);
    emb_histogram_add(&h, 1000);
    emb_buf_init(&page, PAGE_BYTES);
    emb_expo_family(&page, "t", "histogram", "A test.");
    emb_expo_histogram(&page, "t", "a=\"b\"", &h);
    assert_string_equal(page.data, "# HELP t A test.\n# TYPE t histogram\n"
                                   "t_bucket{a=\"b\",le=\"0.5\"} 1\nt_bucket{a=\"b\",le=\"1\"} 2\n"
                                   "t_bucket{a=\"b\",le=\"2.5\"} 3\nt_bucket{a=\"b\",le=\"+Inf\"} 4\n"
                                   "t_sum{a=\"b\"} 1003.25\nt_count{a=\"b\"} 4\n");
    emb_buf_clear(&page);
    emb_expo_counter(&page, "c", UINT64_MAX, "Big.");
    emb_expo_gauge(&page, "g", -0.125, "Small.");
    assert_string_equal(page.data, "# HELP c Big.\n# TYPE c counter\nc 18446744073709551615\n"
                                   "# HELP g Small.\n# TYPE g gauge\ng -0.125\n");
    emb_buf_deinit(&page);
}

static void test_labels(void **state)
{
    (void)state;
    char out[64], tiny[8];
    assert_string_equal(emb_expo_label("a\"b\\c\nd\xC3\xA9\xFFz", out, sizeof out), "a\\\"b\\\\c\\nd\xC3\xA9?z");
    assert_string_equal(emb_expo_label("abcdefghij", tiny, sizeof tiny), "abc");
}

static const struct emb_metrics_request usual = {
    .route = "/v1/embeddings",
    .model = "m",
    .client = "c",
    .status = 200,
    .inputs = 2,
    .tokens = 30,
    .bytes_in = 100,
    .bytes_out = 1000,
    .total_ns = 2000000000,
    .tokenize_ns = 250000000,
    .queue_ns = 500000000,
    .infer_ns = 1000000000,
};

static void test_requests(void **state)
{
    (void)state;
    struct emb_metrics *m = metrics_new("0.3,1,3", 0.5);
    struct emb_buf page;
    struct emb_metrics_request refused = {.route = "/v1/embeddings", .status = 400, .bytes_in = 7},
                               unknown = {.status = 404};
    for (int i = 0; i < 3; i++) {
        emb_metrics_count(m, &usual);
    }
    emb_metrics_count(m, &refused);
    emb_metrics_count(m, &unknown);
    emb_metrics_hops(m, 1000, 100001000, 300000000, 500000000);
    write_page(m, &page);
#define OF(sample) value_of(&page, "embellama_" sample)
    assert_true(OF("requests_total{route=\"/v1/embeddings\",model=\"m\",status=\"200\"}") == 3);
    assert_true(OF("requests_total{route=\"/v1/embeddings\",model=\"\",status=\"400\"}") == 1);
    assert_true(OF("requests_total{route=\"other\",model=\"\",status=\"404\"}") == 1);
    assert_true(OF("request_seconds_bucket{route=\"/v1/embeddings\",model=\"m\",status=\"200\",le=\"1\"}") == 0);
    assert_true(OF("request_seconds_bucket{route=\"/v1/embeddings\",model=\"m\",status=\"200\",le=\"3\"}") == 3);
    assert_true(OF("request_seconds_sum{route=\"/v1/embeddings\",model=\"m\",status=\"200\"}") == 6);
    assert_true(OF("request_seconds_count{route=\"/v1/embeddings\",model=\"m\",status=\"200\"}") == 3);
    assert_true(OF("request_tokenize_seconds_bucket{model=\"m\",le=\"0.3\"}") == 3);
    assert_true(OF("request_tokenize_seconds_sum{model=\"m\"}") == 0.75);
    assert_true(OF("request_queue_seconds_sum{model=\"m\"}") == 1.5);
    assert_true(OF("request_infer_seconds_sum{model=\"m\"}") == 3);
    assert_true(OF("request_inputs_sum{model=\"m\"}") == 6);
    assert_true(OF("request_tokens_sum{model=\"m\"}") == 90);
    assert_true(OF("client_requests_total{client=\"c\",model=\"m\"}") == 3);
    assert_true(OF("client_inputs_total{client=\"c\",model=\"m\"}") == 6);
    assert_true(OF("client_tokens_total{client=\"c\",model=\"m\"}") == 90);
    assert_true(OF("client_cost_total{client=\"c\",model=\"m\"}") == 90 * 0.5 / 1e6);
    assert_true(OF("received_bytes_total") == 307);
    assert_true(OF("sent_bytes_total") == 3000);
    assert_true(OF("thread_hop_seconds_sum{hop=\"to\"}") == 0.1);
    assert_true(OF("thread_hop_seconds_sum{hop=\"from\"}") == 0.2);
    assert_true(OF("thread_hop_seconds_count{hop=\"from\"}") == 1);
    assert_null(strstr(page.data, "model=\"other\""));
    emb_buf_deinit(&page);
    emb_metrics_free(m);
}

static void test_no_cost(void **state)
{
    (void)state;
    struct emb_metrics *m = metrics_new(NULL, 0);
    struct emb_buf page;
    emb_metrics_count(m, &usual);
    write_page(m, &page);
    assert_null(strstr(page.data, "client_cost"));
    assert_true(OF("request_seconds_bucket{route=\"/v1/embeddings\",model=\"m\",status=\"200\",le=\"2.5\"}") == 1);
    emb_buf_deinit(&page);
    emb_metrics_free(m);
}

/* However many clients and routes there are, the page has an end, and nothing is counted twice or lost. */
static void test_cardinality(void **state)
{
    (void)state;
    enum { CLIENTS = 3000 };
    struct emb_metrics *m = metrics_new("1", 0);
    struct emb_buf page;
    for (int i = 0; i < CLIENTS; i++) {
        char name[32];
        struct emb_metrics_request r = usual;
        snprintf(name, sizeof name, "client \"%d\"", i);
        r.client = name;
        r.model = i % 2 ? name : "m";
        emb_metrics_count(m, &r);
    }
    write_page(m, &page);
    size_t series = 0;
    double sum = 0;
    for (const char *at = page.data; (at = strstr(at, "\nembellama_client_requests_total{")); at++) {
        series++;
        sum += strtod(strstr(at, "} ") + 2, NULL);
    }
    assert_int_equal(series, EMB_METRICS_SERIES);
    assert_true(sum == CLIENTS);
    assert_true(OF("client_requests_total{client=\"client \\\"0\\\"\",model=\"m\"}") == 1);
    assert_true(OF("client_requests_total{client=\"other\",model=\"other\"}") == CLIENTS - EMB_METRICS_SERIES + 1);
    double other = OF("request_seconds_count{route=\"other\",model=\"other\",status=\"other\"}");
    assert_true(other > 0 && other == OF("requests_total{route=\"other\",model=\"other\",status=\"other\"}"));
    assert_true(OF("request_tokens_count{model=\"other\"}") > 0);
    emb_buf_deinit(&page);
    emb_metrics_free(m);
}

/* Without memory for a series its requests are counted among the others; without any there are no metrics. */
static void test_no_memory(void **state)
{
    (void)state;
    struct emb_metrics *m = metrics_new(NULL, 0);
    struct emb_buf page;
    emb_mem_fail_after(0);
    emb_metrics_count(m, &usual);
    emb_mem_fail_after(-1);
    emb_metrics_count(m, &usual);
    write_page(m, &page);
    assert_true(OF("requests_total{route=\"other\",model=\"other\",status=\"other\"}") == 1);
    assert_true(OF("requests_total{route=\"/v1/embeddings\",model=\"m\",status=\"200\"}") == 1);
    emb_buf_deinit(&page);
    emb_metrics_free(m);
    long needed = 0;
    for (int status = EMBELLAMA_E_NOMEM; status == EMBELLAMA_E_NOMEM; needed++) {
        struct emb_metrics_setup setup = {0};
        emb_mem_fail_after(needed);
        status = emb_metrics_new(&m, &setup, NULL);
        emb_mem_fail_after(-1);
        assert_true((status == EMBELLAMA_OK) == (m != NULL));
        emb_metrics_free(m);
    }
    assert_true(needed > 5);
}

/* ---- A loop's lag ---- */

static void sleep_60ms(void)
{
    struct timespec t = {.tv_nsec = 60000000};
    nanosleep(&t, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    sleep_60ms();
    uv_close((uv_handle_t *)timer, NULL);
}

static void on_async(uv_async_t *async)
{
    sleep_60ms();
    uv_close((uv_handle_t *)async, NULL);
}

/* Work counts as a turn's whether a timer or a descriptor asked for it; waiting does not. */
static void test_lag(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_timer_t end; /* keeps the loop, which lag does not */
    uv_async_t async;
    struct emb_lag lag;
    struct emb_buf page;
    uv_loop_init(&loop);
    emb_lag_start(&lag, &loop);
    uv_async_init(&loop, &async, on_async);
    uv_async_send(&async);
    uv_timer_init(&loop, &end);
    uv_timer_start(&end, on_timer, 400, 0);
    uint64_t began = uv_hrtime();
    uv_run(&loop, UV_RUN_DEFAULT);
    double worked = (double)(uv_hrtime() - began - uv_metrics_idle_time(&loop)) / 1e9;
    emb_buf_init(&page, PAGE_BYTES);
    emb_lag_write(&lag, &page);
    assert_true(OF("loop_turn_seconds_count") >= 2);
    assert_true(OF("loop_turn_seconds_sum") >= 0.12);
    assert_true(OF("loop_turn_seconds_sum") <= worked);
    assert_true(OF("loop_turn_seconds_bucket{le=\"+Inf\"}") - OF("loop_turn_seconds_bucket{le=\"0.0256\"}") >= 2);
    assert_true(OF("loop_lag_seconds_count") >= 1);
    emb_buf_deinit(&page);
    emb_lag_stop(&lag);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),   cmocka_unit_test(test_histogram), cmocka_unit_test(test_labels),
        cmocka_unit_test(test_requests),  cmocka_unit_test(test_no_cost),   cmocka_unit_test(test_cardinality),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_lag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
