/* XXH3 of xxhash.h, compiled in: nothing to link. */
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

bool emb_hash_parse(const char *text, struct emb_hash *out)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t words[2] = {0};
    for (size_t i = 0; i < EMB_HASH_HEX; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit) {
            return false;
        }
        words[i / 16] = words[i / 16] << 4 | (uint64_t)(digit - digits);
    }
    *out = (struct emb_hash){.low = words[1], .high = words[0]};
    return true;
}
