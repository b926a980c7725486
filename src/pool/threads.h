/* A pool whose workers are threads of this process: for `embellama tune` and tests. Nothing survives a crash here, so
 * batches are never lost and workers never gone. */
#ifndef EMB_POOL_THREADS_H
#define EMB_POOL_THREADS_H

#include <uv.h>

#include "pool/worker.h"

/* Its handle never keeps the loop alive. Errors: those of the engine's start, E_NOMEM, E_IO. */
int emb_thread_pool_new(struct emb_pool **out, uv_loop_t *loop, const struct emb_pool_engine *engine,
                        struct emb_pool_layout layout, embellama_error *error);

#endif
