/* Cross-encoders against the reference: two tiny seeded ones, the first of them as a GGUF file too, and the default model with a seeded
 * classifier on top. Pairs, cut as the reference cuts them; every precision on every CPU tier; and the promise that a score's bits
 * depend on nothing but its pair. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "../base/tempdir.h"
#include "base/buf.h"
#include "base/json_write.h"
#include "base/memfd.h"
#include "golden.h"
#include "testdata.h"

enum { IDS = 1024 };

/* The largest difference of a logit from the float32 reference's, as a share of the logits' standard deviation over the golden pairs:
 * some four units for the default model's. */
static const struct {
    embellama_precision precision;
    double real, tiny; /* few dimensions average little out */
} floors[] = {{EMBELLAMA_PRECISION_F32, 1e-4, 1e-4},
              {EMBELLAMA_PRECISION_BF16, 0.05, 0.1},
              {EMBELLAMA_PRECISION_INT8, 0.25, 0.4}};

struct fixture {
    embellama_model *model;
    embellama_ctx *ctx;
    struct golden golden;
    size_t labels;
};

static struct fixture open_model(const char *path, const char *golden, embellama_precision precision, const char *tier,
                                 int threads)
{
    struct fixture f = {0};
    embellama_error error;
    embellama_model_options options = embellama_model_options_default();
    embellama_ctx_options ctx_options = embellama_ctx_options_default();
    options.precision = precision;
    options.cpu = tier;
    ctx_options.threads = threads;
    if (embellama_model_open(&f.model, path, &options, &error) != EMBELLAMA_OK ||
        embellama_ctx_new(&f.ctx, f.model, &ctx_options, &error) != EMBELLAMA_OK) {
        fail_msg("%s: %s", path, error.message);
    }
    f.golden = golden_read(emb_test_source(golden));
    f.labels = embellama_model_get_info(f.model)->labels;
    return f;
}

static struct fixture open_tiny(const char *name, embellama_precision precision, const char *tier, int threads)
{
    char path[256], golden[256];
    snprintf(path, sizeof path, "tests/golden/%s", name);
    snprintf(golden, sizeof golden, "tests/golden/%.*s.json", (int)strcspn(name, "."), name);
    snprintf(path, sizeof path, "%s", emb_test_source(path));
    return open_model(path, golden, precision, tier, threads);
}

static void close_model(struct fixture *f)
{
    embellama_ctx_free(f->ctx);
    embellama_model_close(f->model);
    golden_free(&f->golden);
}

static embellama_text document_of(const struct golden_row *row)
{
    embellama_text text = {NULL, 0};
    assert_true(emb_json_get_string(row->json, "document", &text.bytes, &text.size));
    return text;
}

static size_t number_of(const struct golden_row *row, const char *name)
{
    int64_t value = -1;
    assert_true(emb_json_get_int(row->json, name, &value));
    return (size_t)value;
}

static void logits_of(const struct golden_row *row, float *out, size_t labels)
{
    struct emb_json_value logits;
    size_t n;
    assert_true(emb_json_get(row->json, "logits", &logits));
    float *values = golden_floats(logits, &n);
    assert_int_equal(n, labels);
    memcpy(out, values, labels * sizeof *out);
    free(values);
}

/* [n, labels] of all golden rows, scored one by one as texts. */
static float *score_rows(const struct fixture *f)
{
    float *out = calloc(f->golden.n * f->labels, sizeof *out);
    for (size_t i = 0; i < f->golden.n; i++) {
        const struct golden_row *row = &f->golden.rows[i];
        embellama_text document = document_of(row);
        embellama_embed_options options = embellama_embed_options_default();
        embellama_error error;
        options.truncate = true;
        options.max_length = number_of(row, "limit");
        if (embellama_score(f->ctx, row->text, &document, 1, &options, true, out + i * f->labels, NULL, &error) != 0) {
            fail_msg("row %zu: %s", i, error.message);
        }
    }
    return out;
}

/* The largest difference over the standard deviation of the reference's logits. */
static double worst_of(const struct fixture *f, const float *scores)
{
    size_t n = f->golden.n * f->labels;
    float *expected = calloc(n, sizeof *expected);
    double sum = 0, squares = 0, worst = 0;
    for (size_t i = 0; i < f->golden.n; i++) {
        logits_of(&f->golden.rows[i], expected + i * f->labels, f->labels);
    }
    for (size_t i = 0; i < n; i++) {
        sum += (double)expected[i];
        squares += (double)expected[i] * (double)expected[i];
        double difference = fabs((double)scores[i] - (double)expected[i]);
        worst = difference > worst || difference != difference ? difference : worst;
    }
    free(expected);
    return worst / sqrt(squares / (double)n - sum / (double)n * sum / (double)n);
}

static void check_tiny(const char *name)
{
    for (const char *const *tier = embellama_cpu_tiers(); *tier; tier++) {
        for (size_t k = 0; k < sizeof floors / sizeof floors[0]; k++) {
            struct fixture f = open_tiny(name, floors[k].precision, *tier, 2);
            float *scores = score_rows(&f);
            double worst = worst_of(&f, scores);
            print_message("%s, %s, %s: %.6f\n", name, *tier, embellama_precision_name(floors[k].precision), worst);
            if (!(worst <= floors[k].tiny)) {
                fail_msg("%s, %s, %s: a logit differs by %.6f deviations", name, *tier,
                         embellama_precision_name(floors[k].precision), worst);
            }
            free(scores);
            close_model(&f);
        }
    }
}

static void test_one_label(void **state)
{
    (void)state;
    check_tiny("tiny-rank");
}

static void test_three_labels(void **state)
{
    (void)state;
    check_tiny("tiny-labels");
}

/* The same weights in the same types: the same bits. */
static void test_gguf(void **state)
{
    (void)state;
    struct fixture a = open_tiny("tiny-rank", EMBELLAMA_PRECISION_F32, NULL, 1);
    struct fixture b = open_tiny("tiny-rank.gguf", EMBELLAMA_PRECISION_F32, NULL, 1);
    const embellama_model_info *info = embellama_model_get_info(b.model);
    assert_int_equal(info->labels, 1);
    assert_string_equal(info->label_names[0], "LABEL_0");
    assert_int_equal(info->pooling, EMBELLAMA_POOLING_CLS);
    assert_int_equal(info->parameters, embellama_model_get_info(a.model)->parameters);
    float *x = score_rows(&a), *y = score_rows(&b);
    assert_memory_equal(x, y, a.golden.n * sizeof *x);
    free(x);
    free(y);
    close_model(&a);
    close_model(&b);
}

/* ---- Ids, and how pairs are cut ---- */

static void check_ids(const struct fixture *f)
{
    for (size_t i = 0; i < f->golden.n; i++) {
        const struct golden_row *row = &f->golden.rows[i];
        int32_t ids[IDS], types[IDS];
        size_t count, second = 0;
        embellama_text document = document_of(row);
        assert_int_equal(embellama_tokenize(f->model, row->text, &document, ids, types, IDS, &count, NULL), 0);
        while (second < count && types[second] == 0) {
            second++;
        }
        count = embellama_truncate_pair(f->model, ids, count, &second, number_of(row, "limit"));
        assert_int_equal(count, row->n_ids);
        assert_int_equal(second, number_of(row, "second"));
        assert_memory_equal(ids, row->ids, count * sizeof *ids);
    }
}

static void test_ids(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-rank", EMBELLAMA_PRECISION_F32, NULL, 1);
    check_ids(&f);
    close_model(&f);
}

/* What no reference defines: limits below the special tokens, a single text, an index that cannot be. */
static void test_odd_cuts(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-rank", EMBELLAMA_PRECISION_F32, NULL, 1);
    int32_t ids[] = {2, 10, 11, 12, 3, 20, 21, 22, 3};
    size_t second = 5;
    assert_int_equal(embellama_truncate_pair(f.model, ids, 9, &second, 1), 3);
    assert_int_equal(second, 2);
    int32_t specials[] = {2, 3, 3};
    assert_memory_equal(ids, specials, sizeof specials);

    int32_t single[] = {2, 10, 11, 12, 13, 3};
    second = 6;
    assert_int_equal(embellama_truncate_pair(f.model, single, 6, &second, 4), 4);
    assert_int_equal(second, 4);
    assert_int_equal(single[3], 3);

    int32_t odd[] = {2, 10, 11, 12, 13, 3};
    second = 1;
    assert_int_equal(embellama_truncate_pair(f.model, odd, 6, &second, 4), 4);
    assert_int_equal(second, 1);
    second = 5;
    assert_int_equal(embellama_truncate_pair(f.model, odd, 4, &second, 0), 4);
    close_model(&f);
}

/* ---- The same bits ---- */

/* All pairs of the golden file as ids; a text alone among them. */
static embellama_pair *pairs_of(const struct fixture *f)
{
    embellama_pair *pairs = calloc(f->golden.n, sizeof *pairs);
    for (size_t i = 0; i < f->golden.n; i++) {
        const struct golden_row *row = &f->golden.rows[i];
        pairs[i] = (embellama_pair){row->ids, row->n_ids, number_of(row, "second")};
    }
    pairs[3].second = pairs[3].count;
    return pairs;
}

static void test_bits(void **state)
{
    (void)state;
    static const int threads[] = {1, 2, 5};
    for (size_t k = 0; k < sizeof floors / sizeof floors[0]; k++) {
        struct fixture one = open_tiny("tiny-labels", floors[k].precision, NULL, 1);
        embellama_pair *pairs = pairs_of(&one);
        size_t n = one.golden.n, size = n * one.labels * sizeof(float);
        float *alone = calloc(1, size), *together = calloc(1, size);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(embellama_score_ids(one.ctx, &pairs[i], 1, true, alone + i * one.labels, NULL, NULL), 0);
        }
        for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
            struct fixture many = open_tiny("tiny-labels", floors[k].precision, NULL, threads[t]);
            memset(together, 0, size);
            assert_int_equal(embellama_score_ids(many.ctx, pairs, n, true, together, NULL, NULL), 0);
            assert_memory_equal(alone, together, size);
            close_model(&many);
        }
        free(alone);
        free(together);
        free(pairs);
        close_model(&one);
    }
}

/* A vector of a context that scored before is what it was. */
static void test_embedding_between(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-rank", EMBELLAMA_PRECISION_F32, NULL, 1);
    embellama_pair *pairs = pairs_of(&f);
    float before[48], after[48], score;
    embellama_text text = {"a text of some words", 20};
    assert_int_equal(embellama_embed(f.ctx, &text, 1, NULL, before, NULL, NULL), 0);
    assert_int_equal(embellama_score_ids(f.ctx, &pairs[0], 1, true, &score, NULL, NULL), 0);
    assert_int_equal(embellama_embed(f.ctx, &text, 1, NULL, after, NULL, NULL), 0);
    assert_memory_equal(before, after, sizeof before);
    free(pairs);
    close_model(&f);
}

/* A process that attaches the packed weights gives the same scores. */
static void test_attached(void **state)
{
    (void)state;
    struct fixture f = open_tiny("tiny-labels", EMBELLAMA_PRECISION_BF16, NULL, 1);
    embellama_model_options options = {.precision = EMBELLAMA_PRECISION_BF16, .threads = 1};
    embellama_pair *pairs = pairs_of(&f);
    embellama_model *attached = NULL;
    embellama_ctx *ctx = NULL;
    float a[3], b[3];
    int fd = -1;
    assert_int_equal(emb_memfd_new(&fd, "test", NULL), 0);
    assert_int_equal(embellama_model_pack(fd, embellama_model_get_info(f.model)->path, &options, NULL), 0);
    assert_int_equal(embellama_model_attach(&attached, fd, NULL, NULL, NULL), 0);
    close(fd);
    assert_int_equal(embellama_model_get_info(attached)->labels, 3);
    assert_null(embellama_model_get_info(attached)->label_names);
    assert_int_equal(embellama_ctx_new(&ctx, attached, NULL, NULL), 0);
    for (int raw = 0; raw < 2; raw++) {
        assert_int_equal(embellama_score_ids(f.ctx, &pairs[7], 1, raw, a, NULL, NULL), 0);
        assert_int_equal(embellama_score_ids(ctx, &pairs[7], 1, raw, b, NULL, NULL), 0);
        assert_memory_equal(a, b, sizeof a);
    }
    assert_int_equal(
        embellama_score(ctx, (embellama_text){"a", 1}, &(embellama_text){"b", 1}, 1, NULL, true, b, NULL, NULL),
        EMBELLAMA_E_UNSUPPORTED);
    free(pairs);
    embellama_ctx_free(ctx);
    embellama_model_close(attached);
    close_model(&f);
}

/* ---- A real encoder ---- */

static void put_tensor_place(struct emb_buf *index, const char *name, const char *file, bool first)
{
    emb_buf_puts(index, first ? "" : ",");
    emb_json_write_cstring(index, name);
    emb_buf_printf(index, ":\"%s\"", file);
}

/* head.safetensors beside the model's own file. */
static void write_head(const struct golden_row *row)
{
    struct emb_json_value weights;
    double bias = 0;
    size_t n;
    assert_true(emb_json_get(row->json, "classifier", &weights));
    assert_true(emb_json_get_number(row->json, "bias", &bias));
    float *values = golden_floats(weights, &n);
    char header[256];
    uint64_t size =
        (uint64_t)snprintf(header, sizeof header,
                           "{\"classifier.weight\":{\"dtype\":\"F32\",\"shape\":[1,%zu],\"data_offsets\":[0,%zu]},"
                           "\"classifier.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}}",
                           n, n * 4, n * 4, n * 4 + 4);
    float last = (float)bias;
    struct emb_buf file;
    emb_buf_init(&file, 1 << 20);
    emb_buf_append(&file, (const char *)&size, sizeof size);
    emb_buf_append(&file, header, size);
    emb_buf_append(&file, (const char *)values, n * sizeof *values);
    emb_buf_append(&file, (const char *)&last, sizeof last);
    tempdir_write("minilm/head.safetensors", file.data, file.size);
    emb_buf_deinit(&file);
    free(values);
}

static void link_file(const char *directory, const char *from, const char *to)
{
    char target[512];
    snprintf(target, sizeof target, "%s/%s", directory, from);
    assert_int_equal(symlink(target, tempdir_path(to)), 0);
}

/* The default model's files with a classifier's. */
static const char *make_minilm(const char *directory, const struct golden *golden)
{
    static const char config[] =
        "{\"model_type\":\"bert\",\"architectures\":[\"BertForSequenceClassification\"],\"hidden_size\":384,"
        "\"num_hidden_layers\":6,\"num_attention_heads\":12,\"intermediate_size\":1536,\"hidden_act\":\"gelu\","
        "\"max_position_embeddings\":512,\"type_vocab_size\":2,\"vocab_size\":30522,\"layer_norm_eps\":1e-12,"
        "\"id2label\":{\"0\":\"LABEL_0\"}}";
    static char path[512];
    struct emb_json_value tensors;
    struct emb_buf index;
    emb_buf_init(&index, 1 << 20);
    emb_buf_puts(&index, "{\"metadata\":{},\"weight_map\":{");
    put_tensor_place(&index, "classifier.weight", "head.safetensors", true);
    put_tensor_place(&index, "classifier.bias", "head.safetensors", false);
    assert_true(emb_json_get(golden->rows[0].json, "tensors", &tensors));
    for (struct emb_json_iter it = emb_json_iterate(tensors); emb_json_next(&it);) {
        const char *name;
        size_t size;
        assert_true(emb_json_string(it.value, &name, &size));
        put_tensor_place(&index, name, "encoder.safetensors", false);
    }
    emb_buf_puts(&index, "}}");
    tempdir_write("minilm/model.safetensors.index.json", index.data, index.size);
    tempdir_write("minilm/config.json", config, strlen(config));
    emb_buf_deinit(&index);
    write_head(&golden->rows[0]);
    link_file(directory, "model.safetensors", "minilm/encoder.safetensors");
    link_file(directory, "tokenizer.json", "minilm/tokenizer.json");
    snprintf(path, sizeof path, "%s", tempdir_path("minilm"));
    return path;
}

static void test_real(void **state)
{
    (void)state;
    const char *directory = emb_test_model();
    if (!directory) {
        print_message("skipped: the default model is not there\n");
        skip();
    }
    struct golden golden = golden_read(emb_test_source("tests/golden/minilm-rank.json"));
    const char *path = make_minilm(directory, &golden);
    for (size_t k = 0; k < sizeof floors / sizeof floors[0]; k++) {
        struct fixture f = open_model(path, "tests/golden/minilm-rank.json", floors[k].precision, NULL, 2);
        float *scores = score_rows(&f);
        double worst = worst_of(&f, scores);
        print_message("all-MiniLM-L6-v2 with a classifier, %s: %.6f\n", embellama_precision_name(floors[k].precision),
                      worst);
        if (!(worst <= floors[k].real)) {
            fail_msg("%s: a logit differs by %.6f deviations", embellama_precision_name(floors[k].precision), worst);
        }
        check_ids(&f);
        free(scores);
        close_model(&f);
    }
    golden_free(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_label),
        cmocka_unit_test(test_three_labels),
        cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_odd_cuts),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_embedding_between),
        cmocka_unit_test(test_attached),
        cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
