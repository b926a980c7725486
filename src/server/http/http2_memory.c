/* nghttp2's memory: counted, bounded for each session, and never refused in small.
 *
 * What nghttp2 does when memory runs out is hardly ever done: version 1.52 frees an item twice when it fails to queue a reply. So the last allocations of a session come from a reserve of its own; it has failed then, and is freed before it needs many. */
#include "server/http/http2_session.h"

#include <string.h>

#include "base/mem.h"

#define PREFIX 16 /* before each block: its size; keeps malloc's alignment */

static void *from_reserve(struct emb_http2 *h, size_t bytes)
{
    size_t rounded = bytes / PREFIX * PREFIX + PREFIX;
    h->failed = true;
    h->why = "out of memory";
    if (rounded > sizeof h->reserve - h->reserve_used) {
        return NULL;
    }
    char *block = h->reserve + h->reserve_used;
    h->reserve_used += rounded;
    return memset(block, 0, bytes);
}

static bool reserved(const struct emb_http2 *h, const char *block)
{
    return block >= h->reserve && block < h->reserve + sizeof h->reserve;
}

/* A block of size zeroed bytes behind its prefix. */
static void *obtain(struct emb_http2 *h, size_t size)
{
    size_t bytes;
    if (!emb_add(size, PREFIX, &bytes)) {
        return NULL;
    }
    char *block = bytes <= h->limits.memory - h->memory ? emb_calloc(bytes, 1) : NULL;
    if (block) {
        h->memory += bytes;
    } else if (!(block = from_reserve(h, bytes))) {
        return NULL;
    }
    memcpy(block, &bytes, sizeof bytes);
    return block + PREFIX;
}

static void *mem_malloc(size_t size, void *arg)
{
    return obtain(arg, size);
}

static void *mem_calloc(size_t n, size_t size, void *arg)
{
    size_t product;
    return emb_mul(n, size, &product) ? obtain(arg, product) : NULL;
}

static void mem_free(void *p, void *arg)
{
    struct emb_http2 *h = arg;
    size_t bytes;
    char *block = p ? (char *)p - PREFIX : NULL;
    if (!block || reserved(h, block)) {
        return;
    }
    memcpy(&bytes, block, sizeof bytes);
    h->memory -= bytes;
    emb_free(block);
}

static void *mem_realloc(void *p, size_t size, void *arg)
{
    size_t old;
    void *moved = obtain(arg, size);
    if (!p || !moved) {
        return moved;
    }
    memcpy(&old, (char *)p - PREFIX, sizeof old);
    old -= PREFIX;
    memcpy(moved, p, old < size ? old : size);
    mem_free(p, arg);
    return moved;
}

nghttp2_mem emb_http2_memory(struct emb_http2 *h)
{
    return (nghttp2_mem){
        .mem_user_data = h, .malloc = mem_malloc, .free = mem_free, .calloc = mem_calloc, .realloc = mem_realloc};
}
