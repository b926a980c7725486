/* The clock of one pass: what each of its operations took. Every call does nothing for a NULL profile, which costs a branch. */
#ifndef EMB_PROFILE_H
#define EMB_PROFILE_H

#include <time.h>

#include "embellama/embellama.h"

struct emb_profile {
    uint64_t last; /* CLOCK_MONOTONIC, ns */
    uint64_t ns[EMBELLAMA_OPERATION_COUNT];
};

static inline uint64_t emb_profile_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void emb_profile_start(struct emb_profile *profile)
{
    if (profile) {
        profile->last = emb_profile_clock();
    }
}

/* Counts the time since the start or the last lap as operation's. */
static inline void emb_profile_lap(struct emb_profile *profile, embellama_operation operation)
{
    if (profile) {
        uint64_t now = emb_profile_clock();
        profile->ns[operation] += now - profile->last;
        profile->last = now;
    }
}

#endif
