/* Classification heads: what files say of them, what is broken or lies, and how calls fail. Whether scores are right is tests/golden's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/tempdir.h"
#include "base/file.h"
#include "base/mem.h"
#include "embellama/embellama.h"
#include "model/head.h"
#include "testdata.h"

enum { LABELS = 3, CONTEXT = 96, VOCAB = 158 };

static const int32_t ids[] = {2, 10, 11, 12, 3, 20, 21, 3};
static const embellama_pair pair = {ids, 8, 5};

/* ---- Files ---- */

/* Reads a file of a golden model; with old replaced by new, where old is not NULL. */
static char *changed(const char *model, const char *file, const char *old, const char *new, size_t *size)
{
    char name[128], *data;
    snprintf(name, sizeof name, "tests/golden/%s%s%s", model, *file ? "/" : "", file);
    assert_int_equal(emb_file_read(emb_test_source(name), 1 << 20, 0, &data, size, NULL), 0);
    if (!old) {
        return data;
    }
    char *at = memmem(data, *size, old, strlen(old));
    assert_non_null(at);
    size_t before = (size_t)(at - data), after = *size - before - strlen(old);
    char *out = emb_alloc(*size + strlen(new) + 1, 1);
    memcpy(out, data, before);
    memcpy(out + before, new, strlen(new));
    memcpy(out + before + strlen(new), at + strlen(old), after);
    *size = before + strlen(new) + after;
    emb_free(data);
    return out;
}

/* A copy of tiny-labels with old in one of its files replaced by new. */
static const char *copy(const char *file, const char *old, const char *new)
{
    static const char *const files[] = {"config.json", "tokenizer.json", "model.safetensors"};
    static char path[512];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        bool this = file && strcmp(file, files[i]) == 0;
        char name[64];
        size_t size;
        char *data = changed("tiny-labels", files[i], this ? old : NULL, new, &size);
        snprintf(name, sizeof name, "model/%s", files[i]);
        tempdir_write(name, data, size);
        emb_free(data);
    }
    tempdir_remove("model/modules.json");
    tempdir_remove("model/config_sentence_transformers.json");
    tempdir_remove("model/1_Pooling/config.json");
    snprintf(path, sizeof path, "%s", tempdir_path("model"));
    return path;
}

static const char *with_file(const char *name, const char *content)
{
    static char path[512];
    char full[128];
    snprintf(path, sizeof path, "%s", copy(NULL, NULL, NULL));
    snprintf(full, sizeof full, "model/%s", name);
    tempdir_write(full, content, strlen(content));
    return path;
}

static embellama_model *opened(const char *path)
{
    embellama_model *model = NULL;
    embellama_error error;
    embellama_model_options options = embellama_model_options_default();
    options.precision = EMBELLAMA_PRECISION_F32;
    options.threads = 1;
    if (embellama_model_open(&model, path, &options, &error) != 0) {
        fail_msg("%s", error.message);
    }
    return model;
}

static size_t labels_of(const char *path)
{
    embellama_model *model = opened(path);
    size_t labels = embellama_model_get_info(model)->labels;
    embellama_model_close(model);
    return labels;
}

static void refused(const char *path, int code, const char *words)
{
    embellama_model *model = NULL;
    embellama_error error = {0};
    int rc = embellama_model_open(&model, path, NULL, &error);
    if (rc != code || !strstr(error.message, words)) {
        fail_msg("expected %s with \"%s\", got %s: %s", embellama_status_name(code), words, embellama_status_name(rc),
                 error.message);
    }
    assert_null(model);
}

/* ---- What is a cross-encoder ---- */

static void test_which(void **state)
{
    (void)state;
    assert_int_equal(labels_of(copy(NULL, NULL, NULL)), LABELS);
    assert_int_equal(labels_of(emb_test_source("tests/golden/tiny-rank")), 1);
    assert_int_equal(labels_of(emb_test_source("tests/golden/tiny-a")), 0);
    assert_int_equal(labels_of(copy("config.json", "BertForSequenceClassification", "BertModel")), 0);
    assert_int_equal(labels_of(copy("config.json", "\"architectures\"", "\"a\"")), 0);
    assert_int_equal(labels_of(copy("config.json", "[\n  \"BertForSequenceClassification\"\n ]", "7")), 0);

    /* Modules that pool take the encoder alone; those of a saved cross-encoder do not. */
    with_file("1_Pooling/config.json", "{\"pooling_mode_cls_token\":true}");
    static const char pooling[] = "[{\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.models.Pooling\"}]";
    tempdir_write("model/modules.json", pooling, strlen(pooling));
    assert_int_equal(labels_of(tempdir_path("model")), 0);
    assert_int_equal(
        labels_of(with_file("modules.json", "[{\"path\":\"\",\"type\":\"sentence_transformers.base.modules."
                                            "transformer.Transformer\"}]")),
        LABELS);
}

static void test_names(void **state)
{
    (void)state;
    embellama_model *model = opened(copy("config.json", "neutral", "n\\u0000\\u00e9"));
    const embellama_model_info *info = embellama_model_get_info(model);
    assert_string_equal(info->label_names[0], "contradiction");
    assert_string_equal(info->label_names[1], "entailment");
    assert_string_equal(info->label_names[2], "n");
    embellama_model_close(model);

    model = opened(copy("config.json", "\"id2label\": {", "\"num_labels\": 3, \"x\": {"));
    assert_int_equal(embellama_model_get_info(model)->labels, LABELS);
    assert_null(embellama_model_get_info(model)->label_names);
    embellama_model_close(model);

    refused(copy("config.json", "\"2\": ", "\"3\": "), EMBELLAMA_E_FORMAT, "names to labels 0 to 2");
    refused(copy("config.json", "\"2\": ", "\"\": "), EMBELLAMA_E_FORMAT, "names to labels 0 to 2");
    refused(copy("config.json", "\"2\": ", "\"00\": "), EMBELLAMA_E_FORMAT, "names to labels 0 to 2");
    refused(copy("config.json", "\"2\": ", "\"-1\": "), EMBELLAMA_E_FORMAT, "names to labels 0 to 2");
    refused(copy("config.json", "\"2\": ", "\"99999999999999999999999999\": "), EMBELLAMA_E_FORMAT, "names to labels");
    refused(copy("config.json", "\"neutral\"", "7"), EMBELLAMA_E_FORMAT, "names to labels 0 to 2");
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *map; /* for "id2label": { */
        int code;
        const char *words;
    } cases[] = {
        {"\"x\": {", EMBELLAMA_E_FORMAT, "classifier.weight has the shape [3, 40] where 2 rows of 40 belong"},
        {"\"num_labels\": 0, \"x\": {", EMBELLAMA_E_FORMAT, "0 labels where a head has 1 to 4096"},
        {"\"num_labels\": -3, \"x\": {", EMBELLAMA_E_FORMAT, "-3 labels"},
        {"\"num_labels\": 4097, \"x\": {", EMBELLAMA_E_FORMAT, "4097 labels"},
        {"\"num_labels\": 9223372036854775807, \"x\": {", EMBELLAMA_E_FORMAT, "labels where"},
        {"\"num_labels\": 1e30, \"x\": {", EMBELLAMA_E_FORMAT, "0 labels"},
        {"\"num_labels\": \"3\", \"x\": {", EMBELLAMA_E_FORMAT, "0 labels"},
        {"\"num_labels\": 4, \"x\": {", EMBELLAMA_E_FORMAT, "where 4 rows of 40 belong"},
        {"\"id2label\": {}, \"x\": {", EMBELLAMA_E_FORMAT, "0 labels"},
        {"\"id2label\": [], \"x\": {", EMBELLAMA_E_FORMAT, "where 2 rows of 40 belong"},
        {"\"id2label\": {\"3\": \"x\", ", EMBELLAMA_E_FORMAT, "where 4 rows of 40 belong"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refused(copy("config.json", "\"id2label\": {", cases[i].map), cases[i].code, cases[i].words);
    }
}

static void test_broken_heads(void **state)
{
    (void)state;
    const char *file = "model.safetensors";
    refused(copy(file, "classifier.weight", "classifier.wait.."), EMBELLAMA_E_FORMAT, "classifier.weight is missing");
    refused(copy(file, "classifier.bias", "classifier.bios"), EMBELLAMA_E_FORMAT, "classifier.bias is missing");
    refused(copy(file, "bert.pooler.dense.weight", "bert.pooler.dense.waight"), EMBELLAMA_E_FORMAT,
            "bert.pooler.dense.weight is missing");
    refused(copy(file, "bert.pooler.dense.bias", "bert.pooler.dense.bios"), EMBELLAMA_E_FORMAT,
            "bert.pooler.dense.bias is missing");
    refused(copy(file, "\"shape\":[3,40]", "\"shape\":[40,3]"), EMBELLAMA_E_FORMAT, "has the shape [40, 3]");
    refused(copy("config.json", "\"type_vocab_size\": 2", "\"type_vocab_size\": 1"), EMBELLAMA_E_FORMAT,
            "one token type");
    refused(copy("config.json", "\"max_position_embeddings\": 96", "\"max_position_embeddings\": 3"),
            EMBELLAMA_E_FORMAT, "a context of 3 tokens has no room beside a pair's special tokens");
}

/* ---- Activation ---- */

/* Scores of the pair, raw, then as the model at path has them. */
static void score_both(const char *path, float raw[LABELS], float active[LABELS])
{
    embellama_model *model = opened(path);
    embellama_ctx *ctx = NULL;
    float again[LABELS];
    assert_int_equal(embellama_ctx_new(&ctx, model, NULL, NULL), 0);
    assert_int_equal(embellama_score_ids(ctx, &pair, 1, true, raw, NULL, NULL), 0);
    assert_int_equal(embellama_score_ids(ctx, &pair, 1, false, active, NULL, NULL), 0);
    memcpy(again, raw, sizeof again);
    embellama_activate(model, again);
    assert_memory_equal(again, active, sizeof again);
    embellama_ctx_free(ctx);
    embellama_model_close(model);
}

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

static float same(float x)
{
    return x;
}

static void check_each(const char *path, float (*function)(float))
{
    float raw[LABELS], active[LABELS];
    score_both(path, raw, active);
    for (size_t i = 0; i < LABELS; i++) {
        assert_true(fabsf(active[i] - function(raw[i])) < 1e-6F);
    }
}

static void check_softmax(const char *path)
{
    float raw[LABELS], active[LABELS], sum = 0;
    score_both(path, raw, active);
    for (size_t i = 0; i < LABELS; i++) {
        sum += expf(raw[i]);
    }
    for (size_t i = 0; i < LABELS; i++) {
        assert_true(fabsf(active[i] - expf(raw[i]) / sum) < 1e-6F);
    }
}

#define NESTED(name) "\"sentence_transformers\": {\"activation_fn\": \"" name "\"}, \"id2label\": {"
#define FORMER(name) "\"sbert_ce_default_activation_function\": \"" name "\", \"id2label\": {"

static void test_activations(void **state)
{
    (void)state;
    const char *map = "\"id2label\": {";
    check_softmax(copy(NULL, NULL, NULL));
    check_each(copy("config.json", map, NESTED("torch.nn.modules.activation.Sigmoid")), sigmoid);
    check_each(copy("config.json", map, NESTED("torch.nn.modules.linear.Identity")), same);
    check_each(copy("config.json", map, NESTED("torch.nn.modules.activation.Tanh")), tanhf);
    check_softmax(copy("config.json", map, NESTED("torch.nn.modules.activation.Softmax")));
    check_each(copy("config.json", map, FORMER("torch.nn.modules.linear.Identity")), same);
    check_softmax(copy("config.json", map, NESTED("mine.Identity"))); /* not run without trust in the model's code */
    check_softmax(copy("config.json", map, "\"sentence_transformers\": 7, \"id2label\": {"));
    refused(copy("config.json", map, NESTED("torch.nn.modules.activation.ReLU")), EMBELLAMA_E_UNSUPPORTED, "ReLU");
    refused(copy("config.json", map, FORMER("torch.")), EMBELLAMA_E_UNSUPPORTED, "\"torch.\" of scores");

    const char *settings = "config_sentence_transformers.json";
    check_each(with_file(settings, "{\"activation_fn\": \"torch.nn.modules.linear.Identity\"}"), same);
    check_softmax(with_file(settings, "{\"activation_fn\": null}"));
    refused(with_file(settings, "{\"activation_fn\": \"torch.nn.ELU\"}"), EMBELLAMA_E_UNSUPPORTED, "ELU");
    refused(with_file(settings, "{"), EMBELLAMA_E_FORMAT, settings);
}

/* Logits that no exponential may overflow on. */
static void test_extremes(void **state)
{
    (void)state;
    struct emb_head_spec head = {.labels = LABELS, .act = EMB_SCORE_SOFTMAX};
    float logits[LABELS] = {3e38F, -3e38F, 3e38F};
    emb_head_activate(&head, logits);
    assert_true(logits[0] == 0.5F && logits[1] == 0 && logits[2] == 0.5F);
    head.act = EMB_SCORE_SIGMOID;
    float more[LABELS] = {3e38F, -3e38F, 0};
    emb_head_activate(&head, more);
    assert_true(more[0] == 1 && more[1] == 0 && more[2] == 0.5F);
}

/* ---- GGUF ---- */

static const char *gguf_with(const void *old, const void *new, size_t size)
{
    size_t file_size;
    char *data = changed("tiny-rank.gguf", "", NULL, NULL, &file_size);
    char *at = memmem(data, file_size, old, size);
    assert_non_null(at);
    memcpy(at, new, size);
    const char *path = tempdir_write("changed.gguf", data, file_size);
    emb_free(data);
    return path;
}

static void test_gguf(void **state)
{
    (void)state;
    static const char rank[] = "bert.pooling_type\4\0\0\0\4\0\0", five[] = "bert.pooling_type\4\0\0\0\5\0\0";
    static const char mean[] = "bert.pooling_type\4\0\0\0\1\0\0";
    static const char types[] = "token_type_count\4\0\0\0\2\0\0", one[] = "token_type_count\4\0\0\0\1\0\0";
    refused(gguf_with(rank, five, sizeof rank), EMBELLAMA_E_UNSUPPORTED, "bert.pooling_type 5");
    refused(gguf_with(types, one, sizeof types), EMBELLAMA_E_FORMAT, "one token type");
    refused(gguf_with("cls.output.weight", "cls.output.waight", 17), EMBELLAMA_E_FORMAT,
            "cls.output.weight is missing");
    refused(gguf_with("cls.bias", "cls.bios", 8), EMBELLAMA_E_FORMAT, "cls.bias is missing");
    assert_int_equal(labels_of(gguf_with(mean, mean, sizeof mean - 4)), 1);

    size_t size;
    char *data = changed("tiny-rank.gguf", "", NULL, NULL, &size);
    memcpy(memmem(data, size, rank, sizeof rank), mean, sizeof mean);
    assert_int_equal(labels_of(tempdir_write("mean.gguf", data, size)), 0);
    emb_free(data);
}

/* As converters leave BERT's pooler out: it opens, says so, and is another function. */
static void test_gguf_without_pooler(void **state)
{
    (void)state;
    embellama_model *whole = opened(emb_test_source("tests/golden/tiny-rank.gguf"));
    embellama_model *half = opened(gguf_with("cls.weight", "clz.weight", 10));
    embellama_ctx *ctx = NULL;
    float a, b;
    assert_null(embellama_model_get_info(whole)->notice);
    assert_non_null(strstr(embellama_model_get_info(half)->notice, "lacks the pooler"));
    assert_int_equal(embellama_model_get_info(half)->parameters,
                     embellama_model_get_info(whole)->parameters - 48 * 48 - 48);
    assert_int_equal(embellama_ctx_new(&ctx, whole, NULL, NULL), 0);
    assert_int_equal(embellama_score_ids(ctx, &pair, 1, true, &a, NULL, NULL), 0);
    embellama_ctx_free(ctx);
    assert_int_equal(embellama_ctx_new(&ctx, half, NULL, NULL), 0);
    assert_int_equal(embellama_score_ids(ctx, &pair, 1, true, &b, NULL, NULL), 0);
    embellama_ctx_free(ctx);
    assert_true(a != b && isfinite(b));
    embellama_model_close(whole);
    embellama_model_close(half);
}

/* ---- Calls ---- */

struct engine {
    embellama_model *model;
    embellama_ctx *ctx;
};

static struct engine engine_of(const char *path)
{
    struct engine e = {opened(path), NULL};
    assert_int_equal(embellama_ctx_new(&e.ctx, e.model, NULL, NULL), 0);
    return e;
}

static void end(struct engine *e)
{
    embellama_ctx_free(e->ctx);
    embellama_model_close(e->model);
}

static void test_no_head(void **state)
{
    (void)state;
    struct engine e = engine_of(emb_test_source("tests/golden/tiny-a"));
    embellama_error error;
    float out = 7;
    assert_int_equal(embellama_score_ids(e.ctx, &pair, 1, true, &out, NULL, &error), EMBELLAMA_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "makes vectors only"));
    embellama_text text = {"a", 1};
    assert_int_equal(embellama_score(e.ctx, text, &text, 1, NULL, true, &out, NULL, &error), EMBELLAMA_E_UNSUPPORTED);
    assert_true(out == 7);
    embellama_activate(e.model, &out);
    assert_true(out == 7);
    end(&e);
}

/* Each input fails alone. */
static void test_statuses(void **state)
{
    (void)state;
    struct engine e = engine_of(copy(NULL, NULL, NULL));
    int32_t bad[] = {2, VOCAB, 3}, negative[] = {-1}, many[CONTEXT + 1];
    for (size_t i = 0; i < CONTEXT + 1; i++) {
        many[i] = 7;
    }
    const embellama_pair pairs[] = {pair,        {bad, 3, 3}, {negative, 1, 1},   {many, CONTEXT + 1, 5},
                                    {ids, 0, 0}, {ids, 8, 9}, {many, CONTEXT, 0}, pair};
    const int expected[] = {0,
                            EMBELLAMA_E_TOKEN_ID,
                            EMBELLAMA_E_TOKEN_ID,
                            EMBELLAMA_E_TOO_LONG,
                            EMBELLAMA_E_INVALID,
                            EMBELLAMA_E_INVALID,
                            0,
                            0};
    enum { N = sizeof pairs / sizeof pairs[0] };
    int statuses[N];
    float out[N * LABELS], zeros[LABELS] = {0};
    embellama_error error;
    memset(out, 0x55, sizeof out);
    assert_int_equal(embellama_score_ids(e.ctx, pairs, N, true, out, statuses, &error), EMBELLAMA_E_TOKEN_ID);
    assert_int_equal(error.offset, 1);
    assert_memory_equal(statuses, expected, sizeof expected);
    for (size_t i = 1; i < 6; i++) {
        assert_memory_equal(out + i * LABELS, zeros, sizeof zeros);
    }
    assert_memory_equal(out, out + 7 * LABELS, sizeof zeros);
    assert_true(out[6 * LABELS] != 0);
    assert_int_equal(embellama_score_ids(e.ctx, &pairs[3], 1, true, out, NULL, &error), EMBELLAMA_E_TOO_LONG);
    assert_non_null(strstr(error.message, "input 0 has 97 tokens, and 96 fit"));
    assert_int_equal(embellama_score_ids(e.ctx, NULL, 0, true, out, NULL, &error), 0);
    end(&e);
}

static void test_texts(void **state)
{
    (void)state;
    struct engine e = engine_of(copy(NULL, NULL, NULL));
    static char words[5 * CONTEXT];
    for (size_t i = 0; i + 5 <= sizeof words; i += 5) {
        memcpy(words + i, "text ", 5);
    }
    const embellama_text query = {"hello", 5},
                         documents[] = {{"world", 5}, {words, sizeof words}, {"\xff", 1}, {"", 0}};
    embellama_embed_options options = embellama_embed_options_default();
    float out[4 * LABELS];
    int statuses[4];
    embellama_error error;
    assert_int_equal(embellama_score(e.ctx, query, documents, 4, NULL, true, out, statuses, &error),
                     EMBELLAMA_E_TOO_LONG);
    assert_non_null(strstr(error.message, "input 1 has 100 tokens, and 96 fit"));
    assert_int_equal(statuses[0], 0);
    assert_int_equal(statuses[2], EMBELLAMA_E_UTF8);
    assert_int_equal(statuses[3], 0);
    options.truncate = true;
    assert_int_equal(embellama_score(e.ctx, query, documents, 4, &options, true, out, statuses, &error),
                     EMBELLAMA_E_UTF8);
    assert_int_equal(error.offset, 2);
    assert_int_equal(statuses[1], 0);
    options.max_length = CONTEXT + 1;
    assert_int_equal(embellama_score(e.ctx, query, documents, 1, &options, true, out, NULL, &error),
                     EMBELLAMA_E_INVALID);
    options.max_length = 1; /* the special tokens stay */
    assert_int_equal(embellama_score(e.ctx, query, documents, 1, &options, true, out, NULL, &error), 0);
    assert_int_equal(embellama_score(e.ctx, documents[2], documents, 2, &options, true, out, statuses, &error),
                     EMBELLAMA_E_UTF8);
    assert_int_equal(statuses[1], EMBELLAMA_E_UTF8);
    end(&e);
}

/* A head that is not finite makes no score, whatever the activation. */
static void test_not_finite(void **state)
{
    (void)state;
    size_t size;
    char *data = changed("tiny-labels", "model.safetensors", NULL, NULL, &size);
    copy("config.json", "\"id2label\": {", NESTED("torch.nn.modules.activation.Sigmoid"));
    uint64_t header;
    unsigned long long begin;
    memcpy(&header, data, sizeof header);
    char *entry = memmem(data, size, "\"classifier.bias\"", 17);
    assert_non_null(entry);
    char *offsets = strstr(entry, "\"data_offsets\":[");
    assert_non_null(offsets);
    begin = strtoull(offsets + strlen("\"data_offsets\":["), NULL, 10);
    float infinite = INFINITY;
    memcpy(data + 8 + header + begin, &infinite, sizeof infinite);
    tempdir_write("model/model.safetensors", data, size);
    emb_free(data);

    struct engine e = engine_of(tempdir_path("model"));
    float out[LABELS], zeros[LABELS] = {0};
    for (int raw = 0; raw < 2; raw++) {
        int status = 0;
        assert_int_equal(embellama_score_ids(e.ctx, &pair, 1, raw, out, &status, NULL), EMBELLAMA_E_NOT_FINITE);
        assert_int_equal(status, EMBELLAMA_E_NOT_FINITE);
        assert_memory_equal(out, zeros, sizeof zeros);
    }
    end(&e);
}

/* The second call of a kind allocates nothing; and every allocation may fail. */
static void test_memory(void **state)
{
    (void)state;
    const char *path = copy(NULL, NULL, NULL);
    const embellama_text query = {"hello", 5}, documents[] = {{"world", 5}, {"the machine", 11}};
    float out[2 * LABELS];
    struct engine e = engine_of(path);
    for (int round = 0; round < 2; round++) {
        emb_mem_fail_after(round == 0 ? -1 : 0);
        assert_int_equal(embellama_score(e.ctx, query, documents, 2, NULL, false, out, NULL, NULL), 0);
        assert_int_equal(embellama_score_ids(e.ctx, &pair, 1, false, out, NULL, NULL), 0);
    }
    emb_mem_fail_after(-1);
    end(&e);

    long allowed = 0;
    for (int rc = EMBELLAMA_E_NOMEM; rc != EMBELLAMA_OK; allowed++) {
        embellama_model *model = NULL;
        embellama_ctx *ctx = NULL;
        emb_mem_fail_after(allowed);
        rc = embellama_model_open(&model, path, NULL, NULL);
        if (rc == EMBELLAMA_OK) {
            rc = embellama_ctx_new(&ctx, model, NULL, NULL);
        }
        if (rc == EMBELLAMA_OK) {
            rc = embellama_score(ctx, query, documents, 2, NULL, false, out, NULL, NULL);
        }
        emb_mem_fail_after(-1);
        embellama_ctx_free(ctx);
        embellama_model_close(model);
        assert_true(rc == EMBELLAMA_OK || rc == EMBELLAMA_E_NOMEM);
    }
    assert_true(allowed > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_broken_heads),
        cmocka_unit_test(test_activations), cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_gguf),        cmocka_unit_test(test_gguf_without_pooler),
        cmocka_unit_test(test_no_head),     cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_texts),       cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
