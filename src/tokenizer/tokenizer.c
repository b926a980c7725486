/* The tokenizer's interface: from text through added tokens, normaliser, words and pieces to a framed list of ids.
 *
 * Owns the order of these steps and the building blocks the loaders use. Does not read files (tokenizer_json.c,
 * tokenizer_gguf.c) and knows no model's special cases. */
#include "tokenizer/tokenizer.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer_impl.h"

void emb_tokenizer_free(struct emb_tokenizer *t)
{
    if (!t) {
        return;
    }
    emb_wordpiece_deinit(&t->wordpiece);
    emb_added_deinit(&t->raw);
    emb_added_deinit(&t->normalized);
    emb_free(t->vocab.text);
    emb_free(t->vocab.offsets);
    emb_free(t->vocab.special);
    emb_free(t->decoder.prefix);
    emb_free(t);
}

size_t emb_tokenizer_vocab_size(const struct emb_tokenizer *t)
{
    return t->vocab.size;
}

const char *emb_tokenizer_token(const struct emb_tokenizer *t, int32_t id)
{
    if (id < 0 || (size_t)id >= t->vocab.size || t->vocab.offsets[id] == 0) {
        return NULL;
    }
    return t->vocab.text + t->vocab.offsets[id];
}

bool emb_tokenizer_special(const struct emb_tokenizer *t, int32_t id)
{
    return emb_tokenizer_token(t, id) && t->vocab.special[id];
}

void emb_tokenizer_frame(const struct emb_tokenizer *t, embellama_ids *prefix, embellama_ids *suffix)
{
    *prefix = (embellama_ids){t->frame, t->prefix_count};
    *suffix = (embellama_ids){t->frame + t->prefix_count, t->suffix_count};
}

struct emb_pair_frame emb_tokenizer_pair_frame(const struct emb_tokenizer *t)
{
    struct emb_pair_frame frame = {0};
    size_t *places[] = {&frame.before, &frame.between, &frame.after}, texts = 0;
    for (size_t i = 0; i < t->pair.count; i++) {
        if (t->pair.pieces[i].kind == EMB_PIECE_TOKEN) {
            ++*places[texts];
        } else {
            texts++;
        }
    }
    return frame;
}

/* ---- Building -------------------------------------------------------------------------------- */

const char *emb_tokenizer_quote(const char *text, size_t size, char out[EMB_QUOTE_BYTES])
{
    size_t n = 0, length;
    for (size_t i = 0; i < size; i += length) {
        (void)emb_utf8_decode(text + i, &length);
        if (n + length >= EMB_QUOTE_BYTES) {
            break;
        }
        memcpy(out + n, text + i, length);
        unsigned char first = (unsigned char)text[i];
        if (first < ' ' || first == 0x7F) {
            out[n] = '?';
        }
        n += length;
    }
    out[n] = 0;
    return out;
}

bool emb_vocab_set(struct emb_vocab *v, int32_t id, const char *text, size_t size)
{
    size_t need = (size_t)id + 1;
    size_t start = v->text_size ? v->text_size : 1;
    if (size > UINT32_MAX / 2 || start > UINT32_MAX / 2) {
        return false;
    }
    if (need > v->room) {
        size_t old = v->room;
        if (!emb_grow(&v->offsets, &v->room, need, sizeof *v->offsets)) {
            return false;
        }
        memset(v->offsets + old, 0, (v->room - old) * sizeof *v->offsets);
    }
    if (v->room > v->special_room) {
        size_t old = v->special_room;
        if (!emb_grow(&v->special, &v->special_room, v->room, sizeof *v->special)) {
            return false;
        }
        memset(v->special + old, 0, (v->special_room - old) * sizeof *v->special);
    }
    if (!emb_grow(&v->text, &v->text_room, start + size + 1, 1)) {
        return false;
    }
    memcpy(v->text + start, text, size);
    v->text[start + size] = 0;
    v->text_size = start + size + 1;
    v->offsets[id] = (uint32_t)start;
    v->size = need > v->size ? need : v->size;
    return true;
}

void emb_vocab_set_special(struct emb_vocab *v, int32_t id)
{
    v->special[id] = true;
}

int emb_tokenizer_add_word(struct emb_tokenizer *t, const char *text, size_t size, int64_t id, embellama_error *error)
{
    char quoted[EMB_QUOTE_BYTES];
    if (id < 0 || id > EMB_TOKENIZER_MAX_ID) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "token \"%s\" has id %lld; ids must lie in 0..%d",
                        emb_tokenizer_quote(text, size, quoted), (long long)id, EMB_TOKENIZER_MAX_ID);
    }
    if (!emb_wordpiece_add(&t->wordpiece, text, size, (int32_t)id)) {
        if (t->wordpiece.trie.nodes >= EMB_TRIE_MAX_NODES) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, "the vocabulary is too large");
        }
        return emb_fail_nomem(error);
    }
    return emb_vocab_set(&t->vocab, (int32_t)id, text, size) ? 0 : emb_fail_nomem(error);
}

int emb_tokenizer_add_token(struct emb_tokenizer *t, const char *content, size_t size, bool normalized,
                            struct emb_added_token token, embellama_error *error)
{
    char buffer[EMB_ADDED_MAX_BYTES * EMB_NORMALIZE_ROOM], quoted[EMB_QUOTE_BYTES];
    if (size <= EMB_ADDED_MAX_BYTES && normalized) {
        size = emb_normalize(&t->normalizer, content, size, buffer);
        if (size == 0) {
            return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "the normalizer leaves nothing of added token %d",
                            (int)token.id);
        }
        content = buffer;
    }
    if (size > EMB_ADDED_MAX_BYTES) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "added token %d (\"%s\") has more than %d bytes", (int)token.id,
                        emb_tokenizer_quote(content, size, quoted), EMB_ADDED_MAX_BYTES);
    }
    if (!emb_added_add(normalized ? &t->normalized : &t->raw, content, size, token)) {
        return emb_fail_nomem(error);
    }
    return 0;
}

bool emb_template_push(struct emb_template *template, struct emb_piece piece)
{
    if (template->count == EMB_TOKENIZER_MAX_PIECES) {
        return false;
    }
    template->pieces[template->count++] = piece;
    return true;
}

static int check_template(const struct emb_tokenizer *t, const struct emb_template *template, int seconds,
                          embellama_error *error)
{
    int first = 0, second = 0;
    for (size_t i = 0; i < template->count; i++) {
        struct emb_piece piece = template->pieces[i];
        first += piece.kind == EMB_PIECE_FIRST;
        second += piece.kind == EMB_PIECE_SECOND;
        if (piece.kind == EMB_PIECE_TOKEN && !emb_tokenizer_token(t, piece.id)) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, "special token %d is not in the vocabulary", (int)piece.id);
        }
    }
    if (first != 1 || second != seconds) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "the template for %s does not hold each text once",
                        seconds ? "pairs" : "single texts");
    }
    return 0;
}

int emb_tokenizer_finish(struct emb_tokenizer *t, embellama_error *error)
{
    int status = check_template(t, &t->single, 0, error);
    if (status == 0) {
        status = check_template(t, &t->pair, 1, error);
    }
    if (status != 0) {
        return status;
    }
    size_t count = 0;
    for (size_t i = 0; i < t->single.count; i++) {
        if (t->single.pieces[i].kind == EMB_PIECE_TOKEN) {
            t->frame[count++] = t->single.pieces[i].id;
        } else {
            t->prefix_count = count;
        }
    }
    t->suffix_count = count - t->prefix_count;
    return 0;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

void emb_tokens_deinit(struct emb_tokens *tokens)
{
    emb_free(tokens->ids);
    emb_free(tokens->types);
    *tokens = (struct emb_tokens){0};
}

static bool grow_tokens(struct emb_tokens *out, size_t more)
{
    size_t need, room = out->capacity;
    if (!emb_add(out->count, more, &need) || !emb_grow(&out->ids, &room, need, sizeof *out->ids)) {
        return false;
    }
    int32_t *types = emb_realloc(out->types, room, sizeof *types);
    if (!types) {
        return false;
    }
    out->types = types;
    out->capacity = room;
    return true;
}

bool emb_tokens_reserve(struct emb_tokens *tokens, size_t capacity)
{
    return capacity <= tokens->capacity || grow_tokens(tokens, capacity - tokens->count);
}

/* Room for more ids behind out->count. */
static inline bool reserve(struct emb_tokens *out, size_t more)
{
    return out->capacity - out->count >= more || grow_tokens(out, more);
}

static bool push(struct emb_tokens *out, int32_t id)
{
    if (!reserve(out, 1)) {
        return false;
    }
    out->ids[out->count++] = id;
    return true;
}

/* Ids of the words of a normalised text. */
static bool encode_words(const struct emb_tokenizer *t, const char *text, size_t size, struct emb_tokens *out)
{
    const char *at = text, *end = text + size, *word;
    size_t length;
    while (emb_pretokenize_next(&at, end, &word, &length)) {
        if (!reserve(out, emb_wordpiece_room(&t->wordpiece, length))) {
            return false;
        }
        out->count += emb_wordpiece_encode(&t->wordpiece, word, length, out->ids + out->count);
    }
    return true;
}

/* Ids of a normalised text in which added tokens are still to be found. */
static bool encode_normalized(const struct emb_tokenizer *t, const char *text, size_t size, struct emb_tokens *out)
{
    struct emb_split split;
    struct emb_split_iter it = emb_split_iterate(&t->normalized, text, size);
    bool ok = true;
    while (ok && emb_split_next(&it, &split)) {
        ok = split.id >= 0 ? push(out, split.id) : encode_words(t, split.text, split.size, out);
    }
    return ok;
}

/* White space whatever the normaliser does. */
static bool is_break(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Tokens looked for in the normalised text may hold spaces: it is then made whole. */
size_t emb_tokenizer_long_stretch(const struct emb_tokenizer *t, const char *text, size_t size)
{
    size_t n = EMB_STRETCH;
    if (t->normalized.count > 0) {
        return size;
    }
    while (n > 0 && !is_break(text[n - 1])) {
        n--;
    }
    if (n > 0) {
        return n;
    }
    for (n = EMB_STRETCH; n < size && !is_break(text[n]);) {
        n++;
    }
    return n;
}

/* Ids of a text without raw added tokens. */
static bool encode_plain(const struct emb_tokenizer *t, const char *text, size_t size, struct emb_tokens *out)
{
    char stack[EMB_STRETCH * EMB_NORMALIZE_ROOM], *heap = NULL;
    size_t heap_room = 0, need;
    bool ok = true;
    while (ok && size > 0) {
        size_t n = emb_tokenizer_stretch(t, text, size);
        char *buffer = stack;
        if (n > EMB_STRETCH) {
            if (!emb_mul(n, EMB_NORMALIZE_ROOM, &need) || !emb_grow(&heap, &heap_room, need, 1)) {
                ok = false;
                break;
            }
            buffer = heap;
        }
        ok = encode_normalized(t, buffer, emb_normalize(&t->normalizer, text, n, buffer), out);
        text += n;
        size -= n;
    }
    emb_free(heap);
    return ok;
}

static bool encode_text(const struct emb_tokenizer *t, embellama_text text, struct emb_tokens *out)
{
    struct emb_split split;
    struct emb_split_iter it = emb_split_iterate(&t->raw, text.bytes, text.size);
    bool ok = true;
    while (ok && emb_split_next(&it, &split)) {
        ok = split.id >= 0 ? push(out, split.id) : encode_plain(t, split.text, split.size, out);
    }
    return ok;
}

int emb_tokenizer_check_utf8(embellama_text text, embellama_error *error)
{
    size_t valid = emb_utf8_valid_prefix(text.bytes, text.size);
    if (valid < text.size) {
        return emb_fail_at(error, EMBELLAMA_E_UTF8, valid, "text is not valid UTF-8 at byte %zu", valid);
    }
    return 0;
}

int emb_tokenizer_encode(const struct emb_tokenizer *t, embellama_text text, const embellama_text *pair,
                         struct emb_tokens *out, embellama_error *error)
{
    out->count = 0;
    int status = emb_tokenizer_check_utf8(text, error);
    if (status == 0 && pair) {
        status = emb_tokenizer_check_utf8(*pair, error);
    }
    if (status != 0) {
        return status;
    }
    const struct emb_template *template = pair ? &t->pair : &t->single;
    const embellama_text second = pair ? *pair : (embellama_text){NULL, 0};
    for (size_t i = 0; i < template->count; i++) {
        struct emb_piece piece = template->pieces[i];
        size_t start = out->count;
        bool ok = piece.kind == EMB_PIECE_TOKEN ? push(out, piece.id)
                                                : encode_text(t, piece.kind == EMB_PIECE_FIRST ? text : second, out);
        if (!ok) {
            out->count = 0;
            return emb_fail_nomem(error);
        }
        for (size_t k = start; k < out->count; k++) {
            out->types[k] = piece.type;
        }
    }
    return 0;
}
