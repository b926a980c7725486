/* Memory: the only place that calls malloc and free, so that tests can make any allocation fail.
 *
 * A size is counted as n elements of size bytes; a product that overflows fails like memory that has run out. */
#ifndef EMB_MEM_H
#define EMB_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* *out = a * b, or a + b; false on overflow (*out is then unspecified). */
static inline bool emb_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool emb_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Zeroed memory for n elements, or NULL. n = 0 gives a pointer that may be freed. */
void *emb_calloc(size_t n, size_t size);

/* Uninitialised memory for n elements. */
void *emb_alloc(size_t n, size_t size);

/* Resizes to n elements; on failure returns NULL and p stays valid. */
void *emb_realloc(void *p, size_t n, size_t size);

/* Grows *array (elements of size bytes, *capacity of them) to hold need elements, at least doubling. False when out of
 * memory: nothing changed. */
bool emb_grow(void *array, size_t *capacity, size_t need, size_t size);

/* Uninitialised, aligned to align (a power of two). Free with emb_free. */
void *emb_alloc_aligned(size_t align, size_t bytes);

/* Zero-ended copy of s[0..size). */
char *emb_strndup(const char *s, size_t size);
char *emb_strdup(const char *s);

/* NULL is allowed. */
void emb_free(void *p);

/* For tests: let count allocations succeed from now on, then make every one fail. Negative: never fail (the default). */
void emb_mem_fail_after(long count);

/* For tests: allocations asked for so far. */
long emb_mem_count(void);

#endif
