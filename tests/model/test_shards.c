/* Plans of who computes what: every input once, within the limits, evenly. */
#include "engine/shards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CONTEXT = 512, HIDDEN = 384, INPUTS_MAX = 3000, THREADS_MAX = 64 };

static struct emb_shards plan;
static embellama_ids inputs[INPUTS_MAX];

static int teardown(void **state)
{
    (void)state;
    emb_shards_deinit(&plan);
    return 0;
}

static struct emb_shards_terms terms_of(size_t threads)
{
    return (struct emb_shards_terms){.threads = threads, .nodes = 1, .tokens = 256, .most = CONTEXT, .hidden = HIDDEN};
}

static void make_plan(size_t n, const struct emb_shards_terms *terms)
{
    assert_true(emb_shards_plan(&plan, inputs, n, terms));
}

static void all_of(size_t n, size_t tokens)
{
    for (size_t i = 0; i < n; i++) {
        inputs[i] = (embellama_ids){.count = tokens};
    }
}

/* Each input is in one shard, shards say what they hold, and none is beyond its limit. */
static void check(size_t n, const struct emb_shards_terms *terms)
{
    bool seen[INPUTS_MAX] = {false};
    size_t place = 0;
    assert_true(plan.alone <= plan.count);
    for (size_t s = 0; s < plan.count; s++) {
        size_t tokens = 0;
        assert_true(plan.shards[s].begin < plan.shards[s].end && plan.shards[s].end <= n);
        for (size_t k = plan.shards[s].begin; k < plan.shards[s].end; k++, place++) {
            assert_true(plan.order[k] < n && !seen[plan.order[k]]);
            seen[plan.order[k]] = true;
            tokens += inputs[plan.order[k]].count;
        }
        assert_int_equal(plan.shards[s].tokens, tokens);
        assert_true(tokens <= terms->most);
    }
    assert_int_equal(place, n);
}

/* When the last thread is done, if shards are taken in order by whoever is free; in tokens. */
static size_t makespan(size_t threads)
{
    size_t loads[THREADS_MAX] = {0}, most = 0;
    for (size_t s = 0; s < plan.alone; s++) {
        size_t least = 0;
        for (size_t i = 1; i < threads; i++) {
            least = loads[i] < loads[least] ? i : least;
        }
        loads[least] += plan.shards[s].tokens;
    }
    for (size_t i = 0; i < threads; i++) {
        most = loads[i] > most ? loads[i] : most;
    }
    return most;
}

static size_t joint_tokens(void)
{
    size_t tokens = 0;
    for (size_t s = plan.alone; s < plan.count; s++) {
        tokens += plan.shards[s].tokens;
    }
    return tokens;
}

static void test_nothing_and_one(void **state)
{
    (void)state;
    struct emb_shards_terms terms = terms_of(2);
    make_plan(0, &terms);
    assert_int_equal(plan.count, 0);
    all_of(1, CONTEXT);
    make_plan(1, &terms);
    check(1, &terms);
    assert_int_equal(plan.alone, 0); /* both threads work on it */
    terms = terms_of(1);
    make_plan(1, &terms);
    check(1, &terms);
    assert_int_equal(plan.alone, 1);
}

/* What is left of equal texts goes to all. */
static void test_odd_one(void **state)
{
    (void)state;
    struct emb_shards_terms terms = terms_of(2);
    all_of(7, 128);
    make_plan(7, &terms);
    check(7, &terms);
    assert_int_equal(makespan(2), 3 * 128);
    assert_int_equal(joint_tokens(), 128);
    terms = terms_of(8);
    all_of(11, 128);
    make_plan(11, &terms);
    check(11, &terms);
    assert_int_equal(makespan(8), 128);
    assert_int_equal(joint_tokens(), 3 * 128);
}

static void test_little_is_joint(void **state)
{
    (void)state;
    struct emb_shards_terms terms = terms_of(4);
    all_of(10, 20);
    make_plan(10, &terms);
    check(10, &terms);
    assert_int_equal(plan.alone, 0);
    assert_int_equal(plan.count, 1);
}

/* No small shard is left over where equal ones can be made. */
static void test_equal_shards(void **state)
{
    (void)state;
    struct emb_shards_terms terms = terms_of(2);
    all_of(64, 14);
    make_plan(64, &terms);
    check(64, &terms);
    assert_int_equal(plan.count, 4);
    for (size_t s = 0; s < plan.count; s++) {
        assert_in_range(plan.shards[s].tokens, 210, 238);
    }
}

/* A long text costs more than its tokens: it is weighed so. */
static void test_long_texts_are_dearer(void **state)
{
    (void)state;
    struct emb_shards_terms terms = terms_of(2);
    inputs[0] = (embellama_ids){.count = 512};
    for (size_t i = 1; i <= 11; i++) {
        inputs[i] = (embellama_ids){.count = 64};
    }
    make_plan(12, &terms);
    check(12, &terms);
    assert_int_equal(plan.shards[0].tokens, 512);
    assert_int_equal(makespan(2), 11 * 64);
}

/* Any mixture: within a tenth of the best there could be, a third where there are few texts a thread; at the threads' own pace
 * for what is joint. */
static void test_mixtures(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 300; round++) {
        static const size_t threads[] = {1, 2, 3, 8, 16, 64};
        struct emb_shards_terms terms = terms_of(threads[round % 6]);
        size_t n = 1 + (size_t)rand() % (round % 10 ? 100 : INPUTS_MAX), total = 0;
        for (size_t i = 0; i < n; i++) {
            size_t longest = round % 3 ? 64 : CONTEXT;
            inputs[i] = (embellama_ids){.count = 1 + (size_t)rand() % longest};
            total += inputs[i].count;
        }
        terms.hidden = 1 << 20; /* so that cost is tokens */
        make_plan(n, &terms);
        check(n, &terms);
        size_t share = total / terms.threads;
        if (share >= CONTEXT) {
            size_t slack = n < 4 * terms.threads ? share / 3 : share / 10;
            assert_true(makespan(terms.threads) + joint_tokens() / terms.threads <= share + slack);
        }
    }
}

/* Each node gets a part of what is joint, if that is not little. */
static void test_nodes(void **state)
{
    (void)state;
    struct emb_shards_terms terms = terms_of(64);
    terms.nodes = 2;
    all_of(4, 256);
    make_plan(4, &terms);
    check(4, &terms);
    assert_int_equal(plan.alone, 0);
    assert_int_equal(plan.count, 2);
    all_of(1, 60);
    make_plan(1, &terms);
    assert_int_equal(plan.count, 1);
}

/* Asked for shards larger than any input, as a caller may. */
static void test_large_shards(void **state)
{
    (void)state;
    struct emb_shards_terms terms = terms_of(2);
    terms.tokens = terms.most = 8192;
    all_of(1000, 100);
    make_plan(1000, &terms);
    check(1000, &terms);
    assert_in_range(plan.alone, 12, 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_and_one),
        cmocka_unit_test(test_odd_one),
        cmocka_unit_test(test_little_is_joint),
        cmocka_unit_test(test_equal_shards),
        cmocka_unit_test(test_long_texts_are_dearer),
        cmocka_unit_test(test_mixtures),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_large_shards),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
