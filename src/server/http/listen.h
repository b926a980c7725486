/* The front: listening sockets, the connections they bring, their limits and time limits, and the graceful stop.
 *
 * Usable with any routes on any loop; the model and the scheduler are server.c's. Everything runs on the loop's thread. */
#ifndef EMB_LISTEN_H
#define EMB_LISTEN_H

#include <uv.h>

#include "embellama/embellama.h"
#include "server/http/front_limits.h"
#include "server/http/router.h"

struct emb_conn;
struct emb_tls_context; /* server/http/tls.h */
struct emb_metrics;     /* server/observe/metrics.h */

struct emb_front_options {
    const int *listeners; /* bound sockets, the front's from now on, whether opening succeeds or not */
    size_t listener_count;
    struct emb_front_limits limits;
    struct emb_access *access;      /* who may do what; NULL: everybody everything */
    const struct emb_route *routes; /* must live as long as the front */
    struct emb_server *server;      /* handed to the handlers */
    struct emb_metrics *metrics;    /* counts what is answered; or NULL */
    struct emb_tls_context *tls;    /* for connections over TCP; NULL: none */
};

struct emb_front;

/* Listens. Other processes may have the same sockets. Errors: E_IO, E_NOMEM. */
int emb_front_open(struct emb_front **out, uv_loop_t *loop, const struct emb_front_options *options,
                   embellama_error *error);

/* Stops gracefully: answers the requests it has and those that come on connections already made, with "Connection: close",
 * and closes idle connections; after limits.stop_accept_ms new ones are refused, also where another process has the
 * listening sockets open. Then calls stopped, once, from the loop. May be called again: nothing more happens. */
void emb_front_stop(struct emb_front *front, void (*stopped)(void *arg), void *arg);
struct emb_front_stats {
    size_t connections, connections_limit;
    size_t exchanges;           /* requests not yet fully answered */
    size_t held, held_limit;    /* bytes of requests and replies */
    uint64_t accepted, refused; /* connections, ever; refused ones are among the accepted */
};
struct emb_front_stats emb_front_stats(const struct emb_front *front);
bool emb_front_stopping(const struct emb_front *front);

/* Only after stopped was called. NULL is allowed. */
void emb_front_free(struct emb_front *front);

#endif
