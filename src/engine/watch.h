/* Seeing from outside that a context gets on. */
#ifndef EMB_WATCH_H
#define EMB_WATCH_H

#include <stdatomic.h>

#include "embellama/embellama.h"

/* Whatever the context computes from now on raises *counter by one after each layer of the model; NULL: no more. */
void emb_ctx_count_layers(embellama_ctx *ctx, _Atomic uint64_t *counter);

#endif
