/* The time that counts intervals: never set, the same in all processes of the machine, the one that libuv's uv_hrtime tells. */
#ifndef EMB_CLOCK_H
#define EMB_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t emb_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
