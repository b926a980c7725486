/* Buckets found by bisection. */
#include "server/observe/histogram.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void emb_histogram_init(struct emb_histogram *h, const double *bounds, size_t n)
{
    assert(n <= EMB_HISTOGRAM_BUCKETS);
    memset(h, 0, sizeof *h);
    h->bounds = n;
    memcpy(h->bound, bounds, n * sizeof *bounds);
}

void emb_histogram_init_steps(struct emb_histogram *h, double first, double step, size_t n)
{
    double bounds[EMB_HISTOGRAM_BUCKETS];
    assert(n <= EMB_HISTOGRAM_BUCKETS);
    for (size_t i = 0; i < n; i++) {
        bounds[i] = first;
        first *= step;
    }
    emb_histogram_init(h, bounds, n);
}

void emb_histogram_add(struct emb_histogram *h, double value)
{
    if (isnan(value)) {
        return;
    }
    size_t low = 0, high = h->bounds;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (value <= h->bound[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    h->counts[low]++;
    h->count++;
    h->sum += value;
}
