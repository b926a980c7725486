/* The cache: what is found and what is not, its budget, its ends, and many threads on it. */
#include "server/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/siphash.h"

enum { DIM = 8, MEGABYTE = 1 << 20 };

static struct emb_cache *make(size_t bytes, unsigned ttl_s, bool by_client)
{
    struct emb_cache *cache;
    struct emb_cache_options options = {.bytes = bytes, .ttl_s = ttl_s, .by_client = by_client, .dim = DIM};
    assert_int_equal(emb_cache_new(&cache, &options, NULL), 0);
    return cache;
}

static struct emb_cache_key text(const char *s)
{
    return (struct emb_cache_key){.data = s, .size = strlen(s)};
}

static void fill(float *vector, float first)
{
    for (int i = 0; i < DIM; i++) {
        vector[i] = first + (float)i;
    }
}

static void put(struct emb_cache *cache, struct emb_cache_key key, float first)
{
    float vector[DIM];
    fill(vector, first);
    emb_cache_put(cache, &key, vector, DIM, (uint32_t)key.size, emb_cache_epoch(cache));
}

/* The first value of the vector found, -1 where there is none. */
static float get(struct emb_cache *cache, struct emb_cache_key key)
{
    float vector[DIM], expected[DIM];
    uint32_t tokens = 0;
    if (!emb_cache_get(cache, &key, vector, DIM, &tokens)) {
        return -1;
    }
    fill(expected, vector[0]);
    assert_memory_equal(vector, expected, sizeof vector);
    assert_int_equal(tokens, key.size);
    return vector[0];
}

static void test_found(void **state)
{
    (void)state;
    struct emb_cache *cache = make(MEGABYTE, 0, false);
    assert_true(get(cache, text("a")) == -1);
    put(cache, text("a"), 10);
    put(cache, text(""), 20);
    put(cache, (struct emb_cache_key){.data = "a\0b", .size = 3}, 30);
    struct emb_cache_key other = text("a");
    other.kind = 1;
    put(cache, other, 40);
    assert_true(get(cache, text("a")) == 10);
    assert_true(get(cache, text("")) == 20);
    assert_true(get(cache, (struct emb_cache_key){.data = "a\0b", .size = 3}) == 30);
    assert_true(get(cache, (struct emb_cache_key){.data = "a\0c", .size = 3}) == -1);
    assert_true(get(cache, other) == 40);
    put(cache, text("a"), 50);
    assert_true(get(cache, text("a")) == 50);

    float longer[DIM + 1];
    uint32_t tokens;
    struct emb_cache_key key = text("a");
    assert_false(emb_cache_get(cache, &key, longer, DIM + 1, &tokens));
    struct emb_cache_stats stats = emb_cache_stats(cache);
    assert_int_equal(stats.entries, 4);
    assert_int_equal(stats.hits, 5);
    assert_int_equal(stats.misses, 3);
    assert_int_equal(stats.stored, 5);
    emb_cache_free(cache);
}

static void test_scope(void **state)
{
    (void)state;
    for (int by_client = 0; by_client < 2; by_client++) {
        struct emb_cache *cache = make(MEGABYTE, 0, by_client);
        struct emb_cache_key mine = text("a"), yours = text("a");
        mine.client = 1;
        yours.client = 2;
        put(cache, mine, 1);
        assert_true(get(cache, mine) == 1);
        assert_true(get(cache, yours) == (by_client ? -1 : 1));
        emb_cache_free(cache);
    }
}

static void test_budget(void **state)
{
    (void)state;
    struct emb_cache *cache = make(MEGABYTE / 4, 0, false);
    char name[32];
    put(cache, text("kept in use"), 7);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "text number %d", i);
        put(cache, text(name), (float)i);
        assert_true(get(cache, text(name)) == (float)i);
        assert_true(get(cache, text("kept in use")) == 7);
    }
    struct emb_cache_stats stats = emb_cache_stats(cache);
    assert_true(stats.bytes <= stats.budget && stats.bytes > stats.budget / 2);
    assert_int_equal(stats.entries + stats.evictions, 20001);
    assert_true(stats.entries > 500);
    assert_true(get(cache, text("text number 0")) == -1);
    assert_true(get(cache, text("text number 19999")) == 19999);

    /* One that would push out an eighth of its shard is not taken. */
    static char huge[MEGABYTE / 4 / 16 / 8];
    memset(huge, 'x', sizeof huge - 1);
    put(cache, text(huge), 1);
    assert_true(get(cache, text(huge)) == -1);
    huge[sizeof huge / 2] = '\0';
    put(cache, text(huge), 1);
    assert_true(get(cache, text(huge)) == 1);
    emb_cache_free(cache);
}

static void test_off(void **state)
{
    (void)state;
    struct emb_cache *cache = make(0, 0, false);
    put(cache, text("a"), 1);
    assert_true(get(cache, text("a")) == -1);
    emb_cache_clear(cache);
    assert_int_equal(emb_cache_stats(cache).entries, 0);
    emb_cache_free(cache);
    assert_true(emb_cache_default_bytes() > 0 && emb_cache_default_bytes() <= (size_t)256 << 20);
}

static void test_clear(void **state)
{
    (void)state;
    struct emb_cache *cache = make(MEGABYTE, 0, false);
    float vector[DIM] = {0};
    struct emb_cache_key late = text("late");
    uint64_t before = emb_cache_epoch(cache);
    put(cache, text("a"), 1);
    emb_cache_clear(cache);
    assert_true(get(cache, text("a")) == -1);
    emb_cache_put(cache, &late, vector, DIM, 4, before);
    assert_true(get(cache, late) == -1);
    put(cache, text("a"), 2);
    assert_true(get(cache, text("a")) == 2);
    struct emb_cache_stats stats = emb_cache_stats(cache);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.stored, 2);
    assert_int_equal(stats.clears, 1);
    emb_cache_free(cache);
}

static void test_ttl(void **state)
{
    (void)state;
    struct emb_cache *brief = make(MEGABYTE, 1, false), *lasting = make(MEGABYTE, 100000, false);
    put(brief, text("a"), 1);
    put(lasting, text("a"), 1);
    usleep(2100 * 1000);
    assert_true(get(brief, text("a")) == -1);
    assert_true(get(lasting, text("a")) == 1);
    assert_int_equal(emb_cache_stats(brief).expired, 1);
    assert_int_equal(emb_cache_stats(brief).entries, 0);
    emb_cache_free(brief);
    emb_cache_free(lasting);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct emb_cache_options options = {.bytes = MEGABYTE, .dim = DIM};
    struct emb_cache *cache;
    for (int i = 0; i < 17; i++) {
        emb_mem_fail_after(i);
        int rc = emb_cache_new(&cache, &options, NULL);
        emb_mem_fail_after(-1);
        assert_int_equal(rc, EMBELLAMA_E_NOMEM);
        assert_null(cache);
    }
    cache = make(MEGABYTE, 0, false);
    put(cache, text("a"), 1);
    emb_mem_fail_after(0);
    put(cache, text("b"), 2);
    put(cache, text("a"), 3);
    emb_mem_fail_after(-1);
    assert_true(get(cache, text("a")) == 1);
    assert_true(get(cache, text("b")) == -1);
    long count = emb_mem_count();
    get(cache, text("a"));
    assert_int_equal(emb_mem_count(), count);
    emb_cache_free(cache);
}

/* ---- Threads ---- */

enum { THREADS = 4, TURNS = 20000, TEXTS = 997 };

static struct emb_cache *common;
static atomic_int wrong;

/* A text's vector is a function of the text and of the epoch it was put in, so that a reader can tell a wrong one. */
static void *work(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg * 7919u + 1;
    for (int i = 0; i < TURNS; i++) {
        char name[40];
        float vector[DIM], expected[DIM];
        uint32_t tokens;
        seed = seed * 1103515245u + 12345u;
        unsigned n = (seed >> 8) % TEXTS;
        snprintf(name, sizeof name, "%u is a text of the threads", n);
        struct emb_cache_key key = text(name);
        uint64_t epoch = emb_cache_epoch(common);
        if (emb_cache_get(common, &key, vector, DIM, &tokens)) {
            fill(expected, (float)n);
            if (memcmp(vector, expected, sizeof vector) != 0 || tokens != n) {
                atomic_fetch_add(&wrong, 1);
            }
        } else {
            fill(vector, (float)n);
            emb_cache_put(common, &key, vector, DIM, n, epoch);
        }
        if (arg == (void *)1 && i % 2000 == 0) {
            emb_cache_clear(common);
        } else if (i % 500 == 0) {
            emb_cache_stats(common);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    common = make(MEGABYTE / 16, 0, false);
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&wrong), 0);
    struct emb_cache_stats stats = emb_cache_stats(common);
    assert_int_equal(stats.hits + stats.misses, THREADS * TURNS);
    assert_true(stats.hits > 0 && stats.evictions > 0 && stats.bytes <= stats.budget);
    emb_cache_free(common);
}

/* Outputs of OpenSSL's implementation for the key 00 01 .. 0f and the input 00 01 .. of so many bytes. */
static void test_siphash(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        const char *out;
    } vectors[] = {
        {0, "a3817f04ba25a8e66df67214c7550293"},  {1, "da87c1d86b99af44347659119b22fc45"},
        {8, "3b62a9ba6258f5610f83e264f31497b4"},  {15, "5493e99933b0a8117e08ec0f97cfc3d9"},
        {63, "5150d1772f50834a503e069a973fbd7c"},
    };
    unsigned char data[64], out[16];
    for (unsigned char i = 0; i < sizeof data; i++) {
        data[i] = i;
    }
    struct emb_siphash_key key = {.low = 0x0706050403020100u, .high = 0x0f0e0d0c0b0a0908u};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct emb_siphash h = emb_siphash_of(key, data, vectors[i].size);
        char hex[33];
        for (int byte = 0; byte < 8; byte++) {
            out[byte] = (unsigned char)(h.low >> 8 * byte);
            out[8 + byte] = (unsigned char)(h.high >> 8 * byte);
        }
        for (int byte = 0; byte < 16; byte++) {
            snprintf(hex + 2 * byte, 3, "%02x", out[byte]);
        }
        assert_string_equal(hex, vectors[i].out);
    }
    struct emb_siphash_key one = emb_siphash_random_key(), two = emb_siphash_random_key();
    assert_true(one.low != two.low && one.high != two.high);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),     cmocka_unit_test(test_scope),   cmocka_unit_test(test_budget),
        cmocka_unit_test(test_off),       cmocka_unit_test(test_clear),   cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_threads), cmocka_unit_test(test_siphash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
