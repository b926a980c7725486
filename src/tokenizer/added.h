/* Added and special tokens: found in the text before it is cut into words. */
#ifndef EMB_ADDED_H
#define EMB_ADDED_H

#include "tokenizer/trie.h"

/* Longest content (after normalisation too) accepted: searching takes time in proportion. */
enum { EMB_ADDED_MAX_BYTES = 256 };

struct emb_added_token {
    int32_t id;
    bool single_word; /* not next to a word character */
    bool lstrip;      /* takes the white space before it along */
    bool rstrip;      /* and behind it */
};

/* A set of tokens to look for. Zero it to begin. */
struct emb_added_set {
    struct emb_trie trie;
    uint32_t root;
    struct emb_added_token *tokens;
    size_t count, room;
    bool first[256]; /* bytes a token may begin with */
    int only_first;  /* the one such byte, or -1 when there are several */
};

/* content (1 to EMB_ADDED_MAX_BYTES valid UTF-8 bytes) becomes a token; one of the same content is
 * replaced. False when out of memory. */
bool emb_added_add(struct emb_added_set *set, const char *content, size_t size, struct emb_added_token token);
void emb_added_deinit(struct emb_added_set *set);

/* A stretch of the text: an added token, or (id < 0) what lies between them. */
struct emb_split {
    const char *text;
    size_t size;
    int32_t id;
};

/* Iteration over the stretches of valid UTF-8; they cover the text in order. (They may overlap
 * where white space taken along by one token holds another, as in the reference.) The set and the
 * text must stay. */
struct emb_split_iter {
    const struct emb_added_set *set;
    const char *text;
    size_t size;
    size_t searched;               /* no match begins before */
    size_t cut;                    /* end of the last token */
    size_t space_start, space_end; /* a run of white space already measured */
    struct emb_split pending;
    bool has_pending, ended;
};
struct emb_split_iter emb_split_iterate(const struct emb_added_set *set, const char *text, size_t size);
bool emb_split_next(struct emb_split_iter *it, struct emb_split *out);

#endif
