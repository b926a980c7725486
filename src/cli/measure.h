/* What measuring commands share: a clock, the order of many values, and a line of progress. */
#ifndef EMB_CLI_MEASURE_H
#define EMB_CLI_MEASURE_H

#include <stdbool.h>
#include <stddef.h>

/* Seconds of a clock that never goes back; and those that this process's threads have computed. */
double emb_measure_now(void);
double emb_measure_cpu(void);

/* The value below which part (0 to 1) of values[0..n) lie, which it sorts; 0 where there are none. */
double emb_measure_percentile(double *values, size_t n, double part);

/* Draws how far it is, on a terminal's stderr and nowhere else; what: the step at hand. Done removes the line. */
void emb_measure_progress(double part, const char *what);
void emb_measure_progress_done(void);

#endif
