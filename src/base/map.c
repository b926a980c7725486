/* Open addressing with linear probing, at most three quarters full. The hash folds 64 x 64 -> 128-bit products, as
 * wyhash does (github.com/wangyi-fudan/wyhash). */
#include "base/map.h"

#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "embellama/embellama.h"

struct emb_map_slot {
    const char *key; /* NULL: free */
    uint32_t size;
    uint32_t value;
};

#define MIX_A 0xA0761D6478BD642Fu
#define MIX_B 0xE7037ED1A0B428DBu

static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash(uint64_t seed, const char *key, size_t size)
{
    uint64_t h = seed ^ fold(size ^ MIX_A, seed ^ MIX_B);
    while (size > 0) {
        uint64_t words[2] = {0, 0};
        size_t n = size < sizeof words ? size : sizeof words;
        memcpy(words, key, n);
        h = fold(words[0] ^ seed ^ MIX_A, words[1] ^ h);
        key += n;
        size -= n;
    }
    return fold(h ^ MIX_B, seed ^ MIX_A);
}

void emb_map_init(struct emb_map *map)
{
    *map = (struct emb_map){0};
    if (getrandom(&map->seed, sizeof map->seed, GRND_NONBLOCK) != (ssize_t)sizeof map->seed) {
        map->seed = fold((uint64_t)(uintptr_t)map ^ MIX_A, MIX_B); /* address-space layout is random too */
    }
}

void emb_map_deinit(struct emb_map *map)
{
    emb_free(map->slots);
    *map = (struct emb_map){0};
}

/* The slot that holds the key, or the free one where it belongs. The table is never full. */
static struct emb_map_slot *probe(const struct emb_map *map, const char *key, size_t size)
{
    size_t at = (size_t)hash(map->seed, key, size) & (map->capacity - 1);
    for (;;) {
        struct emb_map_slot *slot = &map->slots[at];
        if (!slot->key || (slot->size == size && memcmp(slot->key, key, size) == 0)) {
            return slot;
        }
        at = (at + 1) & (map->capacity - 1);
    }
}

bool emb_map_reserve(struct emb_map *map, size_t count)
{
    size_t capacity = map->capacity ? map->capacity : 16;
    while (capacity / 4 * 3 < count) {
        if (!emb_mul(capacity, 2, &capacity)) {
            return false;
        }
    }
    if (capacity == map->capacity) {
        return true;
    }
    struct emb_map grown = *map;
    grown.capacity = capacity;
    grown.slots = emb_calloc(capacity, sizeof *grown.slots);
    if (!grown.slots) {
        return false;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        const struct emb_map_slot *slot = &map->slots[i];
        if (slot->key) {
            *probe(&grown, slot->key, slot->size) = *slot;
        }
    }
    emb_free(map->slots);
    *map = grown;
    return true;
}

int emb_map_add(struct emb_map *map, const char *key, size_t size, uint32_t value)
{
    if (size > UINT32_MAX) {
        return EMBELLAMA_E_INVALID;
    }
    if (!emb_map_reserve(map, map->count + 1)) {
        return EMBELLAMA_E_NOMEM;
    }
    struct emb_map_slot *slot = probe(map, key, size);
    if (slot->key) {
        return EMBELLAMA_E_INVALID;
    }
    *slot = (struct emb_map_slot){.key = key, .size = (uint32_t)size, .value = value};
    map->count++;
    return EMBELLAMA_OK;
}

bool emb_map_get(const struct emb_map *map, const char *key, size_t size, uint32_t *value)
{
    if (map->capacity == 0) {
        return false;
    }
    const struct emb_map_slot *slot = probe(map, key, size);
    if (!slot->key) {
        return false;
    }
    *value = slot->value;
    return true;
}
