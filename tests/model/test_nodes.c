/* Weights and threads on two NUMA nodes, simulated over the processors at hand: the first is node 0, the others are node 900, which no
 * kernel has, so that its memory cannot be bound. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/tempdir.h"
#include "base/mem.h"
#include "engine/crew.h"
#include "engine/handle.h"
#include "testdata.h"

enum { TEXTS = 60 };

static embellama_text texts[TEXTS];
static char bytes[TEXTS][128];
static embellama_error error;
static cpu_set_t all, node_cpus[2];

/* ---- Help ---- */

static void make_texts(void)
{
    for (size_t i = 0; i < TEXTS; i++) {
        size_t size = 0, words = 1 + i * 7 % 20;
        for (size_t k = 0; k < words; k++) {
            size += (size_t)snprintf(bytes[i] + size, sizeof bytes[i] - size, "%s%c%zu", k ? " " : "",
                                     (char)('a' + (i + k) % 26), (i * k) % 10);
        }
        texts[i] = (embellama_text){bytes[i], size};
    }
}

/* Lays out the folder and has the library read it. */
static void make_nodes(void)
{
    char list[8192] = "";
    size_t used = 0;
    int n = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all)) {
            continue;
        }
        if (n++ == 0) {
            snprintf(list, sizeof list, "%zu\n", cpu);
            tempdir_write("node/node0/cpulist", list, strlen(list));
            CPU_SET(cpu, &node_cpus[0]);
        } else {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%zu", used ? "," : "", cpu);
            CPU_SET(cpu, &node_cpus[1]);
        }
    }
    tempdir_write("node/node900/cpulist", list, strlen(list));
    tempdir_write("node/online", "0,900\n", 6);
    setenv("EMBELLAMA_SYSFS_NODES", tempdir_path("node"), 1);
}

static embellama_model *open_model(embellama_precision precision, bool numa, const char *pack_cache)
{
    embellama_model *model = NULL;
    embellama_model_options options = embellama_model_options_default();
    options.precision = precision;
    options.numa = numa;
    options.pack_cache = pack_cache;
    assert_int_equal(embellama_model_open(&model, emb_test_source("tests/golden/tiny-a"), &options, &error),
                     EMBELLAMA_OK);
    return model;
}

static embellama_ctx *context(const embellama_model *model, int threads, bool pin)
{
    embellama_ctx *ctx = NULL;
    embellama_ctx_options options = embellama_ctx_options_default();
    options.threads = threads;
    options.pin = pin;
    assert_int_equal(embellama_ctx_new(&ctx, model, &options, &error), EMBELLAMA_OK);
    return ctx;
}

static void embed(embellama_ctx *ctx, size_t n, float *out)
{
    embellama_embed_options options = embellama_embed_options_default();
    options.truncate = true;
    assert_int_equal(embellama_embed(ctx, texts, n, &options, out, NULL, &error), EMBELLAMA_OK);
}

static float *vectors_of(const embellama_model *model)
{
    float *out = calloc(TEXTS * embellama_dim(model), sizeof *out);
    assert_non_null(out);
    return out;
}

/* ---- Threads ---- */

struct meeting {
    struct emb_crew *crew;
    const cpu_set_t *cpus; /* where each node's members belong, by node; NULL: on one processor of it */
    _Atomic unsigned present, wrong;
    unsigned wanted; /* bits of nodes */
};

/* Waits until a member of each node has an item too. */
static void meet(void *arg, size_t item, int member)
{
    struct meeting *m = arg;
    int node = emb_crew_node_of(m->crew, member);
    cpu_set_t now, shared;
    (void)item;
    if (sched_getaffinity(0, sizeof now, &now) != 0) {
        CPU_ZERO(&now);
    }
    CPU_AND(&shared, &now, &node_cpus[node]);
    if (!CPU_EQUAL(&shared, &now) || CPU_COUNT(&now) == 0 || !CPU_ISSET((size_t)sched_getcpu(), &now) ||
        (m->cpus ? !CPU_EQUAL(&now, &m->cpus[node]) : CPU_COUNT(&now) != 1)) {
        m->wrong++;
    }
    m->present |= 1u << node;
    for (int ms = 0; m->present != m->wanted && ms < 20000; ms++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void test_threads_stay(void **state)
{
    (void)state;
    struct emb_topology t;
    assert_int_equal(emb_topology_read(&t, NULL, &error), EMBELLAMA_OK);
    assert_int_equal(t.count, 2);
    for (int threads = 2; threads <= 5; threads++) {
        for (int pin = 0; pin < 2; pin++) {
            struct emb_crew *crew;
            cpu_set_t after;
            assert_int_equal(emb_crew_new(&crew, threads, &t, pin, &error), EMBELLAMA_OK);
            assert_int_equal(emb_crew_nodes(crew), 2);
            assert_int_equal(emb_crew_node_of(crew, 0), 0);
            assert_int_equal(emb_crew_node_of(crew, threads - 1), 1);
            struct meeting m = {.crew = crew, .cpus = pin ? NULL : node_cpus, .wanted = 3};
            struct emb_crew_guest guest = emb_crew_join(crew);
            emb_crew_run(crew, meet, &m, 64);
            emb_crew_part(&guest);
            assert_int_equal(m.present, 3);
            assert_int_equal(m.wrong, 0);
            assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
            assert_true(CPU_EQUAL(&after, &all));
            emb_crew_free(crew);
        }
    }
    emb_topology_deinit(&t);
}

struct lead {
    struct emb_crew *crew;
    _Atomic unsigned seen[64], inner;
    _Atomic unsigned wrong;
};

static void count_inner(void *arg, size_t item, int member)
{
    struct lead *l = arg;
    (void)item, (void)member;
    l->inner++;
}

static void lead_item(void *arg, size_t item, int node)
{
    struct lead *l = arg;
    l->seen[item]++;
    l->wrong += node < 0 || node > 1;
    emb_team_run(emb_crew_team(l->crew, node), count_inner, l, 10);
}

static void test_leading(void **state)
{
    (void)state;
    struct emb_topology t;
    assert_int_equal(emb_topology_read(&t, NULL, &error), EMBELLAMA_OK);
    for (int threads = 1; threads <= 4; threads++) {
        struct lead l = {.wrong = 0};
        assert_int_equal(emb_crew_new(&l.crew, threads, &t, false, &error), EMBELLAMA_OK);
        emb_crew_lead(l.crew, lead_item, &l, 64);
        for (size_t i = 0; i < 64; i++) {
            assert_int_equal(l.seen[i], 1);
        }
        assert_int_equal(l.inner, 640);
        assert_int_equal(l.wrong, 0);
        emb_crew_free(l.crew);
    }
    struct emb_crew *crew;
    assert_int_equal(emb_crew_new(&crew, 0, &t, false, &error), EMBELLAMA_E_INVALID);
    assert_int_equal(emb_crew_new(&crew, 1025, &t, false, &error), EMBELLAMA_E_INVALID);
    emb_topology_deinit(&t);
}

/* ---- Weights ---- */

static void check_same_bits(embellama_precision precision, const char *pack_cache)
{
    embellama_model *plain = open_model(precision, false, NULL), *model = open_model(precision, true, pack_cache);
    size_t size = TEXTS * embellama_dim(plain) * sizeof(float);
    float *want = vectors_of(plain), *got = vectors_of(plain);
    embellama_ctx *ctx = context(plain, 1, false);
    embed(ctx, TEXTS, want);
    embellama_ctx_free(ctx);
    assert_int_equal(embellama_model_get_info(plain)->numa_nodes, 1);
    assert_int_equal(embellama_model_get_info(model)->numa_nodes, 2);
    assert_non_null(strstr(embellama_model_get_info(model)->notice, "NUMA node"));
    for (int threads = 1; threads <= 5; threads++) {
        for (int kind = 0; kind < 3; kind++) {
            cpu_set_t after;
            ctx = context(kind == 2 ? plain : model, threads, kind > 0);
            embed(ctx, TEXTS, got);
            assert_memory_equal(got, want, size);
            memset(got, 0, size);
            embed(ctx, 3, got);
            assert_memory_equal(got, want, 3 * embellama_dim(plain) * sizeof *got);
            embellama_ctx_free(ctx);
            assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
            assert_true(CPU_EQUAL(&after, &all));
        }
    }
    free(want);
    free(got);
    embellama_model_close(plain);
    embellama_model_close(model);
}

static void test_same_bits(void **state)
{
    (void)state;
    check_same_bits(EMBELLAMA_PRECISION_F32, NULL);
    check_same_bits(EMBELLAMA_PRECISION_BF16, NULL);
    check_same_bits(EMBELLAMA_PRECISION_INT8, NULL);
}

/* Heads are copied with the rest. */
static void test_scores(void **state)
{
    (void)state;
    embellama_model *models[2] = {NULL, NULL};
    float scores[2][TEXTS * 3] = {{0}};
    const embellama_text query = {"the text of a query", 19};
    embellama_model_options options = embellama_model_options_default();
    embellama_embed_options cut = embellama_embed_options_default();
    cut.truncate = true;
    for (int numa = 0; numa < 2; numa++) {
        options.numa = numa;
        assert_int_equal(
            embellama_model_open(&models[numa], emb_test_source("tests/golden/tiny-labels"), &options, &error), 0);
        embellama_ctx *ctx = context(models[numa], numa ? 4 : 1, false);
        assert_int_equal(embellama_score(ctx, query, texts, TEXTS, &cut, true, scores[numa], NULL, &error), 0);
        embellama_ctx_free(ctx);
    }
    assert_int_equal(embellama_model_get_info(models[1])->numa_nodes, 2);
    assert_memory_equal(scores[0], scores[1], sizeof scores[0]);
    assert_true(scores[0][0] != 0);
    embellama_model_close(models[0]);
    embellama_model_close(models[1]);
}

static void test_packed_file(void **state)
{
    (void)state;
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", tempdir_path("packed"));
    check_same_bits(EMBELLAMA_PRECISION_F32, folder);
    check_same_bits(EMBELLAMA_PRECISION_F32, folder); /* the tables are in the block now */
}

/* With one node's weights wiped out, vectors are right where the other node made them, and wrong where this one did. */
static void check_reads_own(int wiped)
{
    embellama_model *model = open_model(EMBELLAMA_PRECISION_F32, true, NULL);
    size_t dim = embellama_dim(model);
    float *want = vectors_of(model), *got = vectors_of(model);
    embellama_ctx *ctx = context(model, 2, false);
    embed(ctx, TEXTS, want);
    struct emb_weights *w = &model->replicas.models[wiped].weights;
    memset(w->block, 0, w->block_size);
    bool right = false, wrong = false;
    for (int i = 0; i < 10000 && !(right && wrong); i++) {
        embed(ctx, TEXTS, got);
        for (size_t k = 0; k < TEXTS; k++) {
            bool same = memcmp(got + k * dim, want + k * dim, dim * sizeof *got) == 0;
            right = right || same;
            wrong = wrong || !same;
        }
    }
    assert_true(right && wrong);
    embed(ctx, 1, got); /* one text is the first node's */
    assert_int_equal(memcmp(got, want, dim * sizeof *got) == 0, wiped == 1);
    embellama_ctx_free(ctx);
    embellama_model_close(model);
    free(want);
    free(got);
}

static void test_each_reads_its_own(void **state)
{
    (void)state;
    check_reads_own(0);
    check_reads_own(1);
}

static void test_profile(void **state)
{
    (void)state;
    embellama_model *model = open_model(EMBELLAMA_PRECISION_F32, true, NULL);
    float *out = vectors_of(model);
    embellama_ctx *ctx = context(model, 2, false);
    for (size_t n = 1; n <= TEXTS; n += TEXTS - 1) {
        embellama_profile profile = {0};
        embellama_ctx_profile(ctx, &profile);
        embed(ctx, n, out);
        embellama_ctx_profile(ctx, NULL);
        assert_true(profile.ns[EMBELLAMA_OPERATION_QKV] > 0 && profile.ns[EMBELLAMA_OPERATION_TOKENIZING] > 0);
    }
    embellama_ctx_free(ctx);
    embellama_model_close(model);
    free(out);
}

static void test_no_memory(void **state)
{
    (void)state;
    int failed = 0, rc;
    do {
        embellama_model *model = NULL;
        embellama_ctx *ctx = NULL;
        embellama_model_options model_options = embellama_model_options_default();
        embellama_ctx_options ctx_options = embellama_ctx_options_default();
        model_options.numa = ctx_options.pin = true;
        model_options.threads = ctx_options.threads = 2;
        emb_mem_fail_after(failed);
        rc = embellama_model_open(&model, emb_test_source("tests/golden/tiny-a"), &model_options, &error);
        if (rc == EMBELLAMA_OK) {
            rc = embellama_ctx_new(&ctx, model, &ctx_options, &error);
        }
        emb_mem_fail_after(-1);
        assert_true(rc == EMBELLAMA_OK || rc == EMBELLAMA_E_NOMEM);
        embellama_ctx_free(ctx);
        embellama_model_close(model);
        failed++;
    } while (rc != EMBELLAMA_OK && failed < 20000);
    assert_int_equal(rc, EMBELLAMA_OK);
}

int main(void)
{
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2) {
        puts("skipped: two nodes need two processors");
        return 77;
    }
    make_texts();
    make_nodes();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_stay),       cmocka_unit_test(test_leading),
        cmocka_unit_test(test_same_bits),          cmocka_unit_test(test_packed_file),
        cmocka_unit_test(test_each_reads_its_own), cmocka_unit_test(test_profile),
        cmocka_unit_test(test_no_memory),          cmocka_unit_test(test_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
