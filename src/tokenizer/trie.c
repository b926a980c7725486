/* The trie of trie.h: insertion and growth. */
#include "tokenizer/trie.h"

#include "base/mem.h"

enum { FIRST_BITS = 8 };

static void place(struct emb_trie *trie, uint64_t entry)
{
    size_t slot = emb_trie_slot(trie, (uint32_t)(entry >> 32));
    while (trie->edges[slot] != 0) {
        slot = (slot + 1) & (trie->edge_room - 1);
    }
    trie->edges[slot] = entry;
}

static bool grow_edges(struct emb_trie *trie)
{
    uint64_t *old = trie->edges;
    size_t old_room = trie->edge_room;
    size_t room = old_room ? old_room * 2 : (size_t)1 << FIRST_BITS;
    uint64_t *edges = emb_calloc(room, sizeof *edges);
    if (!edges) {
        return false;
    }
    trie->shift = old_room ? trie->shift - 1 : 32 - FIRST_BITS;
    trie->edges = edges;
    trie->edge_room = room;
    for (size_t i = 0; i < old_room; i++) {
        if (old[i] != 0) {
            place(trie, old[i]);
        }
    }
    emb_free(old);
    return true;
}

/* A fresh node, or 0. */
static uint32_t new_node(struct emb_trie *trie)
{
    if (trie->nodes == 0) {
        trie->nodes = 1;
    }
    if (trie->nodes >= EMB_TRIE_MAX_NODES || (trie->nodes >= trie->edge_room / 2 && !grow_edges(trie)) ||
        !emb_grow(&trie->values, &trie->value_room, (size_t)trie->nodes + 1, sizeof *trie->values)) {
        return 0;
    }
    trie->values[trie->nodes] = -1;
    return trie->nodes++;
}

uint32_t emb_trie_root(struct emb_trie *trie)
{
    return new_node(trie);
}

bool emb_trie_insert(struct emb_trie *trie, uint32_t root, const char *key, size_t size, int32_t value)
{
    uint32_t node = root;
    for (size_t i = 0; i < size; i++) {
        uint32_t child = emb_trie_step(trie, node, key[i]);
        if (child == 0) {
            child = new_node(trie);
            if (child == 0) {
                return false;
            }
            place(trie, (uint64_t)(node << 8 | (unsigned char)key[i]) << 32 | child);
        }
        node = child;
    }
    trie->values[node] = value;
    return true;
}

int32_t emb_trie_find(const struct emb_trie *trie, uint32_t root, const char *key, size_t size)
{
    uint32_t node = root;
    for (size_t i = 0; i < size && node != 0; i++) {
        node = emb_trie_step(trie, node, key[i]);
    }
    return node == 0 ? -1 : trie->values[node];
}

void emb_trie_deinit(struct emb_trie *trie)
{
    emb_free(trie->edges);
    emb_free(trie->values);
    *trie = (struct emb_trie){0};
}
