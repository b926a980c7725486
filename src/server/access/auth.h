/* Who a request comes from: API keys and what their holders may do.
 *
 * Keys are kept and compared as SHA-256, in constant time over all of them, and are never logged. Read-only once made.
 * Knows nothing of HTTP but the form of three header values. */
#ifndef EMB_AUTH_H
#define EMB_AUTH_H

#include "embellama/embellama.h"

enum { EMB_PRIORITIES_ALL = 7 };

/* Strings live as long as the emb_auth. */
struct emb_client {
    const char *name;      /* the key's name; "anonymous" without a key */
    uint64_t id;           /* whose it is: of the key, or of the address of an anonymous client; never 0 */
    bool admin;            /* may use admin routes */
    unsigned priorities;   /* bit 1 << p for each enum emb_priority p that it may ask for */
    double requests_per_s; /* 0: no limit */
    double tokens_per_s;   /* 0: no limit */
    double burst_s;        /* so many seconds' worth may be used at once */
};

struct emb_auth_options {
    const char *keys;           /* "KEY,KEY", users named key-1, key-2, or NULL */
    const char *key_file;       /* YAML, see docs/embellama.1, or NULL */
    struct emb_client defaults; /* what a key has that its entry does not say */
};

struct emb_auth;

/* Errors: E_IO, E_INVALID (with file, line and column), E_NOMEM. */
int emb_auth_new(struct emb_auth **out, const struct emb_auth_options *options, embellama_error *error);
void emb_auth_free(struct emb_auth *auth);

/* Number of keys. */
size_t emb_auth_count(const struct emb_auth *auth);

/* Whose key key[0..size) is, or NULL. */
const struct emb_client *emb_auth_find(const struct emb_auth *auth, const char *key, size_t size);

/* The token in an Authorization header's value ("Bearer TOKEN", the scheme in any case and also twice), or NULL where
 * it has another scheme or is empty. Points into value. */
const char *emb_auth_bearer(const char *value);

#endif
