/* A pool whose workers are processes that dial in: the front's side of the wire.
 *
 * A worker counts as ready once it has answered a small batch of the pool's own. One that goes away leaves its batches in doubt until
 * the supervisor's verdict comes, or a second has passed; only then are they lost, and only then does its successor get work. */
#ifndef EMB_LINK_H
#define EMB_LINK_H

#include <uv.h>

#include "pool/pool.h"
#include "pool/setup.h"
#include "pool/wire.h"

enum { EMB_LINK_INPUTS_MAX = 4096, EMB_LINK_TOKENS_MAX = 1 << 22 }; /* of a batch */

struct emb_link_options {
    int listener; /* taken over */
    const uint8_t *token;
    struct emb_pool_layout layout;
    size_t dim, labels;   /* of the model */
    const int32_t *probe; /* the small batch: one input, copied; a model that has labels scores it */
    size_t probe_count;
    unsigned verdict_ms;      /* how long a verdict is waited for; 0: a second */
    void (*ready)(void *arg); /* or NULL: the first worker is */
    void *arg;
};

/* Its handles never keep the loop alive. Errors: E_NOMEM, E_IO; the listener is closed then, too. */
int emb_link_pool_new(struct emb_pool **out, uv_loop_t *loop, const struct emb_link_options *options,
                      embellama_error *error);

/* Worker, which was process pid, is dead; blamed: what it computed may be the reason. Before or after its end is seen on the wire. */
void emb_link_pool_verdict(struct emb_pool *pool, int worker, int pid, bool blamed, const char *reason);

#endif
