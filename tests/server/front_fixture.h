/* A front on a loop in its own thread with routes for tests, and a blocking client. */
#ifndef EMB_FRONT_FIXTURE_H
#define EMB_FRONT_FIXTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "server/http/listen.h"

/* Routes: "/" (GET, POST: echoes the body), "/models/{id}" (GET: the id), "/big" (GET: BIG_BYTES), "/hold" (GET, POST:
 * waits for a release; on_gone counts), "/keep" (GET: the same without on_gone), "/release" (POST: answers all that are
 * held, newest first), "/stream/{kind}" (GET: BIG_BYTES of fixture_byte in pieces; kinds: known, unknown, small, empty,
 * fail-first, fail-later, less, more, endless). "/who", "/public", "/metrics" (GET), "/admin" (POST): the client's name,
 * priorities and role, with the flags of their names; "/spend" (POST: charges the tokens its body says). "/flat" (POST: an error in a
 * style of its own). */
#define BIG_BYTES (8u << 20)
#define SMALL_BYTES 1000u

struct fixture {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    uv_prepare_t turn;
    atomic_long turns; /* of the loop */
    struct emb_front *front;
    int port;
    atomic_bool stopped, give_up;
};

extern struct emb_access *fixture_access;       /* of the next front; NULL at first */
extern struct emb_tls_context *fixture_tls;     /* likewise */
extern atomic_int fixture_held;                 /* exchanges waiting in "/hold" and "/keep" */
extern atomic_int fixture_gone;                 /* on_gone calls so far */
extern atomic_int fixture_big;                  /* calls of "/big" so far */
extern atomic_int fixture_pieces, fixture_over; /* calls of the sources of "/stream" so far */

/* The byte at a place of a streamed body. */
char fixture_byte(size_t at);

/* A socket bound to a free port of 127.0.0.1. */
int fixture_bind(int *port);

void fixture_start(struct fixture *f, const struct emb_front_limits *limits);

/* Asks for the graceful stop and returns. */
void fixture_stop(struct fixture *f);

/* Stops, answering what is still held, and waits until it is over; fails the test where handles or bytes are left. */
void fixture_join(struct fixture *f);

/* Blocking sockets with a 20 s timeout. */
int client_open(const struct fixture *f);
bool client_connect(const struct fixture *f, int fd); /* false: refused */
void client_send(int fd, const char *data, size_t size);
void client_puts(int fd, const char *text);

struct reply {
    int status; /* 0: the connection ended */
    char head[2048];
    char *body; /* malloc'd, size bytes and a zero */
    size_t size;
};

/* Reads one reply. bodyless: it answers a HEAD. */
struct reply client_reply(int fd, bool bodyless);
void reply_free(struct reply *r);

/* Value of a reply's header, in one static buffer, or NULL. */
const char *reply_header(const struct reply *r, const char *name);

/* True when the connection ends (FIN or RST) without further bytes. */
bool client_ended(int fd);

/* Waits up to 20 s for counter to reach value. */
bool wait_for(atomic_int *counter, int value);
bool wait_for_least(atomic_int *counter, int value);

#endif
