/* What a request's headers ask of its treatment: how urgent it is, how long it may take, whether a part of an answer will do,
 * and what of the cache. */
#ifndef EMB_EMBED_TERMS_H
#define EMB_EMBED_TERMS_H

#include "api/refusal.h"
#include "server/access/auth.h"
#include "server/schedule/scheduler.h"

struct emb_embed_terms {
    enum emb_priority priority; /* x-priority: high, normal, low */
    unsigned timeout_ms;        /* x-request-timeout-ms, at most the server's; 0: none */
    bool partial;               /* x-allow-partial: true */
    bool read_cache;            /* false with cache-control: no-cache or no-store */
    bool write_cache;           /* false with cache-control: no-store */
};

/* timeout_ms is the server's, 0: none. Returns 0, or -1 with the refusal filled. */
int emb_embed_terms_read(struct emb_embed_terms *terms, const struct emb_exchange *x, unsigned timeout_ms,
                         struct emb_refusal *refusal);

#endif
