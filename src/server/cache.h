/* Vectors of inputs that were computed before.
 *
 * Safe from many threads. Sixteen shards, each with a lock, a table and its share of the bytes; what was not used for
 * longest makes room. Inputs are found by a hash with a random key and then compared in full, so no client can plant
 * another's vector. */
#ifndef EMB_CACHE_H
#define EMB_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "embellama/embellama.h"

struct emb_cache;

struct emb_cache_options {
    size_t bytes;   /* budget, all included; 0: nothing is kept */
    unsigned ttl_s; /* seconds that an entry lives; 0: no end */
    bool by_client; /* a client only finds what it put there itself */
    size_t dim;     /* values of the usual vector, to size the tables */
};

/* What is given by default on this machine: a sixteenth of the memory this process may use, at most 256 MiB. */
size_t emb_cache_default_bytes(void);

/* Errors: E_NOMEM. */
int emb_cache_new(struct emb_cache **out, const struct emb_cache_options *options, embellama_error *error);
void emb_cache_free(struct emb_cache *cache);

/* Names an input. Whatever changes its vector or how its tokens are counted must be in kind or in the bytes. */
struct emb_cache_key {
    uint64_t client;  /* emb_client.id; without by_client it does not matter */
    uint32_t kind;    /* the caller's: text or ids, truncation, model, ... */
    const void *data; /* [size] */
    size_t size;
};

/* Where the input is there with a vector of dim values: copies it to vector, sets *tokens, and returns true. */
bool emb_cache_get(struct emb_cache *cache, const struct emb_cache_key *key, float *vector, size_t dim,
                   uint32_t *tokens);

/* Changes with every clear. To be read before the vector is computed and given to put, so that what was computed before
 * a clear (with an older model, say) does not enter after it. */
uint64_t emb_cache_epoch(const struct emb_cache *cache);

/* Keeps a copy, in place of what was there for the key. Does nothing where the epoch has passed, memory has run out, or
 * the entry is more than an eighth of a shard. */
void emb_cache_put(struct emb_cache *cache, const struct emb_cache_key *key, const float *vector, size_t dim,
                   uint32_t tokens, uint64_t epoch);

/* Nothing that is there now is found any more, in any thread, once this returns. */
void emb_cache_clear(struct emb_cache *cache);

struct emb_cache_stats {
    uint64_t hits, misses, stored, evictions, expired, clears;
    size_t entries, bytes, budget;
};
struct emb_cache_stats emb_cache_stats(struct emb_cache *cache);

#endif
