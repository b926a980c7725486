/* The front: listening sockets, the connections they bring, their limits and time limits, and the graceful stop.
 *
 * Usable with any routes on any loop; the model and the scheduler are server.c's. Everything runs on the loop's thread. */
#ifndef EMB_LISTEN_H
#define EMB_LISTEN_H

#include <uv.h>

#include "server/http1.h"
#include "server/server.h"

struct emb_conn;

/* Limits; times in milliseconds. */
struct emb_front_limits {
    struct emb_http1_limits http1;
    size_t connections;       /* beyond it 503 and close; lowered to what the process may open files */
    size_t pipelined;         /* requests of one connection that are not fully answered; reading stops there */
    size_t unanswered;        /* bytes of one connection's requests and replies; beyond it no further request is read */
    size_t held;              /* bytes of requests and replies in all connections; beyond it 503 */
    size_t least_rate;        /* bytes a second a body must come, or a reply be read, after the first grace time */
    unsigned head_ms;         /* from a request's first byte to the end of its head */
    unsigned body_ms;         /* between two pieces of a body, and grace time of the least rate */
    unsigned idle_ms;         /* a connection without a request */
    unsigned write_ms;        /* a reply of which the client reads nothing, and grace time of the least rate */
    bool half_close;          /* a client that closed its side still gets what is pending, else it counts as gone */
    unsigned linger_ms;       /* input after the last reply of a refused connection is read and dropped so long, */
    size_t linger_bytes;      /* or so much, so that the client gets to read the reply */
    unsigned stop_accept_ms;  /* on stop: how long new connections are still taken */
    unsigned stop_idle_ms;    /* on stop: how long idle connections may still bring a request already on its way */
    unsigned stop_partial_ms; /* on stop: how long requests may take that have not come whole */
};

struct emb_front_limits emb_front_limits_default(void);

struct emb_front_options {
    const char *host; /* name or address, "[::1]" too; every address of a name is listened on */
    int port;         /* 0: any free one */
    struct emb_front_limits limits;
    const struct emb_route *routes; /* must live as long as the front */
    struct emb_server *server;      /* handed to the handlers */
};

struct emb_front;

/* Resolves, binds and listens. Errors: E_IO with a sentence that names host and port, E_NOMEM. */
int emb_front_open(struct emb_front **out, uv_loop_t *loop, const struct emb_front_options *options,
                   embellama_error *error);
int emb_front_port(const struct emb_front *front);

/* Stops gracefully: answers the requests it has and those that come on connections already made, with "Connection: close",
 * and closes idle connections; after limits.stop_accept_ms new ones are refused, also where another process has the
 * listening sockets open. Then calls stopped, once, from the loop. May be called again: nothing more happens. */
void emb_front_stop(struct emb_front *front, void (*stopped)(void *arg), void *arg);
bool emb_front_stopping(const struct emb_front *front);

/* Only after stopped was called. NULL is allowed. */
void emb_front_free(struct emb_front *front);

#endif
