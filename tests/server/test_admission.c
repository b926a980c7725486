/* Keys, roles, rates and cross-origin rules through a front with real sockets. */
#include "server/access/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/tempdir.h"
#include "base/log.h"
#include "front_fixture.h"
#include "server/access/cors.h"

static struct fixture fixture;
static char file[1024];

static const char keys[] = "keys:\n"
                           "  - {name: plain, key: user-key, priorities: [low]}\n"
                           "  - {name: boss, key: admin-key, role: admin}\n"
                           "  - {name: slow, key: slow-key, requests_per_second: 0.001, burst_seconds: 2000}\n"
                           "  - {name: few, key: few-key, tokens_per_second: 0.1, burst_seconds: 1000}\n";

static void start(const struct emb_access_options *options)
{
    struct emb_front_limits limits = emb_front_limits_default();
    embellama_error error;
    if (emb_access_new(&fixture_access, options, &error) != EMBELLAMA_OK) {
        fail_msg("%s", error.message);
    }
    fixture_start(&fixture, &limits);
}

static int stop(void **state)
{
    (void)state;
    fixture_join(&fixture);
    emb_access_free(fixture_access);
    fixture_access = NULL;
    return 0;
}

static void start_keyed(bool metrics_public)
{
    snprintf(file, sizeof file, "%s", tempdir_write("keys.yaml", keys, sizeof keys - 1));
    assert_int_equal(chmod(file, 0600), 0);
    struct emb_access_options options = {.keys = "list-key", .key_file = file, .metrics_public = metrics_public};
    start(&options);
}

/* Sends a request with those header lines (each ended by CRLF) and reads the reply. */
static struct reply ask(const char *line, const char *headers, const char *body)
{
    char text[4096];
    bool host = strstr(headers, "Host:") != NULL;
    int fd = client_open(&fixture);
    snprintf(text, sizeof text, "%s HTTP/1.1\r\n%s%sContent-Length: %zu\r\n\r\n%s", line,
             host ? "" : "Host: localhost\r\n", headers, strlen(body), body);
    client_puts(fd, text);
    struct reply r = client_reply(fd, false);
    close(fd);
    return r;
}

static void expect(int status, const char *says, const char *line, const char *headers)
{
    struct reply r = ask(line, headers, "");
    if (r.status != status || !strstr(r.body, says)) {
        fail_msg("%s with %s: %d %s", line, headers, r.status, r.body);
    }
    reply_free(&r);
}

static void expect_header(const struct reply *r, const char *name, const char *value)
{
    const char *got = reply_header(r, name);
    if (!value ? got != NULL : !got || strcmp(got, value) != 0) {
        fail_msg("%s is %s, not %s", name, got ? got : "absent", value ? value : "absent");
    }
}

static void test_keys(void **state)
{
    (void)state;
    start_keyed(false);
    static const char *const good[] = {"Authorization: Bearer user-key\r\n",
                                       "authorization: bearer user-key\r\n",
                                       "Authorization: Bearer Bearer user-key\r\n",
                                       "x-api-key: user-key\r\n",
                                       "api-key: user-key\r\n",
                                       "Authorization: Basic abc\r\nX-API-Key: user-key\r\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        expect(200, "plain 4", "GET /who", good[i]);
    }
    expect(200, "key-1 7", "GET /who", "Authorization: Bearer list-key\r\n");
    expect(200, "boss 7 admin", "GET /who", "Authorization: Bearer admin-key\r\n");
    expect(401, "invalid_api_key", "GET /who", "Authorization: Bearer wrong\r\n");
    expect(401, "invalid_api_key", "GET /who", "Authorization: Bearer user-key,admin-key\r\n");
    expect(401, "invalid_api_key", "POST /admin", "x-api-key: wrong\r\n");
    expect(401, "\"code\":null", "GET /who", "Authorization: user-key\r\n");
    expect(401, "\"code\":null", "GET /who", "Authorization: Bearer\r\nx-api-key:\r\n");
    struct reply r = ask("GET /who", "", "");
    assert_int_equal(r.status, 401);
    expect_header(&r, "www-authenticate", "Bearer realm=\"embellama\"");
    assert_non_null(strstr(r.body, "\"type\":\"invalid_request_error\""));
    reply_free(&r);
    r = ask("GET /who", "Authorization: Bearer sk-secret-secret\r\n", "");
    expect_header(&r, "www-authenticate", "Bearer realm=\"embellama\", error=\"invalid_token\"");
    assert_null(strstr(r.body, "secret"));
    reply_free(&r);
}

static void test_routes(void **state)
{
    (void)state;
    start_keyed(false);
    expect(200, "anonymous 7", "GET /public", "");
    expect(200, "anonymous 7", "GET /public", "Authorization: Bearer wrong\r\n");
    expect(200, "plain 4", "GET /public", "Authorization: Bearer user-key\r\n");
    expect(401, "API key", "GET /metrics", "");
    expect(200, "plain", "GET /metrics", "Authorization: Bearer user-key\r\n");
    expect(401, "API key", "POST /admin", "");
    expect(403, "admin_required", "POST /admin", "Authorization: Bearer user-key\r\n");
    expect(403, "admin_required", "POST /admin", "Authorization: Bearer list-key\r\n");
    expect(200, "boss", "POST /admin", "Authorization: Bearer admin-key\r\nX-Forwarded-For: 1.2.3.4\r\n");
    expect(404, "unknown_url", "GET /nowhere", "");
    struct emb_access_stats stats = emb_access_stats(fixture_access);
    assert_int_equal(stats.keys, 5);
    assert_int_equal(stats.unauthorized, 2);
    assert_int_equal(stats.forbidden, 2);
    stop(NULL);
    start_keyed(true);
    expect(200, "anonymous", "GET /metrics", "");
    expect(401, "API key", "GET /who", "");
}

static void test_without_keys(void **state)
{
    (void)state;
    start(&(struct emb_access_options){0});
    expect(200, "anonymous 7", "GET /who", "Authorization: Bearer whatever\r\n");
    expect(200, "anonymous 7", "GET /who", "");
    expect(200, "anonymous", "GET /metrics", "");
    expect(200, "anonymous 7 admin", "POST /admin", "");
    expect(200, "admin", "POST /admin", "Host: 127.0.0.1:80\r\n");
    expect(200, "admin", "POST /admin", "Host: [::1]:80\r\n");
    expect(200, "admin", "POST /admin",
           "Host: localhost:80\r\nOrigin: http://localhost:80\r\nSec-Fetch-Site: same-origin\r\n");
    static const char *const others[] = {
        "X-Forwarded-For: 127.0.0.1\r\n",
        "Forwarded: for=127.0.0.1\r\n",
        "Via: 1.1 proxy\r\n",
        "X-Real-IP: 127.0.0.1\r\n",
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: evil.example\r\nOrigin: http://evil.example\r\n",
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Host: localhost:80\r\nOrigin: http://localhost:81\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        expect(403, "admin_required", "POST /admin", others[i]);
    }
}

static void test_request_rate(void **state)
{
    (void)state;
    start_keyed(false);
    const char *key = "x-api-key: slow-key\r\n";
    struct reply r = ask("GET /who", key, "");
    expect_header(&r, "x-ratelimit-limit-requests", "2");
    expect_header(&r, "x-ratelimit-remaining-requests", "1");
    expect_header(&r, "x-ratelimit-reset-requests", "16m40s");
    expect_header(&r, "x-ratelimit-limit-tokens", NULL);
    reply_free(&r);
    expect(200, "slow", "GET /who", key);
    r = ask("GET /who", key, "");
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, "\"code\":\"rate_limit_exceeded\""));
    assert_non_null(strstr(r.body, "\"type\":\"requests\""));
    expect_header(&r, "x-ratelimit-remaining-requests", "0");
    unsigned seconds = (unsigned)strtoul(reply_header(&r, "retry-after"), NULL, 10);
    unsigned ms = (unsigned)strtoul(reply_header(&r, "retry-after-ms"), NULL, 10);
    assert_true(seconds > 900 && seconds <= 1000 && ms > (seconds - 1) * 1000 && ms <= seconds * 1000);
    reply_free(&r);
    expect(200, "slow", "GET /public", key); /* what is public is not counted */
    expect(200, "plain", "GET /who", "x-api-key: user-key\r\n");
    assert_int_equal(emb_access_stats(fixture_access).over_requests, 1);
}

static void test_anonymous_rate(void **state)
{
    (void)state;
    start(&(struct emb_access_options){.requests_per_minute = 3});
    for (int i = 0; i < 3; i++) {
        expect(200, "anonymous", "GET /who", i ? "x-api-key: other\r\n" : "");
    }
    expect(429, "Please try again in", "GET /who", "");
    expect(200, "anonymous", "GET /public", "");
    expect(200, "admin", "POST /admin", "");
    assert_int_equal(emb_access_stats(fixture_access).clients, 1);
}

static void test_token_rate(void **state)
{
    (void)state;
    start_keyed(false);
    const char *key = "x-api-key: few-key\r\n";
    struct reply r = ask("POST /spend", key, "60");
    assert_int_equal(r.status, 200);
    expect_header(&r, "x-ratelimit-limit-tokens", "100");
    expect_header(&r, "x-ratelimit-remaining-tokens", "40");
    expect_header(&r, "x-ratelimit-reset-tokens", "10m0s");
    expect_header(&r, "x-ratelimit-limit-requests", NULL);
    reply_free(&r);
    r = ask("POST /spend", key, "60");
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, "Limit 100, Remaining 40, Requested 60. Please try again in "));
    unsigned long ms = strtoul(strstr(r.body, "message\":\"") + strlen("message\":\""), NULL, 10);
    assert_true(ms > 100000 && ms <= 200000);
    expect_header(&r, "x-ratelimit-remaining-tokens", "40");
    reply_free(&r);
    r = ask("POST /spend", key, "101");
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, "hopeless"));
    assert_non_null(strstr(r.body, "Request too large on tokens: Limit 100, Requested 101"));
    reply_free(&r);
    r = ask("POST /spend", "x-api-key: user-key\r\n", "1000000");
    assert_int_equal(r.status, 200);
    expect_header(&r, "x-ratelimit-limit-tokens", NULL);
    reply_free(&r);
    assert_int_equal(emb_access_stats(fixture_access).over_tokens, 2);
}

static void test_cors(void **state)
{
    (void)state;
    start(&(struct emb_access_options){.keys = "k", .cors_origins = "https://a.example,http://localhost:3000"});
    struct reply r = ask("OPTIONS /spend",
                         "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
                         "Access-Control-Request-Headers: authorization,content-type,x-stainless-lang\r\n",
                         "");
    assert_int_equal(r.status, 204);
    expect_header(&r, "access-control-allow-origin", "https://a.example");
    expect_header(&r, "access-control-allow-methods", "POST, OPTIONS");
    expect_header(&r, "access-control-allow-headers", "authorization,content-type,x-stainless-lang");
    expect_header(&r, "access-control-max-age", "7200");
    expect_header(&r, "vary", "origin");
    reply_free(&r);

    r = ask("OPTIONS /spend", "Origin: https://b.example\r\nAccess-Control-Request-Method: POST\r\n", "");
    assert_int_equal(r.status, 204);
    expect_header(&r, "access-control-allow-origin", NULL);
    expect_header(&r, "access-control-allow-methods", NULL);
    expect_header(&r, "vary", "origin");
    reply_free(&r);

    r = ask("OPTIONS /spend",
            "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
            "Access-Control-Request-Headers: a;b\r\n",
            "");
    expect_header(&r, "access-control-allow-headers", NULL);
    reply_free(&r);

    /* A page may read refusals too. */
    r = ask("GET /who", "Origin: http://localhost:3000\r\n", "");
    assert_int_equal(r.status, 401);
    expect_header(&r, "access-control-allow-origin", "http://localhost:3000");
    expect_header(&r, "access-control-expose-headers", "*");
    reply_free(&r);
    r = ask("GET /nowhere", "Origin: https://a.example\r\n", "");
    assert_int_equal(r.status, 404);
    expect_header(&r, "access-control-allow-origin", "https://a.example");
    reply_free(&r);
    r = ask("OPTIONS /spend", "Origin: https://a.example\r\n", "");
    assert_int_equal(r.status, 204);
    expect_header(&r, "allow", "POST, OPTIONS");
    reply_free(&r);
    assert_int_equal(emb_access_stats(fixture_access).preflights, 3);
    stop(NULL);

    start(&(struct emb_access_options){.cors_origins = "*"});
    r = ask("GET /who", "Origin: null\r\n", "");
    expect_header(&r, "access-control-allow-origin", "*");
    expect_header(&r, "vary", NULL);
    reply_free(&r);
    stop(NULL);

    start(&(struct emb_access_options){0});
    r = ask("OPTIONS /spend", "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n", "");
    assert_int_equal(r.status, 204);
    expect_header(&r, "access-control-allow-origin", NULL);
    expect_header(&r, "vary", NULL);
    reply_free(&r);
}

static void test_origins(void **state)
{
    (void)state;
    static const char *const bad[] = {"a.example",
                                      "https://",
                                      "https://a.example/",
                                      "*,https://a.example",
                                      "https://a b",
                                      "https://a.example,,https://b.example",
                                      "",
                                      "null",
                                      "https://a.example?"};
    struct emb_cors *cors;
    embellama_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = emb_cors_new(&cors, bad[i], &error);
        if (rc != EMBELLAMA_E_INVALID) {
            fail_msg("'%s' was taken", bad[i]);
        }
        assert_null(cors);
    }
    assert_int_equal(emb_cors_new(&cors, "https://A.example,http://[::1]:8000", &error), EMBELLAMA_OK);
    assert_string_equal(emb_cors_allows(cors, "https://a.EXAMPLE"), "https://a.example");
    assert_non_null(emb_cors_allows(cors, "http://[::1]:8000"));
    assert_null(emb_cors_allows(cors, "https://a.example.org"));
    assert_null(emb_cors_allows(cors, "http://a.example"));
    assert_null(emb_cors_allows(cors, ""));
    emb_cors_free(cors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_keys, stop),           cmocka_unit_test_teardown(test_routes, stop),
        cmocka_unit_test_teardown(test_without_keys, stop),   cmocka_unit_test_teardown(test_request_rate, stop),
        cmocka_unit_test_teardown(test_anonymous_rate, stop), cmocka_unit_test_teardown(test_token_rate, stop),
        cmocka_unit_test_teardown(test_cors, stop),           cmocka_unit_test(test_origins),
    };
    emb_log_set_level(EMB_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
