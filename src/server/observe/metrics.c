/* Series of requests and of clients, found by a key of their labels. */
#include "server/observe/metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/status.h"

enum { LABEL_BYTES = 192, LABELS_BYTES = 640 };

static const char usual_buckets[] = "0.0005,0.001,0.0025,0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10,30,60";

/* Requests of one route, model and status. */
struct request_series {
    char *labels; /* also its key */
    uint64_t requests;
    struct emb_histogram seconds;
};

/* What one client asked of one model. */
struct client_series {
    char *labels;
    uint64_t requests, inputs, tokens;
};

/* Of one model. */
struct model_series {
    char *labels;
    struct emb_histogram tokenize, queue, infer, inputs, tokens;
};

/* Series of one kind. The first takes all that has no room. */
struct table {
    void *series; /* [count], each beginning with its labels */
    size_t size;  /* of one */
    size_t count, capacity;
    struct emb_map index; /* labels to its number */
};

struct emb_metrics {
    struct emb_histogram times, sizes; /* empty ones */
    double token_cost;
    struct table requests, clients, models;
    struct emb_histogram to_thread, from_thread;
    uint64_t bytes_in, bytes_out;
};

/* ---- Tables ---- */

static void *series_at(const struct table *t, size_t i)
{
    return (char *)t->series + i * t->size;
}

static char **labels_at(const struct table *t, size_t i)
{
    return series_at(t, i);
}

/* A new series, all zeros, or NULL without memory. */
static void *add(struct table *t, const char *labels)
{
    char *key = emb_strdup(labels);
    if (!key || !emb_grow(&t->series, &t->capacity, t->count + 1, t->size) ||
        emb_map_add(&t->index, key, strlen(key), (uint32_t)t->count) != EMBELLAMA_OK) {
        emb_free(key);
        return NULL;
    }
    memset(series_at(t, t->count), 0, t->size);
    *labels_at(t, t->count) = key;
    return series_at(t, t->count++);
}

/* The series of those labels, or the one for all others. *is_new: it was made by this. */
static void *find(struct table *t, const char *labels, bool *is_new)
{
    uint32_t at = 0;
    *is_new = false;
    if (!emb_map_get(&t->index, labels, strlen(labels), &at) && t->count < EMB_METRICS_SERIES) {
        void *series = add(t, labels);
        *is_new = series;
        return series ? series : series_at(t, 0);
    }
    return series_at(t, at);
}

/* other: labels of the first series. Returns it, or NULL without memory. */
static void *table_init(struct table *t, size_t size, const char *other)
{
    *t = (struct table){.size = size};
    emb_map_init(&t->index);
    return add(t, other);
}

static void table_deinit(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        emb_free(*labels_at(t, i));
    }
    emb_free(t->series);
    emb_map_deinit(&t->index);
}

/* ---- Life ---- */

static void model_series_init(const struct emb_metrics *m, struct model_series *s)
{
    s->tokenize = s->queue = s->infer = m->times;
    s->inputs = s->tokens = m->sizes;
}

static int fill(struct emb_metrics *m, const struct emb_metrics_setup *setup, embellama_error *error)
{
    int status = emb_expo_buckets(&m->times, setup->buckets ? setup->buckets : usual_buckets, error);
    if (status != EMBELLAMA_OK) {
        return status;
    }
    emb_histogram_init_steps(&m->sizes, 1, 2, 18);
    m->token_cost = setup->token_cost;
    emb_histogram_init_steps(&m->to_thread, 0.00001, 4, 10);
    emb_histogram_init_steps(&m->from_thread, 0.00001, 4, 10);
    struct request_series *requests =
        table_init(&m->requests, sizeof *requests, "route=\"other\",model=\"other\",status=\"other\"");
    struct client_series *clients = table_init(&m->clients, sizeof *clients, "client=\"other\",model=\"other\"");
    struct model_series *models = table_init(&m->models, sizeof *models, "model=\"other\"");
    if (!requests || !clients || !models) {
        return emb_fail_nomem(error);
    }
    requests->seconds = m->times;
    model_series_init(m, models);
    return EMBELLAMA_OK;
}

int emb_metrics_new(struct emb_metrics **out, const struct emb_metrics_setup *setup, embellama_error *error)
{
    struct emb_metrics *m = emb_calloc(1, sizeof *m);
    int status = m ? fill(m, setup, error) : emb_fail_nomem(error);
    if (status != EMBELLAMA_OK) {
        emb_metrics_free(m);
        m = NULL;
    }
    *out = m;
    return status;
}

void emb_metrics_free(struct emb_metrics *m)
{
    if (m) {
        table_deinit(&m->requests);
        table_deinit(&m->clients);
        table_deinit(&m->models);
        emb_free(m);
    }
}

/* ---- Counting ---- */

static void add_ns(struct emb_histogram *h, uint64_t ns)
{
    emb_histogram_add(h, (double)ns / 1e9);
}

static void count_inputs(struct emb_metrics *m, const struct emb_metrics_request *r, const char *model)
{
    char labels[LABELS_BYTES];
    bool is_new;
    snprintf(labels, sizeof labels, "model=\"%s\"", model);
    struct model_series *s = find(&m->models, labels, &is_new);
    if (is_new) {
        model_series_init(m, s);
    }
    add_ns(&s->tokenize, r->tokenize_ns);
    add_ns(&s->queue, r->queue_ns);
    add_ns(&s->infer, r->infer_ns);
    emb_histogram_add(&s->inputs, (double)r->inputs);
    emb_histogram_add(&s->tokens, (double)r->tokens);
}

static void count_client(struct emb_metrics *m, const struct emb_metrics_request *r, const char *model)
{
    char client[LABEL_BYTES], labels[LABELS_BYTES];
    bool is_new;
    snprintf(labels, sizeof labels, "client=\"%s\",model=\"%s\"",
             emb_expo_label(r->client ? r->client : "unknown", client, sizeof client), model);
    struct client_series *s = find(&m->clients, labels, &is_new);
    s->requests++;
    s->inputs += r->inputs;
    s->tokens += r->tokens;
}

void emb_metrics_count(struct emb_metrics *m, const struct emb_metrics_request *r)
{
    char route[LABEL_BYTES], model[LABEL_BYTES], labels[LABELS_BYTES];
    bool is_new;
    emb_expo_label(r->model ? r->model : "", model, sizeof model);
    snprintf(labels, sizeof labels, "route=\"%s\",model=\"%s\",status=\"%d\"",
             emb_expo_label(r->route ? r->route : "other", route, sizeof route), model, r->status);
    struct request_series *s = find(&m->requests, labels, &is_new);
    if (is_new) {
        s->seconds = m->times;
    }
    s->requests++;
    add_ns(&s->seconds, r->total_ns);
    m->bytes_in += r->bytes_in;
    m->bytes_out += r->bytes_out;
    if (r->model) {
        count_client(m, r, model);
    }
    if (r->model && r->inputs > 0) {
        count_inputs(m, r, model);
    }
}

void emb_metrics_hops(struct emb_metrics *m, uint64_t given_ns, uint64_t begun_ns, uint64_t ended_ns, uint64_t taken_ns)
{
    add_ns(&m->to_thread, begun_ns - given_ns);
    add_ns(&m->from_thread, taken_ns - ended_ns);
}

/* ---- Writing ---- */

/* The series for what had no room are shown once they count something. */
static bool shown(size_t i, uint64_t count)
{
    return i > 0 || count > 0;
}

static void write_requests(const struct emb_metrics *m, struct emb_buf *out)
{
    const struct table *t = &m->requests;
    emb_expo_family(out, "embellama_requests_total", "counter", "Requests answered, by route, model and HTTP status.");
    for (size_t i = 0; i < t->count; i++) {
        const struct request_series *s = series_at(t, i);
        if (shown(i, s->requests)) {
            emb_expo_count(out, "embellama_requests_total", s->labels, s->requests);
        }
    }
    emb_expo_family(out, "embellama_request_seconds", "histogram",
                    "Time from a request's last byte until its answer was there.");
    for (size_t i = 0; i < t->count; i++) {
        const struct request_series *s = series_at(t, i);
        if (shown(i, s->requests)) {
            emb_expo_histogram(out, "embellama_request_seconds", s->labels, &s->seconds);
        }
    }
}

static void write_models(const struct emb_metrics *m, struct emb_buf *out)
{
    static const struct {
        const char *name, *help;
        size_t histogram;
    } families[] = {
        {"embellama_request_tokenize_seconds", "Time a request's inputs took to tokenize.",
         offsetof(struct model_series, tokenize)},
        {"embellama_request_queue_seconds", "Time from queueing a request until its first input was taken up.",
         offsetof(struct model_series, queue)},
        {"embellama_request_infer_seconds", "Time from there until its last vector was there.",
         offsetof(struct model_series, infer)},
        {"embellama_request_inputs", "Inputs of a request.", offsetof(struct model_series, inputs)},
        {"embellama_request_tokens", "Tokens of a request.", offsetof(struct model_series, tokens)},
    };
    const struct table *t = &m->models;
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        emb_expo_family(out, families[f].name, "histogram", families[f].help);
        for (size_t i = 0; i < t->count; i++) {
            const struct model_series *s = series_at(t, i);
            if (shown(i, s->inputs.count)) {
                const char *at = (const char *)s + families[f].histogram;
                emb_expo_histogram(out, families[f].name, s->labels, (const struct emb_histogram *)(const void *)at);
            }
        }
    }
}

static void write_clients(const struct emb_metrics *m, struct emb_buf *out)
{
    static const struct {
        const char *name, *help;
        size_t value;
    } families[] = {
        {"embellama_client_requests_total", "Requests for vectors, by client and model.",
         offsetof(struct client_series, requests)},
        {"embellama_client_inputs_total", "Inputs, by client and model.", offsetof(struct client_series, inputs)},
        {"embellama_client_tokens_total", "Tokens, by client and model.", offsetof(struct client_series, tokens)},
    };
    const struct table *t = &m->clients;
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        emb_expo_family(out, families[f].name, "counter", families[f].help);
        for (size_t i = 0; i < t->count; i++) {
            const struct client_series *s = series_at(t, i);
            uint64_t value;
            memcpy(&value, (const char *)s + families[f].value, sizeof value);
            if (shown(i, s->requests)) {
                emb_expo_count(out, families[f].name, s->labels, value);
            }
        }
    }
    if (m->token_cost <= 0) {
        return;
    }
    emb_expo_family(out, "embellama_client_cost_total", "counter", "Tokens at the configured price of a million.");
    for (size_t i = 0; i < t->count; i++) {
        const struct client_series *s = series_at(t, i);
        if (shown(i, s->requests)) {
            emb_expo_value(out, "embellama_client_cost_total", s->labels, (double)s->tokens * m->token_cost / 1e6);
        }
    }
}

void emb_metrics_write(const struct emb_metrics *m, struct emb_buf *out)
{
    write_requests(m, out);
    write_models(m, out);
    write_clients(m, out);
    emb_expo_counter(out, "embellama_received_bytes_total", m->bytes_in, "Bytes of requests.");
    emb_expo_counter(out, "embellama_sent_bytes_total", m->bytes_out, "Bytes of replies' bodies.");
    emb_expo_family(out, "embellama_thread_hop_seconds", "histogram",
                    "Time that long bodies lay between the loop and a thread of its pool, there and back.");
    emb_expo_histogram(out, "embellama_thread_hop_seconds", "hop=\"to\"", &m->to_thread);
    emb_expo_histogram(out, "embellama_thread_hop_seconds", "hop=\"from\"", &m->from_thread);
}
