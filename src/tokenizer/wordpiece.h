/* The WordPiece model: a word becomes the longest pieces of the vocabulary, left to right, or one unknown token.
 * Algorithm: Wu et al. 2016, section 4.1, as BERT applies it. */
#ifndef EMB_WORDPIECE_H
#define EMB_WORDPIECE_H

#include "tokenizer/trie.h"

struct emb_wordpiece {
    struct emb_trie trie;
    uint32_t words;         /* root of all tokens as they are spelt */
    uint32_t continuations; /* root of those that begin with the prefix, without it */
    char *prefix;           /* "##" */
    size_t prefix_size;
    uint64_t max_chars; /* a word of more code points is unknown */
    int32_t unknown;
};

/* Zeroes and prepares. False when out of memory. */
bool emb_wordpiece_init(struct emb_wordpiece *model, const char *prefix, size_t prefix_size, uint64_t max_chars);
void emb_wordpiece_deinit(struct emb_wordpiece *model);

/* Adds a token; one spelt the same is replaced. False when out of memory or too large for a trie. */
bool emb_wordpiece_add(struct emb_wordpiece *model, const char *token, size_t size, int32_t id);

/* Id of a token by its spelling, or -1. */
int32_t emb_wordpiece_find(const struct emb_wordpiece *model, const char *token, size_t size);

/* Ids a word of size bytes may become at most, at least 1. */
size_t emb_wordpiece_room(const struct emb_wordpiece *model, size_t size);

/* Writes the ids of a word (size >= 1) to out, which has emb_wordpiece_room for them, and returns how many. */
size_t emb_wordpiece_encode(const struct emb_wordpiece *model, const char *word, size_t size, int32_t *out);

/* The same; ends, with as much room, gets the byte of the word behind each. */
size_t emb_wordpiece_encode_ends(const struct emb_wordpiece *model, const char *word, size_t size, int32_t *out,
                                 size_t *ends);

#endif
