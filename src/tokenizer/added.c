/* Finding added tokens: leftmost, then longest; matches do not overlap. */
#include "tokenizer/added.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/unicode.h"

bool emb_added_add(struct emb_added_set *set, const char *content, size_t size, struct emb_added_token token)
{
    if (!set->root) {
        set->root = emb_trie_root(&set->trie);
    }
    if (!set->root || !emb_grow(&set->tokens, &set->room, set->count + 1, sizeof *set->tokens) ||
        !emb_trie_insert(&set->trie, set->root, content, size, (int32_t)set->count)) {
        return false;
    }
    unsigned char first = (unsigned char)content[0];
    if (!set->first[first]) {
        set->only_first = set->count == 0 ? first : -1;
        set->first[first] = true;
    }
    set->tokens[set->count++] = token;
    return true;
}

void emb_added_deinit(struct emb_added_set *set)
{
    emb_trie_deinit(&set->trie);
    emb_free(set->tokens);
    *set = (struct emb_added_set){0};
}

static unsigned flags_at(const char *s, size_t *length)
{
    return emb_unicode_lookup(emb_utf8_decode(s, length))->flags;
}

/* Flags of the code point that ends before text[at], at > 0; *start gets its first byte. */
static unsigned flags_before(const char *text, size_t at, size_t *start)
{
    size_t length;
    do {
        at--;
    } while (((unsigned char)text[at] & 0xC0) == 0x80);
    *start = at;
    return flags_at(text + at, &length);
}

/* The next match that begins at or behind it->searched: its bytes and token. */
static bool find_match(struct emb_split_iter *it, size_t *start, size_t *end, const struct emb_added_token **token)
{
    const struct emb_added_set *set = it->set;
    for (size_t at = it->searched; at < it->size; at++) {
        if (set->only_first >= 0) {
            const char *hit = memchr(it->text + at, set->only_first, it->size - at);
            if (!hit) {
                return false;
            }
            at = (size_t)(hit - it->text);
        } else if (!set->first[(unsigned char)it->text[at]]) {
            continue;
        }
        int32_t best = -1;
        uint32_t node = set->root;
        for (size_t i = at; i < it->size; i++) {
            node = emb_trie_step(&set->trie, node, it->text[i]);
            if (node == 0) {
                break;
            }
            if (set->trie.values[node] >= 0) {
                best = set->trie.values[node];
                *end = i + 1;
            }
        }
        if (best >= 0) {
            *start = at;
            *token = &set->tokens[best];
            it->searched = *end;
            return true;
        }
    }
    return false;
}

static bool stands_alone(const struct emb_split_iter *it, size_t start, size_t end)
{
    size_t ignored;
    return !(start > 0 && (flags_before(it->text, start, &ignored) & EMB_UNICODE_WORD)) &&
           !(end < it->size && (flags_at(it->text + end, &ignored) & EMB_UNICODE_WORD));
}

/* Where the white space before start begins, not before the last token's end. */
static size_t space_before(const struct emb_split_iter *it, size_t start)
{
    size_t before;
    if (start < it->cut) {
        return it->cut;
    }
    while (start > it->cut && (flags_before(it->text, start, &before) & EMB_UNICODE_SPACE)) {
        start = before;
    }
    return start;
}

static size_t space_behind(struct emb_split_iter *it, size_t end)
{
    if (end >= it->space_start && end < it->space_end) {
        return it->space_end;
    }
    it->space_start = end;
    size_t length;
    while (end < it->size && (flags_at(it->text + end, &length) & EMB_UNICODE_SPACE)) {
        end += length;
    }
    it->space_end = end;
    return end;
}

struct emb_split_iter emb_split_iterate(const struct emb_added_set *set, const char *text, size_t size)
{
    return (struct emb_split_iter){.set = set, .text = text, .size = size};
}

static bool give(struct emb_split_iter *it, struct emb_split *out, size_t start, size_t end)
{
    *out = (struct emb_split){it->text + start, end - start, -1};
    return true;
}

bool emb_split_next(struct emb_split_iter *it, struct emb_split *out)
{
    size_t start = 0, end = 0;
    const struct emb_added_token *token;
    if (it->has_pending) {
        it->has_pending = false;
        *out = it->pending;
        return true;
    }
    while (!it->ended) {
        if (it->set->count == 0 || !find_match(it, &start, &end, &token)) {
            it->ended = true;
            break;
        }
        if (token->single_word && !stands_alone(it, start, end)) {
            continue;
        }
        if (token->lstrip) {
            start = space_before(it, start);
        }
        if (token->rstrip) {
            end = space_behind(it, end);
        }
        size_t from = it->cut;
        it->cut = end;
        it->has_pending = start < end;
        it->pending = (struct emb_split){it->text + start, end - (start < end ? start : end), token->id};
        if (from < start) {
            return give(it, out, from, start);
        }
        if (it->has_pending) {
            it->has_pending = false;
            *out = it->pending;
            return true;
        }
    }
    if (it->cut < it->size) {
        size_t from = it->cut;
        it->cut = it->size;
        return give(it, out, from, it->size);
    }
    return false;
}
