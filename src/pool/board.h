/* The page that front and workers share with the supervisor, on which each shows that it gets on.
 *
 * Whoever is busy and does not raise its progress for a long time is stuck. Only counters are in it: what somebody writes there who
 * should not makes a process be restarted at worst. */
#ifndef EMB_BOARD_H
#define EMB_BOARD_H

#include <stdatomic.h>

#include "pool/setup.h"

struct emb_board_slot {
    _Alignas(64) _Atomic uint64_t progress; /* raised with each layer computed, or each tick of the front's loop */
    _Atomic uint64_t answered;              /* batches since this process started; the front: 1 once it listens */
    _Atomic uint32_t busy;                  /* also from a worker's start until it takes batches */
};

struct emb_board {
    struct emb_board_slot front;
    struct emb_board_slot workers[EMB_WORKERS_MAX];
    _Atomic uint32_t announced; /* 1 once a front has printed the ready line */
};

/* A new one: *fd is to be handed to the others, *board is mapped for the life of the process. Errors: E_IO. */
int emb_board_new(struct emb_board **board, int *fd, embellama_error *error);

/* Maps the one behind fd for the life of the process. Errors: E_IO. */
int emb_board_map(struct emb_board **board, int fd, embellama_error *error);

#endif
