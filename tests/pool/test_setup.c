/* Roles, setups, and a process started with them: this program again, as a child. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "pool/board.h"
#include "pool/control.h"
#include "pool/setup.h"
#include "pool/title.h"

static void test_roles(void **state)
{
    (void)state;
    int index = -1;
    assert_int_equal(emb_role_of("embellama: loader", &index), EMB_ROLE_LOADER);
    assert_int_equal(emb_role_of("embellama: front", &index), EMB_ROLE_FRONT);
    assert_int_equal(emb_role_of("embellama: worker 0", &index), EMB_ROLE_WORKER);
    assert_int_equal(index, 0);
    assert_int_equal(emb_role_of("embellama: worker 127", &index), EMB_ROLE_WORKER);
    assert_int_equal(index, 127);
    const char *const others[] = {"embellama",
                                  "embellama-server",
                                  "",
                                  "embellama: ",
                                  "embellama: worker ",
                                  "embellama: worker 128",
                                  "embellama: worker -1",
                                  "embellama: worker 1x",
                                  "embellama: supervisor",
                                  "embellama: loaders"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(emb_role_of(others[i], &index), EMB_ROLE_NONE);
    }
}

/* Without a supervisor's setup nothing is believed. */
static void test_no_setup(void **state)
{
    (void)state;
    struct emb_setup setup;
    embellama_error error;
    int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 100);
    close(EMB_FD_SETUP);
    assert_int_equal(emb_setup_read(&setup, &error), EMBELLAMA_E_INVALID);
    assert_int_equal(dup2(fd, EMB_FD_SETUP), EMB_FD_SETUP);
    assert_int_equal(emb_setup_read(&setup, &error), EMBELLAMA_E_INVALID);
    close(EMB_FD_SETUP);
    close(fd);
}

enum { CHILD_OK = 40, CHILD_NO_SETUP, CHILD_BAD_SETUP, CHILD_BAD_ARGUMENTS, CHILD_BAD_FDS, CHILD_BAD_SIGNALS };

/* What the child finds wrong, or CHILD_OK; told by its exit code, and as worker in a message. */
static int child(int index)
{
    struct emb_setup setup;
    char **argv;
    struct emb_control message = {.kind = EMB_CONTROL_READY, .worker = index};
    if (emb_setup_read(&setup, NULL) != 0) {
        return CHILD_NO_SETUP;
    }
    int stray = open("/dev/null", O_RDONLY); /* taken for one that was inherited */
    emb_child_begin(&setup, EMB_ROLE_WORKER, index);
    if (setup.workers != 3 || strcmp(setup.model_path, "/some/model") != 0) {
        return CHILD_BAD_SETUP;
    }
    if (emb_setup_arguments(&argv, &setup, NULL) != 0 || setup.arguments != 3 || strcmp(argv[0], "--port") != 0 ||
        strcmp(argv[1], "") != 0 || strcmp(argv[2], "a b") != 0 || argv[3]) {
        return CHILD_BAD_ARGUMENTS;
    }
    emb_free(argv);
    if (fcntl(stray, F_GETFD) != -1 || fcntl(EMB_FD_BOARD, F_GETFD) == -1) {
        return CHILD_BAD_FDS;
    }
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGINT);
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&blocked, SIGTERM)) {
        return CHILD_BAD_SIGNALS;
    }
    emb_control_send(EMB_FD_CONTROL, &message);
    struct emb_board *board;
    if (emb_board_map(&board, EMB_FD_BOARD, NULL) != 0) {
        return CHILD_BAD_FDS;
    }
    atomic_fetch_add(&board->workers[index].progress, 5);
    return CHILD_OK;
}

static void test_child(void **state)
{
    (void)state;
    char port[] = "--port", empty[] = "", spaced[] = "a b", *argv[] = {port, empty, spaced, NULL};
    struct emb_setup setup = {.workers = 3, .model_path = "/some/model"};
    struct emb_board *board;
    struct emb_control message;
    int program, pair[2], setup_fd, board_fd, status;
    pid_t pid;
    sigset_t set;
    assert_int_equal(emb_program_open(&program, NULL), 0);
    assert_int_equal(emb_setup_write(&setup_fd, &setup, 3, argv, NULL), 0);
    assert_int_equal(emb_board_new(&board, &board_fd, NULL), 0);
    assert_int_equal(emb_control_pair(pair, NULL), 0);
    const int fds[] = {setup_fd, pair[1], setup_fd, board_fd};
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    assert_int_equal(emb_spawn(&pid, program, "embellama: worker 9", fds, 4, NULL), 0);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    close(pair[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_OK);
    assert_int_equal(emb_control_receive(pair[0], &message), EMB_CONTROL_MESSAGE);
    assert_int_equal(message.worker, 9);
    assert_int_equal(emb_control_receive(pair[0], &message), EMB_CONTROL_END);
    assert_int_equal(atomic_load(&board->workers[9].progress), 5);
    close(pair[0]);
    close(program);
    close(setup_fd);
    close(board_fd);
}

static void test_control(void **state)
{
    (void)state;
    int pair[2];
    struct emb_control message = {.kind = EMB_CONTROL_STOP}, got;
    memset(message.text, 'x', sizeof message.text);
    assert_int_equal(emb_control_pair(pair, NULL), 0);
    assert_int_equal(emb_control_receive(pair[0], &got), EMB_CONTROL_NOTHING);
    assert_true(emb_control_send(pair[1], &message));
    assert_int_equal(emb_control_receive(pair[0], &got), EMB_CONTROL_MESSAGE);
    assert_int_equal(strlen(got.text), sizeof got.text - 1);
    while (emb_control_send(pair[1], &message)) { /* until nothing more fits: it must not block */
    }
    assert_int_equal(send(pair[0], "short", 5, MSG_DONTWAIT), 5);
    assert_int_equal(emb_control_receive(pair[1], &got), EMB_CONTROL_END);
    close(pair[0]);
    assert_false(emb_control_send(pair[1], &message));
    close(pair[1]);
}

/* The command line that ps shows, of this process. */
static size_t command_line(char *out, size_t size)
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    assert_true(n > 0);
    out[n] = '\0';
    return (size_t)n;
}

static void test_title(void **state)
{
    char shown[4096], **argv = *state;
    assert_string_equal(argv[1], "an argument"); /* moved, not lost */
    setenv("TITLE_TEST", "value", 1);
    emb_title_set("embellama: a title");
    size_t size = command_line(shown, sizeof shown);
    assert_string_equal(shown, "embellama: a title");
    for (size_t i = strlen(shown); i < size; i++) {
        assert_int_equal(shown[i], '\0');
    }
    emb_title_set(
        "embellama: a title that is longer than all the arguments that this program was started with, by far, "
        "so that it reaches into the place of the environment's strings");
    command_line(shown, sizeof shown);
    assert_int_equal(strncmp(shown, "embellama: a title that is longer than all the arguments", 56), 0);
    assert_string_equal(getenv("TITLE_TEST"), "value");
    assert_non_null(getenv("PATH"));
    assert_string_equal(argv[1], "an argument");
}

int main(int argc, char **argv)
{
    int index = 0;
    if (emb_role_of(argv[0], &index) == EMB_ROLE_WORKER) {
        return child(index);
    }
    if (argc < 2) { /* once more with an argument, to see it go */
        char argument[] = "an argument", *again[] = {argv[0], argument, NULL};
        execv("/proc/self/exe", again);
        return 1;
    }
    emb_title_begin(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_no_setup),
        cmocka_unit_test(test_child),
        cmocka_unit_test(test_control),
        cmocka_unit_test_prestate(test_title, argv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
