/* The normaliser of BERT tokenizers: cleaning, spaces around Chinese characters, accents off, lower case. */
#ifndef EMB_NORMALIZE_H
#define EMB_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenizer/unicode.h"

struct emb_normalizer {
    bool clean_text;    /* drop control characters, make white space plain spaces */
    bool chinese_chars; /* put spaces around Chinese characters */
    bool strip_accents; /* decompose (NFD), then drop non-spacing marks */
    bool lowercase;
    /* ASCII in one step: what a byte becomes, and 0 where it is dropped. Made by emb_normalizer_init. */
    char ascii[128];
    unsigned char ascii_keep[128];
};

/* Sets the tables from the four options. */
void emb_normalizer_init(struct emb_normalizer *normalizer);

/* Bytes that must be at out for a text of size bytes: six times (a text grows threefold at most;
 * the rest is scratch). */
enum { EMB_NORMALIZE_ROOM = 6 };

/* Normalises valid UTF-8 and returns how many bytes were written. out has room for
 * EMB_NORMALIZE_ROOM * size bytes. */
size_t emb_normalize(const struct emb_normalizer *normalizer, const char *text, size_t size, char *out);

#endif
