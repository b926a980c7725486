/* What the usual engine makes of a batch of several kinds of work: the same bits as calls of the library for each input alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "pool/worker.h"
#include "testdata.h"

enum { INPUTS = 9, TOKENS_MAX = 16, VALUES_MAX = 8192, SENTINEL = 4711 };

struct fixture {
    embellama_model *model;
    embellama_ctx *ctx;
    struct emb_pool_recipe recipe;
    struct emb_pool_engine engine;
    void *state;
    const embellama_model_info *info;

    struct emb_pool_batch batch;
    int32_t ids[INPUTS * TOKENS_MAX];
    uint32_t counts[INPUTS];
    float values[VALUES_MAX];
    int statuses[INPUTS];
};

static struct fixture *fixture_new(const char *folder)
{
    struct fixture *f = calloc(1, sizeof *f);
    embellama_error error;
    embellama_model_options options = embellama_model_options_default();
    options.precision = EMBELLAMA_PRECISION_F32;
    if (embellama_model_open(&f->model, emb_test_source(folder), &options, &error) != 0) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(embellama_ctx_new(&f->ctx, f->model, NULL, NULL), 0);
    f->info = embellama_model_get_info(f->model);
    f->recipe = (struct emb_pool_recipe){
        .model = f->model, .pooling = EMBELLAMA_POOLING_MEAN, .normalize = EMBELLAMA_NORMALIZE_L2};
    f->engine = emb_pool_engine(&f->recipe);
    assert_int_equal(f->engine.start(f->engine.arg, 2, &f->state, NULL), 0);
    return f;
}

static void fixture_free(struct fixture *f)
{
    f->engine.stop(f->state);
    embellama_ctx_free(f->ctx);
    embellama_model_close(f->model);
    free(f);
}

/* Inputs of rising lengths. */
static void make_batch(struct fixture *f, const struct emb_task *tasks)
{
    size_t at = 0;
    for (size_t i = 0; i < INPUTS; i++) {
        f->counts[i] = (uint32_t)(3 + i);
        for (size_t k = 0; k < f->counts[i]; k++) {
            f->ids[at++] = (int32_t)(5 + (i * 7 + k * 3) % 40);
        }
    }
    for (size_t i = 0; i < VALUES_MAX; i++) {
        f->values[i] = SENTINEL;
    }
    f->batch = (struct emb_pool_batch){.inputs = INPUTS,
                                       .ids = f->ids,
                                       .counts = f->counts,
                                       .tasks = tasks,
                                       .vectors = f->values,
                                       .statuses = f->statuses};
}

/* What input i shall get, by a call for it alone. */
static int expected(const struct fixture *f, size_t i, const int32_t *ids, float *out)
{
    const struct emb_task task = f->batch.tasks ? f->batch.tasks[i] : (struct emb_task){0};
    const embellama_ids input = {ids, f->counts[i]};
    if (task.kind == EMB_TASK_SCORE) {
        const embellama_pair pair = {ids, f->counts[i], task.second};
        return embellama_score_ids(f->ctx, &pair, 1, true, out, NULL, NULL);
    }
    embellama_embed_options options = embellama_embed_options_default();
    options.pooling = task.kind == EMB_TASK_TOKENS ? EMBELLAMA_POOLING_NONE : EMBELLAMA_POOLING_MEAN;
    options.normalize = task.kind == EMB_TASK_EMBED ? EMBELLAMA_NORMALIZE_L2 : EMBELLAMA_NORMALIZE_NONE;
    return embellama_embed_ids(f->ctx, &input, 1, &options, out, NULL, NULL);
}

static void run_and_check(struct fixture *f)
{
    f->engine.run(f->state, &f->batch);
    const int32_t *ids = f->ids;
    const float *got = f->values;
    for (size_t i = 0; i < INPUTS; i++) {
        static float want[VALUES_MAX];
        const struct emb_task *task = f->batch.tasks ? &f->batch.tasks[i] : NULL;
        size_t n = emb_task_values(task, f->counts[i], f->info->dim, f->info->labels);
        int status = expected(f, i, ids, want);
        assert_int_equal(f->statuses[i], status);
        for (size_t k = 0; k < n; k++) {
            assert_true(got[k] == (status == EMBELLAMA_OK ? want[k] : 0));
        }
        got += n;
        ids += f->counts[i];
    }
    assert_true(*got == SENTINEL);
}

static void test_embeddings(void **state)
{
    (void)state;
    struct fixture *f = fixture_new("tests/golden/tiny-a");
    assert_int_equal(f->engine.labels, 0);
    make_batch(f, NULL);
    run_and_check(f);
    fixture_free(f);
}

/* Bad ids fail alone, whichever kind is asked for; scores of a model that has none fail, too. */
static void test_mixed(void **state)
{
    static const struct emb_task tasks[INPUTS] = {{EMB_TASK_RAW, 0},    {EMB_TASK_EMBED, 0}, {EMB_TASK_TOKENS, 0},
                                                  {EMB_TASK_EMBED, 0},  {EMB_TASK_SCORE, 2}, {EMB_TASK_TOKENS, 0},
                                                  {EMB_TASK_TOKENS, 0}, {EMB_TASK_RAW, 0},   {EMB_TASK_EMBED, 0}};
    (void)state;
    struct fixture *f = fixture_new("tests/golden/tiny-a");
    make_batch(f, tasks);
    run_and_check(f);
    assert_int_equal(f->statuses[4], EMBELLAMA_E_UNSUPPORTED);
    make_batch(f, tasks);
    f->ids[3 + 4 + 1] = 1 << 30; /* the third input, TOKENS, and the eighth, RAW */
    f->ids[3 + 4 + 5 + 6 + 7 + 8 + 9] = -1;
    run_and_check(f);
    assert_int_equal(f->statuses[2], EMBELLAMA_E_TOKEN_ID);
    assert_int_equal(f->statuses[7], EMBELLAMA_E_TOKEN_ID);
    assert_int_equal(f->statuses[6], EMBELLAMA_OK);
    /* Smaller after larger, and of one kind. */
    static const struct emb_task raw[INPUTS] = {{EMB_TASK_RAW, 0}, {EMB_TASK_RAW, 0}, {EMB_TASK_RAW, 0},
                                                {EMB_TASK_RAW, 0}, {EMB_TASK_RAW, 0}, {EMB_TASK_RAW, 0},
                                                {EMB_TASK_RAW, 0}, {EMB_TASK_RAW, 0}, {EMB_TASK_RAW, 0}};
    make_batch(f, raw);
    run_and_check(f);
    fixture_free(f);
}

static void test_scores(void **state)
{
    static const struct emb_task tasks[INPUTS] = {{EMB_TASK_SCORE, 3}, {EMB_TASK_SCORE, 2}, {EMB_TASK_SCORE, 1},
                                                  {EMB_TASK_SCORE, 0}, {EMB_TASK_SCORE, 5}, {EMB_TASK_SCORE, 8},
                                                  {EMB_TASK_SCORE, 4}, {EMB_TASK_SCORE, 6}, {EMB_TASK_SCORE, 11}};
    (void)state;
    struct fixture *f = fixture_new("tests/golden/tiny-labels");
    assert_true(f->engine.labels > 1);
    make_batch(f, tasks);
    run_and_check(f);
    assert_int_equal(f->statuses[0], EMBELLAMA_OK);
    fixture_free(f);
}

/* Whichever allocation fails, every input has a status, and values or zeros. */
static void test_out_of_memory(void **state)
{
    static const struct emb_task tasks[INPUTS] = {{EMB_TASK_RAW, 0}, {EMB_TASK_TOKENS, 0}, {EMB_TASK_EMBED, 0}};
    (void)state;
    struct fixture *f = fixture_new("tests/golden/tiny-a");
    bool whole = false;
    for (long allowed = 0; !whole && allowed < 1000; allowed++) {
        make_batch(f, tasks);
        emb_mem_fail_after(allowed);
        f->engine.run(f->state, &f->batch);
        emb_mem_fail_after(-1);
        whole = true;
        const float *got = f->values;
        for (size_t i = 0; i < INPUTS; i++) {
            size_t n = emb_task_values(&tasks[i], f->counts[i], f->info->dim, f->info->labels);
            assert_true(f->statuses[i] == EMBELLAMA_OK || f->statuses[i] == EMBELLAMA_E_NOMEM);
            for (size_t k = 0; k < n; k++) {
                assert_true(f->statuses[i] == EMBELLAMA_OK ? got[k] != SENTINEL : got[k] == 0);
            }
            got += n;
            whole = whole && f->statuses[i] == EMBELLAMA_OK;
        }
    }
    assert_true(whole);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
