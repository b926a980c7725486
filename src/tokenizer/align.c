/* See align.h. One pass over the code points; within a run of marks, sorting by rank in time linear in its length. */
#include "tokenizer/align.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { UTF8_MAX = 4 };

void emb_aligned_deinit(struct emb_aligned *a)
{
    emb_free(a->text);
    emb_free(a->places);
    emb_free(a->run);
    emb_free(a->queue);
    *a = (struct emb_aligned){0};
}

static void put(struct emb_aligned *a, uint32_t c, struct emb_place place)
{
    if (a->failed || !emb_grow(&a->text, &a->text_room, a->size + UTF8_MAX, 1) ||
        !emb_grow(&a->places, &a->place_room, a->size + UTF8_MAX, sizeof *a->places)) {
        a->failed = true;
        return;
    }
    size_t bytes = emb_utf8_encode(c, a->text + a->size);
    for (size_t i = 0; i < bytes; i++) {
        a->places[a->size + i] = place;
    }
    a->size += bytes;
}

static void put_lower(const struct emb_normalizer *n, struct emb_aligned *a, uint32_t c, struct emb_place place)
{
    const struct emb_unicode_record *record = emb_unicode_lookup(c);
    if (!n->lowercase) {
        put(a, c, place);
    } else if (record->flags & EMB_UNICODE_LOWER_LONG) {
        put(a, 'i', place);
        put(a, 0x307, place);
    } else {
        put(a, (uint32_t)((int32_t)c + record->lower), place);
    }
}

/* Sorts the run by rank, stably, into the upper half of its room and back. */
static void sort_run(struct emb_aligned *a)
{
    size_t starts[EMB_UNICODE_RANKS] = {0}, at = 0;
    if (!emb_grow(&a->run, &a->run_room, a->run_count * 2, sizeof *a->run)) {
        a->failed = true;
        return;
    }
    for (size_t i = 0; i < a->run_count; i++) {
        starts[a->run[i].rank]++;
    }
    for (size_t rank = 0; rank < EMB_UNICODE_RANKS; rank++) {
        size_t n = starts[rank];
        starts[rank] = at;
        at += n;
    }
    struct emb_align_mark *sorted = a->run + a->run_count;
    for (size_t i = 0; i < a->run_count; i++) {
        sorted[starts[a->run[i].rank]++] = a->run[i];
    }
    memcpy(a->run, sorted, a->run_count * sizeof *sorted);
}

static void end_run(const struct emb_normalizer *n, struct emb_aligned *a)
{
    size_t next = 0;
    if (a->unsorted) {
        sort_run(a);
    }
    for (size_t i = 0; i < a->run_count && !a->failed; i++) {
        if (!a->run[i].inserted) {
            a->last = a->queue[next++];
        }
        if (!(emb_unicode_lookup(a->run[i].code_point)->flags & EMB_UNICODE_MARK)) {
            put_lower(n, a, a->run[i].code_point, a->last);
        }
    }
    a->run_count = a->queue_count = 0;
    a->unsorted = false;
}

/* A fully decomposed code point, its place where it is the first of its decomposition. */
static void put_part(const struct emb_normalizer *n, struct emb_aligned *a, uint32_t c, const struct emb_place *place)
{
    struct emb_align_mark mark = {c, emb_unicode_rank(c), place == NULL};
    if (mark.rank == 0) {
        end_run(n, a);
    }
    if (a->failed || !emb_grow(&a->run, &a->run_room, a->run_count + 1, sizeof *a->run) ||
        (place && !emb_grow(&a->queue, &a->queue_room, a->queue_count + 1, sizeof *a->queue))) {
        a->failed = true;
        return;
    }
    a->unsorted |= a->run_count > 0 && a->run[a->run_count - 1].rank > mark.rank;
    a->run[a->run_count++] = mark;
    if (place) {
        a->queue[a->queue_count++] = *place;
    }
}

static void put_stripped(const struct emb_normalizer *n, struct emb_aligned *a, uint32_t c, struct emb_place place)
{
    uint32_t room[4];
    if (!(emb_unicode_lookup(c)->flags & EMB_UNICODE_DECOMPOSES)) {
        put_part(n, a, c, &place);
    } else {
        const uint32_t *parts = emb_unicode_decomposition(c, room);
        for (uint32_t i = 1; i <= parts[0]; i++) {
            put_part(n, a, parts[i], i == 1 ? &place : NULL);
        }
    }
}

static void put_any(const struct emb_normalizer *n, struct emb_aligned *a, uint32_t c, struct emb_place place)
{
    if (n->strip_accents) {
        put_stripped(n, a, c, place);
    } else {
        put_lower(n, a, c, place);
    }
}

bool emb_align(const struct emb_normalizer *n, const char *text, size_t size, size_t base, struct emb_aligned *a)
{
    size_t length;
    a->size = a->run_count = a->queue_count = 0;
    a->unsorted = a->failed = false;
    for (size_t at = 0; at < size && !a->failed; at += length) {
        uint32_t c = emb_utf8_decode(text + at, &length);
        unsigned flags = emb_unicode_lookup(c)->flags;
        struct emb_place place = {base + at, base + at + length};
        if (n->clean_text && (flags & EMB_UNICODE_REMOVED)) {
            continue;
        }
        if (n->clean_text && (flags & EMB_UNICODE_TO_SPACE)) {
            c = ' ';
        }
        bool padded = n->chinese_chars && (flags & EMB_UNICODE_CJK);
        if (padded) {
            put_any(n, a, ' ', place);
        }
        put_any(n, a, c, place);
        if (padded) {
            put_any(n, a, ' ', place);
        }
    }
    end_run(n, a);
    return !a->failed;
}
