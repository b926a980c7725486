/* The progress bar: on stderr when that is a terminal, and nowhere else. */
#ifndef EMB_CLI_PROGRESS_H
#define EMB_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct emb_progress {
    bool shown;
    double began;
    uint64_t first, total; /* in the input's own measure: bytes or arguments; total 0: unknown */
    uint64_t texts, tokens;
};

/* visible: whether nothing else is written to the terminal. first: where in the input this run begins. */
void emb_progress_begin(struct emb_progress *progress, bool visible, uint64_t first, uint64_t total);

/* So many more texts and tokens (0: not counted) are done, and the input is read up to done. */
void emb_progress_add(struct emb_progress *progress, uint64_t texts, uint64_t tokens, uint64_t done);

/* Leaves a line with the totals. */
void emb_progress_end(struct emb_progress *progress);

#endif
