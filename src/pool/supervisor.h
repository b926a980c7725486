/* The first process: owns sockets and the model's memory, starts all others, watches them, and puts new ones in the place of those
 * that end. One thread; it reads no model and no request, so that hardly anything can happen to it. */
#ifndef EMB_SUPERVISOR_H
#define EMB_SUPERVISOR_H

#include "pool/setup.h"

/* What the loader found. */
struct emb_loaded {
    size_t context_length, recommended_length, dim;
};

struct emb_supervisor_options {
    const char *host;
    int port;                /* negative: none, and host is not looked at */
    const char *unix_socket; /* path of a Unix socket to listen on too, or NULL */
    unsigned unix_mode, backlog;
    struct emb_setup setup; /* model_path, layout, vectors, log; the rest is the supervisor's */
    int argc;               /* the command's arguments, which the front parses again */
    char *const *argv;
    unsigned stuck_ms; /* busy so long without progress: killed */
    unsigned drain_ms; /* the most that a graceful stop may take */
    bool
        core_dumps; /* leave the limit and filter of core dumps as they are; otherwise none of a process's memory is dumped */
    /* Called once the model is packed: may check and set setup->max_length. Its failure is the supervisor's. */
    int (*loaded)(void *arg, const struct emb_loaded *model, struct emb_setup *setup, embellama_error *error);
    void *arg;
};

/* Runs the server. Returns 0 after SIGTERM, SIGINT or a request to drain once all that was held is answered. Errors: what kept it from
 * starting (model, address, a process); E_IO where the stop was not graceful: a second signal, or out of time. No process of its own
 * is left behind in any case. */
int emb_supervisor_run(const struct emb_supervisor_options *options, embellama_error *error);

#endif
