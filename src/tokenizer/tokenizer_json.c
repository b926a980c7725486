/* Reading tokenizer.json, the serialised form of Hugging Face's tokenizers.
 *
 * What the reference would do differently from us, or what it would only complain about later, is refused here. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/status.h"
#include "tokenizer/tokenizer_impl.h"

enum { MAX_FILE_BYTES = 128 << 20 };

#define UNSUPPORTED(error, ...) emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "tokenizer.json: " __VA_ARGS__)
#define MALFORMED(error, ...) emb_fail(error, EMBELLAMA_E_FORMAT, "tokenizer.json: " __VA_ARGS__)

/* A member that is there and not null. */
static bool get(struct emb_json_value object, const char *key, struct emb_json_value *out)
{
    return emb_json_get(object, key, out) && emb_json_type(*out) != EMB_JSON_NULL;
}

static int need_bool(struct emb_json_value object, const char *part, const char *key, bool *out, embellama_error *error)
{
    if (!emb_json_get_bool(object, key, out)) {
        return MALFORMED(error, "%s has no true or false \"%s\"", part, key);
    }
    return 0;
}

/* Refuses a part whose "type" is not the one we know, or that has members beside those named. */
static int check_part(struct emb_json_value part, const char *name, const char *type, const char *const *members,
                      embellama_error *error)
{
    char quoted[EMB_QUOTE_BYTES];
    const char *found;
    size_t size;
    if (!emb_json_get_string(part, "type", &found, &size)) {
        return MALFORMED(error, "%s has no \"type\"", name);
    }
    if (strcmp(found, type) != 0) {
        return UNSUPPORTED(error, "%s of type \"%s\" (only %s)", name, emb_tokenizer_quote(found, size, quoted), type);
    }
    for (struct emb_json_iter it = emb_json_iterate(part); emb_json_next(&it);) {
        bool known = strcmp(it.key, "type") == 0;
        for (size_t i = 0; members[i] && !known; i++) {
            known = strcmp(it.key, members[i]) == 0;
        }
        if (!known) {
            return UNSUPPORTED(error, "%s has an unknown option \"%s\"", name,
                               emb_tokenizer_quote(it.key, it.key_size, quoted));
        }
    }
    return 0;
}

/* ---- Normalizer and pre-tokenizer ------------------------------------------------------------ */

static int load_normalizer(struct emb_tokenizer *t, struct emb_json_value root, embellama_error *error)
{
    static const char *const members[] = {"clean_text", "handle_chinese_chars", "strip_accents", "lowercase", NULL};
    struct emb_normalizer *n = &t->normalizer;
    struct emb_json_value part, strip;
    int status = 0;
    if (get(root, "normalizer", &part)) {
        if ((status = check_part(part, "normalizer", "BertNormalizer", members, error)) != 0 ||
            (status = need_bool(part, "normalizer", "clean_text", &n->clean_text, error)) != 0 ||
            (status = need_bool(part, "normalizer", "handle_chinese_chars", &n->chinese_chars, error)) != 0 ||
            (status = need_bool(part, "normalizer", "lowercase", &n->lowercase, error)) != 0) {
            return status;
        }
        n->strip_accents = n->lowercase;
        if (get(part, "strip_accents", &strip) && !emb_json_bool(strip, &n->strip_accents)) {
            return MALFORMED(error, "normalizer's \"strip_accents\" is neither true, false nor null");
        }
    }
    emb_normalizer_init(n);
    return 0;
}

static int check_pre_tokenizer(struct emb_json_value root, embellama_error *error)
{
    static const char *const members[] = {NULL};
    struct emb_json_value part;
    if (!get(root, "pre_tokenizer", &part)) {
        return UNSUPPORTED(error, "no pre_tokenizer (only BertPreTokenizer)");
    }
    return check_part(part, "pre_tokenizer", "BertPreTokenizer", members, error);
}

/* ---- Model ----------------------------------------------------------------------------------- */

static int load_vocab(struct emb_tokenizer *t, struct emb_json_value vocab, size_t *count, embellama_error *error)
{
    char quoted[EMB_QUOTE_BYTES];
    for (struct emb_json_iter it = emb_json_iterate(vocab); emb_json_next(&it);) {
        int64_t id;
        if (!emb_json_int(it.value, &id)) {
            return MALFORMED(error, "the id of token \"%s\" is no integer that fits",
                             emb_tokenizer_quote(it.key, it.key_size, quoted));
        }
        *count += emb_wordpiece_find(&t->wordpiece, it.key, it.key_size) < 0;
        int status = emb_tokenizer_add_word(t, it.key, it.key_size, id, error);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* *count gets the number of tokens in the vocabulary. */
static int load_model(struct emb_tokenizer *t, struct emb_json_value root, size_t *count, embellama_error *error)
{
    static const char *const members[] = {"unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab",
                                          NULL};
    struct emb_json_value model, vocab;
    char quoted[EMB_QUOTE_BYTES];
    const char *unknown, *prefix;
    size_t unknown_size, prefix_size;
    int64_t max_chars;
    if (!get(root, "model", &model)) {
        return MALFORMED(error, "no \"model\"");
    }
    int status = check_part(model, "model", "WordPiece", members, error);
    if (status != 0) {
        return status;
    }
    if (!emb_json_get_string(model, "unk_token", &unknown, &unknown_size) ||
        !emb_json_get_string(model, "continuing_subword_prefix", &prefix, &prefix_size) ||
        !emb_json_get_int(model, "max_input_chars_per_word", &max_chars) || max_chars < 0 ||
        !emb_json_get(model, "vocab", &vocab) || emb_json_type(vocab) != EMB_JSON_OBJECT) {
        return MALFORMED(error, "model lacks a proper \"unk_token\", \"continuing_subword_prefix\", "
                                "\"max_input_chars_per_word\" or \"vocab\"");
    }
    if (!emb_wordpiece_init(&t->wordpiece, prefix, prefix_size, (uint64_t)max_chars)) {
        return emb_fail_nomem(error);
    }
    status = load_vocab(t, vocab, count, error);
    if (status != 0) {
        return status;
    }
    t->wordpiece.unknown = emb_wordpiece_find(&t->wordpiece, unknown, unknown_size);
    if (t->wordpiece.unknown < 0) {
        return MALFORMED(error, "the unknown token \"%s\" is not in the vocabulary",
                         emb_tokenizer_quote(unknown, unknown_size, quoted));
    }
    return 0;
}

/* ---- Added tokens ---------------------------------------------------------------------------- */

/* One entry of "added_tokens", with the id the reference gives it. */
struct entry {
    const char *content;
    size_t size;
    bool normalized, special;
    struct emb_added_token token;
};

struct entries {
    struct entry *list; /* no two with one id */
    size_t count, room;
    struct emb_trie ids; /* content to id, of all entries so far */
    uint32_t root;
    struct emb_trie places; /* id (as four bytes) to index in list */
    uint32_t places_root;
    int64_t largest; /* id so far, or -1 */
};

static int read_entry(struct emb_json_value value, struct entry *out, embellama_error *error)
{
    *out = (struct entry){0};
    if (!emb_json_get_string(value, "content", &out->content, &out->size)) {
        return MALFORMED(error, "an added token has no \"content\"");
    }
    int status = 0;
    if ((status = need_bool(value, "an added token", "single_word", &out->token.single_word, error)) != 0 ||
        (status = need_bool(value, "an added token", "lstrip", &out->token.lstrip, error)) != 0 ||
        (status = need_bool(value, "an added token", "rstrip", &out->token.rstrip, error)) != 0 ||
        (status = need_bool(value, "an added token", "normalized", &out->normalized, error)) != 0 ||
        (status = need_bool(value, "an added token", "special", &out->special, error)) != 0) {
        return status;
    }
    return 0;
}

/* The id the reference gives: that of an earlier entry or of the vocabulary, else the next free one
 * behind both. What the file says as "id" does not count there. */
static int64_t assign_id(const struct emb_tokenizer *t, const struct entries *e, const struct entry *entry,
                         size_t words)
{
    int64_t id = emb_trie_find(&e->ids, e->root, entry->content, entry->size);
    if (id < 0) {
        id = emb_wordpiece_find(&t->wordpiece, entry->content, entry->size);
    }
    if (id < 0) {
        id = e->largest >= (int64_t)words ? e->largest + 1 : (int64_t)words;
    }
    return id;
}

/* Takes an entry into the list; it replaces one of the same id. */
static bool put_entry(struct entries *e, const struct entry *entry)
{
    char key[4];
    memcpy(key, &entry->token.id, sizeof key);
    int32_t at = emb_trie_find(&e->places, e->places_root, key, sizeof key);
    if (at < 0) {
        at = (int32_t)e->count;
        if (!emb_grow(&e->list, &e->room, e->count + 1, sizeof *e->list) ||
            !emb_trie_insert(&e->places, e->places_root, key, sizeof key, at)) {
            return false;
        }
        e->count++;
    }
    e->list[at] = *entry;
    return emb_trie_insert(&e->ids, e->root, entry->content, entry->size, entry->token.id);
}

static int collect_entries(struct emb_tokenizer *t, struct emb_json_value array, size_t words, struct entries *e,
                           embellama_error *error)
{
    e->root = emb_trie_root(&e->ids);
    e->places_root = emb_trie_root(&e->places);
    e->largest = -1;
    if (!e->root || !e->places_root) {
        return emb_fail_nomem(error);
    }
    for (struct emb_json_iter it = emb_json_iterate(array); emb_json_next(&it);) {
        struct entry entry;
        int64_t id;
        int status = read_entry(it.value, &entry, error);
        if (status != 0) {
            return status;
        }
        if (!emb_json_get_int(it.value, "id", &id) || id < 0) {
            return MALFORMED(error, "an added token has no proper \"id\"");
        }
        if (entry.size == 0) {
            continue;
        }
        id = assign_id(t, e, &entry, words);
        if (id > EMB_TOKENIZER_MAX_ID) {
            return MALFORMED(error, "too many added tokens");
        }
        entry.token.id = (int32_t)id;
        e->largest = id > e->largest ? id : e->largest;
        if (!put_entry(e, &entry)) {
            return emb_fail_nomem(error);
        }
    }
    return 0;
}

/* The text of an entry that was found good: in its normalised form where that is looked for, as the reference tells it. */
static bool set_text(struct emb_tokenizer *t, const struct entry *entry)
{
    char buffer[EMB_ADDED_MAX_BYTES * EMB_NORMALIZE_ROOM];
    const char *content = entry->content;
    size_t size = entry->size;
    if (entry->normalized) {
        size = emb_normalize(&t->normalizer, content, size, buffer);
        content = buffer;
    }
    return emb_vocab_set(&t->vocab, entry->token.id, content, size);
}

static int load_added(struct emb_tokenizer *t, struct emb_json_value root, size_t words, embellama_error *error)
{
    struct emb_json_value array;
    struct entries e = {0};
    if (!get(root, "added_tokens", &array)) {
        return 0;
    }
    if (emb_json_type(array) != EMB_JSON_ARRAY) {
        return MALFORMED(error, "\"added_tokens\" is no array");
    }
    int status = collect_entries(t, array, words, &e, error);
    for (size_t i = 0; i < e.count && status == 0; i++) {
        const struct entry *entry = &e.list[i];
        status = emb_tokenizer_add_token(t, entry->content, entry->size, entry->normalized, entry->token, error);
        if (status == 0 && !set_text(t, entry)) {
            status = emb_fail_nomem(error);
        }
        if (status == 0 && entry->special) {
            emb_vocab_set_special(&t->vocab, entry->token.id);
        }
    }
    emb_free(e.list);
    emb_trie_deinit(&e.ids);
    emb_trie_deinit(&e.places);
    return status;
}

/* ---- Post-processor -------------------------------------------------------------------------- */

static int push_piece(struct emb_template *template, struct emb_piece piece, embellama_error *error)
{
    if (!emb_template_push(template, piece)) {
        return UNSUPPORTED(error, "a template has more than %d pieces", EMB_TOKENIZER_MAX_PIECES);
    }
    return 0;
}

/* Whether value fits the id or type of a piece. */
static bool fits(int64_t value)
{
    return value >= 0 && value <= INT32_MAX;
}

static int push_special(struct emb_template *template, struct emb_json_value special_tokens, const char *name,
                        size_t size, int64_t type, embellama_error *error)
{
    char quoted[EMB_QUOTE_BYTES];
    struct emb_json_value token, ids;
    if (!emb_json_get(special_tokens, name, &token) || !emb_json_get(token, "ids", &ids) ||
        emb_json_type(ids) != EMB_JSON_ARRAY) {
        return MALFORMED(error, "a template names \"%s\", which its special_tokens do not define",
                         emb_tokenizer_quote(name, size, quoted));
    }
    for (struct emb_json_iter it = emb_json_iterate(ids); emb_json_next(&it);) {
        int64_t id;
        if (!emb_json_int(it.value, &id) || !fits(id)) {
            return MALFORMED(error, "an id of special token \"%s\" is out of range",
                             emb_tokenizer_quote(name, size, quoted));
        }
        int status = push_piece(template, (struct emb_piece){EMB_PIECE_TOKEN, (int32_t)id, (int32_t)type}, error);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

static int load_template(struct emb_template *template, struct emb_json_value part, const char *key,
                         struct emb_json_value special_tokens, embellama_error *error)
{
    struct emb_json_value pieces, piece;
    if (!emb_json_get(part, key, &pieces) || emb_json_type(pieces) != EMB_JSON_ARRAY) {
        return MALFORMED(error, "TemplateProcessing has no \"%s\"", key);
    }
    for (struct emb_json_iter it = emb_json_iterate(pieces); emb_json_next(&it);) {
        const char *name;
        size_t size;
        int64_t type;
        bool special = emb_json_get(it.value, "SpecialToken", &piece);
        if ((!special && !emb_json_get(it.value, "Sequence", &piece)) ||
            !emb_json_get_string(piece, "id", &name, &size) || !emb_json_get_int(piece, "type_id", &type) ||
            !fits(type)) {
            return MALFORMED(error, "a piece of TemplateProcessing is neither a SpecialToken nor a Sequence");
        }
        int status;
        if (special) {
            status = push_special(template, special_tokens, name, size, type, error);
        } else if (strcmp(name, "A") != 0 && strcmp(name, "B") != 0) {
            return MALFORMED(error, "a Sequence of TemplateProcessing is neither A nor B");
        } else {
            struct emb_piece text = {name[0] == 'A' ? EMB_PIECE_FIRST : EMB_PIECE_SECOND, 0, (int32_t)type};
            status = push_piece(template, text, error);
        }
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* The id of ["[SEP]", 102]. */
static bool read_pair(struct emb_json_value part, const char *key, int32_t *out)
{
    struct emb_json_value pair;
    int64_t id = -1;
    if (!emb_json_get(part, key, &pair) || emb_json_size(pair) != 2) {
        return false;
    }
    for (struct emb_json_iter it = emb_json_iterate(pair); emb_json_next(&it);) {
        id = -1; /* the last element counts */
        (void)emb_json_int(it.value, &id);
    }
    if (!fits(id)) {
        return false;
    }
    *out = (int32_t)id;
    return true;
}

static void push_bert(struct emb_tokenizer *t, int32_t cls, int32_t sep)
{
    struct emb_piece first = {EMB_PIECE_FIRST, 0, 0}, second = {EMB_PIECE_SECOND, 0, 1};
    struct emb_piece open = {EMB_PIECE_TOKEN, cls, 0}, close = {EMB_PIECE_TOKEN, sep, 0},
                     end = {EMB_PIECE_TOKEN, sep, 1};
    t->single = (struct emb_template){{open, first, close}, 3};
    t->pair = (struct emb_template){{open, first, close, second, end}, 5};
}

static int load_post_processor(struct emb_tokenizer *t, struct emb_json_value root, embellama_error *error)
{
    static const char *const bert_members[] = {"sep", "cls", NULL};
    static const char *const template_members[] = {"single", "pair", "special_tokens", NULL};
    struct emb_json_value part, special_tokens;
    const char *type;
    size_t size;
    int status;
    if (!get(root, "post_processor", &part)) {
        struct emb_piece first = {EMB_PIECE_FIRST, 0, 0}, second = {EMB_PIECE_SECOND, 0, 1};
        t->single = (struct emb_template){{first}, 1};
        t->pair = (struct emb_template){{first, second}, 2};
        return 0;
    }
    if (emb_json_get_string(part, "type", &type, &size) && strcmp(type, "BertProcessing") == 0) {
        int32_t cls = 0, sep = 0;
        status = check_part(part, "post_processor", "BertProcessing", bert_members, error);
        if (status == 0 && (!read_pair(part, "cls", &cls) || !read_pair(part, "sep", &sep))) {
            status = MALFORMED(error, "BertProcessing lacks a proper \"cls\" or \"sep\"");
        }
        if (status == 0) {
            push_bert(t, cls, sep);
        }
        return status;
    }
    status = check_part(part, "post_processor", "TemplateProcessing", template_members, error);
    if (status == 0 &&
        (!emb_json_get(part, "special_tokens", &special_tokens) || emb_json_type(special_tokens) != EMB_JSON_OBJECT)) {
        status = MALFORMED(error, "TemplateProcessing has no \"special_tokens\"");
    }
    if (status == 0) {
        status = load_template(&t->single, part, "single", special_tokens, error);
    }
    return status != 0 ? status : load_template(&t->pair, part, "pair", special_tokens, error);
}

/* ---- Decoder --------------------------------------------------------------------------------- */

/* Another decoder is no reason to refuse the file: nothing but decoding needs it. */
static int load_decoder(struct emb_tokenizer *t, struct emb_json_value root, embellama_error *error)
{
    struct emb_json_value part;
    const char *type, *prefix;
    size_t size;
    bool cleanup;
    t->decoder.kind = EMB_DECODER_SPACES;
    if (!get(root, "decoder", &part)) {
        return 0;
    }
    t->decoder.kind = EMB_DECODER_OTHER;
    if (!emb_json_get_string(part, "type", &type, &size) || strcmp(type, "WordPiece") != 0 ||
        !emb_json_get_string(part, "prefix", &prefix, &size) || !emb_json_get_bool(part, "cleanup", &cleanup)) {
        return 0;
    }
    return emb_decoder_set_wordpiece(&t->decoder, prefix, size, cleanup) ? 0 : emb_fail_nomem(error);
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int load(struct emb_tokenizer *t, struct emb_json_value root, embellama_error *error)
{
    char quoted[EMB_QUOTE_BYTES];
    const char *version;
    size_t size, words = 0;
    int status;
    if (emb_json_type(root) != EMB_JSON_OBJECT) {
        return MALFORMED(error, "the file holds no object");
    }
    if (emb_json_get_string(root, "version", &version, &size) && strcmp(version, "1.0") != 0) {
        return UNSUPPORTED(error, "version \"%s\" (only 1.0)", emb_tokenizer_quote(version, size, quoted));
    }
    if ((status = load_model(t, root, &words, error)) != 0 || (status = load_normalizer(t, root, error)) != 0 ||
        (status = check_pre_tokenizer(root, error)) != 0 || (status = load_added(t, root, words, error)) != 0 ||
        (status = load_post_processor(t, root, error)) != 0 || (status = load_decoder(t, root, error)) != 0) {
        return status;
    }
    return emb_tokenizer_finish(t, error);
}

int emb_tokenizer_from_json(struct emb_tokenizer **out, const char *path, embellama_error *error)
{
    struct emb_json *json = NULL;
    *out = NULL;
    int status = emb_json_read(&json, path, MAX_FILE_BYTES, error);
    if (status != 0) {
        return status;
    }
    struct emb_tokenizer *t = emb_calloc(1, sizeof *t);
    status = t ? load(t, emb_json_root(json), error) : emb_fail_nomem(error);
    emb_json_free(json);
    if (status != 0) {
        emb_tokenizer_free(t);
        return status;
    }
    *out = t;
    return 0;
}
