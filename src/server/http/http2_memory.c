/* nghttp2's memory: counted, and bounded for each session. */
#include "server/http/http2_session.h"

#include <string.h>

#include "base/mem.h"

#define PREFIX 16 /* before each block: its size; keeps malloc's alignment */

static void *mem_place(struct emb_http2 *h, char *block, size_t size)
{
    if (!block) {
        return NULL;
    }
    h->memory += size;
    memcpy(block, &size, sizeof size);
    return block + PREFIX;
}

static bool mem_fits(const struct emb_http2 *h, size_t size, size_t *bytes)
{
    return emb_add(size, PREFIX, bytes) && *bytes <= h->limits.memory - h->memory;
}

static void *mem_malloc(size_t size, void *arg)
{
    size_t bytes;
    return mem_fits(arg, size, &bytes) ? mem_place(arg, emb_alloc(bytes, 1), bytes) : NULL;
}

static void mem_free(void *p, void *arg)
{
    struct emb_http2 *h = arg;
    size_t size;
    if (p) {
        char *block = (char *)p - PREFIX;
        memcpy(&size, block, sizeof size);
        h->memory -= size;
        emb_free(block);
    }
}

static void *mem_calloc(size_t n, size_t size, void *arg)
{
    size_t product, bytes;
    return emb_mul(n, size, &product) && mem_fits(arg, product, &bytes) ? mem_place(arg, emb_calloc(bytes, 1), bytes)
                                                                        : NULL;
}

static void *mem_realloc(void *p, size_t size, void *arg)
{
    struct emb_http2 *h = arg;
    size_t old, bytes;
    if (!p) {
        return mem_malloc(size, arg);
    }
    char *block = (char *)p - PREFIX;
    memcpy(&old, block, sizeof old);
    h->memory -= old;
    char *grown = mem_fits(h, size, &bytes) ? emb_realloc(block, bytes, 1) : NULL;
    if (!grown) {
        h->memory += old;
        return NULL;
    }
    return mem_place(h, grown, bytes);
}

nghttp2_mem emb_http2_memory(struct emb_http2 *h)
{
    return (nghttp2_mem){
        .mem_user_data = h, .malloc = mem_malloc, .free = mem_free, .calloc = mem_calloc, .realloc = mem_realloc};
}
