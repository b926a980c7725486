/* Token buckets: requests and tokens a second of each client.
 *
 * A bucket holds burst_s seconds' worth and fills at the client's rate. The table is bounded: beyond EMB_LIMITS_CLIENTS
 * the bucket that was not used for longest makes room. On the loop's thread only. */
#ifndef EMB_LIMITS_H
#define EMB_LIMITS_H

#include "server/access/auth.h"

enum { EMB_LIMITS_CLIENTS = 65536 };

enum emb_limit { EMB_LIMIT_REQUESTS, EMB_LIMIT_TOKENS };

struct emb_limit_state {
    double limit;            /* what the bucket holds at most; 0: no such limit, and the rest is 0 too */
    double remaining;        /* in it now */
    uint64_t reset_ms;       /* until it is full */
    uint64_t retry_after_ms; /* of a refusal: until there is enough */
    bool hopeless;           /* of a refusal: there never will be */
};

struct emb_limits;

struct emb_limits *emb_limits_new(void); /* NULL: out of memory */
void emb_limits_free(struct emb_limits *limits);

/* Takes amount out of the client's bucket. False where there is not enough: nothing is taken. state is set either way.
 * now_ns is of a monotonic clock. */
bool emb_limits_charge(struct emb_limits *limits, const struct emb_client *client, enum emb_limit kind, double amount,
                       uint64_t now_ns, struct emb_limit_state *state);

/* Clients in the table. */
size_t emb_limits_count(const struct emb_limits *limits);

enum { EMB_LIMITS_TIME = 32 };

/* A time as OpenAI's x-ratelimit-reset headers have it: "12ms", "1s", "2.812s", "6m0s", "1h0m5s". */
void emb_limits_format(uint64_t ms, char out[EMB_LIMITS_TIME]);

#endif
