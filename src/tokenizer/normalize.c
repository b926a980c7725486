/* The BERT normaliser as one pass over the text. The reference makes one pass an option; the passes
 * can be joined because each but canonical ordering looks at one code point at a time, and ordering
 * only within a run of marks. */
#include "tokenizer/normalize.h"

#include <string.h>

#include "base/utf8.h"

void emb_normalizer_init(struct emb_normalizer *n)
{
    for (unsigned c = 0; c < 128; c++) {
        bool removed = n->clean_text && (emb_unicode_ascii[c] & EMB_UNICODE_REMOVED);
        bool space = n->clean_text && (emb_unicode_ascii[c] & EMB_UNICODE_TO_SPACE);
        bool upper = n->lowercase && c >= 'A' && c <= 'Z';
        n->ascii[c] = (char)(space ? ' ' : upper ? c - 'A' + 'a' : c);
        n->ascii_keep[c] = !removed;
    }
}

/* Output, and the run of surviving marks at its end. */
struct writer {
    char *at;
    char *run; /* first byte of the run, or NULL */
    int order; /* highest order in the run */
    bool unsorted;
    bool lowercase;
};

static void put(struct writer *w, uint32_t c)
{
    w->at += emb_utf8_encode(c, w->at);
}

/* Ends the run: sorts its marks by order, stably, in time linear in its length. Uses as much room
 * behind it for scratch. */
static void end_run(struct writer *w)
{
    if (w->unsorted) {
        char *to = w->at;
        for (int order = 1; order <= EMB_UNICODE_ORDERS; order++) {
            size_t length;
            for (const char *s = w->run; s < w->at; s += length) {
                uint32_t c = emb_utf8_decode(s, &length);
                if (emb_unicode_lookup(c)->order == order) {
                    memcpy(to, s, length);
                    to += length;
                }
            }
        }
        memcpy(w->run, w->at, (size_t)(w->at - w->run));
    }
    w->run = NULL;
    w->order = 0;
    w->unsorted = false;
}

static void put_lower(struct writer *w, uint32_t c, const struct emb_unicode_record *record)
{
    if (!w->lowercase) {
        put(w, c);
    } else if (record->flags & EMB_UNICODE_LOWER_LONG) {
        put(w, 'i');
        put(w, 0x307);
    } else {
        put(w, (uint32_t)((int32_t)c + record->lower));
    }
}

/* A fully decomposed code point, accents stripped. */
static void put_part(struct writer *w, uint32_t c)
{
    const struct emb_unicode_record *record = emb_unicode_lookup(c);
    if (record->order == EMB_UNICODE_PASSES) {
        return;
    }
    if (record->order == 0) {
        if (w->run) {
            end_run(w);
        }
        if (!(record->flags & EMB_UNICODE_MARK)) {
            put_lower(w, c, record);
        }
        return;
    }
    if (!w->run) {
        w->run = w->at;
    }
    w->unsorted |= record->order < w->order;
    w->order = record->order > w->order ? record->order : w->order;
    put(w, c);
}

static void put_stripped(struct writer *w, uint32_t c, const struct emb_unicode_record *record)
{
    uint32_t room[4];
    if (!(record->flags & EMB_UNICODE_DECOMPOSES)) {
        put_part(w, c);
    } else {
        const uint32_t *parts = emb_unicode_decomposition(c, room);
        for (uint32_t i = 1; i <= parts[0]; i++) {
            put_part(w, parts[i]);
        }
    }
}

/* The text from a code point outside ASCII up to the next ASCII byte that stays (one that is
 * dropped ends no run of marks). Returns where it stopped. */
static const char *normalize_wide(const struct emb_normalizer *n, const char *s, const char *end, char **out)
{
    struct writer w = {.at = *out, .lowercase = n->lowercase};
    size_t length;
    for (; s < end; s += length) {
        uint32_t c = emb_utf8_decode(s, &length);
        if (c < 0x80) {
            if (n->ascii_keep[c]) {
                break;
            }
            continue;
        }
        const struct emb_unicode_record *record = emb_unicode_lookup(c);
        if (n->clean_text && (record->flags & EMB_UNICODE_REMOVED)) {
            continue;
        }
        bool padded = n->chinese_chars && (record->flags & EMB_UNICODE_CJK);
        bool space = n->clean_text && (record->flags & EMB_UNICODE_TO_SPACE);
        if (w.run && (padded || space)) {
            end_run(&w);
        }
        if (padded || space) {
            put(&w, ' ');
        }
        if (space) {
            continue;
        }
        if (n->strip_accents) {
            put_stripped(&w, c, record);
        } else {
            put_lower(&w, c, record);
        }
        if (padded) {
            put(&w, ' ');
        }
    }
    if (w.run) {
        end_run(&w);
    }
    *out = w.at;
    return s;
}

size_t emb_normalize(const struct emb_normalizer *n, const char *text, size_t size, char *out)
{
    const char *end = text + size;
    char *o = out;
    for (const char *s = text; s < end;) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x80) {
            *o = n->ascii[c];
            o += n->ascii_keep[c];
            s++;
        } else {
            s = normalize_wide(n, s, end, &o);
        }
    }
    return (size_t)(o - out);
}
