/* What the BERT normaliser and pre-tokeniser do to a code point: access to the generated tables of
 * unicode_data.c.
 *
 * The tables hold the reference's behaviour, found by asking it about every code point; they are
 * not those of one version of Unicode, and are not for other uses. */
#ifndef EMB_UNICODE_H
#define EMB_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    EMB_UNICODE_REMOVED = 1 << 0,     /* clean_text drops it */
    EMB_UNICODE_TO_SPACE = 1 << 1,    /* clean_text makes it a space */
    EMB_UNICODE_CJK = 1 << 2,         /* handle_chinese_chars puts spaces around it */
    EMB_UNICODE_MARK = 1 << 3,        /* strip_accents drops it */
    EMB_UNICODE_PUNCTUATION = 1 << 4, /* a word of its own */
    EMB_UNICODE_SPACE = 1 << 5,       /* white space: ends a word */
    EMB_UNICODE_WORD = 1 << 6,        /* \w to an added token's single_word */
    EMB_UNICODE_DECOMPOSES = 1 << 7,  /* has a canonical decomposition */
    EMB_UNICODE_LOWER_LONG = 1 << 8,  /* lower case is two code points: only U+0130, "i" and U+0307 */
};

/* order 0: a starter, which canonical ordering moves nothing across. 1 to EMB_UNICODE_ORDERS: a
 * mark that stays and is put in this order within a run of marks. EMB_UNICODE_PASSES: a mark that
 * strip_accents drops and that ends no run. */
enum { EMB_UNICODE_ORDERS = 6, EMB_UNICODE_PASSES = 255 };

struct emb_unicode_record {
    uint16_t flags;
    uint8_t order;
    int32_t lower; /* lower case minus the code point */
};

enum { EMB_UNICODE_BITS = 7, EMB_UNICODE_DECOMPOSED_BITS = 8 };

extern const uint8_t emb_unicode_ascii[128]; /* flags */
extern const struct emb_unicode_record emb_unicode_records[];
extern const uint16_t emb_unicode_first[];
extern const uint8_t emb_unicode_second[];
extern const uint16_t emb_unicode_decomposed_first[];
extern const uint16_t emb_unicode_decomposed_second[];
extern const uint32_t emb_unicode_decompositions[];

/* A range of combining marks of one canonical ordering class. The ranks, from 1, rise with the classes. */
struct emb_unicode_class {
    uint32_t first, last;
    uint8_t rank;
};
enum { EMB_UNICODE_RANKS = 256 };
extern const struct emb_unicode_class emb_unicode_classes[]; /* by code point */
extern const uint32_t emb_unicode_class_count;

/* Rank of a code point that has no decomposition; 0: a starter. For surviving marks alone the record's order tells the same. */
static inline unsigned emb_unicode_rank(uint32_t code_point)
{
    uint32_t low = 0, high = emb_unicode_class_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (code_point > emb_unicode_classes[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool in = low < emb_unicode_class_count && code_point >= emb_unicode_classes[low].first;
    return in ? emb_unicode_classes[low].rank : 0;
}

/* code_point <= U+10FFFF */
static inline const struct emb_unicode_record *emb_unicode_lookup(uint32_t code_point)
{
    uint32_t block = emb_unicode_first[code_point >> EMB_UNICODE_BITS];
    uint32_t at = code_point & ((1U << EMB_UNICODE_BITS) - 1);
    return &emb_unicode_records[emb_unicode_second[(block << EMB_UNICODE_BITS) + at]];
}

/* Hangul syllables are decomposed by arithmetic (The Unicode Standard, section 3.12). */
enum {
    EMB_HANGUL_FIRST = 0xAC00,
    EMB_HANGUL_COUNT = 11172,
    EMB_HANGUL_LEAD = 0x1100,
    EMB_HANGUL_VOWEL = 0x1161,
    EMB_HANGUL_TAIL = 0x11A7, /* one before the first: the least of 28 syllables has none */
    EMB_HANGUL_TAILS = 28,
    EMB_HANGUL_VOWELS_AND_TAILS = 588,
};

/* The full canonical decomposition of a code point with EMB_UNICODE_DECOMPOSES: how many code points (1 to 4), then these.
 * In the tables, or in room. */
static inline const uint32_t *emb_unicode_decomposition(uint32_t code_point, uint32_t room[4])
{
    if (code_point - EMB_HANGUL_FIRST < EMB_HANGUL_COUNT) {
        uint32_t i = code_point - EMB_HANGUL_FIRST, tail = i % EMB_HANGUL_TAILS;
        room[0] = tail ? 3 : 2;
        room[1] = EMB_HANGUL_LEAD + i / EMB_HANGUL_VOWELS_AND_TAILS;
        room[2] = EMB_HANGUL_VOWEL + i % EMB_HANGUL_VOWELS_AND_TAILS / EMB_HANGUL_TAILS;
        room[3] = EMB_HANGUL_TAIL + tail;
        return room;
    }
    uint32_t block = emb_unicode_decomposed_first[code_point >> EMB_UNICODE_DECOMPOSED_BITS];
    uint32_t at = code_point & ((1U << EMB_UNICODE_DECOMPOSED_BITS) - 1);
    return &emb_unicode_decompositions[emb_unicode_decomposed_second[(block << EMB_UNICODE_DECOMPOSED_BITS) + at]];
}

#endif
