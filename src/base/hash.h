/* Identity of bytes: XXH3, 128 and 64 bits. Fast (memory speed) and of good quality, but not secret: whoever writes the bytes can
 * make two of the same hash. */
#ifndef EMB_HASH_H
#define EMB_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emb_hash {
    uint64_t low, high;
};

/* data[0..size); NULL with size 0 is allowed. */
struct emb_hash emb_hash_of(const void *data, size_t size);
uint64_t emb_hash64_of(const void *data, size_t size);

/* Chains: *hash becomes the hash of itself and the hash of data, so that the parts and their borders count, in order. */
void emb_hash_add(struct emb_hash *hash, const void *data, size_t size);

enum { EMB_HASH_HEX = 32 };

/* 32 lower-case hexadecimal digits and a zero. */
void emb_hash_print(struct emb_hash hash, char out[EMB_HASH_HEX + 1]);

/* Reads what emb_hash_print writes, whatever follows it; false for anything else. */
bool emb_hash_parse(const char *text, struct emb_hash *out);

#endif
