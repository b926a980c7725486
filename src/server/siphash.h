/* SipHash-2-4 with 128 bits out: a hash that nobody without the key can make collide. Source: Aumasson and Bernstein,
 * "SipHash: a fast short-input PRF". */
#ifndef EMB_SIPHASH_H
#define EMB_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct emb_siphash_key {
    uint64_t low, high;
};

struct emb_siphash {
    uint64_t low, high;
};

/* A key from the system's random numbers; where there are none, from addresses and the time. */
struct emb_siphash_key emb_siphash_random_key(void);

/* data[0..size). */
struct emb_siphash emb_siphash_of(struct emb_siphash_key key, const void *data, size_t size);

#endif
