/* tokenizer.json files that are broken, hostile, or ask for what we do not do: each a clear error;
 * and odd ones that the reference takes. */
#include <stdio.h>
#include <string.h>

#include "support.h"

#include "../base/tempdir.h"
#include "base/buf.h"
#include "base/mem.h"

#define NORMALIZER                                                                                                     \
    "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,"           \
    "\"lowercase\":true}"
#define PRE "{\"type\":\"BertPreTokenizer\"}"
#define VOCAB "{\"[UNK]\":0,\"a\":1,\"b\":2,\"##b\":3,\"[CLS]\":4,\"[SEP]\":5}"
#define MODEL_OF(vocab)                                                                                                \
    "{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","                            \
    "\"max_input_chars_per_word\":100,\"vocab\":" vocab "}"
#define MODEL MODEL_OF(VOCAB)
#define POST_OF(single, pair)                                                                                          \
    "{\"type\":\"TemplateProcessing\",\"single\":[" single "],\"pair\":[" pair "],\"special_tokens\":{"                \
    "\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[4],\"tokens\":[\"[CLS]\"]},\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":[5],"         \
    "\"tokens\":[\"[SEP]\"]},\"[FAR]\":{\"id\":\"[FAR]\",\"ids\":[77],\"tokens\":[\"[FAR]\"]},"                        \
    "\"[BAD]\":{\"id\":\"[BAD]\",\"ids\":[-1],\"tokens\":[\"[BAD]\"]}}}"
#define TOKEN(name) "{\"SpecialToken\":{\"id\":\"" name "\",\"type_id\":0}}"
#define TEXT(name) "{\"Sequence\":{\"id\":\"" name "\",\"type_id\":0}}"
#define PAIR TEXT("A") "," TEXT("B")
#define POST POST_OF(TOKEN("[CLS]") "," TEXT("A") "," TOKEN("[SEP]"), PAIR)
#define ADDED_AS(id, content, normalized)                                                                              \
    "{\"id\":" id ",\"content\":\"" content "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"              \
    "\"normalized\":" normalized ",\"special\":false}"
#define FILE_OF(added, normalizer, pre, post, model)                                                                   \
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[" added                               \
    "],\"normalizer\":" normalizer ",\"pre_tokenizer\":" pre ",\"post_processor\":" post                               \
    ",\"decoder\":null,\"model\":" model "}"

static int load(struct emb_tokenizer **t, const char *json, size_t size, embellama_error *error)
{
    *error = (embellama_error){0};
    return emb_tokenizer_from_json(t, tempdir_write("tokenizer.json", json, size), error);
}

static struct emb_tokenizer *load_good(const char *json)
{
    struct emb_tokenizer *t;
    embellama_error error;
    if (load(&t, json, strlen(json), &error) != 0) {
        fail_msg("%s", error.message);
    }
    return t;
}

struct bad {
    const char *json;
    int code;
    const char *says; /* part of the message */
};

static void check_bad(const struct bad *bad, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct emb_tokenizer *t;
        embellama_error error;
        int status = load(&t, bad[i].json, strlen(bad[i].json), &error);
        if (status != bad[i].code || error.code != status || !strstr(error.message, bad[i].says)) {
            fail_msg("%zu (%s): status %d, message \"%s\"", i, bad[i].says, status, error.message);
        }
        assert_null(t);
    }
}

#define WITH_MODEL(model) FILE_OF("", NORMALIZER, PRE, POST, model)
#define WITH_VOCAB(vocab) WITH_MODEL(MODEL_OF(vocab))
#define WITH_POST(post) FILE_OF("", NORMALIZER, PRE, post, MODEL)
#define WITH_ADDED(added) FILE_OF(added, NORMALIZER, PRE, POST, MODEL)
#define WITH_NORMALIZER(normalizer) FILE_OF("", normalizer, PRE, POST, MODEL)

static void malformed(void **state)
{
    static const struct bad bad[] = {
        {"", EMBELLAMA_E_FORMAT, ""},
        {"[]", EMBELLAMA_E_FORMAT, "no object"},
        {"{\"version\":\"1.0\"}", EMBELLAMA_E_FORMAT, "model"},
        {"{\"version\":", EMBELLAMA_E_FORMAT, ""},
        {WITH_MODEL("7"), EMBELLAMA_E_FORMAT, "model has no \"type\""},
        {WITH_MODEL("{\"type\":\"WordPiece\"}"), EMBELLAMA_E_FORMAT, "model lacks"},
        {WITH_MODEL("{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
                    "\"max_input_chars_per_word\":-1,\"vocab\":{}}"),
         EMBELLAMA_E_FORMAT, "model lacks"},
        {WITH_VOCAB("[1]"), EMBELLAMA_E_FORMAT, "model lacks"},
        {WITH_VOCAB("{}"), EMBELLAMA_E_FORMAT, "unknown token \"[UNK]\""},
        {WITH_VOCAB("{\"[UNK]\":-1}"), EMBELLAMA_E_FORMAT, "\"[UNK]\" has id -1"},
        {WITH_VOCAB("{\"[UNK]\":0,\"a\":16777216}"), EMBELLAMA_E_FORMAT, "16777216"},
        {WITH_VOCAB("{\"[UNK]\":0,\"a\":2147483648}"), EMBELLAMA_E_FORMAT, "2147483648"},
        {WITH_VOCAB("{\"[UNK]\":0,\"a\":18446744073709551615}"), EMBELLAMA_E_FORMAT, "no integer"},
        {WITH_VOCAB("{\"[UNK]\":0,\"a\":1.5}"), EMBELLAMA_E_FORMAT, "no integer"},
        {WITH_VOCAB("{\"[UNK]\":0,\"a\":\"1\"}"), EMBELLAMA_E_FORMAT, "no integer"},
        {WITH_NORMALIZER("{\"clean_text\":true}"), EMBELLAMA_E_FORMAT, "normalizer has no \"type\""},
        {WITH_NORMALIZER("{\"type\":\"BertNormalizer\"}"), EMBELLAMA_E_FORMAT, "clean_text"},
        {WITH_NORMALIZER(
             "{\"type\":\"BertNormalizer\",\"clean_text\":1,\"handle_chinese_chars\":true,\"lowercase\":true}"),
         EMBELLAMA_E_FORMAT, "clean_text"},
        {WITH_NORMALIZER("{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
                         "\"strip_accents\":0,\"lowercase\":true}"),
         EMBELLAMA_E_FORMAT, "strip_accents"},
        {WITH_ADDED("1"), EMBELLAMA_E_FORMAT, "content"},
        {WITH_ADDED("{\"id\":1,\"content\":\"x\"}"), EMBELLAMA_E_FORMAT, "single_word"},
        {WITH_ADDED(ADDED_AS("-1", "x", "false")), EMBELLAMA_E_FORMAT, "\"id\""},
        {WITH_ADDED(ADDED_AS("1.5", "x", "false")), EMBELLAMA_E_FORMAT, "\"id\""},
        {"{\"added_tokens\":{},\"normalizer\":null,\"pre_tokenizer\":" PRE ",\"model\":" MODEL "}", EMBELLAMA_E_FORMAT,
         "no array"},
        {WITH_POST("{\"type\":\"TemplateProcessing\",\"single\":[]}"), EMBELLAMA_E_FORMAT, "special_tokens"},
        {WITH_POST(POST_OF(TOKEN("[NO]") "," TEXT("A"), PAIR)), EMBELLAMA_E_FORMAT, "\"[NO]\""},
        {WITH_POST(POST_OF(TOKEN("[FAR]") "," TEXT("A"), PAIR)), EMBELLAMA_E_FORMAT, "special token 77"},
        {WITH_POST(POST_OF(TOKEN("[BAD]") "," TEXT("A"), PAIR)), EMBELLAMA_E_FORMAT, "out of range"},
        {WITH_POST(POST_OF(TEXT("C"), PAIR)), EMBELLAMA_E_FORMAT, "neither A nor B"},
        {WITH_POST(POST_OF("\"$A\"", PAIR)), EMBELLAMA_E_FORMAT, "neither a SpecialToken"},
        {WITH_POST("{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",5]}"), EMBELLAMA_E_FORMAT, "\"cls\""},
        {WITH_POST("{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",5],\"cls\":[\"[CLS]\",\"4\"]}"), EMBELLAMA_E_FORMAT,
         "\"cls\""},
        {WITH_POST("{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",5],\"cls\":[4,\"[CLS]\"]}"), EMBELLAMA_E_FORMAT,
         "\"cls\""},
        {WITH_POST("{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",5],\"cls\":[\"[CLS]\",99]}"), EMBELLAMA_E_FORMAT,
         "special token 99"},
    };
    (void)state;
    check_bad(bad, sizeof bad / sizeof *bad);
}

static void unsupported(void **state)
{
    static const struct bad bad[] = {
        {"{\"version\":\"2.0\"}", EMBELLAMA_E_UNSUPPORTED, "2.0"},
        {WITH_MODEL("{\"type\":\"BPE\"}"), EMBELLAMA_E_UNSUPPORTED, "model of type \"BPE\""},
        {WITH_MODEL("{\"type\":\"WordPiece\",\"dropout\":0.1}"), EMBELLAMA_E_UNSUPPORTED, "\"dropout\""},
        {WITH_NORMALIZER("{\"type\":\"NFKC\"}"), EMBELLAMA_E_UNSUPPORTED, "normalizer of type \"NFKC\""},
        {WITH_NORMALIZER("{\"type\":\"BertNormalizer\",\"twice\":true}"), EMBELLAMA_E_UNSUPPORTED, "\"twice\""},
        {FILE_OF("", NORMALIZER, "{\"type\":\"Metaspace\"}", POST, MODEL), EMBELLAMA_E_UNSUPPORTED, "\"Metaspace\""},
        {FILE_OF("", NORMALIZER, "null", POST, MODEL), EMBELLAMA_E_UNSUPPORTED, "no pre_tokenizer"},
        {WITH_POST("{\"type\":\"ByteLevel\"}"), EMBELLAMA_E_UNSUPPORTED, "post_processor of type \"ByteLevel\""},
        {WITH_POST(POST_OF("", PAIR)), EMBELLAMA_E_UNSUPPORTED, "single texts"},
        {WITH_POST(POST_OF(TEXT("B"), PAIR)), EMBELLAMA_E_UNSUPPORTED, "single texts"},
        {WITH_POST(POST_OF(TEXT("A") "," TEXT("A"), PAIR)), EMBELLAMA_E_UNSUPPORTED, "single texts"},
        {WITH_POST(POST_OF(TEXT("A"), TEXT("A"))), EMBELLAMA_E_UNSUPPORTED, "pairs"},
        {WITH_ADDED(ADDED_AS("6", "\\u0301", "true")), EMBELLAMA_E_UNSUPPORTED, "leaves nothing"},
        {WITH_MODEL("{\"type\":\"Word\\u0007\\u0000Piece\"}"), EMBELLAMA_E_UNSUPPORTED, "\"Word??Piece\""},
    };
    (void)state;
    check_bad(bad, sizeof bad / sizeof *bad);
}

/* Members too long or too many to write down above. */
static void too_large(void **state)
{
    (void)state;
    struct emb_tokenizer *t;
    embellama_error error;
    struct emb_buf json;
    emb_buf_init(&json, 1 << 20);
    emb_buf_puts(&json, "{\"added_tokens\":[{\"id\":6,\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                        "\"normalized\":false,\"special\":true,\"content\":\"");
    for (int i = 0; i < 257; i++) {
        emb_buf_puts(&json, "x");
    }
    emb_buf_puts(&json, "\"}],\"pre_tokenizer\":" PRE ",\"model\":" MODEL "}");
    assert_int_equal(load(&t, json.data, json.size, &error), EMBELLAMA_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "256 bytes"));

    emb_buf_clear(&json);
    emb_buf_puts(&json,
                 "{\"pre_tokenizer\":" PRE ",\"model\":" MODEL ",\"post_processor\":"
                 "{\"type\":\"TemplateProcessing\",\"special_tokens\":{\"[CLS]\":{\"ids\":[4,4,4,4]}},\"single\":[");
    for (int i = 0; i < 20; i++) {
        emb_buf_puts(&json, TOKEN("[CLS]") ",");
    }
    emb_buf_puts(&json, TEXT("A") "],\"pair\":[]}}");
    assert_int_equal(load(&t, json.data, json.size, &error), EMBELLAMA_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "more than 64"));
    emb_buf_deinit(&json);

    assert_int_equal(emb_tokenizer_from_json(&t, tempdir_path("none.json"), &error), EMBELLAMA_E_NOT_FOUND);
    assert_int_equal(emb_tokenizer_from_json(&t, tempdir(), &error), EMBELLAMA_E_IO);
}

/* Each prefix of a good file, and each of its bytes changed: an error or a tokenizer, never a crash. */
static void damaged(void **state)
{
    static const char good[] = FILE_OF(ADDED_AS("6", "x", "true"), NORMALIZER, PRE, POST, MODEL);
    char copy[sizeof good];
    embellama_error error;
    struct emb_tokenizer *t;
    (void)state;
    for (size_t n = 0; n < sizeof good - 1; n++) {
        assert_int_equal(load(&t, good, n, &error), EMBELLAMA_E_FORMAT);
    }
    for (size_t n = 0; n < sizeof good - 1; n++) {
        static const char with[] = {'0', '"', '}', '\xFF', '-'};
        memcpy(copy, good, sizeof good);
        copy[n] = with[n % sizeof with];
        if (load(&t, copy, sizeof good - 1, &error) == 0) {
            struct emb_tokens out = {0};
            assert_int_equal(emb_tokenizer_encode(t, (embellama_text){"a x bb", 6}, NULL, &out, &error), 0);
            emb_tokens_deinit(&out);
            emb_tokenizer_free(t);
        }
    }
}

/* Odd files that the reference takes; the ids are those it gives. */
static void odd_vocabularies(void **state)
{
    (void)state;
    struct emb_tokenizer *t = load_good(FILE_OF("", "null", PRE, "null", MODEL));
    EXPECT(t, "a A bb", 1, 0, 2, 3);
    emb_tokenizer_free(t);
    t = load_good(FILE_OF("", NORMALIZER, PRE, "null", MODEL_OF("{\"a\":0,\"b\":0,\"[UNK]\":1,\"\":7,\"##\":8}")));
    EXPECT(t, "a b z aa", 0, 0, 1, 1);
    assert_int_equal(emb_tokenizer_vocab_size(t), 9);
    assert_null(emb_tokenizer_token(t, 5));
    emb_tokenizer_free(t);
    t = load_good(FILE_OF("", NORMALIZER, PRE, "null", MODEL_OF("{\"[UNK]\":0,\"a\":1,\"a\":5}")));
    EXPECT(t, "a", 5);
    emb_tokenizer_free(t);
}

/* Added tokens get the id of the vocabulary, or the next behind it, whatever the file says. */
static void odd_added_tokens(void **state)
{
    (void)state;
    struct emb_tokenizer *t =
        load_good(FILE_OF(ADDED_AS("100", "xyz", "true") "," ADDED_AS("50", "bb", "true") "," ADDED_AS(
                              "2", "b", "true") "," ADDED_AS("3", "NEW", "false") "," ADDED_AS("9", "", "false"),
                          NORMALIZER, PRE, "null", MODEL));
    EXPECT(t, "xyz bb b NEW new XYZ", 6, 7, 2, 8, 0, 6);
    assert_int_equal(emb_tokenizer_vocab_size(t), 9);
    assert_string_equal(emb_tokenizer_token(t, 8), "NEW");
    emb_tokenizer_free(t);
    t = load_good(
        FILE_OF(ADDED_AS("6", "Foo", "true") "," ADDED_AS("6", "Foo", "false"), NORMALIZER, PRE, "null", MODEL));
    EXPECT(t, "foo FOO Foo", 0, 0, 6);
    emb_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed), cmocka_unit_test(unsupported),      cmocka_unit_test(too_large),
        cmocka_unit_test(damaged),   cmocka_unit_test(odd_vocabularies), cmocka_unit_test(odd_added_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
