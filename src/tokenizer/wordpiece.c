/* WordPiece over one trie with two roots. */
#include "tokenizer/wordpiece.h"

#include <string.h>

#include "base/mem.h"

bool emb_wordpiece_init(struct emb_wordpiece *model, const char *prefix, size_t prefix_size, uint64_t max_chars)
{
    *model = (struct emb_wordpiece){.prefix_size = prefix_size, .max_chars = max_chars, .unknown = -1};
    model->prefix = emb_strndup(prefix, prefix_size);
    model->words = emb_trie_root(&model->trie);
    model->continuations = emb_trie_root(&model->trie);
    return model->prefix && model->words && model->continuations;
}

void emb_wordpiece_deinit(struct emb_wordpiece *model)
{
    emb_trie_deinit(&model->trie);
    emb_free(model->prefix);
    *model = (struct emb_wordpiece){0};
}

bool emb_wordpiece_add(struct emb_wordpiece *model, const char *token, size_t size, int32_t id)
{
    if (!emb_trie_insert(&model->trie, model->words, token, size, id)) {
        return false;
    }
    size_t prefix = model->prefix_size;
    if (size < prefix || memcmp(token, model->prefix, prefix) != 0) {
        return true;
    }
    return emb_trie_insert(&model->trie, model->continuations, token + prefix, size - prefix, id);
}

int32_t emb_wordpiece_find(const struct emb_wordpiece *model, const char *token, size_t size)
{
    return emb_trie_find(&model->trie, model->words, token, size);
}

size_t emb_wordpiece_room(const struct emb_wordpiece *model, size_t size)
{
    uint64_t most = model->max_chars > SIZE_MAX / 4 ? SIZE_MAX : model->max_chars * 4;
    size_t room = size < most ? size : (size_t)most;
    return room ? room : 1;
}

static bool too_long(const struct emb_wordpiece *model, const char *word, size_t size)
{
    if (size <= model->max_chars) {
        return false;
    }
    uint64_t chars = 0;
    for (size_t i = 0; i < size && chars <= model->max_chars; i++) {
        chars += ((unsigned char)word[i] & 0xC0) != 0x80;
    }
    return chars > model->max_chars;
}

/* ends may be NULL. Compiled once with and once without, so that those who want no ends do not pay for them. */
__attribute__((always_inline)) static inline size_t encode(const struct emb_wordpiece *model, const char *word,
                                                           size_t size, int32_t *out, size_t *ends)
{
    const struct emb_trie *trie = &model->trie;
    size_t count = 0;
    uint32_t root = model->words;
    if (too_long(model, word, size)) {
        out[0] = model->unknown;
        if (ends) {
            ends[0] = size;
        }
        return 1;
    }
    for (size_t start = 0; start < size;) {
        int32_t best = -1;
        size_t end = start;
        uint32_t node = root;
        for (size_t i = start; i < size; i++) {
            node = emb_trie_step(trie, node, word[i]);
            if (node == 0) {
                break;
            }
            int32_t value = trie->values[node];
            if (value >= 0) {
                best = value;
                end = i + 1;
            }
        }
        if (best < 0) {
            out[0] = model->unknown;
            if (ends) {
                ends[0] = size;
            }
            return 1;
        }
        if (ends) {
            ends[count] = end;
        }
        out[count++] = best;
        start = end;
        root = model->continuations;
    }
    return count;
}

size_t emb_wordpiece_encode(const struct emb_wordpiece *model, const char *word, size_t size, int32_t *out)
{
    return encode(model, word, size, out, NULL);
}

size_t emb_wordpiece_encode_ends(const struct emb_wordpiece *model, const char *word, size_t size, int32_t *out,
                                 size_t *ends)
{
    return encode(model, word, size, out, ends);
}
