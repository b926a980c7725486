/* The BERT normaliser once more, with the place in the text that each byte of its outcome stands for.
 *
 * Gives the same bytes as normalize.c, which knows nothing of places and is several times as fast. The places are those of the
 * reference, which goes on counting after canonical ordering as if it had moved nothing: so all marks of a run take part here,
 * those too that are dropped afterwards. */
#ifndef EMB_ALIGN_H
#define EMB_ALIGN_H

#include "tokenizer/normalize.h"

struct emb_place {
    size_t begin, end; /* bytes of the text */
};

struct emb_align_mark {
    uint32_t code_point;
    unsigned rank;
    bool inserted; /* a further part of a decomposition: has the place of the one before it */
};

/* A normalised text. Zero it to begin; reused from call to call. */
struct emb_aligned {
    char *text;               /* [size] */
    struct emb_place *places; /* [size]: where each byte comes from */
    size_t size;
    size_t text_room, place_room; /* private from here on */
    struct emb_align_mark *run;   /* a starter and the marks behind it */
    size_t run_count, run_room;
    struct emb_place *queue; /* places of those of the run that are not inserted */
    size_t queue_count, queue_room;
    struct emb_place last;
    bool unsorted, failed;
};
void emb_aligned_deinit(struct emb_aligned *aligned);

/* Normalises valid UTF-8, of which the first byte is byte number base of the whole text. False when out of memory. */
bool emb_align(const struct emb_normalizer *normalizer, const char *text, size_t size, size_t base,
               struct emb_aligned *out);

#endif
