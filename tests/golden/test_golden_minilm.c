/* The default model, all-MiniLM-L6-v2, against sentence-transformers: ids, vectors in every precision and both formats, and the
 * same bits however the texts are batched. Vectors of a few dozen texts are committed; those of some hundred real sentences and
 * passages, and the quantised files, come from the shared data where it is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "golden.h"
#include "testdata.h"

enum { DIM = 384, LINES = 500 };

/* Floors: the smallest cosine to the float32 reference over all texts. */
#define FLOOR_F32 0.999999
#define FLOOR_BF16 0.9999
#define FLOOR_INT8 0.999
#define FLOOR_Q8_0 0.999

struct engine {
    embellama_model *model;
    embellama_ctx *ctx;
};

static struct engine open_engine(const char *path, embellama_precision precision, int threads)
{
    struct engine e = {0};
    embellama_error error;
    embellama_model_options options = embellama_model_options_default();
    embellama_ctx_options ctx_options = embellama_ctx_options_default();
    options.precision = precision;
    ctx_options.threads = threads;
    if (embellama_model_open(&e.model, path, &options, &error) != EMBELLAMA_OK ||
        embellama_ctx_new(&e.ctx, e.model, &ctx_options, &error) != EMBELLAMA_OK) {
        fail_msg("%s: %s", path, error.message);
    }
    return e;
}

static void close_engine(struct engine *e)
{
    embellama_ctx_free(e->ctx);
    embellama_model_close(e->model);
}

static float *embed(const struct engine *e, const embellama_text *texts, size_t n)
{
    embellama_embed_options options = embellama_embed_options_default();
    embellama_error error;
    options.truncate = true;
    float *out = calloc(n * DIM, sizeof *out);
    if (embellama_embed(e->ctx, texts, n, &options, out, NULL, &error) != EMBELLAMA_OK) {
        fail_msg("%s", error.message);
    }
    return out;
}

static double worst_cosine(const float *a, const float *b, size_t n)
{
    double worst = 1;
    for (size_t i = 0; i < n; i++) {
        double cosine = golden_cosine(a + i * DIM, b + i * DIM, DIM);
        worst = cosine < worst || cosine != cosine ? cosine : worst;
    }
    return worst;
}

static void check_floor(const char *what, double worst, double floor)
{
    print_message("%s: worst cosine %.9f (floor %g)\n", what, worst, floor);
    assert_true(worst >= floor);
}

/* Ids and vectors of one model against a committed golden file. */
static void check_committed(const char *model, const char *file)
{
    struct golden golden = golden_read(emb_test_source(file));
    embellama_text *texts = calloc(golden.n, sizeof *texts);
    float *expected = calloc(golden.n * DIM, sizeof *expected);
    struct engine f32 = open_engine(model, EMBELLAMA_PRECISION_F32, 2);
    struct engine bf16 = open_engine(model, EMBELLAMA_PRECISION_BF16, 2);
    struct engine int8 = open_engine(model, EMBELLAMA_PRECISION_INT8, 2);
    for (size_t i = 0; i < golden.n; i++) {
        const struct golden_row *row = &golden.rows[i];
        int32_t ids[1024];
        size_t count, n;
        struct emb_json_value vector;
        texts[i] = row->text;
        assert_true(emb_json_get(row->json, "vector", &vector));
        float *v = golden_floats(vector, &n);
        assert_int_equal(n, DIM);
        memcpy(expected + i * DIM, v, DIM * sizeof *v);
        free(v);
        assert_int_equal(embellama_tokenize(f32.model, row->text, NULL, ids, NULL, 1024, &count, NULL), 0);
        count = embellama_truncate_ids(f32.model, ids, count, 512);
        assert_int_equal(count, row->n_ids);
        assert_memory_equal(ids, row->ids, count * sizeof *ids);
    }
    float *a = embed(&f32, texts, golden.n), *b = embed(&bf16, texts, golden.n);
    float *c = embed(&int8, texts, golden.n);
    print_message("%s:\n", file);
    check_floor("f32", worst_cosine(a, expected, golden.n), FLOOR_F32);
    check_floor("bf16", worst_cosine(b, expected, golden.n), FLOOR_BF16);
    /* The first text is "", two special tokens alone, for which the int8 floor is not meant. */
    assert_int_equal(texts[0].size, 0);
    check_floor("int8", worst_cosine(c + DIM, expected + DIM, golden.n - 1), FLOOR_INT8);
    free(a);
    free(b);
    free(c);
    free(texts);
    free(expected);
    close_engine(&f32);
    close_engine(&bf16);
    close_engine(&int8);
    golden_free(&golden);
}

static void test_committed(void **state)
{
    (void)state;
    check_committed(emb_test_model(), "tests/golden/minilm.json");
}

/* Quantised files against the reference computing with the same dequantised weights: what is lost is then ours. */
static void test_quantised_files(void **state)
{
    (void)state;
    const char *q8_0 = emb_test_shared("data/gguf/all-MiniLM-L6-v2.Q8_0.gguf");
    const char *q4_k_m = emb_test_shared("data/gguf/all-MiniLM-L6-v2.Q4_K_M.gguf");
    if (!q8_0 || !q4_k_m) {
        print_message("no shared data: quantised files not compared\n");
        skip();
    }
    check_committed(q8_0, "tests/golden/all-MiniLM-L6-v2.Q8_0.json");
    check_committed(q4_k_m, "tests/golden/all-MiniLM-L6-v2.Q4_K_M.json");
}

/* ---- Shared data ---- */

struct lines {
    struct emb_json *json[LINES];
    embellama_text texts[LINES];
    size_t n;
};

/* The "text" members of the first limit lines of a jsonl file. */
static struct lines read_lines(const char *path, size_t limit)
{
    struct lines l = {0};
    char *line = NULL;
    size_t capacity = 0;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (l.n < limit) {
        ssize_t size = getline(&line, &capacity, f);
        if (size <= 0) {
            break;
        }
        char *padded = calloc((size_t)size + EMB_JSON_PADDING, 1);
        memcpy(padded, line, (size_t)size);
        assert_int_equal(emb_json_parse(&l.json[l.n], padded, (size_t)size, NULL), 0);
        free(padded);
        embellama_text *text = &l.texts[l.n];
        assert_true(emb_json_get_string(emb_json_root(l.json[l.n]), "text", &text->bytes, &text->size));
        l.n++;
    }
    free(line);
    fclose(f);
    return l;
}

static void free_lines(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++) {
        emb_json_free(l->json[i]);
    }
}

/* The floats of a version 1 .npy file; *rows of DIM. */
static float *read_npy(const char *path, size_t *rows)
{
    FILE *f = fopen(path, "rb");
    unsigned char head[10];
    assert_non_null(f);
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    long start = 10 + head[8] + 256 * head[9];
    fseek(f, 0, SEEK_END);
    *rows = (size_t)(ftell(f) - start) / (DIM * sizeof(float));
    fseek(f, start, SEEK_SET);
    float *out = calloc(*rows * DIM, sizeof *out);
    assert_int_equal(fread(out, sizeof *out, *rows * DIM, f), *rows * DIM);
    fclose(f);
    return out;
}

static void check_shared(const char *name, const struct engine *e, double floor, const char *what)
{
    char path[128], label[128];
    size_t rows;
    snprintf(path, sizeof path, "data/corpus/minilm-f32-dev-%s.npy", name);
    const char *npy = emb_test_shared(path);
    snprintf(path, sizeof path, "data/corpus/dev-%s.jsonl", name);
    const char *jsonl = emb_test_shared(path);
    if (!npy || !jsonl) {
        print_message("no shared corpus: %s not compared\n", name);
        skip();
    }
    float *expected = read_npy(npy, &rows);
    struct lines lines = read_lines(jsonl, rows < LINES ? rows : LINES);
    assert_int_equal(lines.n, rows);
    float *out = embed(e, lines.texts, lines.n);
    snprintf(label, sizeof label, "%s, %s", name, what);
    check_floor(label, worst_cosine(out, expected, rows), floor);
    free(out);
    free(expected);
    free_lines(&lines);
}

static void check_all_shared(const char *path, embellama_precision precision, double floor, const char *what)
{
    if (!path || !emb_test_shared("data/corpus")) {
        print_message("no shared data: %s not compared\n", what);
        skip();
    }
    struct engine e = open_engine(path, precision, 2);
    check_shared("short", &e, floor, what);
    check_shared("p128", &e, floor, what);
    check_shared("p512", &e, floor, what);
    close_engine(&e);
}

static void test_shared_f32(void **state)
{
    (void)state;
    check_all_shared(emb_test_model(), EMBELLAMA_PRECISION_F32, FLOOR_F32, "f32");
}

static void test_shared_bf16(void **state)
{
    (void)state;
    check_all_shared(emb_test_model(), EMBELLAMA_PRECISION_BF16, FLOOR_BF16, "bf16");
}

static void test_shared_int8(void **state)
{
    (void)state;
    check_all_shared(emb_test_model(), EMBELLAMA_PRECISION_INT8, FLOOR_INT8, "int8");
}

static void test_shared_q8_0(void **state)
{
    (void)state;
    check_all_shared(emb_test_shared("data/gguf/all-MiniLM-L6-v2.Q8_0.gguf"), EMBELLAMA_PRECISION_AUTO, FLOOR_Q8_0,
                     "Q8_0 file");
}

/* Alone on one thread; in one batch backwards on two; bit for bit. */
static void test_same_bits(void **state)
{
    (void)state;
    struct golden golden = golden_read(emb_test_source("tests/golden/minilm.json"));
    size_t n = golden.n;
    embellama_text *backwards = calloc(n, sizeof *backwards);
    for (size_t i = 0; i < n; i++) {
        backwards[i] = golden.rows[n - 1 - i].text;
    }
    for (int p = EMBELLAMA_PRECISION_F32; p <= EMBELLAMA_PRECISION_INT8; p++) {
        struct engine one = open_engine(emb_test_model(), (embellama_precision)p, 1);
        struct engine two = open_engine(emb_test_model(), (embellama_precision)p, 2);
        float *batch = embed(&two, backwards, n);
        for (size_t i = 0; i < n; i++) {
            float *alone = embed(&one, &golden.rows[i].text, 1), *split = embed(&two, &golden.rows[i].text, 1);
            assert_memory_equal(alone, batch + (n - 1 - i) * DIM, DIM * sizeof *alone);
            assert_memory_equal(split, alone, DIM * sizeof *alone);
            free(alone);
            free(split);
        }
        free(batch);
        close_engine(&one);
        close_engine(&two);
    }
    free(backwards);
    golden_free(&golden);
}

/* Every allocation of opening and embedding fails in turn: a clean error each time, and nothing leaks (ASan build). */
static void test_out_of_memory(void **state)
{
    (void)state;
    embellama_text text = {"Hello, world!", 13};
    float out[DIM];
    int failures = 0, rc = EMBELLAMA_E_NOMEM;
    for (long allowed = 0; rc != EMBELLAMA_OK; allowed++) {
        struct engine e = {0};
        embellama_error error;
        /* The tokenizer's and the index's thousands of small allocations are tested with them: go in growing steps. */
        allowed += allowed / 8;
        emb_mem_fail_after(allowed);
        rc = embellama_model_open(&e.model, emb_test_model(), NULL, &error);
        if (rc == EMBELLAMA_OK) {
            rc = embellama_ctx_new(&e.ctx, e.model, NULL, &error);
        }
        if (rc == EMBELLAMA_OK) {
            rc = embellama_embed(e.ctx, &text, 1, NULL, out, NULL, &error);
        }
        emb_mem_fail_after(-1);
        if (rc != EMBELLAMA_OK) {
            assert_int_equal(rc, EMBELLAMA_E_NOMEM);
            failures++;
        }
        close_engine(&e);
    }
    assert_true(failures > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_committed),   cmocka_unit_test(test_quantised_files), cmocka_unit_test(test_shared_f32),
        cmocka_unit_test(test_shared_bf16), cmocka_unit_test(test_shared_int8),     cmocka_unit_test(test_shared_q8_0),
        cmocka_unit_test(test_same_bits),   cmocka_unit_test(test_out_of_memory),
    };
    if (!emb_test_model()) {
        print_message("skipped: the default model is not there (make model)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
