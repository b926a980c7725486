/* A byte trie for longest-match search, its edges in one hash table.
 *
 * A step costs about one cache line, and building is linear whatever the keys: a table file cannot
 * make it slow or large. One trie may have several roots: separate sets of keys in one table. */
#ifndef EMB_TRIE_H
#define EMB_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EMB_TRIE_MAX_NODES = 1 << 24 };

/* Zero it to begin. Node 0 is none. */
struct emb_trie {
    uint64_t *edges; /* (node << 8 | byte) << 32 | child; 0 is free. A power of two, at most half full. */
    size_t edge_room;
    unsigned shift;  /* 32 - log2(edge_room) */
    int32_t *values; /* of each node: what its key maps to, or -1 */
    size_t value_room;
    uint32_t nodes; /* used, node 0 included */
};

/* A new root, or 0 when out of memory. */
uint32_t emb_trie_root(struct emb_trie *trie);

/* Makes key[0..size) below root map to value (>= 0), replacing what it mapped to. False when out of memory or beyond
 * EMB_TRIE_MAX_NODES. */
bool emb_trie_insert(struct emb_trie *trie, uint32_t root, const char *key, size_t size, int32_t value);

/* What the whole key maps to, or -1. */
int32_t emb_trie_find(const struct emb_trie *trie, uint32_t root, const char *key, size_t size);

void emb_trie_deinit(struct emb_trie *trie);

static inline size_t emb_trie_slot(const struct emb_trie *trie, uint32_t edge)
{
    return (edge * UINT32_C(0x9E3779B1)) >> trie->shift;
}

/* The node one byte below, or 0. */
static inline uint32_t emb_trie_step(const struct emb_trie *trie, uint32_t node, char byte)
{
    uint32_t edge = node << 8 | (unsigned char)byte;
    size_t mask = trie->edge_room - 1;
    for (size_t slot = emb_trie_slot(trie, edge);; slot = (slot + 1) & mask) {
        uint64_t entry = trie->edges[slot];
        if (entry >> 32 == edge) {
            return (uint32_t)entry;
        }
        if (entry == 0) {
            return 0;
        }
    }
}

#endif
