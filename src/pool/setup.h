/* How the server's processes start each other, and what each is told.
 *
 * Every process is this program started again, from a descriptor of its file that was opened at the very start, so that an upgrade
 * on disk cannot mix versions. argv[0] says which it is and is what ps shows; all else stands in a sealed memory file. */
#ifndef EMB_SETUP_H
#define EMB_SETUP_H

#include <sys/types.h>

#include "embellama/embellama.h"

enum emb_role { EMB_ROLE_NONE, EMB_ROLE_LOADER, EMB_ROLE_FRONT, EMB_ROLE_WORKER };

#define EMB_TITLE_SUPERVISOR "embellama: supervisor"
#define EMB_TITLE_LOADER "embellama: loader"
#define EMB_TITLE_FRONT "embellama: front"
#define EMB_TITLE_WORKER "embellama: worker " /* and its number */

enum { EMB_WORKERS_MAX = 128, EMB_LISTENERS_MAX = 8, EMB_TOKEN_BYTES = 16 };

/* Descriptors of a started process. A loader has the first three, a worker the first four, the front all. */
enum {
    EMB_FD_SETUP = 3,
    EMB_FD_CONTROL, /* to the supervisor (control.h); its end means that the other is gone */
    EMB_FD_WEIGHTS,
    EMB_FD_BOARD,  /* board.h */
    EMB_FD_LINK,   /* where workers dial in (sockets.h) */
    EMB_FD_LISTEN, /* setup.listeners of them */
};

struct emb_setup {
    uint32_t magic, size; /* written by emb_setup_write */
    int32_t workers, threads;
    uint64_t batch_tokens, shard_tokens;
    uint64_t max_length; /* tokens of one input; 0: the model's context */
    int32_t pooling, normalize, precision;
    float p;
    int32_t log_level, log_format;
    uint32_t numa;
    uint32_t listeners;
    int32_t port;                   /* that the listening sockets have */
    uint8_t token[EMB_TOKEN_BYTES]; /* what a worker proves itself with */
    char link[32];                  /* abstract name of the socket that workers dial */
    char cpu[32];                   /* tier, or "" */
    char pack_cache[4096];          /* folder, or "" */
    char model_path[4096];
    uint32_t arguments; /* of the command line, for the front: zero-ended strings behind this struct */
    uint32_t arguments_bytes;
};

/* The role that argv[0] names; *index becomes a worker's number. */
enum emb_role emb_role_of(const char *title, int *index);

/* A sealed memory file with setup and arguments (argc of them). Errors: E_IO. */
int emb_setup_write(int *fd, struct emb_setup *setup, int argc, char *const *argv, embellama_error *error);

/* In a started process: reads the setup from EMB_FD_SETUP. Errors: E_INVALID where this is not a process that a supervisor started. */
int emb_setup_read(struct emb_setup *setup, embellama_error *error);

/* Its arguments: *argv is an array of setup->arguments strings and a NULL, one block to free with emb_free. Errors: E_INVALID,
 * E_NOMEM. */
int emb_setup_arguments(char ***argv, const struct emb_setup *setup, embellama_error *error);

/* First thing in a started process: closes descriptors beyond the ones it was given, ignores the signals that a terminal or a service
 * manager sends to all, names itself. */
void emb_child_begin(const struct emb_setup *setup, enum emb_role role, int index);

/* Moves fd out of the way of the numbers above; close-on-exec. Closes fd; -1 where that failed, or where fd is -1. */
int emb_fd_high(int fd);

/* This program's file, for emb_spawn. Errors: E_IO. */
int emb_program_open(int *fd, embellama_error *error);

/* Starts program with title as argv[0]; fds[0..count) become descriptors 3 and following, the standard ones stay. Signals are
 * unblocked in it. Errors: E_IO. */
int emb_spawn(pid_t *pid, int program, const char *title, const int *fds, size_t count, embellama_error *error);

#endif
