/* What all commands share: the list of commands, exit codes, messages, and stopping on a signal. */
#ifndef EMB_CLI_H
#define EMB_CLI_H

#include <signal.h>

#include "cli/options.h"

/* Exit codes. One that a signal ended is 128 + its number, as shells count. */
enum { EMB_CLI_OK = 0, EMB_CLI_FAILED = 1, EMB_CLI_USAGE = 2 };

struct emb_cli_command {
    const char *name;
    unsigned bit;
    const char *synopsis; /* what follows the name, "[OPTION…] MODEL" */
    const char *summary;  /* one line */
    const char *about;    /* paragraphs of help, zero-ended lines of at most 100 columns */
    const char *examples;
    int (*run)(const struct emb_cli_options *options); /* returns the exit code */
};

/* Ended by a NULL name. */
extern const struct emb_cli_command emb_cli_commands[];

int emb_cli_embed(const struct emb_cli_options *options);
int emb_cli_tokenize(const struct emb_cli_options *options);
int emb_cli_similarity(const struct emb_cli_options *options);
int emb_cli_rerank(const struct emb_cli_options *options);
int emb_cli_inspect(const struct emb_cli_options *options);
int emb_cli_serve(const struct emb_cli_options *options);
int emb_cli_front(void); /* serve's front process */
int emb_cli_bench(const struct emb_cli_options *options);
int emb_cli_tune(const struct emb_cli_options *options);
int emb_cli_dead_letter(const struct emb_cli_options *options);
int emb_cli_help(const struct emb_cli_options *options);
int emb_cli_version(const struct emb_cli_options *options);
int emb_cli_completion(const struct emb_cli_options *options);

/* The command of that name, or NULL after a message that suggests the nearest. */
const struct emb_cli_command *emb_cli_find_command(const char *name);

/* The pages behind help: the overview, and one command's. Return the exit code. */
int emb_cli_show_overview(void);
int emb_cli_show_help(const struct emb_cli_command *command);

/* "embellama: MESSAGE" on stderr. */
__attribute__((format(printf, 1, 2))) void emb_cli_say(const char *format, ...);

/* The message, and for a usage error where help is. Returns code. */
__attribute__((format(printf, 2, 3))) int emb_cli_usage(const char *command, const char *format, ...);

/* Writes buf to stdout, empties it and returns the exit code: EMB_CLI_FAILED after a message where that failed. */
int emb_cli_print(struct emb_buf *buf);

/* Writes all of data. Errors: E_IO with name and the system's reason. A reader that went away is reported with
 * error->offset = EPIPE, and needs no message. */
int emb_cli_write(int fd, const void *data, size_t size, const char *name, embellama_error *error);

/* Says why, unless a reader went away (see emb_cli_write), and returns the exit code that fits: E_RANGE is an option's value
 * that this model cannot serve, a usage error like any other. */
int emb_cli_fail(const embellama_error *error);

/* SIGINT and SIGTERM from now on only make emb_cli_stopped return their number; a second one ends the process. */
void emb_cli_catch_signals(void);
int emb_cli_stopped(void);

#endif
