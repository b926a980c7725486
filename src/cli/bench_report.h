/* What bench measured, and how it is shown. */
#ifndef EMB_BENCH_REPORT_H
#define EMB_BENCH_REPORT_H

#include "base/buf.h"
#include "embellama/embellama.h"

enum { EMB_BENCH_ROUNDS = 5, EMB_BENCH_SIZES = 6, EMB_BENCH_WORKLOADS = 3 };

/* Calls with so many texts each. */
struct emb_bench_series {
    size_t texts;                        /* in a call; 0: not measured, as one call would take too long */
    double token_rate[EMB_BENCH_ROUNDS]; /* a second, by round */
    double text_rate[EMB_BENCH_ROUNDS];
};

struct emb_bench_workload {
    const char *name;
    size_t texts;
    double tokens_per_text;
    struct emb_bench_series series[EMB_BENCH_SIZES]; /* the last is in bulk */
    double cpu_use[EMB_BENCH_ROUNDS];                /* in bulk: 1 is all threads all the time */
    double *ms;                                      /* [n_ms] of each call with one text */
    size_t n_ms, ms_capacity;
    embellama_profile profile; /* in bulk */
};

struct emb_bench_result {
    const embellama_model_info *model;
    int threads, rounds;
    double seconds;
    double peak[EMB_BENCH_ROUNDS]; /* FLOP/s of as many cores as the threads keep busy; 0: not known */
    struct emb_bench_workload workloads[EMB_BENCH_WORKLOADS];
    size_t n_workloads;
};

/* Both sort what they take medians and percentiles of. */
void emb_bench_as_table(struct emb_buf *page, struct emb_bench_result *result);
void emb_bench_as_json(struct emb_buf *page, struct emb_bench_result *result);

#endif
