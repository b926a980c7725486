/* Prometheus's text format, version 0.0.4. Knows nothing of what is counted.
 *
 * A family is announced once with emb_expo_family; its samples follow. Labels are given as text, `a="x",b="y"` or "",
 * with values from emb_expo_label. Source: https://prometheus.io/docs/instrumenting/exposition_formats/ */
#ifndef EMB_EXPOSITION_H
#define EMB_EXPOSITION_H

#include <stdint.h>

#include "base/buf.h"
#include "embellama/embellama.h"
#include "server/observe/histogram.h"

#define EMB_EXPO_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Makes an empty histogram with the bounds "0.01,0.1,1": positive, rising, at most EMB_HISTOGRAM_BUCKETS. Errors:
 * E_INVALID. */
int emb_expo_buckets(struct emb_histogram *out, const char *text, embellama_error *error);

/* type: "counter", "gauge", "histogram". help without line ends or backslashes. */
void emb_expo_family(struct emb_buf *out, const char *name, const char *type, const char *help);
void emb_expo_value(struct emb_buf *out, const char *name, const char *labels, double value);
void emb_expo_count(struct emb_buf *out, const char *name, const char *labels, uint64_t value);
void emb_expo_histogram(struct emb_buf *out, const char *name, const char *labels, const struct emb_histogram *h);

/* A family of one sample without labels. */
void emb_expo_gauge(struct emb_buf *out, const char *name, double value, const char *help);
void emb_expo_counter(struct emb_buf *out, const char *name, uint64_t value, const char *help);

/* text as a label's value, escaped, without the quotes, cut where it does not fit into out[0..size). Returns out. */
const char *emb_expo_label(const char *text, char *out, size_t size);

#endif
