/* What the supervisor and the processes it started tell each other: whole messages over a socket pair. */
#ifndef EMB_CONTROL_H
#define EMB_CONTROL_H

#include "embellama/embellama.h"

enum emb_control_kind {
    EMB_CONTROL_STOP = 1, /* to front and workers: finish and exit */
    EMB_CONTROL_VERDICT, /* to the front: worker (with pid) is dead; blamed: its work may be the reason; text: how it ended */
    EMB_CONTROL_LOG,    /* to front and workers: value is the new log level; from the front: for all */
    EMB_CONTROL_READY,  /* from the front: it listens */
    EMB_CONTROL_DRAIN,  /* from the front: somebody asked to stop the server */
    EMB_CONTROL_FAILED, /* from the front: it cannot start; value is the status, text the reason */
    EMB_CONTROL_RELOAD, /* to the front: read again what may change while it runs */
    EMB_CONTROL_LOADED, /* from the loader: value is the status; text the reason, or the three sizes */
};

struct emb_control {
    uint32_t kind;
    int32_t worker, pid, value;
    uint32_t blamed;
    uint32_t spare;
    uint64_t context_length, recommended_length, dim;
    char text[256]; /* zero-ended */
};

/* A pair, close-on-exec, both out of the way of the numbers of setup.h. Errors: E_IO. */
int emb_control_pair(int fds[2], embellama_error *error);

/* Never blocks; a message that does not fit is lost (false). */
bool emb_control_send(int fd, const struct emb_control *message);

/* Never blocks. */
enum emb_control_got { EMB_CONTROL_NOTHING, EMB_CONTROL_MESSAGE, EMB_CONTROL_END };
enum emb_control_got emb_control_receive(int fd, struct emb_control *message);

#endif
