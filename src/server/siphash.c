/* One loop of words, the tail with the length, and the two finalisations of the 128-bit form. */
#include "server/siphash.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { COMPRESS = 2, FINALIZE = 4 };

struct emb_siphash_key emb_siphash_random_key(void)
{
    struct emb_siphash_key key;
    if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key) {
        struct timespec now = {0};
        clock_gettime(CLOCK_MONOTONIC, &now);
        key.low = (uint64_t)now.tv_nsec * 0x9E3779B97F4A7C15u;
        key.high = (uint64_t)(uintptr_t)&key ^ (uint64_t)now.tv_sec;
    }
    return key;
}

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void rounds(uint64_t v[4], int count)
{
    for (int i = 0; i < count; i++) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static inline uint64_t read_word(const unsigned char *at, size_t size)
{
    uint64_t word = 0;
    memcpy(&word, at, size);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

struct emb_siphash emb_siphash_of(struct emb_siphash_key key, const void *data, size_t size)
{
    const unsigned char *at = data;
    uint64_t v[4] = {key.low ^ 0x736f6d6570736575u, key.high ^ 0x646f72616e646f6du ^ 0xEE,
                     key.low ^ 0x6c7967656e657261u, key.high ^ 0x7465646279746573u};
    size_t whole = size / 8, rest = size % 8;
    for (size_t i = 0; i < whole; i++, at += 8) {
        uint64_t word = read_word(at, 8);
        v[3] ^= word;
        rounds(v, COMPRESS);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)size << 56 | (rest > 0 ? read_word(at, rest) : 0);
    v[3] ^= last;
    rounds(v, COMPRESS);
    v[0] ^= last;

    struct emb_siphash out;
    v[2] ^= 0xEE;
    rounds(v, FINALIZE);
    out.low = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xDD;
    rounds(v, FINALIZE);
    out.high = v[0] ^ v[1] ^ v[2] ^ v[3];
    return out;
}
