/* Nodes from simulated sysfs folders, and what is placed on them. The processors are those of the machine at hand: folders give them
 * to nodes as suits each test. */
#include "base/numa.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/team.h"
#include "tempdir.h"

static size_t cpus[CPU_SETSIZE]; /* that we may use, rising */
static int n_cpus;
static embellama_error error;

static void write_text(const char *name, const char *text)
{
    tempdir_write(name, text, strlen(text));
}

static struct emb_topology read_root(const char *name)
{
    struct emb_topology t;
    char root[1024];
    snprintf(root, sizeof root, "%s", tempdir_path(name));
    assert_int_equal(emb_topology_read(&t, root, &error), EMBELLAMA_OK);
    return t;
}

/* A node of the processors cpus[first..last), written as "2,3,5,". */
static void write_node(const char *root, int id, int first, int last)
{
    char name[64], list[8192] = "";
    size_t used = 0;
    for (int i = first; i < last; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%zu", i > first ? "," : "", cpus[i]);
    }
    snprintf(list + used, sizeof list - used, "\n");
    snprintf(name, sizeof name, "%s/node%d/cpulist", root, id);
    write_text(name, list);
}

static bool only(const cpu_set_t *set, size_t cpu)
{
    return CPU_COUNT(set) == 1 && CPU_ISSET(cpu, set);
}

/* ---- Reading ---- */

static void test_this_machine(void **state)
{
    (void)state;
    struct emb_topology t;
    int total = 0;
    unsetenv("EMBELLAMA_SYSFS_NODES");
    assert_int_equal(emb_topology_read(&t, NULL, &error), EMBELLAMA_OK);
    for (int k = 0; k < t.count; k++) {
        assert_true(t.nodes[k].count > 0 && t.nodes[k].cores > 0 && t.nodes[k].cores <= t.nodes[k].count);
        total += t.nodes[k].count;
    }
    assert_int_equal(total, n_cpus);
    emb_topology_deinit(&t);
    emb_topology_deinit(&t);
}

static void test_two_nodes(void **state)
{
    (void)state;
    if (n_cpus < 2) {
        skip();
    }
    write_text("two/online", "0-1,7\n");
    write_node("two", 0, 0, 1);
    write_text("two/node1/cpulist", "\n"); /* memory alone */
    write_node("two", 7, 1, n_cpus);
    write_text("two/node3/cpulist", "0-1023\n"); /* offline */
    struct emb_topology t = read_root("two");
    assert_int_equal(t.count, 2);
    assert_true(t.nodes[0].id == 0 && t.nodes[0].count == 1 && t.nodes[0].processors[0].cpu == cpus[0]);
    assert_true(t.nodes[1].id == 7 && t.nodes[1].count == n_cpus - 1 && t.nodes[1].processors[0].cpu == cpus[1]);
    emb_topology_deinit(&t);
    char root[1024];
    snprintf(root, sizeof root, "%s", tempdir_path("two"));
    setenv("EMBELLAMA_SYSFS_NODES", root, 1);
    assert_int_equal(emb_topology_read(&t, NULL, &error), EMBELLAMA_OK);
    unsetenv("EMBELLAMA_SYSFS_NODES");
    assert_int_equal(t.count, 2);
    emb_topology_deinit(&t);
}

/* Runs fn with the calling thread on one processor alone. */
static void test_affinity_mask_counts(void **state)
{
    (void)state;
    if (n_cpus < 2) {
        skip();
    }
    cpu_set_t before, one;
    write_text("mask/online", "0-1\n");
    write_node("mask", 0, 0, 1);
    write_node("mask", 1, 1, n_cpus);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    CPU_SET(cpus[1], &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    struct emb_topology t = read_root("mask");
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(t.count, 1);
    assert_true(t.nodes[0].id == 1 && t.nodes[0].count == 1 && t.nodes[0].processors[0].cpu == cpus[1]);
    emb_topology_deinit(&t);
}

static void test_cores_before_threads(void **state)
{
    (void)state;
    if (n_cpus < 2) {
        skip();
    }
    char name[64], list[64];
    write_text("smt/online", "0\n");
    write_node("smt", 0, 0, n_cpus);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "smt/node0/cpu%zu/topology/thread_siblings_list", cpus[i]);
        snprintf(list, sizeof list, "%zu,%zu,1000\n", cpus[0], cpus[1]);
        write_text(name, list);
    }
    struct emb_topology t = read_root("smt");
    const struct emb_node *node = &t.nodes[0];
    assert_true(t.count == 1 && node->count == n_cpus && node->cores == n_cpus - 1);
    assert_true(node->processors[0].cpu == cpus[0] && node->processors[0].rank == 0);
    assert_true(node->processors[n_cpus - 1].cpu == cpus[1] && node->processors[n_cpus - 1].rank == 1);
    assert_int_equal(node->processors[n_cpus - 1].core, node->processors[0].core);
    emb_topology_deinit(&t);
}

/* Whatever a folder says, the processors are those of the affinity mask, each once. */
static void check_fallback(const char *root)
{
    struct emb_topology t = read_root(root);
    cpu_set_t seen;
    CPU_ZERO(&seen);
    if (t.count != 1 || t.nodes[0].id != EMB_NODE_UNKNOWN || t.nodes[0].count != n_cpus) {
        fail_msg("%s: %d nodes, the first %d with %d processors", root, t.count, t.nodes[0].id, t.nodes[0].count);
    }
    for (int i = 0; i < n_cpus; i++) {
        CPU_SET(t.nodes[0].processors[i].cpu, &seen);
    }
    assert_int_equal(CPU_COUNT(&seen), n_cpus);
    emb_topology_deinit(&t);
}

static void test_odd_folders(void **state)
{
    (void)state;
    static const char *const lists[] = {"garbage", "-1", "0-", "3-1", "0,,1", "0;1", " 0", "0x1", "0 1", "0-1-2"};
    check_fallback("absent");
    write_text("odd/online", "0\n");
    check_fallback("odd"); /* no list of its processors */
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        write_text("odd/node0/cpulist", lists[i]);
        check_fallback("odd");
        write_text("odd/online", lists[i]);
        check_fallback("odd");
        write_text("odd/online", "0\n");
    }
    write_text("odd/node0/cpulist", "");
    check_fallback("odd");
    write_text("odd/node0/cpulist", "18446744073709551615,99999999999999999999999\n");
    check_fallback("odd"); /* none of our processors */
    char *long_list = calloc(1, 1 << 16);
    assert_non_null(long_list);
    for (size_t used = 0; used + 3 < 1 << 16; used += 2) {
        memcpy(long_list + used, "0,", 2);
    }
    write_text("odd/node0/cpulist", long_list);
    check_fallback("odd");
    free(long_list);
    write_text("odd/node0/cpulist", "0-18446744073709551615");
    struct emb_topology t = read_root("odd");
    assert_true(t.count == 1 && t.nodes[0].id == 0 && t.nodes[0].count == n_cpus);
    emb_topology_deinit(&t);
    write_text("odd/online", "0-1023\n"); /* nodes without a folder */
    check_fallback("odd");
    write_text("twice/online", "0-1\n");
    write_text("twice/node0/cpulist", "0-1023\n");
    write_text("twice/node1/cpulist", "0-1023\n");
    t = read_root("twice");
    assert_true(t.count == 1 && t.nodes[0].id == 0 && t.nodes[0].count == n_cpus);
    emb_topology_deinit(&t);
    if (n_cpus > 1) {
        write_text("part/online", "0\n");
        write_node("part", 0, 0, 1);
        check_fallback("part"); /* it leaves out processors that we run on */
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    struct emb_topology t;
    write_text("nomem/online", "0\n");
    write_node("nomem", 0, 0, n_cpus);
    char root[1024];
    snprintf(root, sizeof root, "%s", tempdir_path("nomem"));
    for (int after = 0;; after++) {
        emb_mem_fail_after(after);
        int rc = emb_topology_read(&t, root, &error);
        emb_mem_fail_after(-1);
        if (rc == EMBELLAMA_OK && t.nodes[0].id == 0) {
            break;
        }
        assert_true(after < 100 && (rc == EMBELLAMA_E_NOMEM ? t.count == 0 : t.nodes[0].id == EMB_NODE_UNKNOWN));
        emb_topology_deinit(&t);
    }
    emb_topology_deinit(&t);
}

/* ---- Placing, on made-up machines ---- */

/* nodes nodes of cores cores of threads threads, numbered like Linux does: the second threads after all first ones. */
static struct emb_topology machine(int nodes, int cores, int threads)
{
    struct emb_topology t = {.count = nodes};
    for (int k = 0; k < nodes; k++) {
        struct emb_node *node = &t.nodes[k];
        *node = (struct emb_node){.id = k, .count = cores * threads, .cores = cores};
        node->processors = emb_calloc((size_t)node->count, sizeof *node->processors);
        assert_non_null(node->processors);
        for (int i = 0; i < node->count; i++) {
            int rank = i / cores, core = i % cores;
            node->processors[i] = (struct emb_processor){(size_t)(rank * nodes * cores + k * cores + core), core, rank};
        }
    }
    return t;
}

static void test_seats(void **state)
{
    (void)state;
    struct emb_topology t = machine(2, 4, 2); /* 0-3 and 8-11, 4-7 and 12-15 */
    struct emb_place places[40];
    emb_topology_seat(&t, true, 4, places);
    for (int i = 0; i < 4; i++) {
        assert_true(places[i].node == 0 && only(&places[i].cpus, (size_t)i));
    }
    emb_topology_seat(&t, true, 10, places); /* eight cores, and second threads of node 0 */
    for (int i = 0; i < 10; i++) {
        static const size_t expected[] = {0, 1, 2, 3, 8, 9, 4, 5, 6, 7};
        assert_true(places[i].node == i / 6 && only(&places[i].cpus, expected[i]));
    }
    emb_topology_seat(&t, true, 33, places); /* twice all, and one */
    int seats[16] = {0};
    for (int i = 0; i < 33; i++) {
        assert_int_equal(places[i].node, i >= 17);
        for (size_t cpu = 0; cpu < 16; cpu++) {
            seats[cpu] += CPU_ISSET(cpu, &places[i].cpus) != 0;
        }
    }
    for (size_t cpu = 0; cpu < 16; cpu++) {
        assert_int_equal(seats[cpu], cpu == 0 ? 3 : 2);
    }
    emb_topology_seat(&t, false, 8, places);
    for (int i = 0; i < 8; i++) {
        size_t k = (size_t)i / 4;
        assert_true(places[i].node == i / 4 && CPU_COUNT(&places[i].cpus) == 8 &&
                    CPU_ISSET(k * 4 + 11, &places[i].cpus) && CPU_ISSET(k * 4, &places[i].cpus));
    }
    emb_topology_deinit(&t);
}

/* Workers together use every processor, evenly, cores whole. */
static void test_places(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 40; workers++) {
        struct emb_topology t = machine(3, 4, 2);
        int used[24] = {0}, on[3] = {0};
        for (int w = 0; w < workers; w++) {
            struct emb_place place = emb_topology_place(&t, w, workers);
            assert_true(CPU_COUNT(&place.cpus) >= 2 && CPU_COUNT(&place.cpus) % 2 == 0);
            assert_true(place.node >= 0 || workers < 3);
            if (place.node >= 0) {
                on[place.node]++;
            }
            for (size_t cpu = 0; cpu < 24; cpu++) {
                used[cpu] += CPU_ISSET(cpu, &place.cpus) != 0;
                assert_true(place.node < 0 || !CPU_ISSET(cpu, &place.cpus) || cpu % 12 / 4 == (size_t)place.node);
                assert_true(!CPU_ISSET(cpu, &place.cpus) == !CPU_ISSET((cpu + 12) % 24, &place.cpus));
            }
        }
        for (size_t cpu = 0; cpu < 24; cpu++) {
            assert_true(used[cpu] >= workers / 12 && used[cpu] >= 1 && used[cpu] <= workers / 12 + 1);
        }
        assert_true(workers < 3 || (on[0] - on[2] <= 1 && on[0] + on[1] + on[2] == workers));
        emb_topology_deinit(&t);
    }
    struct emb_topology uneven = machine(2, 8, 1);
    uneven.nodes[1].count = uneven.nodes[1].cores = 2;
    int on[2] = {0};
    for (int w = 0; w < 5; w++) {
        on[emb_topology_place(&uneven, w, 5).node]++;
    }
    assert_true(on[0] == 4 && on[1] == 1);
    emb_topology_deinit(&uneven);
    struct emb_topology none = {0};
    struct emb_place place = emb_topology_place(&none, 0, 1);
    assert_true(place.node == EMB_NODE_UNKNOWN && CPU_COUNT(&place.cpus) == 0);
    assert_int_equal(emb_place_enter(&place, &none, &error), EMBELLAMA_OK);
}

/* ---- Moving ---- */

static void on_its_processors(const struct emb_place *place, const char *what)
{
    cpu_set_t now;
    if (sched_getaffinity(0, sizeof now, &now) != 0 || !CPU_EQUAL(&now, &place->cpus)) {
        fprintf(stderr, "%s: not where it belongs\n", what);
        _exit(1);
    }
}

static void test_enter(void **state)
{
    (void)state;
    struct emb_topology t;
    assert_int_equal(emb_topology_read(&t, NULL, &error), EMBELLAMA_OK);
    for (int w = 0; w < 2; w++) {
        struct emb_place place = emb_topology_place(&t, w, 2);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            int rc = emb_place_enter(&place, &t, &error); /* a sandbox may refuse the policy, not the processors */
            on_its_processors(&place, rc == EMBELLAMA_OK ? "entered" : error.message);
            _exit(rc == EMBELLAMA_OK || rc == EMBELLAMA_E_UNSUPPORTED ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    emb_topology_deinit(&t);
}

static void test_memory(void **state)
{
    (void)state;
    size_t size = 1 << 20;
    uint8_t *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(block != MAP_FAILED);
    memset(block, 7, size);
    emb_memory_near(block, size, 0);
    assert_int_equal(emb_memory_near(block, size, EMB_NODE_UNKNOWN), EINVAL);
    assert_int_equal(emb_memory_near(block, size, 1 << 20), EINVAL);
    assert_int_not_equal(emb_memory_near(block, size, 1023), 0); /* no such node */
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(block[i], 7);
    }
    munmap(block, size);
}

struct visit {
    const struct emb_place *places;
    _Atomic int wrong, seen[2];
};

static void visit_item(void *arg, size_t item, int member)
{
    struct visit *v = arg;
    cpu_set_t now;
    (void)item;
    v->seen[member]++;
    if (member > 0 && (sched_getaffinity(0, sizeof now, &now) != 0 || !CPU_EQUAL(&now, &v->places[member].cpus) ||
                       !CPU_ISSET((size_t)sched_getcpu(), &now))) {
        v->wrong++;
    }
    for (volatile int i = 0; i < 100000; i++) {
    }
}

static void test_team_stays(void **state)
{
    (void)state;
    struct emb_topology t;
    struct emb_team *team;
    cpu_set_t before, after;
    assert_int_equal(emb_topology_read(&t, NULL, &error), EMBELLAMA_OK);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    struct emb_place places[2];
    emb_topology_seat(&t, true, 2, places);
    assert_int_equal(emb_team_new_at(&team, 2, places, &error), EMBELLAMA_OK);
    struct visit v = {.places = places};
    for (int i = 0; i < 1000 && !v.seen[1]; i++) {
        emb_team_run(team, visit_item, &v, 20);
    }
    assert_true(v.seen[1] > 0);
    assert_int_equal(v.wrong, 0);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    emb_team_free(team);
    emb_topology_deinit(&t);
}

int main(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        puts("skipped: more processors than this test can count");
        return 77;
    }
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set)) {
            cpus[n_cpus++] = i;
        }
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_two_nodes),
        cmocka_unit_test(test_affinity_mask_counts),
        cmocka_unit_test(test_cores_before_threads),
        cmocka_unit_test(test_odd_folders),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_seats),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_enter),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_team_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
