/* Binding for clients, and the socket that workers dial. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/sockets.h"

static void test_bound_and_closed(void **state)
{
    (void)state;
    struct emb_sockets s;
    embellama_error error;
    assert_int_equal(emb_sockets_bind(&s, "127.0.0.1", 0, &error), 0);
    assert_int_equal(s.count, 1);
    assert_true(s.port > 0);
    int fd = s.fds[0], listening = 1;
    socklen_t size = sizeof listening;
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fd > EMB_FD_LISTEN + EMB_LISTENERS_MAX);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size), 0);
    assert_int_equal(listening, 0);
    emb_sockets_close(&s);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_all_addresses_one_port(void **state)
{
    (void)state;
    struct emb_sockets s;
    assert_int_equal(emb_sockets_bind(&s, "localhost", 0, NULL), 0);
    assert_true(s.count >= 1 && s.port > 0);
    emb_sockets_close(&s);
}

static void test_refusals(void **state)
{
    (void)state;
    struct emb_sockets s, other;
    embellama_error error;
    char expected[80];
    assert_int_equal(emb_sockets_bind(&s, "127.0.0.1", 0, &error), 0);
    assert_int_equal(listen(s.fds[0], 1), 0);
    assert_int_equal(emb_sockets_bind(&other, "127.0.0.1", s.port, &error), EMBELLAMA_E_IO);
    snprintf(expected, sizeof expected, "cannot listen on 127.0.0.1:%d: Address already in use", s.port);
    assert_string_equal(error.message, expected);
    assert_int_equal(other.count, 0);
    emb_sockets_close(&s);
    assert_int_equal(emb_sockets_bind(&s, "no-such-host.invalid", 0, &error), EMBELLAMA_E_IO);
    assert_non_null(strstr(error.message, "cannot listen on 'no-such-host.invalid': "));
    assert_int_equal(emb_sockets_bind(&s, "", 0, &error), EMBELLAMA_E_INVALID);
    assert_int_equal(emb_sockets_bind(&s, "192.0.2.1", 0, &error), EMBELLAMA_E_IO);
}

static void test_dialling(void **state)
{
    (void)state;
    char name[32], other_name[32];
    uint8_t token[EMB_TOKEN_BYTES], other_token[EMB_TOKEN_BYTES];
    int fd, other;
    assert_int_equal(emb_link_listen(&fd, name, token, NULL), 0);
    assert_int_equal(emb_link_listen(&other, other_name, other_token, NULL), 0);
    assert_string_not_equal(name, other_name);
    assert_memory_not_equal(token, other_token, sizeof token);
    int dialled = emb_link_dial(name), accepted = accept(fd, NULL, NULL);
    assert_true(dialled >= 0 && accepted >= 0);
    assert_int_equal(emb_link_peer(accepted), getpid());
    close(fd);
    assert_int_equal(emb_link_dial(name), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(dialled);
    close(accepted);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound_and_closed),
        cmocka_unit_test(test_all_addresses_one_port),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_dialling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
