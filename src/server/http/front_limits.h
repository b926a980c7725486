/* The front's limits and time limits. */
#ifndef EMB_FRONT_LIMITS_H
#define EMB_FRONT_LIMITS_H

#include "server/http/http1.h"
#include "server/http/http2.h"

/* Times are in milliseconds. */
struct emb_front_limits {
    struct emb_http1_limits http1;
    struct emb_http2_limits http2; /* its guard, streams, window and memory; the rest is as below */
    unsigned backlog;              /* connections that may wait in the kernel, of each listening socket */
    size_t connections;            /* beyond it 503 and close; lowered to what the process may open files */
    size_t pipelined;              /* requests of one connection that are not fully answered; reading stops there */
    size_t unanswered;        /* bytes of one connection's requests and replies; beyond it no further request is read */
    size_t held;              /* bytes of requests and replies in all connections; beyond it 503 */
    size_t least_rate;        /* bytes a second a body must come, or a reply be read, after the first grace time */
    unsigned head_ms;         /* from a request's first byte to the end of its head */
    unsigned body_ms;         /* between two pieces of a body, and grace time of the least rate */
    unsigned idle_ms;         /* a connection without a request */
    unsigned write_ms;        /* a reply of which the client reads nothing, and grace time of the least rate */
    bool half_close;          /* a client that closed its side still gets what is pending, else it counts as gone */
    bool compress;            /* replies to clients that ask for it */
    unsigned linger_ms;       /* input after the last reply of a refused connection is read and dropped so long, */
    size_t linger_bytes;      /* or so much, so that the client gets to read the reply */
    unsigned stop_accept_ms;  /* on stop: how long new connections are still taken */
    unsigned stop_idle_ms;    /* on stop: how long idle connections may still bring a request already on its way */
    unsigned stop_partial_ms; /* on stop: how long requests may take that have not come whole */
};

struct emb_front_limits emb_front_limits_default(void);

#endif
