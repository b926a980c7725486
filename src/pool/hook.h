/* Where a build for tests lets a worker or the loader go wrong on purpose; anywhere else these are nothing. */
#ifndef EMB_HOOK_H
#define EMB_HOOK_H

#include "pool/pool.h"

#ifdef EMBELLAMA_TEST_HOOKS
void emb_hook_batch(const struct emb_pool_batch *batch); /* a worker is about to compute it */
void emb_hook_load(void);                                /* the loader is about to read the model */
#else
static inline void emb_hook_batch(const struct emb_pool_batch *batch)
{
    (void)batch;
}
static inline void emb_hook_load(void)
{
}
#endif

#endif
