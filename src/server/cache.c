/* A hash's low bits choose the bucket, its high bits the shard. An entry is one piece of memory: its links, the key's
 * bytes, the vector. Buckets are made once, for the number of entries the budget is good for; untouched ones cost no
 * memory. */
#include "server/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"
#include "server/siphash.h"

enum {
    SHARDS = 16,
    LARGEST_SHARE = 8,      /* an entry takes at most one of so many parts of a shard */
    TYPICAL_KEY_BYTES = 64, /* of the shortest inputs: the tables are sized for these */
    ALLOCATION_BYTES = 16,  /* what the allocator adds to each entry */
};

#define DEFAULT_MOST ((size_t)256 << 20)
#define DEFAULT_SHARE 16

struct entry {
    struct entry *next;          /* in the bucket */
    struct entry *newer, *older; /* by use */
    struct emb_siphash hash;
    uint64_t client;
    uint64_t epoch;
    uint64_t expires; /* monotonic seconds; 0: never */
    size_t size;      /* bytes of the key, behind the vector */
    size_t bytes;     /* that it is counted as */
    uint32_t kind;
    uint32_t tokens;
    uint32_t dim;
    float vector[];
};

struct shard {
    pthread_mutex_t lock;
    struct entry **buckets;
    struct entry *newest, *oldest;
    size_t entries, bytes;
    uint64_t hits, misses, stored, evictions, expired;
} __attribute__((aligned(64)));

struct emb_cache {
    struct shard shards[SHARDS];
    struct emb_siphash_key hash_key;
    struct emb_cache_options options;
    size_t bucket_count; /* of a shard, a power of two */
    size_t shard_bytes;
    _Atomic uint64_t epoch;
};

/* ---- Life ---- */

size_t emb_cache_default_bytes(void)
{
    size_t share = emb_memory_size() / DEFAULT_SHARE;
    return share < DEFAULT_MOST ? share : DEFAULT_MOST;
}

static size_t power_of_two(size_t at_least)
{
    size_t n = 16;
    while (n < at_least && n < SIZE_MAX / 4) {
        n *= 2;
    }
    return n;
}

int emb_cache_new(struct emb_cache **out, const struct emb_cache_options *options, embellama_error *error)
{
    struct emb_cache *cache = emb_alloc_aligned(_Alignof(struct emb_cache), sizeof *cache);
    *out = NULL;
    if (!cache) {
        return emb_fail_nomem(error);
    }
    memset(cache, 0, sizeof *cache);
    cache->options = *options;
    cache->hash_key = emb_siphash_random_key();
    cache->shard_bytes = options->bytes / SHARDS;
    cache->bucket_count =
        power_of_two(cache->shard_bytes / (sizeof(struct entry) + options->dim * sizeof(float) + TYPICAL_KEY_BYTES));
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&cache->shards[i].lock, NULL);
    }
    for (int i = 0; i < SHARDS && options->bytes > 0; i++) {
        cache->shards[i].buckets = emb_calloc(cache->bucket_count, sizeof *cache->shards[i].buckets);
        if (!cache->shards[i].buckets) {
            emb_cache_free(cache);
            return emb_fail_nomem(error);
        }
    }
    *out = cache;
    return EMBELLAMA_OK;
}

static void free_list(struct entry *newest)
{
    while (newest) {
        struct entry *older = newest->older;
        emb_free(newest);
        newest = older;
    }
}

void emb_cache_free(struct emb_cache *cache)
{
    if (!cache) {
        return;
    }
    for (int i = 0; i < SHARDS; i++) {
        free_list(cache->shards[i].newest);
        emb_free(cache->shards[i].buckets);
        pthread_mutex_destroy(&cache->shards[i].lock);
    }
    emb_free(cache);
}

/* ---- Finding, with the shard locked ---- */

/* What an input is looked up by: everything but its bytes. */
struct place {
    struct emb_siphash hash;
    struct shard *shard;
    struct entry **bucket;
    uint64_t client;
};

static struct place place_of(struct emb_cache *cache, const struct emb_cache_key *key)
{
    struct place at = {.hash = emb_siphash_of(cache->hash_key, key->data, key->size)};
    at.client = cache->options.by_client ? key->client : 0;
    at.shard = &cache->shards[at.hash.high % SHARDS];
    at.bucket = &at.shard->buckets[at.hash.low & (cache->bucket_count - 1)];
    return at;
}

static const void *key_bytes(const struct entry *e)
{
    return e->vector + e->dim;
}

static bool is(const struct entry *e, const struct place *at, const struct emb_cache_key *key)
{
    return e->hash.low == at->hash.low && e->hash.high == at->hash.high && e->client == at->client &&
           e->kind == key->kind && e->size == key->size &&
           (key->size == 0 || memcmp(key_bytes(e), key->data, key->size) == 0);
}

static struct entry *find(const struct place *at, const struct emb_cache_key *key)
{
    struct entry *e = *at->bucket;
    while (e && !is(e, at, key)) {
        e = e->next;
    }
    return e;
}

static void unlink_use(struct shard *shard, struct entry *e)
{
    *(e->newer ? &e->newer->older : &shard->newest) = e->older;
    *(e->older ? &e->older->newer : &shard->oldest) = e->newer;
}

static void link_newest(struct shard *shard, struct entry *e)
{
    e->newer = NULL;
    e->older = shard->newest;
    *(shard->newest ? &shard->newest->newer : &shard->oldest) = e;
    shard->newest = e;
}

static void drop(struct emb_cache *cache, struct shard *shard, struct entry *e)
{
    struct entry **link = &shard->buckets[e->hash.low & (cache->bucket_count - 1)];
    while (*link != e) {
        link = &(*link)->next;
    }
    *link = e->next;
    unlink_use(shard, e);
    shard->entries--;
    shard->bytes -= e->bytes;
    emb_free(e);
}

static uint64_t seconds_now(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec + 1; /* never 0 */
}

/* True where e may still be given; else it is dropped. */
static bool alive(struct emb_cache *cache, struct shard *shard, struct entry *e)
{
    if (e->epoch == atomic_load_explicit(&cache->epoch, memory_order_acquire) &&
        (e->expires == 0 || seconds_now() < e->expires)) {
        return true;
    }
    shard->expired++;
    drop(cache, shard, e);
    return false;
}

/* ---- Use ---- */

bool emb_cache_get(struct emb_cache *cache, const struct emb_cache_key *key, float *vector, size_t dim,
                   uint32_t *tokens)
{
    if (cache->options.bytes == 0) {
        return false;
    }
    struct place at = place_of(cache, key);
    struct shard *shard = at.shard;
    pthread_mutex_lock(&shard->lock);
    struct entry *e = find(&at, key);
    bool hit = e && e->dim == dim && alive(cache, shard, e);
    if (hit) {
        shard->hits++;
        memcpy(vector, e->vector, dim * sizeof *vector);
        *tokens = e->tokens;
        if (e != shard->newest) {
            unlink_use(shard, e);
            link_newest(shard, e);
        }
    } else {
        shard->misses++;
    }
    pthread_mutex_unlock(&shard->lock);
    return hit;
}

uint64_t emb_cache_epoch(const struct emb_cache *cache)
{
    return atomic_load_explicit(&cache->epoch, memory_order_acquire);
}

/* What an entry of the key and dim takes; 0 where it is too large. */
static size_t entry_bytes(const struct emb_cache *cache, size_t size, size_t dim)
{
    size_t vector, bytes;
    if (dim > UINT32_MAX || !emb_mul(dim, sizeof(float), &vector) ||
        !emb_add(vector, sizeof(struct entry) + ALLOCATION_BYTES, &bytes) || !emb_add(bytes, size, &bytes) ||
        bytes > cache->shard_bytes / LARGEST_SHARE) {
        return 0;
    }
    return bytes;
}

static struct entry *entry_new(struct emb_cache *cache, const struct place *at, const struct emb_cache_key *key,
                               const float *vector, size_t dim, size_t bytes)
{
    struct entry *e = emb_alloc(1, bytes - ALLOCATION_BYTES);
    if (!e) {
        return NULL;
    }
    *e = (struct entry){.hash = at->hash,
                        .client = at->client,
                        .expires = cache->options.ttl_s > 0 ? seconds_now() + cache->options.ttl_s : 0,
                        .size = key->size,
                        .bytes = bytes,
                        .kind = key->kind,
                        .dim = (uint32_t)dim};
    memcpy(e->vector, vector, dim * sizeof *vector);
    if (key->size > 0) {
        memcpy(e->vector + dim, key->data, key->size);
    }
    return e;
}

void emb_cache_put(struct emb_cache *cache, const struct emb_cache_key *key, const float *vector, size_t dim,
                   uint32_t tokens, uint64_t epoch)
{
    size_t bytes = entry_bytes(cache, key->size, dim);
    if (bytes == 0) {
        return;
    }
    struct place at = place_of(cache, key);
    struct shard *shard = at.shard;
    struct entry *e = entry_new(cache, &at, key, vector, dim, bytes);
    if (!e) {
        return;
    }
    e->tokens = tokens;
    e->epoch = epoch;
    pthread_mutex_lock(&shard->lock);
    /* Under the lock: a clear that has begun finds the entry, or has changed the epoch before this looks. */
    if (epoch != emb_cache_epoch(cache)) {
        pthread_mutex_unlock(&shard->lock);
        emb_free(e);
        return;
    }
    struct entry *before = find(&at, key);
    if (before) {
        drop(cache, shard, before);
    }
    while (shard->oldest && shard->bytes + bytes > cache->shard_bytes) {
        shard->evictions++;
        drop(cache, shard, shard->oldest);
    }
    e->next = *at.bucket;
    *at.bucket = e;
    link_newest(shard, e);
    shard->entries++;
    shard->bytes += bytes;
    shard->stored++;
    pthread_mutex_unlock(&shard->lock);
}

void emb_cache_clear(struct emb_cache *cache)
{
    atomic_fetch_add_explicit(&cache->epoch, 1, memory_order_acq_rel);
    for (int i = 0; i < SHARDS && cache->options.bytes > 0; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        struct entry *newest = shard->newest;
        shard->newest = shard->oldest = NULL;
        shard->entries = shard->bytes = 0;
        memset(shard->buckets, 0, cache->bucket_count * sizeof *shard->buckets);
        pthread_mutex_unlock(&shard->lock);
        free_list(newest);
    }
}

struct emb_cache_stats emb_cache_stats(struct emb_cache *cache)
{
    struct emb_cache_stats sum = {.budget = cache->options.bytes, .clears = emb_cache_epoch(cache)};
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        sum.hits += shard->hits;
        sum.misses += shard->misses;
        sum.stored += shard->stored;
        sum.evictions += shard->evictions;
        sum.expired += shard->expired;
        sum.entries += shard->entries;
        sum.bytes += shard->bytes;
        pthread_mutex_unlock(&shard->lock);
    }
    return sum;
}
