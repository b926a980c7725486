/* A session of HTTP/2 and its client, without sockets; time is the test's. For cmocka programs. */
#ifndef EMB_H2_PEER_H
#define EMB_H2_PEER_H

#include "h2_client.h"
#include "server/http/http2.h"

#define ENDED H2_END_STREAM

extern struct emb_http2_limits limits; /* of the next session */
extern char letters[1 << 20];

struct body { /* a reply's: of letters */
    size_t size, at;
    bool fails; /* once some was sent */
};
extern const struct emb_http2_replies bodies;

struct peer {
    struct emb_http2 *h;
    struct h2_reader reader;
    struct emb_buf send; /* not yet fed */
    uint64_t now;
    size_t most_out; /* of one pull */
};

/* A test's state. */
int setup(void **state);
int teardown(void **state);

/* A session whose client says hello with the next exchange; and the end of one, so that another may start. */
void start(struct peer *p);
void finish(struct peer *p);

/* Sends what was made, in pieces of step bytes. False: the session failed. */
bool feed_by(struct peer *p, size_t step);

/* Takes all that comes back. */
bool pull(struct peer *p);
void exchange(struct peer *p); /* both */

/* The next frame of that type; others before it are dropped. */
bool find(struct peer *p, unsigned type, struct h2_got *got);

bool next_request(struct peer *p, struct emb_http1_request **r, int *status, struct emb_http2_stream **stream);
struct emb_http2_stream *ask(struct peer *p, uint32_t id); /* a GET that is taken */
void answer(struct peer *p, struct emb_http2_stream *stream, struct body *body);

/* The session was ended by us with that code. */
void expect_ended(struct peer *p, uint32_t code);

#endif
