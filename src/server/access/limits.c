/* A hash table of slots, chained by number, and one list of them by use. Ids of clients are spread well already. */
#include "server/access/limits.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"

enum { BUCKETS = EMB_LIMITS_CLIENTS, NONE = 0 }; /* slots are numbered from 1 */

struct slot {
    uint64_t client;
    uint64_t filled_ns; /* when the levels were right */
    double level[2];    /* by enum emb_limit */
    uint32_t next;      /* in the bucket */
    uint32_t newer, older;
};

struct emb_limits {
    struct slot *slots; /* [EMB_LIMITS_CLIENTS + 1] */
    uint32_t *buckets;  /* [BUCKETS] */
    uint32_t count, newest, oldest;
};

struct emb_limits *emb_limits_new(void)
{
    struct emb_limits *limits = emb_calloc(1, sizeof *limits);
    if (!limits) {
        return NULL;
    }
    limits->slots = emb_calloc(EMB_LIMITS_CLIENTS + 1, sizeof *limits->slots);
    limits->buckets = emb_calloc(BUCKETS, sizeof *limits->buckets);
    if (!limits->slots || !limits->buckets) {
        emb_limits_free(limits);
        return NULL;
    }
    return limits;
}

void emb_limits_free(struct emb_limits *limits)
{
    if (limits) {
        emb_free(limits->slots);
        emb_free(limits->buckets);
        emb_free(limits);
    }
}

size_t emb_limits_count(const struct emb_limits *limits)
{
    return limits->count;
}

/* ---- The table ---- */

static uint32_t *bucket_of(struct emb_limits *limits, uint64_t client)
{
    return &limits->buckets[client % BUCKETS];
}

static void unlink_use(struct emb_limits *limits, uint32_t n)
{
    struct slot *slots = limits->slots, *s = &slots[n];
    *(s->newer != NONE ? &slots[s->newer].older : &limits->newest) = s->older;
    *(s->older != NONE ? &slots[s->older].newer : &limits->oldest) = s->newer;
}

static void link_newest(struct emb_limits *limits, uint32_t n)
{
    struct slot *slots = limits->slots, *s = &slots[n];
    s->newer = NONE;
    s->older = limits->newest;
    *(limits->newest != NONE ? &slots[limits->newest].newer : &limits->oldest) = n;
    limits->newest = n;
}

/* A slot that belongs to nobody: a fresh one, or the one not used for longest. */
static uint32_t take_slot(struct emb_limits *limits)
{
    if (limits->count < EMB_LIMITS_CLIENTS) {
        return ++limits->count;
    }
    uint32_t n = limits->oldest, *link = bucket_of(limits, limits->slots[n].client);
    while (*link != n) {
        link = &limits->slots[*link].next;
    }
    *link = limits->slots[n].next;
    unlink_use(limits, n);
    return n;
}

static double rate_of(const struct emb_client *client, enum emb_limit kind)
{
    return kind == EMB_LIMIT_REQUESTS ? client->requests_per_s : client->tokens_per_s;
}

/* One request always fits. */
static double capacity_of(const struct emb_client *client, enum emb_limit kind)
{
    return fmax(rate_of(client, kind) * client->burst_s, 1);
}

static struct slot *slot_of(struct emb_limits *limits, const struct emb_client *client, uint64_t now_ns)
{
    uint32_t *bucket = bucket_of(limits, client->id), n = *bucket;
    while (n != NONE && limits->slots[n].client != client->id) {
        n = limits->slots[n].next;
    }
    if (n == NONE) {
        n = take_slot(limits);
        limits->slots[n] =
            (struct slot){.client = client->id,
                          .filled_ns = now_ns,
                          .level = {capacity_of(client, EMB_LIMIT_REQUESTS), capacity_of(client, EMB_LIMIT_TOKENS)},
                          .next = *bucket};
        *bucket = n;
        link_newest(limits, n);
    } else if (n != limits->newest) {
        unlink_use(limits, n);
        link_newest(limits, n);
    }
    return &limits->slots[n];
}

/* ---- The buckets ---- */

static void fill(struct slot *s, const struct emb_client *client, uint64_t now_ns)
{
    double seconds = now_ns > s->filled_ns ? (double)(now_ns - s->filled_ns) / 1e9 : 0;
    for (int kind = EMB_LIMIT_REQUESTS; kind <= EMB_LIMIT_TOKENS; kind++) {
        s->level[kind] = fmin(s->level[kind] + seconds * rate_of(client, (enum emb_limit)kind),
                              capacity_of(client, (enum emb_limit)kind));
    }
    s->filled_ns = now_ns > s->filled_ns ? now_ns : s->filled_ns;
}

/* What sums of many small amounts may be off by. */
static const double slack = 1e-6;

/* Milliseconds, rounded up, that a bucket takes for amount. */
static uint64_t time_for(double amount, double rate)
{
    double ms = ceil(amount / rate * 1e3 - slack);
    return ms > 0 ? (uint64_t)fmin(ms, 1e15) : 0;
}

bool emb_limits_charge(struct emb_limits *limits, const struct emb_client *client, enum emb_limit kind, double amount,
                       uint64_t now_ns, struct emb_limit_state *state)
{
    double rate = rate_of(client, kind);
    *state = (struct emb_limit_state){0};
    if (!(rate > 0)) {
        return true;
    }
    struct slot *s = slot_of(limits, client, now_ns);
    fill(s, client, now_ns);
    state->limit = capacity_of(client, kind);
    bool enough = amount <= s->level[kind] + slack;
    if (enough) {
        s->level[kind] = fmax(s->level[kind] - amount, 0);
    } else if (amount > state->limit) {
        state->hopeless = true;
    } else {
        state->retry_after_ms = time_for(amount - s->level[kind], rate);
    }
    state->remaining = s->level[kind];
    state->reset_ms = time_for(state->limit - s->level[kind], rate);
    return enough;
}

void emb_limits_format(uint64_t ms, char out[EMB_LIMITS_TIME])
{
    unsigned long long seconds = ms / 1000, hours = seconds / 3600, minutes = seconds / 60 % 60;
    unsigned rest = (unsigned)(ms % 1000);
    if (ms < 1000) {
        snprintf(out, EMB_LIMITS_TIME, "%ums", rest);
        return;
    }
    int used = hours > 0     ? snprintf(out, EMB_LIMITS_TIME, "%lluh%llum", hours, minutes)
               : minutes > 0 ? snprintf(out, EMB_LIMITS_TIME, "%llum", minutes)
                             : 0;
    used += snprintf(out + used, (size_t)(EMB_LIMITS_TIME - used), "%llu", seconds % 60);
    if (rest > 0) {
        used += snprintf(out + used, (size_t)(EMB_LIMITS_TIME - used), ".%03u", rest);
        while (out[used - 1] == '0') {
            used--;
        }
    }
    snprintf(out + used, (size_t)(EMB_LIMITS_TIME - used), "s");
}
