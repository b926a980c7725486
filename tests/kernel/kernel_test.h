/* Shared by the kernels' tests: the tiers, random numbers, and buffers that end where memory ends. */
#ifndef EMB_KERNEL_TEST_H
#define EMB_KERNEL_TEST_H

#include "kernel/bf16.h"
#include "kernel/kernel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__aarch64__)
static const char *const all_tiers[] = {"ref", "neon", "dotprod", "i8mm", "bf16"};
#else
static const char *const all_tiers[] = {"ref", "avx2", "avx512", "avx512vnni", "avx512bf16"};
#endif

/* Runs test once a tier; says which tiers this CPU lacks. */
static inline void for_each_tier(void (*test)(const struct emb_kernels *t))
{
    for (size_t i = 0; i < sizeof(all_tiers) / sizeof(all_tiers[0]); i++) {
        const struct emb_kernels *t = emb_kernels_get(all_tiers[i]);
        if (t) {
            test(t);
        } else {
            print_message("skipped tier %s: not in this build or not on this CPU\n", all_tiers[i]);
        }
    }
}

/* An array of which the byte after the last is not mapped, aligned as its size allows. Filled with 0xff: NaN. */
struct guarded {
    void *map;
    size_t mapped;
    void *data;
};

static inline struct guarded guarded_new(size_t bytes)
{
    struct guarded g;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t body = (bytes + page - 1) / page * page;
    g.mapped = body + page;
    g.map = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect((char *)g.map + body, page, PROT_NONE), 0);
    memset(g.map, 0xff, body);
    g.data = (char *)g.map + body - bytes;
    return g;
}

static inline void guarded_free(struct guarded *g)
{
    munmap(g->map, g->mapped);
}

static inline uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Uniform in [-1, 1). */
static inline float random_float(uint32_t *state)
{
    return (float)next_random(state) * 0x1p-23f - 1.0f;
}

static inline float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

/* One result and what it should be; the caller's words say where. */
#define check_close(got, want, bound, ...)                                                                             \
    do {                                                                                                               \
        double got_ = (got), want_ = (want), bound_ = (bound);                                                         \
        if (!(fabs(got_ - want_) <= bound_)) {                                                                         \
            print_error(__VA_ARGS__);                                                                                  \
            fail_msg("got %.9g, want %.9g, error %.3g over the bound %.3g", got_, want_, fabs(got_ - want_), bound_);  \
        }                                                                                                              \
    } while (0)

#endif
