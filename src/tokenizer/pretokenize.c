/* BertPreTokenizer as an iterator. Holds no state but the place in the text. */
#include "tokenizer/pretokenize.h"

#include "base/utf8.h"
#include "tokenizer/unicode.h"

/* Punctuation and white space bits of the code point at s; *length gets its bytes. */
static inline unsigned kind_at(const char *s, size_t *length)
{
    unsigned char c = (unsigned char)*s;
    unsigned flags;
    if (c < 0x80) {
        *length = 1;
        flags = emb_unicode_ascii[c];
    } else {
        flags = emb_unicode_lookup(emb_utf8_decode(s, length))->flags;
    }
    return flags & (EMB_UNICODE_PUNCTUATION | EMB_UNICODE_SPACE);
}

bool emb_pretokenize_next(const char **at, const char *end, const char **word, size_t *size)
{
    const char *s = *at;
    size_t length;
    for (; s < end; s += length) {
        unsigned kind = kind_at(s, &length);
        if (kind == EMB_UNICODE_SPACE) {
            continue;
        }
        const char *start = s;
        s += length;
        if (kind == 0) {
            while (s < end && kind_at(s, &length) == 0) {
                s += length;
            }
        }
        *at = s;
        *word = start;
        *size = (size_t)(s - start);
        return true;
    }
    *at = end;
    return false;
}
