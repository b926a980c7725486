/* The circuit breaker of a model: whether trying to compute makes sense.
 *
 * Closed: all is well. After several failures in a row with no success between them it opens: nothing is tried for a
 * while, twice as long each time. Then one batch is let through (half open): a success closes it, a failure opens it
 * again. */
#ifndef EMB_BREAKER_H
#define EMB_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "server/schedule/scheduler.h"

enum { EMB_BREAKER_FAILURES = 5 };
#define EMB_BREAKER_OPEN_NS UINT64_C(1000000000) /* at first */
#define EMB_BREAKER_OPEN_MAX_NS (30 * EMB_BREAKER_OPEN_NS)

struct emb_breaker {
    bool tripped;      /* not closed */
    bool probing;      /* its one batch is on its way */
    unsigned failures; /* in a row */
    uint64_t until_ns; /* open until then */
    uint64_t open_ns;  /* how long it was opened for */
    uint64_t opened;   /* times */
};

/* A zeroed breaker is closed. */
enum emb_breaker_state emb_breaker_state(const struct emb_breaker *b, uint64_t now_ns);

/* Whether a batch may be sent now, and: one is. */
bool emb_breaker_allows(const struct emb_breaker *b, uint64_t now_ns);
void emb_breaker_sent(struct emb_breaker *b);

/* What became of a batch, or a worker that died for no input's sake. */
void emb_breaker_succeeded(struct emb_breaker *b);
void emb_breaker_failed(struct emb_breaker *b, uint64_t now_ns);

/* A batch whose fate says nothing: it was lost because of an input. */
void emb_breaker_unknown(struct emb_breaker *b);

#endif
