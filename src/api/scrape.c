/* GET /metrics: all that the server counts and holds, in Prometheus's text format.
 *
 * What requests add up to is server/observe/metrics.h's; here are the states of the queue, the workers, the front, the process
 * and the model. */
#include "api/handlers.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"
#include "server/http/exchange.h"
#include "server/observe/footprint.h"
#include "server/observe/lag.h"
#include "server/http/listen.h"
#include "server/observe/metrics.h"
#include "server/schedule/scheduler.h"

enum { PAGE_BYTES = 1 << 24, LABELS_BYTES = 256 };

struct scrape {
    struct emb_footprint_waiter waiter; /* first */
    struct emb_server *server;
    struct emb_exchange *x; /* NULL once the client is gone */
};

static const char *const priorities[EMB_PRIORITIES] = {
    [EMB_PRIORITY_HIGH] = "priority=\"high\"",
    [EMB_PRIORITY_NORMAL] = "priority=\"normal\"",
    [EMB_PRIORITY_LOW] = "priority=\"low\"",
};

static const char *const refusals[EMB_SUBMITS] = {
    [EMB_SUBMIT_FULL] = "reason=\"queue_full\"",
    [EMB_SUBMIT_LATE] = "reason=\"late\"",
    [EMB_SUBMIT_SLOW] = "reason=\"slow\"",
    [EMB_SUBMIT_TOO_LARGE] = "reason=\"too_large\"",
    [EMB_SUBMIT_BREAKER] = "reason=\"breaker_open\"",
};

/* ---- The queue and its batches ---- */

static void write_queue(const struct emb_scheduler_stats *s, struct emb_buf *out)
{
    emb_expo_family(out, "embellama_queue_inputs", "gauge", "Inputs that wait, by priority.");
    for (int i = 0; i < EMB_PRIORITIES; i++) {
        emb_expo_count(out, "embellama_queue_inputs", priorities[i], s->waiting_by[i]);
    }
    emb_expo_family(out, "embellama_queue_tokens", "gauge", "Tokens of the inputs that wait, by priority.");
    for (int i = 0; i < EMB_PRIORITIES; i++) {
        emb_expo_count(out, "embellama_queue_tokens", priorities[i], s->waiting_tokens_by[i]);
    }
    emb_expo_gauge(out, "embellama_queue_inputs_limit", (double)s->queue_size, "Inputs that may wait.");
    emb_expo_gauge(out, "embellama_queue_tokens_limit", (double)s->queue_tokens, "Tokens that may wait.");
    emb_expo_gauge(out, "embellama_queue_oldest_seconds", (double)s->oldest_wait_ns / 1e9,
                   "How long the oldest waiting input has waited.");
    emb_expo_gauge(out, "embellama_running_inputs", (double)s->running, "Inputs with the workers.");
    emb_expo_family(out, "embellama_queue_wait_seconds", "histogram", "An input's wait for a worker.");
    emb_expo_histogram(out, "embellama_queue_wait_seconds", "", s->queue_s);
}

static void write_batches(const struct emb_scheduler_stats *s, struct emb_buf *out)
{
    emb_expo_counter(out, "embellama_batches_total", s->batches, "Batches computed.");
    emb_expo_counter(out, "embellama_tokens_total", s->tokens, "Tokens computed.");
    emb_expo_family(out, "embellama_batch_inputs", "histogram", "Inputs of a batch.");
    emb_expo_histogram(out, "embellama_batch_inputs", "", s->batch_inputs);
    emb_expo_family(out, "embellama_batch_tokens", "histogram", "Tokens of a batch.");
    emb_expo_histogram(out, "embellama_batch_tokens", "", s->batch_tokens_each);
    emb_expo_family(out, "embellama_batch_infer_seconds", "histogram", "Time a worker took for a batch.");
    emb_expo_histogram(out, "embellama_batch_infer_seconds", "", s->compute_s);
    emb_expo_family(out, "embellama_worker_hop_seconds", "histogram",
                    "Time that batches lay between the loop and a worker, there (behind another batch) and back.");
    emb_expo_histogram(out, "embellama_worker_hop_seconds", "hop=\"to\"", s->to_worker_s);
    emb_expo_histogram(out, "embellama_worker_hop_seconds", "hop=\"from\"", s->from_worker_s);
    emb_expo_gauge(out, "embellama_batch_token_budget", (double)s->batch_tokens, "Most tokens of a batch now.");
    emb_expo_gauge(out, "embellama_tokens_per_second", s->tokens_per_s, "Measured speed of all workers.");
}

static void write_events(const struct emb_scheduler_stats *s, struct emb_buf *out)
{
    emb_expo_family(out, "embellama_shed_total", "counter", "Requests refused at the queue, by reason.");
    for (int i = 0; i < EMB_SUBMITS; i++) {
        if (refusals[i]) {
            emb_expo_count(out, "embellama_shed_total", refusals[i], s->refused[i]);
        }
    }
    emb_expo_counter(out, "embellama_inputs_expired_total", s->expired, "Inputs that met their deadline.");
    emb_expo_counter(out, "embellama_inputs_cancelled_total", s->cancelled, "Inputs of clients that left.");
    emb_expo_counter(out, "embellama_inputs_shared_total", s->shared,
                     "Inputs computed together with an identical one.");
    emb_expo_counter(out, "embellama_inputs_retried_total", s->retried,
                     "Inputs computed again, as their worker ended.");
    emb_expo_counter(out, "embellama_inputs_crashed_total", s->crashed, "Inputs that ended a worker.");
    emb_expo_gauge(out, "embellama_inputs_quarantined", (double)s->quarantined,
                   "Inputs kept out, as they are known to end workers.");
    emb_expo_family(out, "embellama_breaker_state", "gauge", "1 for the state that the circuit breaker is in.");
    emb_expo_count(out, "embellama_breaker_state", "state=\"closed\"", s->breaker == EMB_BREAKER_CLOSED);
    emb_expo_count(out, "embellama_breaker_state", "state=\"open\"", s->breaker == EMB_BREAKER_OPEN);
    emb_expo_count(out, "embellama_breaker_state", "state=\"half_open\"", s->breaker == EMB_BREAKER_HALF_OPEN);
    emb_expo_counter(out, "embellama_breaker_opened_total", s->breaker_opened,
                     "Times that the circuit breaker opened.");
}

/* ---- Workers ---- */

static void write_worker_family(const struct scrape *s, int workers, struct emb_buf *out, int which)
{
    static const struct {
        const char *name, *type, *help;
    } families[] = {
        {"embellama_worker_ready", "gauge", "Whether a worker takes batches."},
        {"embellama_worker_restarts_total", "counter", "Times that a worker was started again."},
        {"embellama_worker_batches_total", "counter", "Batches that a worker computed."},
        {"embellama_worker_busy_seconds_total", "counter", "Time that a worker computed; its rate is the utilisation."},
    };
    emb_expo_family(out, families[which].name, families[which].type, families[which].help);
    for (int i = 0; i < workers; i++) {
        struct emb_pool_worker_stats w;
        char labels[32];
        emb_scheduler_worker_stats(emb_server_scheduler(s->server), i, &w);
        snprintf(labels, sizeof labels, "worker=\"%d\"", i);
        double values[] = {w.ready, w.restarts, (double)w.batches, (double)w.busy_ns / 1e9};
        emb_expo_value(out, families[which].name, labels, values[which]);
    }
}

static void write_workers(const struct scrape *s, const struct emb_scheduler_stats *stats, struct emb_buf *out)
{
    emb_expo_gauge(out, "embellama_workers", stats->workers, "Workers there should be.");
    emb_expo_gauge(out, "embellama_worker_threads", stats->threads, "Threads of each worker.");
    for (int which = 0; which < 4; which++) {
        write_worker_family(s, stats->workers, out, which);
    }
}

/* ---- The cache, keys and limits ---- */

static void write_cache(const struct scrape *s, struct emb_buf *out)
{
    struct emb_cache_stats c = emb_cache_stats(emb_server_cache(s->server));
    emb_expo_family(out, "embellama_cache_lookups_total", "counter", "Inputs looked for in the cache, by outcome.");
    emb_expo_count(out, "embellama_cache_lookups_total", "result=\"hit\"", c.hits);
    emb_expo_count(out, "embellama_cache_lookups_total", "result=\"miss\"", c.misses);
    emb_expo_gauge(out, "embellama_cache_hit_ratio",
                   c.hits + c.misses > 0 ? (double)c.hits / (double)(c.hits + c.misses) : 0,
                   "Hits among all look-ups since the start.");
    emb_expo_counter(out, "embellama_cache_stored_total", c.stored, "Vectors put into the cache.");
    emb_expo_counter(out, "embellama_cache_evicted_total", c.evictions, "Vectors that made room for others.");
    emb_expo_counter(out, "embellama_cache_expired_total", c.expired, "Vectors that had become too old.");
    emb_expo_counter(out, "embellama_cache_cleared_total", c.clears, "Times that the cache was cleared.");
    emb_expo_gauge(out, "embellama_cache_entries", (double)c.entries, "Vectors in the cache.");
    emb_expo_gauge(out, "embellama_cache_bytes", (double)c.bytes, "Bytes of the cache.");
    emb_expo_gauge(out, "embellama_cache_bytes_limit", (double)c.budget, "Bytes that the cache may have.");
}

static void write_access(const struct scrape *s, struct emb_buf *out)
{
    struct emb_access_stats a = emb_access_stats(emb_server_access(s->server));
    emb_expo_family(out, "embellama_access_refused_total", "counter", "Requests refused to a client, by reason.");
    emb_expo_count(out, "embellama_access_refused_total", "reason=\"unauthorized\"", a.unauthorized);
    emb_expo_count(out, "embellama_access_refused_total", "reason=\"forbidden\"", a.forbidden);
    emb_expo_count(out, "embellama_access_refused_total", "reason=\"request_rate\"", a.over_requests);
    emb_expo_count(out, "embellama_access_refused_total", "reason=\"token_rate\"", a.over_tokens);
    emb_expo_counter(out, "embellama_cors_preflights_total", a.preflights, "Preflight requests of browsers.");
    emb_expo_gauge(out, "embellama_api_keys", (double)a.keys, "API keys there are.");
    emb_expo_gauge(out, "embellama_limited_clients", (double)a.clients, "Clients whose rates are held.");
}

/* ---- The process and the model ---- */

static void write_memory_of(struct emb_buf *out, const char *process, const struct emb_process_memory *memory)
{
    char labels[LABELS_BYTES];
    if (memory->resident > 0) {
        snprintf(labels, sizeof labels, "process=\"%s\",kind=\"resident\"", process);
        emb_expo_count(out, "embellama_memory_bytes", labels, memory->resident);
        snprintf(labels, sizeof labels, "process=\"%s\",kind=\"proportional\"", process);
        emb_expo_count(out, "embellama_memory_bytes", labels, memory->proportional);
    }
}

static void write_memory(const struct emb_footprint_reading *r, struct emb_buf *out)
{
    emb_expo_family(out, "embellama_memory_bytes", "gauge",
                    "Memory of the server's processes: resident, or with shared pages divided among them.");
    write_memory_of(out, "front", &r->front);
    for (int i = 0; i < EMB_FOOTPRINT_WORKERS; i++) {
        char process[32];
        snprintf(process, sizeof process, "worker %d", i);
        write_memory_of(out, process, &r->workers[i]);
    }
}

static void write_front(const struct scrape *s, struct emb_buf *out)
{
    struct emb_front_stats front = emb_front_stats(emb_server_front(s->server));
    emb_expo_gauge(out, "embellama_connections", (double)front.connections, "Open connections.");
    emb_expo_gauge(out, "embellama_connections_limit", (double)front.connections_limit, "Connections there may be.");
    emb_expo_counter(out, "embellama_connections_accepted_total", front.accepted, "Connections taken.");
    emb_expo_counter(out, "embellama_connections_refused_total", front.refused, "Connections beyond the limit.");
    emb_expo_gauge(out, "embellama_requests_held", (double)front.exchanges, "Requests not yet fully answered.");
    emb_expo_gauge(out, "embellama_held_bytes", (double)front.held, "Bytes of requests and replies held.");
    emb_expo_gauge(out, "embellama_held_bytes_limit", (double)front.held_limit, "Bytes that may be held.");
}

static void write_build(const struct scrape *s, struct emb_buf *out)
{
    const embellama_model_info *info = embellama_model_get_info(emb_server_model(s->server));
    char labels[LABELS_BYTES * 2], model[LABELS_BYTES];
    snprintf(labels, sizeof labels, "version=\"%s\",compiler=\"%s\"", embellama_version(), EMB_COMPILER);
    emb_expo_family(out, "embellama_build_info", "gauge", "Always 1.");
    emb_expo_count(out, "embellama_build_info", labels, 1);
    snprintf(labels, sizeof labels, "model=\"%s\",precision=\"%s\",cpu=\"%s\"",
             emb_expo_label(emb_server_model_name(s->server), model, sizeof model),
             embellama_precision_name(info->precision), info->cpu_tier);
    emb_expo_family(out, "embellama_model_info", "gauge", "Always 1.");
    emb_expo_count(out, "embellama_model_info", labels, 1);
    emb_expo_gauge(out, "embellama_model_bytes", (double)(info->packed_bytes + info->mapped_bytes),
                   "Bytes of the weights in memory.");
}

static void write_process(const struct scrape *s, const struct emb_footprint_reading *r, struct emb_buf *out)
{
    emb_expo_gauge(out, "embellama_uptime_seconds", emb_server_uptime(s->server), "Since the start.");
    emb_expo_gauge(out, "embellama_draining", emb_server_stopping(s->server), "Whether the server is stopping.");
    emb_expo_counter(out, "embellama_log_dropped_total", emb_log_dropped(), "Log lines that were dropped.");
    emb_expo_family(out, "process_cpu_seconds_total", "counter", "CPU time of the front.");
    emb_expo_value(out, "process_cpu_seconds_total", "", emb_process_cpu_seconds());
    emb_expo_gauge(out, "process_open_fds", r->open_files, "Open descriptors of the front.");
    emb_expo_gauge(out, "process_max_fds", (double)emb_process_file_limit(), "Descriptors that it may open.");
    emb_expo_gauge(out, "process_resident_memory_bytes", (double)r->front.resident, "Resident memory of the front.");
}

/* ---- The request ---- */

static void answer(struct scrape *s)
{
    struct emb_scheduler_stats stats = emb_scheduler_stats(emb_server_scheduler(s->server));
    const struct emb_footprint_reading *reading = &emb_server_footprint(s->server)->last;
    struct emb_buf out;
    emb_buf_init(&out, PAGE_BYTES);
    write_build(s, &out);
    emb_metrics_write(emb_server_metrics(s->server), &out);
    write_queue(&stats, &out);
    write_batches(&stats, &out);
    write_events(&stats, &out);
    write_workers(s, &stats, &out);
    write_cache(s, &out);
    write_access(s, &out);
    write_front(s, &out);
    emb_lag_write(emb_server_lag(s->server), &out);
    write_memory(reading, &out);
    write_process(s, reading, &out);
    emb_exchange_reply(s->x, 200, EMB_EXPO_TYPE, &out);
}

static void on_ready(struct emb_footprint_waiter *waiter)
{
    struct scrape *s = (struct scrape *)waiter;
    if (s->x) {
        answer(s);
    }
    emb_free(s);
}

static void on_gone(void *arg)
{
    ((struct scrape *)arg)->x = NULL;
}

void emb_api_metrics(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_scheduler *scheduler = emb_server_scheduler(server);
    struct scrape *s = emb_calloc(1, sizeof *s);
    int pids[EMB_FOOTPRINT_WORKERS] = {0}, workers = emb_scheduler_stats(scheduler).workers;
    if (!s) {
        emb_exchange_error(x, 503, "server_error", NULL, "out_of_memory", "There is no memory for this request now");
        return;
    }
    *s = (struct scrape){.waiter.ready = on_ready, .server = server, .x = x};
    for (int i = 0; i < workers && i < EMB_FOOTPRINT_WORKERS; i++) {
        struct emb_pool_worker_stats w;
        emb_scheduler_worker_stats(scheduler, i, &w);
        pids[i] = w.pid;
    }
    emb_exchange_on_gone(x, on_gone, s);
    if (emb_footprint_fresh(emb_server_footprint(server), emb_scheduler_loop(scheduler), pids, workers, &s->waiter)) {
        on_ready(&s->waiter);
    }
}
