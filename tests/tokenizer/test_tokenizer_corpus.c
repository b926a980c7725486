/* Real vocabularies against the reference's ids: the default model's, and the texts and GGUF files
 * of the shared data. What is not there is skipped; without any of it the whole test is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#include "base/mem.h"

#define CORPUS "data/corpus/wordpiece-dev.jsonl"
#define BGE "data/vocab/ggml-vocab-bert-bge.gguf"
#define SEPARATOR "\n__ggml_vocab_test__\n"

static int run;

/* Skips where one of the paths is NULL. */
static bool there(const char *path, const char *what)
{
    if (!path) {
        print_message("skipped: no %s\n", what);
    }
    return path;
}

static void model_cases(void **state)
{
    (void)state;
    char *model = model_path("tokenizer.json"), *cases = data_path("minilm.json");
    if (there(model, "default model (EMBELLAMA_TEST_MODEL)")) {
        struct emb_tokenizer *t = open_json(model);
        assert_true(check_cases(t, cases, "all-MiniLM-L6-v2") > 200);
        emb_tokenizer_free(t);
        run++;
    }
    emb_free(model);
    emb_free(cases);
}

static void model_corpus(void **state)
{
    (void)state;
    char *model = model_path("tokenizer.json"), *corpus = shared_path(CORPUS);
    if (there(model, "default model (EMBELLAMA_TEST_MODEL)") && there(corpus, "shared data (EMBELLAMA_SHARED)")) {
        struct emb_tokenizer *t = open_json(model);
        assert_int_equal(check_lines(t, corpus), 1600);
        emb_tokenizer_free(t);
        run++;
    }
    emb_free(model);
    emb_free(corpus);
}

static void gguf_corpus(void **state)
{
    static const char *const files[] = {"data/gguf/all-MiniLM-L6-v2.Q8_0.gguf",
                                        "data/gguf/all-MiniLM-L6-v2.Q4_K_M.gguf"};
    (void)state;
    char *corpus = shared_path(CORPUS), *cases = data_path("minilm.json");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *file = shared_path(files[i]);
        if (there(corpus, "shared data (EMBELLAMA_SHARED)") && there(file, files[i])) {
            struct emb_tokenizer *t = open_gguf(file);
            assert_int_equal(check_lines(t, corpus), 1600);
            assert_true(check_cases(t, cases, "all-MiniLM-L6-v2") > 200);
            emb_tokenizer_free(t);
            run++;
        }
        emb_free(file);
    }
    emb_free(corpus);
    emb_free(cases);
}

/* Both vocabularies, spelt alike: the GGUF file's and the directory's. */
static void same_spelling(void **state)
{
    (void)state;
    char *model = model_path("tokenizer.json"), *file = shared_path("data/gguf/all-MiniLM-L6-v2.Q8_0.gguf");
    if (there(model, "default model (EMBELLAMA_TEST_MODEL)") && there(file, "shared data (EMBELLAMA_SHARED)")) {
        struct emb_tokenizer *json = open_json(model), *gguf = open_gguf(file);
        size_t size = emb_tokenizer_vocab_size(json);
        assert_int_equal(size, emb_tokenizer_vocab_size(gguf));
        for (int32_t id = 0; id < (int32_t)size; id++) {
            assert_string_equal(emb_tokenizer_token(json, id), emb_tokenizer_token(gguf, id));
        }
        emb_tokenizer_free(json);
        emb_tokenizer_free(gguf);
        run++;
    }
    emb_free(model);
    emb_free(file);
}

static char *read_all(const char *base, const char *ending)
{
    char path[4096];
    FILE *file = NULL;
    char *text = emb_calloc(1 << 16, 1);
    assert_non_null(text);
    if (snprintf(path, sizeof path, "%s%s", base, ending) < (int)sizeof path) {
        file = fopen(path, "rb");
    }
    assert_non_null(file);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    (void)fclose(file);
    return text;
}

/* llama.cpp's own texts, with Hugging Face's ids (special tokens left out) one line a text. */
static void bge_texts(void **state)
{
    (void)state;
    char *file = shared_path(BGE);
    if (there(file, "shared data (EMBELLAMA_SHARED)")) {
        struct emb_tokenizer *t = open_gguf(file);
        char *texts = read_all(file, ".inp"), *lines = read_all(file, ".out");
        char *line = lines, *text = texts;
        size_t count = 0;
        for (; text; count++) {
            int32_t ids[256] = {101};
            size_t n = 1;
            char *next = strstr(text, SEPARATOR), *line_end = strchr(line, '\n');
            if (next) {
                *next = 0;
                next += strlen(SEPARATOR);
            }
            for (char *end = line; end < line_end && n < 255; n++) {
                long id = strtol(line, &end, 10);
                if (end == line || end > line_end) {
                    break;
                }
                ids[n] = (int32_t)id;
                line = end;
            }
            ids[n++] = 102;
            expect_ids(t, text, ids, n);
            text = next;
            line = line_end + 1;
        }
        assert_true(count > 40);
        emb_free(texts);
        emb_free(lines);
        emb_tokenizer_free(t);
        run++;
    }
    emb_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_cases),   cmocka_unit_test(model_corpus), cmocka_unit_test(gguf_corpus),
        cmocka_unit_test(same_spelling), cmocka_unit_test(bge_texts),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : run ? 0 : SKIPPED;
}
