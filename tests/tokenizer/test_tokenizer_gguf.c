/* Vocabularies of GGUF files: both spellings, special tokens by type and by name, and files that lie. */
#include <stdio.h>
#include <string.h>

#include "support.h"

#include "../base/tempdir.h"
#include "base/buf.h"
#include "base/mem.h"

enum { U32 = 4, I32 = 5, BOOL = 7, STRING = 8, ARRAY = 9 };

#define MARK "\xE2\x96\x81"

/* What to write; zero members are left out. */
struct vocab {
    const char *model;
    const char *const *tokens;
    size_t count;
    const int32_t *types;
    size_t types_count;
    struct {
        const char *key;
        uint32_t id;
    } ids[4];
    struct {
        const char *key;
        bool value;
    } flags[3];
};

static void put_u32(struct emb_buf *b, uint32_t v)
{
    emb_buf_append(b, &v, sizeof v);
}

static void put_string(struct emb_buf *b, const char *s)
{
    uint64_t size = strlen(s);
    emb_buf_append(b, &size, sizeof size);
    emb_buf_puts(b, s);
}

static void put_key(struct emb_buf *b, const char *name, uint32_t type, uint32_t *entries)
{
    char key[64];
    (void)snprintf(key, sizeof key, "tokenizer.ggml.%s", name);
    put_string(b, key);
    put_u32(b, type);
    ++*entries;
}

static void put_array(struct emb_buf *b, uint32_t type, uint64_t count)
{
    put_u32(b, type);
    emb_buf_append(b, &count, sizeof count);
}

/* The file, in b. */
static void write_vocab(struct emb_buf *b, const struct vocab *v)
{
    static const char header[24] = "GGUF\3";
    uint32_t entries = 0;
    emb_buf_init(b, 1 << 20);
    emb_buf_append(b, header, sizeof header);
    if (v->model) {
        put_key(b, "model", STRING, &entries);
        put_string(b, v->model);
    }
    if (v->tokens) {
        put_key(b, "tokens", ARRAY, &entries);
        put_array(b, STRING, v->count);
        for (size_t i = 0; i < v->count; i++) {
            put_string(b, v->tokens[i]);
        }
    }
    if (v->types) {
        put_key(b, "token_type", ARRAY, &entries);
        put_array(b, I32, v->types_count);
        emb_buf_append(b, v->types, v->types_count * sizeof *v->types);
    }
    for (size_t i = 0; i < 4 && v->ids[i].key; i++) {
        put_key(b, v->ids[i].key, U32, &entries);
        put_u32(b, v->ids[i].id);
    }
    for (size_t i = 0; i < 3 && v->flags[i].key; i++) {
        put_key(b, v->flags[i].key, BOOL, &entries);
        emb_buf_append(b, &v->flags[i].value, 1);
    }
    memcpy(b->data + 16, &entries, sizeof entries);
    while (b->size % 32) {
        emb_buf_append(b, "", 1);
    }
}

static int load(struct emb_tokenizer **t, const struct vocab *v, embellama_error *error)
{
    struct emb_buf b;
    struct emb_gguf *gguf;
    *t = NULL;
    write_vocab(&b, v);
    int status = emb_gguf_open(&gguf, tempdir_write("vocab.gguf", b.data, b.size), error);
    emb_buf_deinit(&b);
    if (status != 0) {
        fail_msg("%s", error->message);
    }
    status = emb_tokenizer_from_gguf(t, gguf, error);
    emb_gguf_close(gguf);
    return status;
}

static struct emb_tokenizer *load_good(const struct vocab *v)
{
    struct emb_tokenizer *t;
    embellama_error error;
    if (load(&t, v, &error) != 0) {
        fail_msg("%s", error.message);
    }
    return t;
}

static const char *const marked[] = {"[PAD]",    MARK "a",        "ing", "[UNK]", "[CLS]",  "[SEP]",  "[unused0]",
                                     MARK "run", MARK "\xC3\xA9", "n",   "<x>",   MARK "[", MARK "]", "[MASK]"};
static const char *const prefixed[] = {"[PAD]", "a",        "##ing", "[UNK]", "[CLS]", "[SEP]", "[unused0]",
                                       "run",   "\xC3\xA9", "##n",   "<x>",   "[",     "]",     "[MASK]"};
static const int32_t types[] = {3, 1, 1, 3, 3, 3, 1, 1, 1, 1, 4, 1, 1, 3};
enum { COUNT = sizeof types / sizeof *types };

static void expect_the_same(const struct vocab *v)
{
    struct emb_tokenizer *t = load_good(v);
    assert_int_equal(emb_tokenizer_vocab_size(t), COUNT);
    for (int32_t i = 0; i < COUNT; i++) {
        assert_string_equal(emb_tokenizer_token(t, i), prefixed[i]);
    }
    EXPECT(t, "Running a<x>A [SEP][ z\xC3\xA1", 4, 7, 9, 2, 1, 10, 1, 5, 11, 3, 5);
    EXPECT(t, "ing [unused0] \xE1\xBA\xA1", 4, 3, 11, 3, 12, 1, 5);
    for (int32_t i = 0; i < COUNT; i++) {
        assert_int_equal(emb_tokenizer_special(t, i), types[i] == 3); /* a user's own, of type 4, is looked for only */
    }
    struct emb_tokens out = {0};
    embellama_text text = {"a", 1};
    static const int32_t ids[] = {4, 1, 5, 1, 5}, kinds[] = {0, 0, 0, 1, 1};
    assert_int_equal(emb_tokenizer_encode(t, text, &text, &out, NULL), 0);
    assert_int_equal(out.count, 5);
    assert_memory_equal(out.ids, ids, sizeof ids);
    assert_memory_equal(out.types, kinds, sizeof kinds);
    emb_tokens_deinit(&out);
    emb_tokenizer_free(t);
}

/* The special tokens are known by type, by the ids the file names, or by their spelling. */
static void both_spellings(void **state)
{
    static const char *const *const spellings[] = {marked, prefixed};
    (void)state;
    for (int i = 0; i < 2; i++) {
        expect_the_same(&(struct vocab){
            .model = "bert", .tokens = spellings[i], .count = COUNT, .types = types, .types_count = COUNT});
        expect_the_same(&(struct vocab){
            .model = "bert",
            .tokens = spellings[i],
            .count = COUNT,
            .types = types,
            .types_count = COUNT,
            .ids = {{"cls_token_id", 4}, {"bos_token_id", 1}, {"seperator_token_id", 5}, {"unknown_token_id", 3}}});
        expect_the_same(&(struct vocab){.model = "bert",
                                        .tokens = spellings[i],
                                        .count = COUNT,
                                        .types = types,
                                        .types_count = COUNT,
                                        .ids = {{"bos_token_id", 4}, {"eos_token_id", 5}}});
    }
}

static void settings(void **state)
{
    (void)state;
    struct vocab v = {.model = "bert",
                      .tokens = prefixed,
                      .count = COUNT,
                      .flags = {{"normalizer.lowercase", false}, {"add_bos_token", false}}};
    struct emb_tokenizer *t = load_good(&v);
    EXPECT(t, "run Run \xC3\xA9 e\xCC\x81 [MASK]", 7, 3, 8, 3, 13, 5);
    emb_tokenizer_free(t);
    v.flags[0].value = true;
    v.flags[2].key = "add_eos_token";
    t = load_good(&v);
    EXPECT(t, "run Run", 7, 7);
    emb_tokenizer_free(t);
}

static void broken(void **state)
{
    static const char *const bad_utf8[] = {"[UNK]", "[CLS]", "\xFF"};
    static const char *const no_unknown[] = {"[CLS]", "[SEP]"};
    static const char *const no_sep[] = {"[CLS]", "[UNK]"};
    static const struct {
        struct vocab vocab;
        int code;
        const char *says;
    } bad[] = {
        {{.tokens = prefixed, .count = COUNT}, EMBELLAMA_E_FORMAT, "no tokenizer.ggml.model"},
        {{.model = "gpt2", .tokens = prefixed, .count = COUNT}, EMBELLAMA_E_UNSUPPORTED, "\"gpt2\""},
        {{.model = "bert"}, EMBELLAMA_E_FORMAT, "no tokenizer.ggml.tokens"},
        {{.model = "bert", .tokens = prefixed}, EMBELLAMA_E_FORMAT, "no tokenizer.ggml.tokens"},
        {{.model = "bert", .tokens = prefixed, .count = COUNT, .types = types, .types_count = COUNT - 1},
         EMBELLAMA_E_FORMAT,
         "token types"},
        {{.model = "bert", .tokens = bad_utf8, .count = 3}, EMBELLAMA_E_FORMAT, "token 2 "},
        {{.model = "bert", .tokens = no_unknown, .count = 2}, EMBELLAMA_E_FORMAT, "no unknown token"},
        {{.model = "bert", .tokens = no_sep, .count = 2}, EMBELLAMA_E_FORMAT, "no [SEP] token"},
        {{.model = "bert", .tokens = prefixed, .count = COUNT, .ids = {{"cls_token_id", COUNT}}},
         EMBELLAMA_E_FORMAT,
         "cls_token_id is 14"},
        {{.model = "bert", .tokens = prefixed, .count = COUNT, .ids = {{"eos_token_id", UINT32_MAX}}},
         EMBELLAMA_E_FORMAT,
         "eos_token_id"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct emb_tokenizer *t;
        embellama_error error;
        int status = load(&t, &bad[i].vocab, &error);
        if (status != bad[i].code || t || !strstr(error.message, bad[i].says)) {
            fail_msg("%zu: status %d, message \"%s\"", i, status, error.message);
        }
    }
}

static void out_of_memory(void **state)
{
    const struct vocab v = {.model = "bert", .tokens = marked, .count = COUNT, .types = types, .types_count = COUNT};
    struct emb_buf b;
    struct emb_gguf *gguf;
    struct emb_tokenizer *t = NULL;
    embellama_error error;
    (void)state;
    write_vocab(&b, &v);
    assert_int_equal(emb_gguf_open(&gguf, tempdir_write("vocab.gguf", b.data, b.size), &error), 0);
    emb_buf_deinit(&b);
    int status = EMBELLAMA_E_NOMEM;
    for (long n = 0; status != 0; n++) {
        emb_mem_fail_after(n);
        status = emb_tokenizer_from_gguf(&t, gguf, &error);
        emb_mem_fail_after(-1);
        assert_true(status == 0 ? t != NULL : status == EMBELLAMA_E_NOMEM && t == NULL);
    }
    emb_gguf_close(gguf);
    emb_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_spellings),
        cmocka_unit_test(settings),
        cmocka_unit_test(broken),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
