/* Inputs of requests by themselves: what is asked of each, what is counted, where the values of each lie, and whichever allocation
 * fails. */
#include "api/embed_inputs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "testdata.h"

static embellama_model *model_of(const char *folder)
{
    embellama_model *model = NULL;
    embellama_error error;
    if (embellama_model_open(&model, emb_test_source(folder), NULL, &error) != 0) {
        fail_msg("%s", error.message);
    }
    return model;
}

static embellama_text text_of(const char *s)
{
    return (embellama_text){.bytes = s, .size = strlen(s)};
}

static struct emb_embed_inputs inputs_of(const embellama_model *model, const enum emb_task_kind *task)
{
    return (struct emb_embed_inputs){
        .model = model, .task = task, .limit = embellama_model_get_info(model)->context_length, .most = 100};
}

/* The ids of input i among the misses. */
static const int32_t *ids_of(const struct emb_embed_inputs *in, size_t i)
{
    const int32_t *ids = in->ids;
    for (size_t k = 0; k < i; k++) {
        ids += in->counts[k];
    }
    return ids;
}

static void test_places(void **state)
{
    (void)state;
    embellama_model *model = model_of("tests/golden/tiny-a");
    size_t dim = embellama_dim(model);
    for (int kind = EMB_TASK_EMBED; kind <= EMB_TASK_TOKENS; kind++) {
        enum emb_task_kind task = (enum emb_task_kind)kind;
        struct emb_embed_inputs in = inputs_of(model, &task);
        struct emb_refusal refusal = {0};
        assert_int_equal(emb_embed_inputs_add_text(&in, "a", text_of("a b c"), &refusal), 0);
        assert_int_equal(emb_embed_inputs_add_text(&in, "b", text_of(""), &refusal), 0);
        assert_int_equal(emb_embed_inputs_add_text(&in, "c", text_of("d"), &refusal), 0);
        size_t before = emb_embed_inputs_held(&in);
        assert_int_equal(emb_embed_inputs_prepare(&in, &refusal), 0);
        bool rows = kind == EMB_TASK_TOKENS;
        size_t values = rows ? in.tokens * dim : 3 * dim;
        assert_int_equal(in.values, values);
        assert_true(emb_embed_inputs_held(&in) >= before + values * sizeof(float));
        assert_true(emb_embed_inputs_vector(&in, 1) == in.vectors + (rows ? in.counts[0] * dim : dim));
        assert_true((in.tasks == NULL) == (kind == EMB_TASK_EMBED) && (in.places == NULL) == (in.tasks == NULL));
        for (size_t i = 0; in.tasks && i < 3; i++) {
            assert_true(in.tasks[i].kind == task && in.tasks[i].second == 0);
        }
        emb_embed_inputs_deinit(&in);
    }
    embellama_model_close(model);
}

/* A pair's ids and cut are the library's own. */
static void test_pairs(void **state)
{
    enum { ROOM = 128 };
    (void)state;
    const char *query = "one two three four", *document = "five six seven eight nine ten";
    embellama_model *model = model_of("tests/golden/tiny-rank");
    enum emb_task_kind task = EMB_TASK_SCORE;
    struct emb_refusal refusal = {0};
    int32_t ids[ROOM], types[ROOM];
    size_t count, second = 0;
    embellama_text behind = text_of(document);
    assert_int_equal(embellama_tokenize(model, text_of(query), &behind, ids, types, ROOM, &count, NULL), 0);
    while (second < count && types[second] == 0) {
        second++;
    }
    assert_true(second > 2 && second < count);
    for (size_t limit = count + 1; limit >= 3; limit--) {
        int32_t want[ROOM];
        size_t at = second, n = count;
        struct emb_embed_inputs in = inputs_of(model, &task);
        in.limit = limit;
        memcpy(want, ids, sizeof ids);
        int rc = emb_embed_inputs_add_pair(&in, "p", text_of(query), text_of(document), &refusal);
        assert_int_equal(rc, limit < count ? -1 : 0);
        assert_int_equal(in.count, limit < count ? 0 : 1);
        emb_embed_inputs_deinit(&in);
        in = inputs_of(model, &task);
        in.limit = limit;
        in.truncate = true;
        n = embellama_truncate_pair(model, want, n, &at, limit);
        assert_int_equal(emb_embed_inputs_add_text(&in, "t", text_of(query), &refusal), 0);
        assert_int_equal(emb_embed_inputs_add_pair(&in, "p", text_of(query), text_of(document), &refusal), 0);
        assert_int_equal(in.counts[1], n);
        assert_int_equal(in.tasks[1].second, at);
        assert_memory_equal(ids_of(&in, 1), want, n * sizeof *want);
        assert_int_equal(in.items[1].truncated, limit < count);
        assert_int_equal(in.tasks[0].second, in.counts[0]); /* one text: there is no second */
        assert_int_equal(emb_embed_inputs_prepare(&in, &refusal), 0);
        assert_int_equal(in.values, 2 * embellama_model_get_info(model)->labels);
        emb_embed_inputs_deinit(&in);
    }
    embellama_model_close(model);
}

static void test_wrong_kind_of_model(void **state)
{
    (void)state;
    static const char *const folders[] = {"tests/golden/tiny-a", "tests/golden/tiny-rank"};
    for (int scores = 0; scores < 2; scores++) {
        embellama_model *model = model_of(folders[scores]);
        for (int kind = 0; kind < EMB_TASK_KINDS; kind++) {
            enum emb_task_kind task = (enum emb_task_kind)kind;
            struct emb_embed_inputs in = inputs_of(model, &task);
            struct emb_refusal refusal = {0};
            bool fits = (kind == EMB_TASK_SCORE) == (scores != 0);
            int rc = emb_embed_inputs_add_text(&in, "a", text_of("a"), &refusal);
            assert_int_equal(rc, fits ? 0 : -1);
            assert_true(fits || strcmp(refusal.code, "not_supported") == 0);
            emb_embed_inputs_deinit(&in);
        }
        embellama_model_close(model);
    }
}

static void test_prompt_and_side(void **state)
{
    (void)state;
    embellama_model *model = model_of("tests/golden/tiny-a");
    struct emb_refusal refusal = {0};
    struct emb_embed_inputs whole = inputs_of(model, NULL), in = inputs_of(model, NULL);
    assert_int_equal(emb_embed_inputs_add_text(&whole, "a", text_of("query: a b c d e"), &refusal), 0);
    in.prompt = text_of("query: ");
    assert_int_equal(emb_embed_inputs_add_text(&in, "a", text_of("a b c d e"), &refusal), 0);
    assert_int_equal(in.n_ids, whole.n_ids);
    assert_memory_equal(in.ids, whole.ids, in.n_ids * sizeof *in.ids);
    in.truncate = in.truncate_left = true;
    in.limit = whole.n_ids - 2;
    assert_int_equal(emb_embed_inputs_add_text(&in, "b", text_of("a b c d e"), &refusal), 0);
    size_t n = embellama_truncate_ids_left(model, whole.ids, whole.n_ids, in.limit);
    assert_int_equal(in.counts[1], n);
    assert_memory_equal(ids_of(&in, 1), whole.ids, n * sizeof *whole.ids);
    emb_embed_inputs_deinit(&in);
    emb_embed_inputs_deinit(&whole);
    embellama_model_close(model);
}

/* Vectors come back from the cache for the same task, cut and length only; scores and rows never. */
static void test_cache(void **state)
{
    (void)state;
    embellama_model *model = model_of("tests/golden/tiny-a");
    size_t dim = embellama_dim(model);
    struct emb_cache *cache;
    struct emb_cache_options options = {.bytes = 1 << 20, .dim = dim};
    assert_int_equal(emb_cache_new(&cache, &options, NULL), 0);
    const struct {
        enum emb_task_kind task;
        size_t limit;
        bool left;
    } asked[] = {{EMB_TASK_EMBED, 5, false}, {EMB_TASK_EMBED, 5, true}, {EMB_TASK_EMBED, 4, false},
                 {EMB_TASK_RAW, 5, false},   {EMB_TASK_RAW, 64, false}, {EMB_TASK_EMBED, 64, false}};
    enum { N = sizeof asked / sizeof *asked };
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < N; i++) {
            struct emb_refusal refusal = {0};
            struct emb_embed_inputs in = inputs_of(model, &asked[i].task);
            in.cache = cache;
            in.read_cache = in.truncate = true;
            in.limit = asked[i].limit;
            in.truncate_left = asked[i].left;
            assert_int_equal(emb_embed_inputs_add_text(&in, "a", text_of("a b c d e f g h"), &refusal), 0);
            assert_int_equal(emb_embed_inputs_prepare(&in, &refusal), 0);
            assert_int_equal(in.items[0].cached, round);
            assert_int_equal(in.items[0].truncated, asked[i].limit < 64);
            float *v = emb_embed_inputs_vector(&in, 0);
            if (round == 0) {
                for (size_t k = 0; k < dim; k++) {
                    v[k] = (float)i;
                }
            }
            assert_true(v[dim - 1] == (float)i);
            emb_embed_inputs_store(&in);
            emb_embed_inputs_deinit(&in);
        }
    }
    size_t entries = emb_cache_stats(cache).entries;
    assert_int_equal(entries, N);
    struct emb_refusal refusal = {0};
    enum emb_task_kind rows = EMB_TASK_TOKENS;
    struct emb_embed_inputs in = inputs_of(model, &rows);
    in.cache = cache;
    in.read_cache = true;
    assert_int_equal(emb_embed_inputs_add_text(&in, "a", text_of("a b c d e f g h"), &refusal), 0);
    assert_int_equal(emb_embed_inputs_prepare(&in, &refusal), 0);
    assert_false(in.items[0].cached);
    emb_embed_inputs_store(&in);
    assert_int_equal(emb_cache_stats(cache).entries, entries);
    emb_embed_inputs_deinit(&in);
    emb_cache_free(cache);
    embellama_model_close(model);
}

/* Whichever allocation fails, the request is refused with 503 and nothing is lost. */
static void test_out_of_memory(void **state)
{
    (void)state;
    embellama_model *model = model_of("tests/golden/tiny-rank");
    enum emb_task_kind task = EMB_TASK_SCORE;
    int refused = 0, made = 0;
    for (long allowed = 0; made == 0 && allowed < 200; allowed++) {
        struct emb_embed_inputs in = inputs_of(model, &task);
        struct emb_refusal refusal = {0};
        in.prompt = text_of("query: ");
        emb_mem_fail_after(allowed);
        int rc = emb_embed_inputs_add_text(&in, "a", text_of("a b"), &refusal);
        rc = rc == 0 ? emb_embed_inputs_add_pair(&in, "b", text_of("c"), text_of("d"), &refusal) : rc;
        rc = rc == 0 ? emb_embed_inputs_prepare(&in, &refusal) : rc;
        emb_mem_fail_after(-1);
        assert_true(rc == 0 || refusal.http == 503);
        refused += rc != 0;
        made += rc == 0;
        emb_embed_inputs_deinit(&in);
    }
    assert_true(refused >= 8 && made == 1);
    embellama_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_wrong_kind_of_model),
        cmocka_unit_test(test_prompt_and_side),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("inputs", tests, NULL, NULL);
}
