/* How fast a worker computes, measured, and what follows from it: how much a batch may be, and how long work will take.
 *
 * The rate is that of the last tokens, not of the last batches, so that small batches, which are slower a token, count
 * for what they are. */
#ifndef EMB_PACE_H
#define EMB_PACE_H

#include <stddef.h>
#include <stdint.h>

struct emb_pace {
    double tokens, ns; /* of the recent past */
};

/* A zeroed pace has measured nothing. */
void emb_pace_add(struct emb_pace *p, size_t tokens, uint64_t compute_ns);

/* Of one worker; 0 until something was measured. */
double emb_pace_tokens_per_ns(const struct emb_pace *p);

/* How long a worker takes for so many tokens; 0 until something was measured. */
uint64_t emb_pace_ns(const struct emb_pace *p, size_t tokens);

/* How many tokens it computes in that time; `unknown` until something was measured. */
size_t emb_pace_tokens(const struct emb_pace *p, uint64_t ns, size_t unknown);

#endif
