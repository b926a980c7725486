/* Whether a request may go on to its handler: who sends it, what that client may do, and how often.
 *
 * Puts auth.h, limits.h and cors.h together for one front. On the loop's thread only. */
#ifndef EMB_ADMISSION_H
#define EMB_ADMISSION_H

#include "server/access/auth.h"
#include "server/access/limits.h"

struct emb_exchange;
struct emb_route;

struct emb_access_options {
    const char *keys;           /* as in emb_auth_options */
    const char *key_file;       /* likewise */
    double requests_per_minute; /* of each client that has no rate of its own; 0: no limit */
    double tokens_per_minute;   /* likewise */
    const char *cors_origins;   /* as emb_cors_new takes it; NULL: pages of other origins read nothing */
    bool metrics_public;        /* EMB_ROUTE_METRICS routes need no key */
};

struct emb_access;

/* Reads and checks all of it. Errors as emb_auth_new and emb_cors_new. */
int emb_access_new(struct emb_access **out, const struct emb_access_options *options, embellama_error *error);
void emb_access_free(struct emb_access *access);

struct emb_access_stats {
    size_t keys;            /* configured */
    size_t clients;         /* whose buckets are held */
    uint64_t unauthorized;  /* 401 */
    uint64_t forbidden;     /* 403 */
    uint64_t over_requests; /* 429 */
    uint64_t over_tokens;   /* 429 */
    uint64_t preflights;
};
struct emb_access_stats emb_access_stats(const struct emb_access *access);

/* The client of x by its address, before anything else is known. */
void emb_admission_identify(struct emb_exchange *x);

/* What every reply needs, whatever comes of the request; true where that was the whole answer (a preflight). methods:
 * what x's path takes, or "". */
bool emb_admission_greet(struct emb_exchange *x, const char *methods);

/* True: x goes on to the route's handler. False: it was answered with 401, 403 or 429. */
bool emb_admission_pass(struct emb_exchange *x, const struct emb_route *route);

struct emb_charge_refusal {
    unsigned retry_after_ms; /* 0 where hopeless */
    bool hopeless;           /* more than the client's bucket ever holds */
    char message[256];
};

/* Charges x's client for the tokens of its inputs, once they are counted, and adds x-ratelimit-*-tokens to the reply.
 * False where they are too many: to be answered with 429, type "tokens", code "rate_limit_exceeded" and what refusal
 * says; nothing was charged. */
bool emb_admission_charge(struct emb_exchange *x, size_t tokens, struct emb_charge_refusal *refusal);

#endif
