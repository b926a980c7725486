/* Many connections, too few descriptors, and a stop that goes on answering for a while. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "front_fixture.h"
#include "server/http/connection.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define HOLD "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
#define RELEASE "POST /release HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
#define MANY 1000

static struct fixture fixture;

static int status_of(int fd)
{
    struct reply r = client_reply(fd, false);
    reply_free(&r);
    return r.status;
}

/* Room for both ends of so many connections. */
static bool room_for(rlim_t connections)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < connections * 2 + 100 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return files.rlim_cur >= connections * 2 + 100;
}

/* All idle, then a request on each at once, then one more on each. */
static void test_thousand(void **state)
{
    static int fds[MANY];
    struct emb_front_limits limits = emb_front_limits_default();
    (void)state;
    if (!room_for(MANY)) {
        skip();
    }
    fixture_start(&fixture, &limits);
    for (int i = 0; i < MANY; i++) {
        fds[i] = client_open(&fixture);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            client_puts(fds[i], GET);
        }
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(status_of(fds[i]), 200);
        }
    }
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
    }
    fixture_join(&fixture);
}

/* More requests come in a row than are taken at once, and some of those that waited are answered at once and others not: the rest
 * still waits in its order, and what comes behind it waits in the kernel. */
static void test_pipeline_beyond_its_buffer(void **state)
{
    enum { PADDING = 4000, WAITING = 10, MORE = 15 };
    static char padded[PADDING + 100], text[MORE * sizeof padded + 200];
    struct emb_front_limits limits = emb_front_limits_default();
    (void)state;
    limits.pipelined = 1;
    fixture_start(&fixture, &limits);
    snprintf(padded, sizeof padded, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", PADDING, 0);
    int fd = client_open(&fixture), other = client_open(&fixture);
    size_t size = (size_t)snprintf(text, sizeof text, HOLD GET HOLD);
    for (int i = 0; i < WAITING; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "%s", padded);
    }
    client_send(fd, text, size);
    assert_true(wait_for(&fixture_held, 1));
    client_puts(other, RELEASE);
    assert_int_equal(status_of(other), 200);
    assert_int_equal(status_of(fd), 200);
    assert_int_equal(status_of(fd), 200);
    assert_true(wait_for(&fixture_held, 1));
    size = 0;
    for (int i = 0; i < MORE; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "%s", padded);
    }
    client_send(fd, text, size);
    usleep(100000);
    client_puts(other, RELEASE);
    assert_int_equal(status_of(other), 200);
    for (int i = 0; i < 1 + WAITING + MORE; i++) {
        assert_int_equal(status_of(fd), 200);
    }
    close(fd);
    close(other);
    fixture_join(&fixture);
}

/* No descriptor is left: those accepted are served, the others wait, nothing spins, and all are served in the end. */
static void test_no_descriptors(void **state)
{
    enum { CLIENTS = 40, FREE = 10 };
    int fds[CLIENTS], spare[FREE];
    struct emb_front_limits limits = emb_front_limits_default();
    struct rlimit files, fewer;
    (void)state;
    fixture_start(&fixture, &limits);
    int first = client_open(&fixture); /* libuv opens one of its own for the first connection */
    client_puts(first, GET);
    assert_int_equal(status_of(first), 200);
    for (int i = 0; i < CLIENTS; i++) {
        struct timeval limit = {.tv_sec = 20};
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    for (int i = 0; i < FREE; i++) {
        spare[i] = dup(0);
    }
    getrlimit(RLIMIT_NOFILE, &files);
    fewer = files;
    fewer.rlim_cur = (rlim_t)spare[FREE - 1] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &fewer), 0);
    for (int i = 0; i < FREE; i++) {
        close(spare[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(client_connect(&fixture, fds[i]));
        client_puts(fds[i], GET);
    }
    for (int i = 0; i < FREE; i++) {
        assert_int_equal(status_of(fds[i]), 200);
    }
    long turns = atomic_load(&fixture.turns);
    usleep(1000000);
    turns = atomic_load(&fixture.turns) - turns;
    assert_true(turns < 1000);
    client_puts(first, GET);
    assert_int_equal(status_of(first), 200);
    char byte;
    assert_int_equal(recv(fds[CLIENTS - 1], &byte, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < CLIENTS; i++) {
        if (i >= FREE) {
            assert_int_equal(status_of(fds[i]), 200);
        }
        shutdown(fds[i], SHUT_RDWR); /* the descriptor stays ours, so that the server alone gets one back */
    }
    setrlimit(RLIMIT_NOFILE, &files);
    close(first);
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
    fixture_join(&fixture);
}

/* A server of its own with few descriptors, until in ends. */
static void serve_with_few(int in, int out)
{
    struct rlimit files = {.rlim_cur = 64, .rlim_max = 64};
    struct emb_front_limits limits = emb_front_limits_default();
    char byte;
    setrlimit(RLIMIT_NOFILE, &files);
    fixture_start(&fixture, &limits);
    if (write(out, &fixture.port, sizeof fixture.port) != sizeof fixture.port || read(in, &byte, 1) != 0) {
        abort();
    }
    fixture_join(&fixture);
    _exit(0);
}

/* A process that may open few files takes fewer connections: it says so, one by one, and has descriptors left. */
static void test_few_descriptors(void **state)
{
    enum { CLIENTS = 100 };
    int fds[CLIENTS], to[2], from[2], status, served = 0, refused = 0;
    (void)state;
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        close(to[1]);
        serve_with_few(to[0], from[1]);
    }
    assert_int_equal(read(from[0], &fixture.port, sizeof fixture.port), sizeof fixture.port);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(&fixture);
        client_puts(fds[i], GET);
        status = status_of(fds[i]);
        assert_true(status == 200 || status == 503 || status == 0);
        served += status == 200;
        refused += status == 503;
        if (status != 200) {
            close(fds[i]);
            fds[i] = -1;
        }
    }
    assert_in_range(served, 30, 60);
    assert_true(refused > 0);
    for (int i = 0; i < CLIENTS; i++) {
        if (fds[i] >= 0) {
            client_puts(fds[i], GET);
            assert_int_equal(status_of(fds[i]), 200);
            close(fds[i]);
        }
    }
    status = 0;
    for (int i = 0; i < 1000 && status != 200; i++) {
        int fd = client_open(&fixture);
        client_puts(fd, GET);
        status = status_of(fd);
        close(fd);
        usleep(5000);
    }
    assert_int_equal(status, 200);
    close(to[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(to[0]);
    close(from[0]);
    close(from[1]);
}

/* New connections are answered until the delay is over, then refused, even while another holds the listening socket. */
static void test_stop_delay(void **state)
{
    struct emb_front_limits limits = emb_front_limits_default();
    (void)state;
    limits.stop_accept_ms = 3000;
    fixture_start(&fixture, &limits);
    int holder = dup(fixture.front->listeners[0].fd);
    int held = client_open(&fixture);
    client_puts(held, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(wait_for(&fixture_held, 1));
    long turns = atomic_load(&fixture.turns);
    fixture_stop(&fixture);
    while (atomic_load(&fixture.turns) < turns + 2) {
        usleep(1000);
    }
    int late = client_open(&fixture);
    client_puts(late, GET);
    struct reply r = client_reply(late, false);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_header(&r, "connection"), "close");
    reply_free(&r);
    assert_true(client_ended(late));
    close(late);
    bool refused = false;
    for (int i = 0; i < 200 && !refused; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        refused = !client_connect(&fixture, fd);
        close(fd);
        usleep(100000);
    }
    assert_true(refused);
    assert_false(atomic_load(&fixture.stopped));
    close(held);
    uv_thread_join(&fixture.thread);
    assert_true(atomic_load(&fixture.stopped));
    assert_int_equal(uv_loop_close(&fixture.loop), 0);
    close(holder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_descriptors), /* forks: before there are threads */
        cmocka_unit_test(test_thousand),        cmocka_unit_test(test_pipeline_beyond_its_buffer),
        cmocka_unit_test(test_no_descriptors),  cmocka_unit_test(test_stop_delay),
    };
    signal(SIGPIPE, SIG_IGN);
    emb_log_set_level(EMB_LOG_ERROR);
    return cmocka_run_group_tests_name("http_limits", tests, NULL, NULL);
}
