/* Messages, writing and signals. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

static void say(const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    fprintf(stderr, "embellama: %s\n", text);
}

void emb_cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

int emb_cli_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    fprintf(stderr, "Try: embellama help%s%s\n", command ? " " : "", command ? command : "");
    return EMB_CLI_USAGE;
}

int emb_cli_write(int fd, const void *data, size_t size, const char *name, embellama_error *error)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno != EINTR) {
            int why = errno;
            return emb_fail_at(error, EMBELLAMA_E_IO, why == EPIPE ? EPIPE : 0, "cannot write to %.120s: %s", name,
                               strerror(why));
        }
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        }
    }
    return EMBELLAMA_OK;
}

int emb_cli_fail(const embellama_error *error)
{
    if (error->code == EMBELLAMA_E_IO && error->offset == EPIPE) {
        return 128 + SIGPIPE;
    }
    emb_cli_say("%s", error->message);
    return error->code == EMBELLAMA_E_RANGE ? EMB_CLI_USAGE : EMB_CLI_FAILED;
}

int emb_cli_print(struct emb_buf *buf)
{
    embellama_error error;
    int rc = buf->failed ? emb_fail_nomem(&error)
                         : emb_cli_write(STDOUT_FILENO, buf->data, buf->size, "standard output", &error);
    emb_buf_clear(buf);
    return rc == EMBELLAMA_OK ? EMB_CLI_OK : emb_cli_fail(&error);
}

/* ---- Signals ------------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t stopped_by;

static void on_signal(int number)
{
    stopped_by = number;
}

void emb_cli_catch_signals(void)
{
    /* No SA_RESTART: a read that waits for input shall end. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    const int signals[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        struct sigaction old;
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(signals[i], &action, NULL);
        }
    }
}

int emb_cli_stopped(void)
{
    return stopped_by;
}
