/* The allocator's front: overflow checks, and for tests a count and a switch that makes allocations fail. */
#include "base/mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long allowed = -1;
static atomic_long asked;

void emb_mem_fail_after(long count)
{
    atomic_store(&allowed, count);
}

long emb_mem_count(void)
{
    return atomic_load(&asked);
}

static bool permitted(void)
{
    atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed);
    long left = atomic_load_explicit(&allowed, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&allowed, &left, left - 1)) {
            return true;
        }
    }
    if (left == 0) {
        errno = ENOMEM;
        return false;
    }
    return true;
}

void *emb_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (!permitted() || !emb_mul(n, size, &bytes)) {
        return NULL;
    }
    return calloc(bytes ? bytes : 1, 1);
}

void *emb_alloc(size_t n, size_t size)
{
    size_t bytes;
    if (!permitted() || !emb_mul(n, size, &bytes)) {
        return NULL;
    }
    return malloc(bytes ? bytes : 1);
}

void *emb_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (!permitted() || !emb_mul(n, size, &bytes)) {
        return NULL;
    }
    return realloc(p, bytes ? bytes : 1);
}

bool emb_grow(void *array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) {
        return true;
    }
    size_t wanted = *capacity <= SIZE_MAX / 2 ? *capacity * 2 : need;
    if (wanted < need) {
        wanted = need;
    }
    if (wanted < 16) {
        wanted = 16;
    }
    void *old;
    memcpy(&old, array, sizeof old);
    void *grown = emb_realloc(old, wanted, size);
    if (!grown) {
        return false;
    }
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}

void *emb_alloc_aligned(size_t align, size_t bytes)
{
    void *p = NULL;
    if (!permitted() || posix_memalign(&p, align, bytes ? bytes : align) != 0) {
        return NULL;
    }
    return p;
}

char *emb_strndup(const char *s, size_t size)
{
    size_t bytes;
    char *copy = emb_add(size, 1, &bytes) ? emb_alloc(bytes, 1) : NULL;
    if (copy) {
        memcpy(copy, s, size);
        copy[size] = '\0';
    }
    return copy;
}

char *emb_strdup(const char *s)
{
    return emb_strndup(s, strlen(s));
}

void emb_free(void *p)
{
    free(p);
}
