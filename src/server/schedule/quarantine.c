/* A ring, looked through from end to end: it is empty but for bad days, and then short. */
#include "server/schedule/quarantine.h"

static void forget_expired(struct emb_quarantine *q, uint64_t now_ns)
{
    while (q->count > 0 && q->entries[q->first].until_ns <= now_ns) {
        q->first = (q->first + 1) % EMB_QUARANTINE_SIZE;
        q->count--;
    }
}

static size_t place(const struct emb_quarantine *q, size_t i)
{
    return (q->first + i) % EMB_QUARANTINE_SIZE;
}

static size_t find(const struct emb_quarantine *q, struct emb_siphash hash)
{
    for (size_t i = 0; i < q->count; i++) {
        const struct emb_siphash *other = &q->entries[place(q, i)].hash;
        if (other->low == hash.low && other->high == hash.high) {
            return i;
        }
    }
    return SIZE_MAX;
}

void emb_quarantine_add(struct emb_quarantine *q, struct emb_siphash hash, uint64_t now_ns)
{
    forget_expired(q, now_ns);
    size_t at = find(q, hash);
    if (at == SIZE_MAX && q->count == EMB_QUARANTINE_SIZE) {
        at = 0;
    }
    if (at != SIZE_MAX) {
        for (; at + 1 < q->count; at++) {
            q->entries[place(q, at)] = q->entries[place(q, at + 1)];
        }
        q->count--;
    }
    size_t last = place(q, q->count++);
    q->entries[last].hash = hash;
    q->entries[last].until_ns = now_ns + EMB_QUARANTINE_NS;
}

bool emb_quarantine_has(struct emb_quarantine *q, struct emb_siphash hash, uint64_t now_ns)
{
    forget_expired(q, now_ns);
    return find(q, hash) != SIZE_MAX;
}

size_t emb_quarantine_count(const struct emb_quarantine *q, uint64_t now_ns)
{
    size_t expired = 0;
    while (expired < q->count && q->entries[place(q, expired)].until_ns <= now_ns) {
        expired++;
    }
    return q->count - expired;
}
