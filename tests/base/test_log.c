/* The log: text of lines in both formats, and a writer that never makes its callers wait for stderr. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

enum { OUT_BYTES = 1 << 22 };

/* stderr led into a pipe or a file for the time of a test. */
struct capture {
    int before, read_end;
};

static char out[OUT_BYTES];

static void redirect(struct capture *c, int to)
{
    c->before = dup(STDERR_FILENO);
    assert_true(c->before >= 0 && dup2(to, STDERR_FILENO) >= 0);
    close(to);
}

static void begin(struct capture *c)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    c->read_end = ends[0];
    redirect(c, ends[1]);
}

static void restore(struct capture *c)
{
    dup2(c->before, STDERR_FILENO);
    close(c->before);
}

/* Appends what the pipe holds, until its end or until nothing comes for wait_ms. */
static size_t take(struct capture *c, size_t used, int wait_ms)
{
    struct pollfd ready = {.fd = c->read_end, .events = POLLIN};
    while (used < OUT_BYTES - 1 && poll(&ready, 1, wait_ms) > 0) {
        ssize_t n = read(c->read_end, out + used, OUT_BYTES - 1 - used);
        assert_true(n >= 0);
        if (n == 0) {
            break;
        }
        used += (size_t)n;
    }
    out[used] = '\0';
    return used;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t count(const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(out, what); at; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

/* The rest of the first line that holds what, without the time before it. */
static void assert_line(const char *expected)
{
    if (!strstr(out, expected)) {
        fail_msg("no \"%s\" in: %s", expected, out);
    }
}

static void test_format(void **state)
{
    (void)state;
    struct capture c;
    char quoted[64];
    begin(&c);
    emb_log(EMB_LOG_INFO, "one", "n=%d text=%s", 7, emb_log_quote("a \"b\"\n\xC3\xA9\xFF", quoted, sizeof quoted));
    emb_log(EMB_LOG_WARN, "two", "raw=a\nb\xFFz\xC3\xA9");
    emb_log_set_process("front");
    emb_log(EMB_LOG_INFO, "three", "n=1");
    emb_log_set_process(NULL);
    restore(&c);
    take(&c, 0, 0);
    assert_line("Z level=info event=one n=7 text=\"a \\\"b\\\"\\x0a\xC3\xA9\\xff\"\n");
    assert_line("Z level=warn event=two raw=a b?z\xC3\xA9\n");
    assert_line("Z level=info process=front event=three n=1\n");
    close(c.read_end);
}

static void test_json(void **state)
{
    (void)state;
    struct capture c;
    char quoted[64], *text = malloc(8001);
    memset(text, 'x', 8000);
    text[8000] = '\0';
    begin(&c);
    emb_log_set_format(EMB_LOG_JSON);
    emb_log(EMB_LOG_INFO, "one", "n=-7 ms=0.250 zip=01 big=1234567890123456 id=%s empty= flag",
            emb_log_quote("12\\3\"\n", quoted, sizeof quoted));
    emb_log(EMB_LOG_INFO, "two", "a=1. b=x\\y c=say\"so d=\"open");
    emb_log(EMB_LOG_INFO, "three", "n=1 long=%s", text);
    emb_log_set_format(EMB_LOG_LOGFMT);
    restore(&c);
    take(&c, 0, 0);
    assert_memory_equal(out, "{\"time\":\"2", 10);
    assert_line(
        "Z\",\"level\":\"info\",\"event\":\"one\",\"n\":-7,\"ms\":0.250,\"zip\":\"01\",\"big\":\"1234567890123456\","
        "\"id\":\"12\\\\3\\\"\\\\x0a\",\"empty\":\"\",\"flag\":true}\n");
    assert_line("\"event\":\"two\",\"a\":\"1.\",\"b\":\"x\\\\y\",\"c\":\"say\\\"so\",\"d\":\"open\"}\n");
    assert_line("\"event\":\"three\",\"n\":1,\"cut\":true}\n");
    assert_int_equal(count("\n"), 3);
    close(c.read_end);
    free(text);
}

static void test_levels(void **state)
{
    (void)state;
    assert_int_equal(emb_log_level(), EMB_LOG_INFO);
    assert_int_equal(emb_log_step(1), EMB_LOG_DEBUG);
    assert_int_equal(emb_log_step(1), EMB_LOG_DEBUG);
    assert_true(emb_log_enabled(EMB_LOG_DEBUG));
    assert_int_equal(emb_log_step(-9), EMB_LOG_OFF);
    assert_false(emb_log_enabled(EMB_LOG_ERROR));
    assert_string_equal(emb_log_level_name(emb_log_level()), "off");
    emb_log_set_level(EMB_LOG_INFO);
    for (int i = EMB_LOG_OFF; i <= EMB_LOG_DEBUG; i++) {
        enum emb_log_level parsed = EMB_LOG_ERROR;
        assert_int_equal(emb_log_level_parse(emb_log_level_name((enum emb_log_level)i), &parsed), 0);
        assert_int_equal(parsed, i);
    }
}

enum { WRITERS = 4, LINES = 2000 };

static void *write_many(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        emb_log(EMB_LOG_WARN, "many", "thread=%d line=%d.", *(int *)arg, i);
    }
    return NULL;
}

static void *read_all(void *arg)
{
    take(arg, 0, -1);
    return NULL;
}

/* Nothing is lost or mixed where stderr keeps up, and stopping writes what is left. */
static void test_threads(void **state)
{
    (void)state;
    struct capture c;
    pthread_t threads[WRITERS], reader;
    int ids[WRITERS], next[WRITERS] = {0};
    uint64_t dropped = emb_log_dropped();
    begin(&c);
    emb_log_start();
    pthread_create(&reader, NULL, read_all, &c);
    for (int i = 0; i < WRITERS; i++) {
        ids[i] = i;
        pthread_create(&threads[i], NULL, write_many, &ids[i]);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    emb_log_stop();
    restore(&c); /* the last writing end: the reader comes to the end */
    pthread_join(reader, NULL);
    close(c.read_end);
    size_t lost = (size_t)(emb_log_dropped() - dropped);
    if (lost == 0) {
        assert_int_equal(count("event=many "), WRITERS * LINES);
    }
    for (char *line = out, *end; (end = strchr(line, '\n')); line = end + 1) {
        char *at = strstr(line, "thread=");
        assert_memory_equal(line, "time=", 5);
        if (at && at < end) {
            long thread = strtol(at + 7, &at, 10);
            assert_memory_equal(at, " line=", 6);
            long n = strtol(at + 6, &at, 10);
            assert_true(thread >= 0 && thread < WRITERS && n >= next[thread] && *at == '.' && at + 1 == end);
            next[thread] = (int)n + 1;
        }
    }
}

/* A pipe nobody reads: callers go on, lines are counted, and told of once somebody reads. */
static void test_full_pipe(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct capture c;
    uint64_t dropped = emb_log_dropped();
    begin(&c);
    emb_log_start();
    double start = seconds();
    for (int i = 0; i < MANY; i++) {
        emb_log(EMB_LOG_INFO, "flood", "line=%d", i);
    }
    emb_log(EMB_LOG_WARN, "kept", "reserve=1");
    emb_log(EMB_LOG_ERROR, "first", "waits=some_ms");
    for (int i = 0; i < 100; i++) {
        emb_log(EMB_LOG_ERROR, "next", "waits=no");
    }
    double took = seconds() - start;
    size_t lost = (size_t)(emb_log_dropped() - dropped);
    size_t used = take(&c, 0, 1000);
    emb_log_stop();
    take(&c, used, 100);
    restore(&c);
    assert_true(took < 5); /* 101 errors that wait 50 ms each would take longer; one that blocks, for ever */
    assert_true(lost > 0 && lost < MANY);
    assert_int_equal(count("event=flood "), MANY - lost);
    assert_int_equal(count("event=kept "), 1);
    assert_int_equal(count("event=next "), 100);
    size_t told = 0;
    for (const char *at = out; (at = strstr(at, "level=warn event=log_dropped lines=")); at++) {
        told += (size_t)strtoul(strstr(at, "lines=") + 6, NULL, 10);
    }
    assert_int_equal(told, lost);
    close(c.read_end);
}

/* The same without the thread: a line waits a little, the next not at all. */
static void test_full_pipe_direct(void **state)
{
    (void)state;
    struct capture c;
    char filler[4096];
    begin(&c);
    memset(filler, '\n', sizeof filler);
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
    while (write(STDERR_FILENO, filler, sizeof filler) > 0) {
    }
    fcntl(STDERR_FILENO, F_SETFL, flags);
    double start = seconds();
    for (int i = 0; i < 200; i++) {
        emb_log(EMB_LOG_ERROR, "lost", "line=%d", i);
    }
    double took = seconds() - start;
    take(&c, 0, 0);
    emb_log(EMB_LOG_INFO, "after", "n=1");
    restore(&c);
    take(&c, 0, 0);
    assert_true(took < 10); /* 200 lines that wait 100 ms each would take 20 s */
    assert_line("event=log_dropped lines=200\n");
    assert_line("event=after n=1\n");
    close(c.read_end);
}

/* Stopping does not wait for a pipe nobody reads, and what is logged afterwards does not either. */
static void test_stop_stuck(void **state)
{
    (void)state;
    struct capture c;
    begin(&c);
    emb_log_start();
    for (int i = 0; i < 20000; i++) {
        emb_log(EMB_LOG_INFO, "flood", "line=%d", i);
    }
    emb_log_stop();
    emb_log(EMB_LOG_INFO, "after", "n=1");
    take(&c, 0, 1000);
    emb_log_stop();
    restore(&c);
    assert_true(count("event=flood ") > 1000);
    close(c.read_end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),     cmocka_unit_test(test_json),      cmocka_unit_test(test_levels),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_full_pipe), cmocka_unit_test(test_full_pipe_direct),
        cmocka_unit_test(test_stop_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
