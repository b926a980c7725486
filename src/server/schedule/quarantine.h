/* Inputs known to end workers, by hash, for ten minutes: so that a client's retries cannot kill again. Bounded: the
 * oldest makes room. */
#ifndef EMB_QUARANTINE_H
#define EMB_QUARANTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/siphash.h"

enum { EMB_QUARANTINE_SIZE = 1024 };
#define EMB_QUARANTINE_NS (600 * UINT64_C(1000000000))

struct emb_quarantine {
    struct {
        struct emb_siphash hash;
        uint64_t until_ns;
    } entries[EMB_QUARANTINE_SIZE]; /* a ring in order of until_ns */
    size_t first, count;
};

/* A zeroed one is empty. An input that is there already stays anew for the whole time. */
void emb_quarantine_add(struct emb_quarantine *q, struct emb_siphash hash, uint64_t now_ns);

/* Forgets those whose time is over first. */
bool emb_quarantine_has(struct emb_quarantine *q, struct emb_siphash hash, uint64_t now_ns);

/* How many there are. */
size_t emb_quarantine_count(const struct emb_quarantine *q, uint64_t now_ns);

#endif
