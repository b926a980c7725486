/* See chunks.h. Chunks are first made in tokens, between which sentences set marks; then their places are read off the tokens. */
#include "api/chunks.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"

void emb_chunks_deinit(struct emb_chunks *chunks)
{
    emb_free(chunks->list);
    *chunks = (struct emb_chunks){0};
}

/* ---- Sentences ---- */

static bool is_line_end(uint32_t c)
{
    return c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

static bool is_space(uint32_t c)
{
    return c == ' ' || c == '\t' || c == 0x0B || c == 0x0C || is_line_end(c) || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool is_ender(uint32_t c)
{
    return c == '.' || c == '?' || c == '!';
}

/* 。 ！ ？ ｡ ．: they need no space behind them. */
static bool is_wide_ender(uint32_t c)
{
    return c == 0x3002 || c == 0xFF01 || c == 0xFF1F || c == 0xFF61 || c == 0xFF0E;
}

/* A closing quote or bracket. */
static bool is_closer(uint32_t c)
{
    static const uint32_t closers[] = {'"',    '\'',   ')',    ']',    '}',    0xBB,   0x2019, 0x201D,
                                       0x3009, 0x300B, 0x300D, 0x300F, 0x3011, 0xFF09, 0xFF63};
    for (size_t i = 0; i < sizeof closers / sizeof closers[0]; i++) {
        if (c == closers[i]) {
            return true;
        }
    }
    return false;
}

/* Moves *at behind all code points that are such. Returns whether there were any. */
static bool pass(embellama_text text, size_t *at, bool (*is)(uint32_t))
{
    size_t start = *at, length;
    while (*at < text.size && is(emb_utf8_decode(text.bytes + *at, &length))) {
        *at += length;
    }
    return *at > start;
}

static bool is_any_ender(uint32_t c)
{
    return is_ender(c) || is_wide_ender(c);
}

size_t emb_sentence_end(embellama_text text, size_t at)
{
    size_t length;
    while (at < text.size) {
        uint32_t c = emb_utf8_decode(text.bytes + at, &length);
        at += length;
        if (is_line_end(c)) {
            pass(text, &at, is_space);
            return at;
        }
        if (!is_any_ender(c)) {
            continue;
        }
        bool wide = is_wide_ender(c);
        pass(text, &at, is_any_ender);
        bool closed = pass(text, &at, is_closer);
        bool spaced = pass(text, &at, is_space);
        if (wide || closed || spaced) {
            return at;
        }
    }
    return text.size;
}

/* ---- Chunks ---- */

/* The tokens of the text, counted from 0, and the places where a chunk may begin or end. */
struct plan {
    const embellama_token *tokens; /* without the special ones around them */
    size_t count;
    size_t *marks; /* first tokens of sentences but the first, rising, then count */
    size_t mark_count, mark_room;
};

static bool add_mark(struct plan *p, size_t token)
{
    if (p->mark_count > 0 && p->marks[p->mark_count - 1] >= token) {
        return true;
    }
    if (!emb_grow(&p->marks, &p->mark_room, p->mark_count + 1, sizeof *p->marks)) {
        return false;
    }
    p->marks[p->mark_count++] = token;
    return true;
}

static bool mark_sentences(struct plan *p, embellama_text text)
{
    size_t token = 0;
    for (size_t at = 0; at < text.size;) {
        at = emb_sentence_end(text, at);
        while (token < p->count && p->tokens[token].begin < at) {
            token++;
        }
        if (token > 0 && token < p->count && !add_mark(p, token)) {
            return false;
        }
    }
    return true;
}

static int push(struct emb_chunks *out, size_t first, size_t last, const struct emb_chunk_options *o,
                embellama_error *error)
{
    if (o->limit > 0 && out->count == o->limit) {
        return emb_fail(error, EMBELLAMA_E_RANGE, "the text makes more than %zu chunks", o->limit);
    }
    if (!emb_grow(&out->list, &out->room, out->count + 1, sizeof *out->list)) {
        return emb_fail_nomem(error);
    }
    out->list[out->count++] = (struct emb_chunk){.first = first, .last = last};
    return EMBELLAMA_OK;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Both cursors over the marks only ever move on, as first and end do. */
static int cut(struct emb_chunks *out, const struct plan *p, const struct emb_chunk_options *o, embellama_error *error)
{
    size_t first = 0, behind = 0,
           from = 0; /* behind: the first mark beyond what fits; from: where the next chunk could begin */
    while (true) {
        size_t fits = p->count - first < o->size ? p->count : first + o->size;
        while (behind < p->mark_count && p->marks[behind] <= fits) {
            behind++;
        }
        bool whole = behind > 0 && p->marks[behind - 1] > first;
        size_t end = whole ? p->marks[behind - 1] : fits;
        int status = push(out, first, end, o, error);
        if (status != EMBELLAMA_OK || end == p->count) {
            return status;
        }
        if (!whole) { /* in the middle of a sentence, so the chunk has size tokens */
            first = end - o->overlap;
            continue;
        }
        /* The earliest sentence from which the one behind the end still fits. */
        size_t next = p->marks[behind];
        size_t least = larger(
            first + 1, larger(end - (o->overlap < end ? o->overlap : end), next - (o->size < next ? o->size : next)));
        while (p->marks[from] < least) {
            from++;
        }
        first = p->marks[from] < end ? p->marks[from] : end;
    }
}

/* ---- Places ---- */

/* Characters of a text up to a byte that only ever moves on. */
struct counter {
    const char *text;
    size_t at, chars;
};

static size_t count_to(struct counter *c, size_t byte)
{
    for (; c->at < byte; c->at++) {
        c->chars += ((unsigned char)c->text[c->at] & 0xC0) != 0x80;
    }
    return c->chars;
}

/* Tokens rise, but may share a character: a chunk reaches to where its own and all earlier tokens end, and at least to the next. */
static void place(struct emb_chunks *out, const struct plan *p, embellama_text text, size_t offset)
{
    struct counter begins = {text.bytes, 0, 0}, ends = begins;
    size_t token = 0, reach = 0;
    for (size_t i = 0; i < out->count; i++) {
        struct emb_chunk *chunk = &out->list[i];
        for (; token < chunk->last; token++) {
            reach = p->tokens[token].end > reach ? p->tokens[token].end : reach;
        }
        chunk->begin = chunk->first == 0 ? 0 : p->tokens[chunk->first].begin;
        chunk->end = chunk->last == p->count ? text.size : p->tokens[chunk->last].begin;
        if (chunk->end < reach) {
            chunk->end = reach;
        }
        if (i > 0 && chunk->begin < out->list[i - 1].begin) {
            chunk->begin = out->list[i - 1].begin;
        }
        chunk->begin_char = count_to(&begins, chunk->begin);
        chunk->end_char = count_to(&ends, chunk->end);
        chunk->first += offset;
        chunk->last += offset;
    }
}

int emb_chunks_make(struct emb_chunks *out, embellama_text text, const embellama_token *tokens, size_t count,
                    const struct emb_chunk_options *options, embellama_error *error)
{
    struct plan plan = {0};
    size_t offset = 0;
    out->count = 0;
    if (options->size == 0 || options->overlap >= options->size) {
        return emb_fail(error, EMBELLAMA_E_RANGE, "chunks of %zu tokens cannot overlap by %zu", options->size,
                        options->overlap);
    }
    while (offset < count && tokens[offset].special) {
        offset++;
    }
    while (count > offset && tokens[count - 1].special) {
        count--;
    }
    plan.tokens = tokens + offset;
    plan.count = count - offset;
    bool ok = options->by != EMB_CHUNK_SENTENCE || mark_sentences(&plan, text);
    ok = ok && (plan.count == 0 || add_mark(&plan, plan.count));
    int status = !ok               ? emb_fail_nomem(error)
                 : plan.count == 0 ? push(out, 0, 0, options, error)
                                   : cut(out, &plan, options, error);
    emb_free(plan.marks);
    if (status != EMBELLAMA_OK) {
        out->count = 0;
        return status;
    }
    place(out, &plan, text, offset);
    return EMBELLAMA_OK;
}
