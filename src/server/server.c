/* The front process: model, scheduler, connections and the supervisor put together, from start to graceful stop. */
#include "server/server.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/json_write.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "pool/board.h"
#include "pool/control.h"
#include "pool/link.h"
#include "pool/setup.h"
#include "server/observe/footprint.h"
#include "server/observe/lag.h"
#include "server/http/listen.h"
#include "server/http/tls_watch.h"
#include "server/schedule/scheduler.h"

enum { PROBE_TOKENS = 16, TICK_MS = 500 };

struct emb_server {
    const struct emb_server_options *options;
    uv_loop_t loop;
    uv_poll_t control;
    uv_timer_t tick;
    struct emb_board *board;
    embellama_model *model;
    struct emb_pool *pool; /* the scheduler's */
    struct emb_scheduler *scheduler;
    struct emb_access *access;
    struct emb_cache *cache;
    embellama_vocabulary *vocabulary; /* or NULL */
    struct emb_front *front;
    struct emb_metrics *metrics;
    struct emb_tls_watch tls;
    struct emb_lag lag;
    struct emb_footprint footprint;
    uint64_t started; /* uv_hrtime */
    int status;       /* of the whole run */
    embellama_error *error;
};

const embellama_model *emb_server_model(const struct emb_server *server)
{
    return server->model;
}

const char *emb_server_model_name(const struct emb_server *server)
{
    return server->options->model_name ? server->options->model_name : embellama_model_get_info(server->model)->name;
}

const struct emb_server_options *emb_server_options(const struct emb_server *server)
{
    return server->options;
}

struct emb_scheduler *emb_server_scheduler(struct emb_server *server)
{
    return server->scheduler;
}

bool emb_server_stopping(const struct emb_server *server)
{
    return server->front && emb_front_stopping(server->front);
}

struct emb_front *emb_server_front(const struct emb_server *server)
{
    return server->front;
}

struct emb_access *emb_server_access(const struct emb_server *server)
{
    return server->access;
}

struct emb_cache *emb_server_cache(const struct emb_server *server)
{
    return server->cache;
}

const struct embellama_vocabulary *emb_server_vocabulary(const struct emb_server *server)
{
    return server->vocabulary;
}

struct emb_metrics *emb_server_metrics(const struct emb_server *server)
{
    return server->metrics;
}

const struct emb_lag *emb_server_lag(const struct emb_server *server)
{
    return &server->lag;
}

struct emb_footprint *emb_server_footprint(struct emb_server *server)
{
    return &server->footprint;
}

double emb_server_uptime(const struct emb_server *server)
{
    return (double)(uv_hrtime() - server->started) / 1e9;
}

/* ---- The supervisor ---- */

static void tell_supervisor(struct emb_control *message)
{
    if (!emb_control_send(EMB_FD_CONTROL, message)) {
        emb_log(EMB_LOG_WARN, "supervisor_deaf", "message=%u", message->kind);
    }
}

void emb_server_set_log_level(struct emb_server *server, enum emb_log_level level)
{
    (void)server;
    struct emb_control message = {.kind = EMB_CONTROL_LOG, .value = (int32_t)level};
    emb_log_set_level(level);
    tell_supervisor(&message);
}

void emb_server_drain(struct emb_server *server, const char *why)
{
    struct emb_control message = {.kind = EMB_CONTROL_DRAIN};
    if (!emb_server_stopping(server)) {
        emb_log(EMB_LOG_INFO, "drain", "%s", why);
        tell_supervisor(&message);
    }
}

/* ---- Stopping ---- */

static void close_own(struct emb_server *server)
{
    uv_handle_t *own[] = {(uv_handle_t *)&server->control, (uv_handle_t *)&server->tick};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (!uv_is_closing(own[i])) {
            uv_close(own[i], NULL);
        }
    }
    emb_tls_watch_stop(&server->tls);
}

static void on_stopped(void *arg)
{
    emb_log(EMB_LOG_INFO, "stopped", "answered=all");
    close_own(arg);
}

static void stop(struct emb_server *server)
{
    if (server->front) {
        emb_front_stop(server->front, on_stopped, server);
    } else {
        close_own(server);
    }
}

/* It cannot go on: the supervisor is told why, and all handles close. */
static void fail(struct emb_server *server, const embellama_error *error)
{
    struct emb_control message = {.kind = EMB_CONTROL_FAILED, .value = error->code};
    char reason[512];
    snprintf(message.text, sizeof message.text, "%s", error->message);
    emb_log(EMB_LOG_ERROR, "front_failed", "reason=%s", emb_log_quote(error->message, reason, sizeof reason));
    tell_supervisor(&message);
    server->status = error->code;
    *server->error = *error;
    close_own(server);
}

/* What is left may never end: workers that die now have no successors, and one that hangs is not killed. */
static void on_drained_too_long(uv_timer_t *timer)
{
    const struct emb_server *server = timer->data;
    emb_log(EMB_LOG_ERROR, "stopped", "answered=some requests=%zu",
            server->front ? emb_front_stats(server->front).exchanges : 0);
    _exit(1);
}

static void on_control(uv_poll_t *handle, int status, int events)
{
    struct emb_server *server = handle->data;
    struct emb_control message;
    enum emb_control_got got = EMB_CONTROL_END;
    (void)events;
    while (status == 0 && (got = emb_control_receive(EMB_FD_CONTROL, &message)) == EMB_CONTROL_MESSAGE) {
        if (message.kind == EMB_CONTROL_STOP) {
            stop(server);
        } else if (message.kind == EMB_CONTROL_VERDICT) {
            emb_link_pool_verdict(server->pool, message.worker, message.pid, message.blamed != 0, message.text);
        } else if (message.kind == EMB_CONTROL_LOG) {
            emb_log_set_level((enum emb_log_level)message.value);
        } else if (message.kind == EMB_CONTROL_RELOAD) {
            emb_tls_watch_reload(&server->tls);
        }
    }
    if (got == EMB_CONTROL_END) {
        emb_log(EMB_LOG_ERROR, "supervisor_gone", "action=drain");
        uv_poll_stop(handle);
        server->status = emb_fail(server->error, EMBELLAMA_E_IO, "the supervisor went away");
        stop(server);
        if (!uv_is_closing((uv_handle_t *)&server->tick)) {
            uv_timer_start(&server->tick, on_drained_too_long, server->options->drain_ms, 0);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    const struct emb_server *server = timer->data;
    atomic_fetch_add_explicit(&server->board->front.progress, 1, memory_order_relaxed);
}

/* ---- Starting ---- */

static int open_model(struct emb_server *server, embellama_error *error)
{
    const struct emb_setup *setup = server->options->setup;
    return embellama_model_attach(&server->model, EMB_FD_WEIGHTS, setup->model_path, setup->cpu[0] ? setup->cpu : NULL,
                                  error);
}

static void on_first_worker(void *arg);

static int open_pool(struct emb_server *server, embellama_error *error)
{
    const struct emb_setup *setup = server->options->setup;
    int32_t probe[PROBE_TOKENS] = {0};
    size_t count = 0;
    int rc = embellama_complete_ids(server->model, (embellama_ids){0}, probe, PROBE_TOKENS, &count, error);
    struct emb_link_options options = {
        .listener = EMB_FD_LINK,
        .token = setup->token,
        .layout = {.workers = setup->workers, .threads = setup->threads},
        .dim = embellama_dim(server->model),
        .labels = embellama_model_get_info(server->model)->labels,
        .probe = probe,
        .probe_count = count == 0             ? 1
                       : count < PROBE_TOKENS ? count
                                              : PROBE_TOKENS,
        .ready = on_first_worker,
        .arg = server,
    };
    return rc == EMBELLAMA_OK ? emb_link_pool_new(&server->pool, &server->loop, &options, error) : rc;
}

static int open_scheduler(struct emb_server *server, embellama_error *error)
{
    const struct emb_server_options *options = server->options;
    struct emb_scheduler_setup setup = {.model = emb_server_model_name(server),
                                        .batch_tokens = (size_t)options->setup->batch_tokens,
                                        .context = embellama_model_get_info(server->model)->context_length,
                                        .queue_size = options->queue_size,
                                        .queue_tokens = options->queue_tokens,
                                        .target_latency_ms = options->target_latency_ms,
                                        .dead_letter = options->dead_letter,
                                        .dead_letter_text = options->dead_letter_text};
    int rc = open_pool(server, error);
    if (rc == EMBELLAMA_OK) {
        setup.pool = server->pool;
        rc = emb_scheduler_new(&server->scheduler, &server->loop, &setup, error);
        if (rc != EMBELLAMA_OK) {
            emb_pool_free(server->pool);
        }
    }
    return rc;
}

static int open_vocabulary(struct emb_server *server, embellama_error *error)
{
    embellama_error why;
    const char *path = server->options->token_ids;
    int rc = embellama_vocabulary_open(&server->vocabulary, path, &why);
    return rc == EMBELLAMA_OK ? rc : emb_fail(error, rc, "--token-ids %.100s: %.140s", path, why.message);
}

static int open_cache(struct emb_server *server, embellama_error *error)
{
    struct emb_cache_options options = server->options->cache;
    options.dim = embellama_dim(server->model);
    return emb_cache_new(&server->cache, &options, error);
}

/* Beside what it is by itself, enough for some requests of as many inputs as one may have. */
static size_t held_limit(const struct emb_server *server)
{
    enum { REQUESTS = 4, INPUT_BYTES = 512 };
    size_t input = embellama_dim(server->model) * sizeof(float) + INPUT_BYTES, bytes;
    size_t least = server->options->limits.held;
    return emb_mul(server->options->max_inputs * REQUESTS, input, &bytes) && bytes > least ? bytes : least;
}

static int open_front(struct emb_server *server, embellama_error *error)
{
    int listeners[EMB_LISTENERS_MAX];
    const struct emb_setup *setup = server->options->setup;
    struct emb_front_options options = {
        .listeners = listeners,
        .listener_count = setup->listeners,
        .limits = server->options->limits,
        .routes = server->options->routes,
        .server = server,
        .access = server->access,
        .metrics = server->metrics,
        .tls = server->tls.context,
    };
    options.limits.held = held_limit(server);
    for (uint32_t i = 0; i < setup->listeners; i++) {
        listeners[i] = EMB_FD_LISTEN + (int)i;
    }
    return emb_front_open(&server->front, &server->loop, &options, error);
}

/* Appends text as it stands between single quotes in a shell. */
static void append_shell(struct emb_buf *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\'') {
            emb_buf_puts(out, "'\\''");
        } else {
            emb_buf_append(out, text + i, 1);
        }
    }
}

/* The server's address as curl takes it, one that can be called where all are listened on, and what curl needs beside it. */
static void name_place(const struct emb_server *server, char url[320], char curl[320])
{
    const struct emb_server_options *o = server->options;
    const char *host = o->host;
    curl[0] = '\0';
    if (o->setup->port == 0) {
        snprintf(curl, 320, " --unix-socket %s", o->unix_socket);
        snprintf(url, 320, "http://localhost");
        return;
    }
    if (strcmp(host, "0.0.0.0") == 0) {
        host = "127.0.0.1";
    } else if (strcmp(host, "::") == 0 || strcmp(host, "[::]") == 0) {
        host = "::1";
    }
    bool bracket = strchr(host, ':') && host[0] != '[';
    snprintf(url, 320, "%s://%s%s%s:%d", server->tls.context ? "https" : "http", bracket ? "[" : "", host,
             bracket ? "]" : "", o->setup->port);
}

/* "Embellama serves NAME at URL - try: curl ...". */
static void print_ready(struct emb_server *server)
{
    char url[320], curl[320];
    name_place(server, url, curl);
    struct emb_buf name, quoted;
    emb_buf_init(&name, 4096);
    emb_buf_init(&quoted, 16384);
    emb_json_write_cstring(&name, emb_server_model_name(server));
    append_shell(&quoted, name.data ? name.data : "", name.size);
    bool scores = embellama_model_get_info(server->model)->labels > 0;
    printf("Embellama serves %s at %s - try: curl -s%s %s/v1/%s -H 'Content-Type: application/json' "
           "-d '{\"model\":%s,%s}'\n",
           emb_server_model_name(server), server->options->setup->port == 0 ? server->options->unix_socket : url, curl,
           url, scores ? "rerank" : "embeddings", quoted.data ? quoted.data : "\"\"",
           scores ? "\"query\":\"What purrs?\",\"documents\":[\"A cat.\",\"A dog.\"]" : "\"input\":\"Hello, world!\"");
    fflush(stdout);
    emb_buf_deinit(&name);
    emb_buf_deinit(&quoted);
    emb_log(EMB_LOG_INFO, "ready", "url=%s", url);
}

/* A worker has answered: from now on this can, too. The ready line is the first front's only. */
static void on_first_worker(void *arg)
{
    struct emb_server *server = arg;
    struct emb_control message = {.kind = EMB_CONTROL_READY};
    embellama_error error;
    if (uv_is_closing((uv_handle_t *)&server->control)) {
        return;
    }
    if (open_front(server, &error) != EMBELLAMA_OK) {
        fail(server, &error);
        return;
    }
    tell_supervisor(&message);
    atomic_store(&server->board->front.answered, 1);
    if (atomic_exchange(&server->board->announced, 1) == 0) {
        print_ready(server);
    }
}

static int watch_supervisor(struct emb_server *server, embellama_error *error)
{
    server->control.data = server->tick.data = server;
    int status = uv_poll_start(&server->control, UV_READABLE, on_control);
    uv_timer_start(&server->tick, on_tick, 0, TICK_MS);
    uv_unref((uv_handle_t *)&server->tick);
    return status == 0 ? 0 : emb_fail(error, EMBELLAMA_E_IO, "cannot watch the supervisor: %s", uv_strerror(status));
}

static int start(struct emb_server *server, embellama_error *error)
{
    int status = emb_board_map(&server->board, EMB_FD_BOARD, error);
    if (status == 0) {
        status = emb_metrics_new(&server->metrics, &server->options->metrics, error);
    }
    if (status == 0) {
        status = emb_tls_watch_open(&server->tls, &server->loop, &server->options->tls, error);
    }
    if (status == 0) {
        status = emb_access_new(&server->access, &server->options->access, error);
    }
    if (status == 0) {
        status = open_model(server, error);
    }
    if (status == 0 && server->options->token_ids) {
        status = open_vocabulary(server, error);
    }
    if (status == 0) {
        status = open_cache(server, error);
    }
    if (status == 0) {
        status = watch_supervisor(server, error);
    }
    if (status == 0) {
        status = open_scheduler(server, error);
    }
    return status;
}

static void run_to_end(struct emb_server *server)
{
    uv_run(&server->loop, UV_RUN_DEFAULT);
    emb_front_free(server->front);
    emb_scheduler_free(server->scheduler);
    emb_lag_stop(&server->lag);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    embellama_model_close(server->model);
    embellama_vocabulary_free(server->vocabulary);
    emb_cache_free(server->cache);
    emb_access_free(server->access);
    emb_tls_watch_free(&server->tls);
    emb_metrics_free(server->metrics);
    uv_loop_close(&server->loop);
}

int emb_server_run(const struct emb_server_options *options, embellama_error *error)
{
    struct emb_server server = {.options = options, .error = error};
    embellama_error why;
    if (uv_loop_init(&server.loop) != 0) {
        return emb_fail_nomem(error);
    }
    emb_log_start();
    server.started = uv_hrtime();
    emb_lag_start(&server.lag, &server.loop);
    uv_timer_init(&server.loop, &server.tick);
    if (uv_poll_init(&server.loop, &server.control, EMB_FD_CONTROL) != 0) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "only embellama serve starts this process");
    }
    if (start(&server, &why) != EMBELLAMA_OK) {
        fail(&server, &why);
    }
    run_to_end(&server);
    return server.status;
}
