/* XXH3 of xxhash.h, compiled in: nothing to link. */
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct emb_hash emb_hash_of(const void *data, size_t size)
{
    XXH128_hash_t h = XXH3_128bits(size ? data : "", size);
    return (struct emb_hash){h.low64, h.high64};
}

uint64_t emb_hash64_of(const void *data, size_t size)
{
    return XXH3_64bits(size ? data : "", size);
}

void emb_hash_add(struct emb_hash *hash, const void *data, size_t size)
{
    struct emb_hash both[2] = {*hash, emb_hash_of(data, size)};
    *hash = emb_hash_of(both, sizeof both);
}

void emb_hash_print(struct emb_hash hash, char out[EMB_HASH_HEX + 1])
{
    snprintf(out, EMB_HASH_HEX + 1, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}
