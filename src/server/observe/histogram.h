/* Counts of values by size, as Prometheus wants them: buckets with fixed upper bounds, a sum and a count. One thread at
 * a time. */
#ifndef EMB_HISTOGRAM_H
#define EMB_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { EMB_HISTOGRAM_BUCKETS = 24 };

struct emb_histogram {
    size_t bounds;                       /* of them, rising; one more bucket holds what is above all */
    double bound[EMB_HISTOGRAM_BUCKETS]; /* a value counts in the first bucket whose bound it does not exceed */
    uint64_t counts[EMB_HISTOGRAM_BUCKETS + 1];
    uint64_t count;
    double sum;
};

/* Empties it. n is at most EMB_HISTOGRAM_BUCKETS. */
void emb_histogram_init(struct emb_histogram *h, const double *bounds, size_t n);

/* Bounds from first on, each step times the one before. */
void emb_histogram_init_steps(struct emb_histogram *h, double first, double step, size_t n);

/* A value that is not a number is not counted. */
void emb_histogram_add(struct emb_histogram *h, double value);

#endif
