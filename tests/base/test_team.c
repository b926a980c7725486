/* The team: every item exactly once, whatever the sizes of team and run, and nothing of one run in another. */
#include "base/team.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { MAX_ITEMS = 5000 };

struct run {
    int team_size;
    size_t items;
    int spin; /* work per item */
    _Atomic unsigned seen[MAX_ITEMS];
    uint64_t plain[MAX_ITEMS]; /* written without atomics, read by the caller afterwards */
    _Atomic int busy[1024];    /* by member */
    _Atomic unsigned wrong;
};

static void visit(void *arg, size_t item, int member)
{
    struct run *run = arg;
    if (item >= run->items || member < 0 || member >= run->team_size || atomic_fetch_add(&run->busy[member], 1) != 0) {
        atomic_fetch_add(&run->wrong, 1);
        return;
    }
    for (volatile int i = 0; i < run->spin; i++) {
    }
    run->plain[item] += item + 1;
    atomic_fetch_add(&run->seen[item], 1);
    atomic_fetch_sub(&run->busy[member], 1);
}

static void check_run(struct emb_team *team, struct run *run, size_t items)
{
    uint64_t sum = 0;
    run->items = items;
    for (size_t i = 0; i < items; i++) {
        run->plain[i] = 0;
        atomic_store_explicit(&run->seen[i], 0, memory_order_relaxed);
    }
    emb_team_run(team, visit, run, items);
    for (size_t i = 0; i < items; i++) {
        if (atomic_load_explicit(&run->seen[i], memory_order_relaxed) != 1) {
            fail_msg("item %zu of %zu was done %u times", i, items, atomic_load(&run->seen[i]));
        }
        sum += run->plain[i];
    }
    assert_int_equal(sum, (uint64_t)items * (items + 1) / 2);
    assert_int_equal(atomic_load(&run->wrong), 0);
}

static struct run *new_run(int team_size)
{
    struct run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    run->team_size = team_size;
    return run;
}

static void test_sizes(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 4, 7, 16};
    static const size_t items[] = {0, 1, 2, 3, 17, 100, MAX_ITEMS};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct emb_team *team = NULL;
        struct run *run = new_run(sizes[s]);
        assert_int_equal(emb_team_new(&team, sizes[s], NULL), EMBELLAMA_OK);
        assert_int_equal(emb_team_size(team), sizes[s]);
        for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
            run->spin = i % 2 ? 0 : 50;
            check_run(team, run, items[i]);
        }
        emb_team_free(team);
        free(run);
    }
}

/* Short runs back to back, each of another size: members that wake late for one meet the next. Two sets of state,
 * so that an item done with an old run's argument is seen. */
static void test_many_runs(void **state)
{
    (void)state;
    static const int sizes[] = {2, 4, 8, 32};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct emb_team *team = NULL;
        struct run *runs[2] = {new_run(sizes[s]), new_run(sizes[s])};
        unsigned random = 12345;
        assert_int_equal(emb_team_new(&team, sizes[s], NULL), EMBELLAMA_OK);
        for (int i = 0; i < 10000; i++) {
            random = random * 1664525u + 1013904223u;
            runs[i & 1]->spin = random >> 20 & 7 ? random >> 23 & 15 : 2000;
            check_run(team, runs[i & 1], i & 1 ? 2 + (random >> 24 & 3) : 2 + (random >> 24 & 63));
        }
        emb_team_free(team);
        free(runs[0]);
        free(runs[1]);
    }
}

/* Members fall asleep between runs and wake again; an idle team uses no CPU. */
static void test_sleep(void **state)
{
    (void)state;
    struct emb_team *team = NULL;
    struct run *run = new_run(4);
    struct timespec before, after;
    assert_int_equal(emb_team_new(&team, 4, NULL), EMBELLAMA_OK);
    for (int i = 0; i < 5; i++) {
        check_run(team, run, 64);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    double used = (double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec);
    assert_true(used < 0.1);
    check_run(team, run, 64);
    emb_team_free(team);
    free(run);
}

static void linger(void *arg, size_t item, int member)
{
    (void)item;
    nanosleep(&(struct timespec){.tv_nsec = member == 0 ? 1000000 : 10000000}, NULL);
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

/* The caller runs out of items long before the others are done: it sleeps and must be woken. */
static void test_caller_waits(void **state)
{
    (void)state;
    struct emb_team *team = NULL;
    _Atomic unsigned done = 0;
    assert_int_equal(emb_team_new(&team, 3, NULL), EMBELLAMA_OK);
    for (unsigned i = 1; i <= 20; i++) {
        emb_team_run(team, linger, &done, 6);
        assert_int_equal(atomic_load(&done), 6 * i);
    }
    emb_team_free(team);
}

static void test_no_team(void **state)
{
    (void)state;
    struct emb_team *team = NULL;
    struct run *run = new_run(1);
    embellama_error error = {0};
    check_run(NULL, run, 10);
    assert_int_equal(emb_team_size(NULL), 1);
    assert_int_equal(emb_team_new(&team, 0, &error), EMBELLAMA_E_INVALID);
    assert_int_equal(emb_team_new(&team, 1025, &error), EMBELLAMA_E_INVALID);
    assert_null(team);
    emb_team_free(NULL);
    free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),        cmocka_unit_test(test_many_runs), cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_caller_waits), cmocka_unit_test(test_no_team),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
