/* Setup memory files and starting processes. */
#include "pool/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/memfd.h"
#include "base/status.h"

#define MAGIC 0x50554553u /* "SEUP" */

enum { HIGH_FD = 64, ARGUMENTS_BYTES_MAX = 1 << 22 };

extern char **environ;

enum emb_role emb_role_of(const char *title, int *index)
{
    size_t length = strlen(EMB_TITLE_WORKER);
    if (strcmp(title, EMB_TITLE_LOADER) == 0) {
        return EMB_ROLE_LOADER;
    }
    if (strcmp(title, EMB_TITLE_FRONT) == 0) {
        return EMB_ROLE_FRONT;
    }
    if (strncmp(title, EMB_TITLE_WORKER, length) == 0) {
        char *end;
        long number = strtol(title + length, &end, 10);
        if (end > title + length && *end == '\0' && number >= 0 && number < EMB_WORKERS_MAX) {
            *index = (int)number;
            return EMB_ROLE_WORKER;
        }
    }
    return EMB_ROLE_NONE;
}

/* ---- Setup ---- */

static int write_all(int fd, const void *data, size_t size, embellama_error *error)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno != EINTR) {
            return emb_fail(error, EMBELLAMA_E_IO, "cannot write a process's setup: %s", strerror(errno));
        }
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        }
    }
    return EMBELLAMA_OK;
}

int emb_setup_write(int *out, struct emb_setup *setup, int argc, char *const *argv, embellama_error *error)
{
    int fd = -1;
    size_t bytes = 0;
    for (int i = 0; i < argc; i++) {
        bytes += strlen(argv[i]) + 1;
    }
    if (bytes > ARGUMENTS_BYTES_MAX) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "a command line of %zu bytes is too long", bytes);
    }
    setup->magic = MAGIC;
    setup->size = sizeof *setup;
    setup->arguments = (uint32_t)argc;
    setup->arguments_bytes = (uint32_t)bytes;
    int rc = emb_memfd_new(&fd, "embellama-setup", error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    rc = write_all(fd, setup, sizeof *setup, error);
    for (int i = 0; rc == EMBELLAMA_OK && i < argc; i++) {
        rc = write_all(fd, argv[i], strlen(argv[i]) + 1, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_memfd_seal(fd, error);
    }
    if (rc == EMBELLAMA_OK && (*out = emb_fd_high(fd)) >= 0) {
        return EMBELLAMA_OK;
    }
    if (rc != EMBELLAMA_OK) {
        close(fd);
        return rc;
    }
    return emb_fail(error, EMBELLAMA_E_IO, "too few file descriptors are allowed");
}

int emb_setup_read(struct emb_setup *setup, embellama_error *error)
{
    struct stat st;
    if (!emb_memfd_sealed(EMB_FD_SETUP) || fstat(EMB_FD_SETUP, &st) != 0 ||
        pread(EMB_FD_SETUP, setup, sizeof *setup, 0) != (ssize_t)sizeof *setup || setup->magic != MAGIC ||
        setup->size != sizeof *setup || st.st_size != (off_t)(sizeof *setup + setup->arguments_bytes)) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "only embellama serve starts this process");
    }
    return EMBELLAMA_OK;
}

int emb_setup_arguments(char ***out, const struct emb_setup *setup, embellama_error *error)
{
    size_t count = setup->arguments, bytes = setup->arguments_bytes, head = (count + 1) * sizeof(char *), i = 0;
    char **argv = emb_alloc(1, head + bytes + 1);
    if (!argv) {
        return emb_fail_nomem(error);
    }
    char *text = (char *)argv + head, *end = text + bytes;
    *end = '\0';
    if (pread(EMB_FD_SETUP, text, bytes, sizeof *setup) == (ssize_t)bytes) {
        for (; i < count && text < end; i++) {
            argv[i] = text;
            text += strlen(text) + 1;
        }
    }
    if (i != count) {
        emb_free(argv);
        return emb_fail(error, EMBELLAMA_E_INVALID, "a setup with fewer arguments than it says");
    }
    argv[count] = NULL;
    *out = argv;
    return EMBELLAMA_OK;
}

void emb_child_begin(const struct emb_setup *setup, enum emb_role role, int index)
{
    static char name[32];
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    unsigned given = role == EMB_ROLE_LOADER   ? EMB_FD_BOARD
                     : role == EMB_ROLE_WORKER ? EMB_FD_LINK
                                               : EMB_FD_LISTEN + setup->listeners;
    close_range(given, ~0U, 0);
    for (unsigned fd = EMB_FD_SETUP; fd < given; fd++) {
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    }
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        signal(ignored[i], SIG_IGN);
    }
    prctl(PR_SET_NAME, "embellama");
    if (role == EMB_ROLE_WORKER) {
        snprintf(name, sizeof name, "worker-%d", index);
    } else {
        snprintf(name, sizeof name, "%s", role == EMB_ROLE_LOADER ? "loader" : "front");
    }
    emb_log_set_process(name);
    emb_log_set_format((enum emb_log_format)setup->log_format);
    emb_log_set_level((enum emb_log_level)setup->log_level);
}

/* ---- Starting ---- */

int emb_fd_high(int fd)
{
    if (fd < 0 || fd >= HIGH_FD) {
        return fd;
    }
    int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    close(fd);
    return high;
}

int emb_program_open(int *fd, embellama_error *error)
{
    *fd = emb_fd_high(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    return *fd >= 0 ? EMBELLAMA_OK
                    : emb_fail(error, EMBELLAMA_E_IO, "cannot open this program's own file (is /proc mounted?): %s",
                               strerror(errno));
}

int emb_spawn(pid_t *pid, int program, const char *title, const int *fds, size_t count, embellama_error *error)
{
    char path[32], name[64], *argv[] = {name, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    snprintf(path, sizeof path, "/proc/self/fd/%d", program);
    snprintf(name, sizeof name, "%s", title);
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return emb_fail_nomem(error);
    }
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int failed = 0;
    for (size_t i = 0; i < count && !failed; i++) {
        failed = posix_spawn_file_actions_adddup2(&actions, fds[i], EMB_FD_SETUP + (int)i);
    }
    if (!failed) {
        failed = posix_spawn(pid, path, &actions, &attributes, argv, environ);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed ? emb_fail(error, EMBELLAMA_E_IO, "cannot start '%s': %s", title, strerror(failed)) : EMBELLAMA_OK;
}
