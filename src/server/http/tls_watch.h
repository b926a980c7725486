/* The certificate of a running server: read again when its files change, or when asked to. */
#ifndef EMB_TLS_WATCH_H
#define EMB_TLS_WATCH_H

#include <uv.h>

#include "server/http/tls.h"

struct emb_tls_watch {
    struct emb_tls_context *context; /* NULL: no TLS */
    uv_timer_t timer;                /* does not keep the loop alive */
    bool watching;
};

/* Reads certificate and key; without options->cert nothing happens. Errors: as emb_tls_context_new. */
int emb_tls_watch_open(struct emb_tls_watch *watch, uv_loop_t *loop, const struct emb_tls_options *options,
                       embellama_error *error);

/* Reads the files again now. What cannot be used is logged, and what was there is kept. */
void emb_tls_watch_reload(struct emb_tls_watch *watch);

/* Stops looking; then, once the loop has run and no connection is left, frees. */
void emb_tls_watch_stop(struct emb_tls_watch *watch);
void emb_tls_watch_free(struct emb_tls_watch *watch);

#endif
