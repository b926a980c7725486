/* Taking a WordPiece vocabulary out of a GGUF file ("tokenizer.ggml.*", model "bert").
 *
 * The files keep only the tokens and a few settings; the rest is what all BERT tokenizers share.
 * Most write U+2581 before tokens that begin a word and drop the "##" of the others; some keep the
 * "##". Inside, all is spelt the second way. */
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer_impl.h"

#define KEY(name) "tokenizer.ggml." name
#define WORD_MARK "\xE2\x96\x81" /* U+2581 */
#define PREFIX "##"

enum { MAX_CHARS_PER_WORD = 100 };

/* Values of tokenizer.ggml.token_type. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

struct source {
    const struct emb_gguf *gguf;
    struct emb_gguf_string *tokens;
    int64_t *types; /* or NULL */
    uint64_t count;
    bool marked; /* words begin with WORD_MARK */
    char *spelling;
    size_t spelling_room;
};

static bool begins(struct emb_gguf_string s, const char *with)
{
    size_t size = strlen(with);
    return s.size >= size && memcmp(s.data, with, size) == 0;
}

/* Whether the file itself says that a token is no part of words. */
static bool is_special(const struct source *src, uint64_t id)
{
    int64_t type = src->types ? src->types[id] : TYPE_NORMAL;
    return type == TYPE_UNKNOWN || type == TYPE_CONTROL || type == TYPE_USER_DEFINED;
}

static int read_source(struct source *src, embellama_error *error)
{
    uint64_t types;
    if (!emb_gguf_get_string_array(src->gguf, KEY("tokens"), &src->count) || src->count == 0) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the GGUF file has no " KEY("tokens"));
    }
    if (src->count > (uint64_t)EMB_TOKENIZER_MAX_ID + 1) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the GGUF file's vocabulary has more than %d tokens",
                        EMB_TOKENIZER_MAX_ID + 1);
    }
    src->tokens = emb_calloc(src->count, sizeof *src->tokens);
    if (!src->tokens) {
        return emb_fail_nomem(error);
    }
    emb_gguf_read_strings(src->gguf, KEY("tokens"), src->tokens);
    if (emb_gguf_get_int_array(src->gguf, KEY("token_type"), &types)) {
        if (types != src->count) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, "the GGUF file has %llu tokens but %llu token types",
                            (unsigned long long)src->count, (unsigned long long)types);
        }
        src->types = emb_calloc(types, sizeof *src->types);
        if (!src->types) {
            return emb_fail_nomem(error);
        }
        emb_gguf_read_ints(src->gguf, KEY("token_type"), src->types);
    }
    uint64_t marked = 0, prefixed = 0;
    for (uint64_t i = 0; i < src->count; i++) {
        if (emb_utf8_valid_prefix(src->tokens[i].data, src->tokens[i].size) != src->tokens[i].size) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, "token %llu of the GGUF file is not valid UTF-8",
                            (unsigned long long)i);
        }
        marked += begins(src->tokens[i], WORD_MARK);
        prefixed += begins(src->tokens[i], PREFIX);
    }
    src->marked = marked > prefixed;
    return 0;
}

/* The token as Hugging Face writes it; the bytes last until the next call. False when out of memory. */
static bool spell(struct source *src, uint64_t id, struct emb_gguf_string *out)
{
    struct emb_gguf_string token = src->tokens[id];
    *out = token;
    if (!src->marked || is_special(src, id)) {
        return true;
    }
    if (begins(token, WORD_MARK)) {
        *out = (struct emb_gguf_string){token.data + strlen(WORD_MARK), token.size - strlen(WORD_MARK)};
        return true;
    }
    /* Older converters left "[unused0]" and its like alone. */
    if (token.size > 2 && token.data[0] == '[' && token.data[token.size - 1] == ']') {
        return true;
    }
    size_t prefix = strlen(PREFIX), size;
    if (!emb_add(token.size, prefix, &size) || !emb_grow(&src->spelling, &src->spelling_room, size, 1)) {
        return false;
    }
    memcpy(src->spelling, PREFIX, prefix);
    memcpy(src->spelling + prefix, token.data, token.size);
    *out = (struct emb_gguf_string){src->spelling, size};
    return true;
}

/* An id by the first of these keys the file has, else of the token spelt so; -1 where there is neither. */
static int find_id(const struct emb_tokenizer *t, const struct source *src, const char *key, const char *other_key,
                   const char *spelling, int32_t *out, embellama_error *error)
{
    int64_t id;
    if (!emb_gguf_get_int(src->gguf, key, &id)) {
        if (other_key) {
            return find_id(t, src, other_key, NULL, spelling, out, error);
        }
        *out = emb_wordpiece_find(&t->wordpiece, spelling, strlen(spelling));
        return 0;
    }
    if (id < 0 || (uint64_t)id >= src->count) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the GGUF file's %s is %lld, outside its vocabulary", key,
                        (long long)id);
    }
    *out = (int32_t)id;
    return 0;
}

static int load_words(struct emb_tokenizer *t, struct source *src, embellama_error *error)
{
    for (uint64_t i = 0; i < src->count; i++) {
        struct emb_gguf_string token;
        if (!spell(src, i, &token)) {
            return emb_fail_nomem(error);
        }
        int status = emb_tokenizer_add_word(t, token.data, token.size, (int64_t)i, error);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* Tokens looked for in the text: those the file marks, and those it names as special. A user's own are not special. */
static int load_added(struct emb_tokenizer *t, struct source *src, const int32_t *named, size_t named_count,
                      embellama_error *error)
{
    for (uint64_t i = 0; i < src->count; i++) {
        struct emb_gguf_string token;
        bool wanted = is_special(src, i);
        for (size_t k = 0; k < named_count; k++) {
            wanted |= named[k] == (int32_t)i;
        }
        if (!wanted || src->tokens[i].size == 0) {
            continue;
        }
        if (!src->types || src->types[i] != TYPE_USER_DEFINED) {
            emb_vocab_set_special(&t->vocab, (int32_t)i);
        }
        if (!spell(src, i, &token)) {
            return emb_fail_nomem(error);
        }
        struct emb_added_token added = {.id = (int32_t)i};
        int status = token.size == 0 ? 0 : emb_tokenizer_add_token(t, token.data, token.size, false, added, error);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* [CLS] A [SEP] and [CLS] A [SEP] B [SEP], without what the file says is not to be added. */
static void make_templates(struct emb_tokenizer *t, const struct source *src, int32_t cls, int32_t sep)
{
    bool add_cls = true, add_sep = true;
    (void)emb_gguf_get_bool(src->gguf, KEY("add_bos_token"), &add_cls);
    (void)emb_gguf_get_bool(src->gguf, KEY("add_eos_token"), &add_sep);
    for (int pair = 0; pair < 2; pair++) {
        struct emb_template *template = pair ? &t->pair : &t->single;
        if (add_cls) {
            emb_template_push(template, (struct emb_piece){EMB_PIECE_TOKEN, cls, 0});
        }
        for (int type = 0; type <= pair; type++) {
            emb_template_push(template, (struct emb_piece){type ? EMB_PIECE_SECOND : EMB_PIECE_FIRST, 0, type});
            if (add_sep) {
                emb_template_push(template, (struct emb_piece){EMB_PIECE_TOKEN, sep, type});
            }
        }
    }
}

static int load(struct emb_tokenizer *t, struct source *src, embellama_error *error)
{
    enum { UNKNOWN, CLS, SEP, PAD, MASK, NAMED };
    int32_t named[NAMED] = {-1, -1, -1, -1, -1};
    int status = read_source(src, error);
    if (status != 0) {
        return status;
    }
    t->normalizer = (struct emb_normalizer){.clean_text = true, .chinese_chars = true, .lowercase = true};
    (void)emb_gguf_get_bool(src->gguf, KEY("normalizer.lowercase"), &t->normalizer.lowercase);
    t->normalizer.strip_accents = t->normalizer.lowercase;
    emb_normalizer_init(&t->normalizer);
    if (!emb_wordpiece_init(&t->wordpiece, PREFIX, strlen(PREFIX), MAX_CHARS_PER_WORD)) {
        return emb_fail_nomem(error);
    }
    if ((status = load_words(t, src, error)) != 0 ||
        (status = find_id(t, src, KEY("unknown_token_id"), NULL, "[UNK]", &named[UNKNOWN], error)) != 0 ||
        (status = find_id(t, src, KEY("cls_token_id"), KEY("bos_token_id"), "[CLS]", &named[CLS], error)) != 0 ||
        (status = find_id(t, src, KEY("seperator_token_id"), KEY("eos_token_id"), "[SEP]", &named[SEP], error)) != 0 ||
        (status = find_id(t, src, KEY("padding_token_id"), NULL, "[PAD]", &named[PAD], error)) != 0 ||
        (status = find_id(t, src, KEY("mask_token_id"), NULL, "[MASK]", &named[MASK], error)) != 0) {
        return status;
    }
    if (named[UNKNOWN] < 0 || named[CLS] < 0 || named[SEP] < 0) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the GGUF file names no %s token",
                        named[UNKNOWN] < 0 ? "unknown"
                        : named[CLS] < 0   ? "[CLS]"
                                           : "[SEP]");
    }
    t->wordpiece.unknown = named[UNKNOWN];
    status = load_added(t, src, named, NAMED, error);
    if (status != 0) {
        return status;
    }
    if (!emb_decoder_set_wordpiece(&t->decoder, PREFIX, strlen(PREFIX), true)) {
        return emb_fail_nomem(error);
    }
    make_templates(t, src, named[CLS], named[SEP]);
    return emb_tokenizer_finish(t, error);
}

int emb_tokenizer_from_gguf(struct emb_tokenizer **out, const struct emb_gguf *gguf, embellama_error *error)
{
    struct emb_gguf_string model;
    char quoted[EMB_QUOTE_BYTES];
    *out = NULL;
    if (!emb_gguf_get_string(gguf, KEY("model"), &model)) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the GGUF file has no " KEY("model"));
    }
    if (model.size != 4 || memcmp(model.data, "bert", 4) != 0) {
        size_t valid = emb_utf8_valid_prefix(model.data, model.size);
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "the GGUF file's tokenizer is \"%s\" (only bert)",
                        emb_tokenizer_quote(model.data, valid, quoted));
    }
    struct source src = {.gguf = gguf};
    struct emb_tokenizer *t = emb_calloc(1, sizeof *t);
    int status = t ? load(t, &src, error) : emb_fail_nomem(error);
    emb_free(src.tokens);
    emb_free(src.types);
    emb_free(src.spelling);
    if (status != 0) {
        emb_tokenizer_free(t);
        return status;
    }
    *out = t;
    return 0;
}
