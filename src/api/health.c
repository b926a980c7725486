/* Whether the server lives, is ready, and what it is busy with. */
#include "api/health.h"

#include "api/handlers.h"
#include "base/json_write.h"
#include "server/http/exchange.h"
#include "server/schedule/scheduler.h"

enum { REPLY_BYTES = 65536 };

static const char *breaker_name(enum emb_breaker_state state)
{
    return state == EMB_BREAKER_CLOSED ? "closed" : state == EMB_BREAKER_OPEN ? "open" : "half_open";
}

/* Why no request for vectors should be sent here, or NULL. A worker that is only just being started again is no
 * reason: its inputs wait for it. */
static const char *not_ready(const struct emb_server *server, const struct emb_scheduler_stats *stats)
{
    if (emb_server_stopping(server)) {
        return "the server is stopping";
    }
    if (stats->breaker == EMB_BREAKER_OPEN) {
        return "the circuit breaker is open: the workers keep failing";
    }
    return stats->workers_ready == 0 && stats->batches == 0 ? "no worker has answered yet" : NULL;
}

static void write_workers(struct emb_buf *out, const struct emb_scheduler *scheduler, int workers)
{
    emb_buf_puts(out, ",\"worker_states\":[");
    for (int i = 0; i < workers; i++) {
        struct emb_pool_worker_stats w;
        emb_scheduler_worker_stats(scheduler, i, &w);
        emb_buf_printf(out, "%s{\"worker\":%d,\"state\":\"%s\",\"pid\":%d,\"restarts\":%u,\"batches\":%llu}",
                       i > 0 ? "," : "", i, w.ready ? "ready" : "starting", w.pid, w.restarts,
                       (unsigned long long)w.batches);
    }
    emb_buf_puts(out, "]");
}

bool emb_health_write(struct emb_server *server, struct emb_buf *out)
{
    struct emb_scheduler_stats stats = emb_scheduler_stats(emb_server_scheduler(server));
    const char *reason = not_ready(server, &stats);
    const char *status = emb_server_stopping(server) ? "stopping" : reason ? "unavailable" : "ok";
    emb_buf_printf(out, "\"status\":\"%s\",\"ready\":%s,\"reason\":", status, reason ? "false" : "true");
    emb_json_write_cstring(out, reason);
    emb_buf_puts(out, ",\"model\":");
    emb_json_write_cstring(out, emb_server_model_name(server));
    emb_buf_printf(out, ",\"version\":\"%s\",\"uptime_s\":%.3f,\"workers\":%d,\"workers_ready\":%d",
                   embellama_version(), emb_server_uptime(server), stats.workers, stats.workers_ready);
    emb_buf_printf(out, ",\"threads_per_worker\":%d,\"breaker\":\"%s\"", stats.threads, breaker_name(stats.breaker));
    emb_buf_printf(out, ",\"queue\":{\"waiting\":%zu,\"running\":%zu,\"size\":%zu}", stats.waiting, stats.running,
                   stats.queue_size);
    write_workers(out, emb_server_scheduler(server), stats.workers);
    return !reason;
}

void emb_api_health(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, "{");
    emb_health_write(server, &out);
    emb_buf_puts(&out, "}\n");
    emb_exchange_reply(x, emb_server_stopping(server) ? 503 : 200, "application/json", &out);
}

void emb_api_health_live(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, "{\"status\":\"ok\"}\n");
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_api_health_ready(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_scheduler_stats stats = emb_scheduler_stats(emb_server_scheduler(server));
    const char *reason = not_ready(server, &stats);
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"ready\":%s,\"reason\":", reason ? "false" : "true");
    emb_json_write_cstring(&out, reason);
    emb_buf_puts(&out, "}\n");
    emb_exchange_reply(x, reason ? 503 : 200, "application/json", &out);
}
