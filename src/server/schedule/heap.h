/* A heap of what lies in others' structs: the least key first, of equal keys the first pushed. A pairing heap: it
 * allocates nothing; push and minimum are O(1), removal of any node O(log n) on average. */
#ifndef EMB_HEAP_H
#define EMB_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct emb_heap_node {
    uint64_t key;
    uint64_t turn; /* the how-manieth that was pushed */
    struct emb_heap_node *child, *next;
    struct emb_heap_node *previous; /* the sibling before, or the parent of a first child; NULL for the root */
};

/* Zeroed: empty. */
struct emb_heap {
    struct emb_heap_node *root;
    size_t count;
    uint64_t turns;
};

/* The node must be in no heap. */
void emb_heap_push(struct emb_heap *heap, struct emb_heap_node *node, uint64_t key);

/* The node must be in this heap. */
void emb_heap_remove(struct emb_heap *heap, struct emb_heap_node *node);

#endif
