/* A hash table from strings to numbers, for names that come from files.
 *
 * Keys are borrowed: they must outlive the map. Hashing is keyed by a random seed, so that a hostile file cannot
 * choose names that all collide. Reading is safe from many threads. */
#ifndef EMB_MAP_H
#define EMB_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emb_map_slot;

struct emb_map {
    struct emb_map_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    uint64_t seed;
};

void emb_map_init(struct emb_map *map);
void emb_map_deinit(struct emb_map *map); /* a zeroed map is allowed */

/* Makes room for count entries at once. False when out of memory: nothing changed. */
bool emb_map_reserve(struct emb_map *map, size_t count);

/* Adds key[0..size) (any bytes, at most UINT32_MAX of them). Returns 0, EMBELLAMA_E_INVALID where the key is there
 * already or is too long (nothing changed), EMBELLAMA_E_NOMEM. */
int emb_map_add(struct emb_map *map, const char *key, size_t size, uint32_t value);

/* False, and *value untouched, where the key is absent. */
bool emb_map_get(const struct emb_map *map, const char *key, size_t size, uint32_t *value);

#endif
