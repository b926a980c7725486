/* Clock, percentiles and the progress line. */
#include "cli/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

double emb_measure_now(void)
{
    return (double)emb_clock_ns() * 1e-9;
}

double emb_measure_cpu(void)
{
    struct rusage u = {0};
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double emb_measure_percentile(double *values, size_t n, double part)
{
    if (n == 0) {
        return 0;
    }
    qsort(values, n, sizeof *values, compare);
    double at = part * (double)(n - 1);
    size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
    return values[below] + (at - (double)below) * (values[above] - values[below]);
}

void emb_measure_progress(double part, const char *what)
{
    if (!isatty(STDERR_FILENO)) {
        return;
    }
    char bar[21];
    for (int i = 0; i < 20; i++) {
        bar[i] = part * 20 >= i + 1 ? '#' : '.';
    }
    bar[20] = '\0';
    fprintf(stderr, "\r[%s] %3.0f %%  %.40s\033[K", bar, part > 1 ? 100 : part * 100, what);
    fflush(stderr);
}

void emb_measure_progress_done(void)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
    }
}
