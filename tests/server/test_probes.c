/* The collection of hostile HTTP/1.1 requests kept beside the project, where it is there: each refused or answered as it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "front_fixture.h"

static const char *probes_path(char *out, size_t size)
{
    const char *shared = getenv("EMBELLAMA_SHARED");
    snprintf(out, size, "%s/data/http/probes-http1.json", shared ? shared : EMB_SOURCE_DIR "/../shared");
    return out;
}

static void send_long_header(int fd, int64_t bytes)
{
    client_puts(fd, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    for (int64_t i = 0; i < bytes; i++) {
        client_send(fd, "x", 1);
    }
    client_puts(fd, "\r\n\r\n");
}

/* The first reply that is not 100 Continue. */
static int final_status(int fd)
{
    for (;;) {
        struct reply r = client_reply(fd, false);
        reply_free(&r);
        if (r.status != 100) {
            return r.status;
        }
    }
}

static void probe(const struct fixture *f, struct emb_json_value v)
{
    const char *name = "", *expect = "", *bytes = NULL;
    size_t size = 0;
    int64_t repeat = 0;
    emb_json_get_string(v, "name", &name, &size);
    emb_json_get_string(v, "expect", &expect, &size);
    int fd = client_open(f);
    if (emb_json_get_string(v, "bytes", &bytes, &size)) {
        client_send(fd, bytes, size);
    } else if (emb_json_get_int(v, "repeat_header_bytes", &repeat)) {
        send_long_header(fd, repeat);
    }
    int status = final_status(fd);
    if (strcmp(expect, "answer") == 0) {
        if (status != 200) {
            fail_msg("%s: %d", name, status);
        }
    } else if (status < 400 || !client_ended(fd)) {
        fail_msg("%s: %d, or more behind it", name, status);
    }
    close(fd);
}

static void test_probes(void **state)
{
    char path[1024];
    struct emb_json *json = NULL;
    struct fixture f;
    struct emb_front_limits limits = emb_front_limits_default();
    embellama_error error;
    (void)state;
    assert_int_equal(emb_json_read(&json, probes_path(path, sizeof path), 1 << 20, &error), 0);
    assert_true(emb_json_size(emb_json_root(json)) > 20);
    fixture_start(&f, &limits);
    for (struct emb_json_iter it = emb_json_iterate(emb_json_root(json)); emb_json_next(&it);) {
        probe(&f, it.value);
    }
    fixture_join(&f);
    emb_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_probes)};
    char path[1024];
    if (!emb_path_exists(probes_path(path, sizeof path))) {
        printf("skipped: %s is not there\n", path);
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    emb_log_set_level(EMB_LOG_ERROR);
    return cmocka_run_group_tests_name("probes", tests, NULL, NULL);
}
