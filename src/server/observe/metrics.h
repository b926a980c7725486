/* What requests add up to: counts, times and sizes by route, model, status and client, as Prometheus reads them.
 *
 * Counts what the front answers; gauges of other modules are written by api/scrape.c. Labels are bounded: routes come
 * from the route table, and beyond EMB_METRICS_SERIES of a kind all further ones are counted together as "other". On
 * the loop's thread only. */
#ifndef EMB_METRICS_H
#define EMB_METRICS_H

#include "server/observe/exposition.h"

enum { EMB_METRICS_SERIES = 1024 };

struct emb_metrics;

struct emb_metrics_setup {
    const char *buckets; /* of all that is seconds of a request, as emb_expo_buckets takes them; NULL: the usual ones */
    double token_cost;   /* of a million tokens, in whatever currency; 0: not told */
};

/* Errors: E_INVALID, E_NOMEM. */
int emb_metrics_new(struct emb_metrics **out, const struct emb_metrics_setup *setup, embellama_error *error);
void emb_metrics_free(struct emb_metrics *metrics); /* NULL is allowed */

struct emb_metrics_request {
    const char *route;  /* as the table has it, "/v1/models/{id}"; NULL: no route was found */
    const char *model;  /* that was asked for and is served; NULL: none */
    const char *client; /* its name; NULL: not known */
    int status;
    size_t inputs, tokens;
    uint64_t bytes_in, bytes_out;
    uint64_t total_ns;
    uint64_t tokenize_ns, queue_ns, infer_ns; /* counted where there are inputs */
};
void emb_metrics_count(struct emb_metrics *metrics, const struct emb_metrics_request *request);

/* Work of a request went to a thread of the loop's pool and came back; times of uv_hrtime. */
void emb_metrics_hops(struct emb_metrics *metrics, uint64_t given_ns, uint64_t begun_ns, uint64_t ended_ns,
                      uint64_t taken_ns);

/* Appends its families. */
void emb_metrics_write(const struct emb_metrics *metrics, struct emb_buf *out);

#endif
