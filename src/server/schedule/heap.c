/* Pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986), merged in two passes without recursion. */
#include "server/schedule/heap.h"

#include <stdbool.h>

static bool before(const struct emb_heap_node *a, const struct emb_heap_node *b)
{
    return a->key < b->key || (a->key == b->key && a->turn < b->turn);
}

/* Either may be NULL. Neither has siblings. */
static struct emb_heap_node *merge(struct emb_heap_node *a, struct emb_heap_node *b)
{
    if (!a || !b) {
        return a ? a : b;
    }
    if (before(b, a)) {
        struct emb_heap_node *other = a;
        a = b;
        b = other;
    }
    b->previous = a;
    b->next = a->child;
    if (b->next) {
        b->next->previous = b;
    }
    a->child = b;
    a->next = a->previous = NULL;
    return a;
}

/* Makes one tree of a list of siblings. */
static struct emb_heap_node *merge_siblings(struct emb_heap_node *first)
{
    struct emb_heap_node *pairs = NULL;
    while (first) {
        struct emb_heap_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->previous = NULL;
        if (b) {
            b->next = b->previous = NULL;
        }
        a = merge(a, b);
        a->next = pairs;
        pairs = a;
    }
    struct emb_heap_node *whole = NULL;
    while (pairs) {
        struct emb_heap_node *next = pairs->next;
        pairs->next = NULL;
        whole = merge(whole, pairs);
        pairs = next;
    }
    return whole;
}

void emb_heap_push(struct emb_heap *heap, struct emb_heap_node *node, uint64_t key)
{
    *node = (struct emb_heap_node){.key = key, .turn = heap->turns++};
    heap->root = merge(heap->root, node);
    heap->count++;
}

void emb_heap_remove(struct emb_heap *heap, struct emb_heap_node *node)
{
    struct emb_heap_node *below = merge_siblings(node->child);
    if (node == heap->root) {
        heap->root = below;
    } else {
        if (node->previous->child == node) {
            node->previous->child = node->next;
        } else {
            node->previous->next = node->next;
        }
        if (node->next) {
            node->next->previous = node->previous;
        }
        heap->root = merge(heap->root, below);
    }
    heap->count--;
}
