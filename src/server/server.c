/* The server process: model, scheduler, front and signals put together, from start to graceful stop. */
#include "server/server.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/json_write.h"
#include "base/log.h"
#include "base/status.h"
#include "pool/threads.h"
#include "server/footprint.h"
#include "server/lag.h"
#include "server/listen.h"
#include "server/scheduler.h"

#define SPARE_FILES 256 /* descriptors beside the connections */

struct emb_server {
    const struct emb_server_options *options;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt;
    embellama_model *model;
    struct emb_pool_recipe recipe;
    struct emb_scheduler *scheduler;
    struct emb_access *access;
    struct emb_cache *cache;
    struct emb_front *front;
    struct emb_metrics *metrics;
    struct emb_lag lag;
    struct emb_footprint footprint;
    uint64_t started; /* uv_hrtime */
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

void emb_server_set_log_level(struct emb_server *server, enum emb_log_level level)
{
    (void)server;
    emb_log_set_level(level);
}

/* ---- Stopping ---- */

static void close_signals(struct emb_server *server)
{
    uv_close((uv_handle_t *)&server->terminate, NULL);
    uv_close((uv_handle_t *)&server->interrupt, NULL);
}

static void on_stopped(void *arg)
{
    emb_log(EMB_LOG_INFO, "stopped", "answered=all");
    close_signals(arg);
}

void emb_server_drain(struct emb_server *server, const char *why)
{
    if (!emb_server_stopping(server)) {
        emb_log(EMB_LOG_INFO, "stopping", "%s", why);
        emb_front_stop(server->front, on_stopped, server);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct emb_server *server = handle->data;
    char why[32];
    if (emb_server_stopping(server)) {
        emb_log(EMB_LOG_WARN, "killed", "signal=%d", number);
        emb_log_flush(100);
        _exit(1);
    }
    snprintf(why, sizeof why, "signal=%d", number);
    emb_server_drain(server, why);
}

/* ---- Starting ---- */

static void raise_file_limit(size_t connections)
{
    struct rlimit limit;
    rlim_t need = connections * 2 + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < need) {
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > need ? need : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_model(struct emb_server *server, embellama_error *error)
{
    embellama_model_options options = embellama_model_options_default();
    options.precision = server->options->precision;
    options.cpu = server->options->cpu;
    return embellama_model_open(&server->model, server->options->model_path, &options, error);
}

static int open_scheduler(struct emb_server *server, embellama_error *error)
{
    const struct emb_server_options *options = server->options;
    const embellama_model_info *info = embellama_model_get_info(server->model);
    embellama_pooling pooling = options->pooling != EMBELLAMA_POOLING_AUTO ? options->pooling : info->pooling;
    if (pooling == EMBELLAMA_POOLING_NONE) {
        return emb_fail(error, EMBELLAMA_E_INVALID,
                        "pooling none gives a vector a token, but the server answers with one vector an input");
    }
    server->recipe = (struct emb_pool_recipe){.model = server->model,
                                              .pooling = pooling,
                                              .normalize = options->normalize,
                                              .p = options->p,
                                              .shard_tokens = options->shard_tokens};
    struct emb_pool_engine engine = emb_pool_engine(&server->recipe);
    struct emb_pool_layout layout = emb_pool_layout(embellama_cpu_count(), options->workers, options->threads);
    struct emb_scheduler_setup setup = {.model = emb_server_model_name(server),
                                        .batch_tokens = options->batch_tokens,
                                        .context = info->context_length,
                                        .queue_size = options->queue_size};
    int rc = emb_thread_pool_new(&setup.pool, &server->loop, &engine, layout, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_scheduler_new(&server->scheduler, &server->loop, &setup, error);
        if (rc != EMBELLAMA_OK) {
            emb_pool_free(setup.pool);
        }
    }
    return rc;
}

static int open_cache(struct emb_server *server, embellama_error *error)
{
    struct emb_cache_options options = server->options->cache;
    options.dim = embellama_dim(server->model);
    return emb_cache_new(&server->cache, &options, error);
}

static int watch(struct emb_server *server, uv_signal_t *handle, int number, embellama_error *error)
{
    handle->data = server;
    int status = uv_signal_start(handle, on_signal, number);
    return status == 0 ? 0 : emb_fail(error, EMBELLAMA_E_IO, "cannot watch signals: %s", uv_strerror(status));
}

static int open_front(struct emb_server *server, embellama_error *error)
{
    struct emb_front_options options = {
        .host = server->options->host,
        .port = server->options->port,
        .limits = server->options->limits,
        .routes = server->options->routes,
        .server = server,
        .access = server->access,
        .metrics = server->metrics,
    };
    raise_file_limit(options.limits.connections);
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

/* "Embellama serves NAME at URL - try: curl ...", with an address that can be called where all are listened on. */
static void print_ready(struct emb_server *server)
{
    const char *host = server->options->host;
    if (strcmp(host, "0.0.0.0") == 0) {
        host = "127.0.0.1";
    } else if (strcmp(host, "::") == 0 || strcmp(host, "[::]") == 0) {
        host = "::1";
    }
    bool bracket = strchr(host, ':') && host[0] != '[';
    char url[320];
    snprintf(url, sizeof url, "http://%s%s%s:%d", bracket ? "[" : "", host, bracket ? "]" : "",
             emb_front_port(server->front));
    struct emb_buf name, quoted;
    emb_buf_init(&name, 4096);
    emb_buf_init(&quoted, 16384);
    emb_json_write_cstring(&name, emb_server_model_name(server));
    append_shell(&quoted, name.data ? name.data : "", name.size);
    printf("Embellama serves %s at %s - try: curl -s %s/v1/embeddings -H 'Content-Type: application/json' "
           "-d '{\"model\":%s,\"input\":\"Hello, world!\"}'\n",
           emb_server_model_name(server), url, url, quoted.data ? quoted.data : "\"\"");
    fflush(stdout);
    emb_buf_deinit(&name);
    emb_buf_deinit(&quoted);
    emb_log(EMB_LOG_INFO, "ready", "url=%s", url);
}

static int start(struct emb_server *server, embellama_error *error)
{
    int status = emb_metrics_new(&server->metrics, &server->options->metrics, error);
    if (status == 0) {
        status = emb_access_new(&server->access, &server->options->access, error);
    }
    if (status == 0) {
        status = open_model(server, error);
    }
    if (status == 0) {
        status = open_cache(server, error);
    }
    if (status == 0) {
        status = open_scheduler(server, error);
    }
    if (status == 0) {
        status = watch(server, &server->terminate, SIGTERM, error);
    }
    if (status == 0) {
        status = watch(server, &server->interrupt, SIGINT, error);
    }
    if (status == 0) {
        status = open_front(server, error);
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
    emb_cache_free(server->cache);
    emb_access_free(server->access);
    emb_metrics_free(server->metrics);
    uv_loop_close(&server->loop);
}

int emb_server_run(const struct emb_server_options *options, embellama_error *error)
{
    struct emb_server server = {.options = options};
    signal(SIGPIPE, SIG_IGN);
    if (uv_loop_init(&server.loop) != 0) {
        return emb_fail_nomem(error);
    }
    emb_log_start();
    server.started = uv_hrtime();
    emb_lag_start(&server.lag, &server.loop);
    uv_signal_init(&server.loop, &server.terminate);
    uv_signal_init(&server.loop, &server.interrupt);
    int status = start(&server, error);
    if (status == 0) {
        print_ready(&server);
    } else {
        close_signals(&server);
    }
    run_to_end(&server);
    return status;
}
