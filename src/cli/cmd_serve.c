/* embellama serve: options into the supervisor, and again into the front that it starts. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "cli/front_options.h"
#include "cli/open_model.h"
#include "cli/tune_file.h"
#include "pool/pool.h"
#include "pool/supervisor.h"
#include "server/server.h"

/* What tune found for the options that are left automatic. */
static void use_tuning(struct emb_cli_options *options, const char *path)
{
    embellama_error error;
    bool used;
    if (emb_tuning_apply(options, &used, path, &error) != EMBELLAMA_OK) {
        char reason[512];
        emb_log(EMB_LOG_WARN, "tuning_ignored", "reason=%s", emb_log_quote(error.message, reason, sizeof reason));
    }
    if (used) {
        emb_log(EMB_LOG_INFO, "tuned",
                "workers=%" PRId64 " threads=%" PRId64 " batch_tokens=%" PRId64 " shard_tokens=%" PRId64,
                options->workers, options->threads, options->batch_tokens, options->shard_tokens);
    }
}

/* Names of other servers that were given and mean nothing here. */
static void tell_of_aliases(const struct emb_cli_options *options)
{
    for (size_t i = 0; i < EMB_CLI_ALIASES && (emb_cli_alias_table[i].name || emb_cli_alias_table[i].env); i++) {
        const struct emb_cli_alias *alias = &emb_cli_alias_table[i];
        if (options->aliased[i] && alias->notice) {
            emb_log(EMB_LOG_WARN, "option_without_effect", "option=%s%s reason=\"%s\"", alias->name ? "--" : "",
                    alias->name ? alias->name : alias->env, alias->notice);
        }
    }
}

/* ---- The first process ---- */

static bool put_text(char *out, size_t size, const char *text)
{
    return snprintf(out, size, "%s", text) < (int)size;
}

/* What loader and workers need, which parse no options. path: of the model. */
static int fill_setup(struct emb_setup *setup, const struct emb_cli_options *options, const char *path,
                      embellama_error *error)
{
    struct emb_pool_layout layout =
        emb_pool_layout(embellama_cpu_count(), (int)options->workers, (int)options->threads);
    char room[sizeof setup->pack_cache];
    const char *folder = NULL;
    *setup = (struct emb_setup){
        .workers = layout.workers,
        .threads = layout.threads,
        .batch_tokens = (uint64_t)options->batch_tokens,
        .shard_tokens = (uint64_t)options->shard_tokens,
        .pooling = (int32_t)options->pooling,
        .normalize = (int32_t)options->normalize,
        .precision = (int32_t)options->precision,
        .p = (float)options->p,
        .log_level = (int32_t)options->log_level,
        .log_format = (int32_t)options->log_format,
        .numa = options->numa != 0,
    };
    int rc = emb_cli_pack_folder(options->pack_cache, room, sizeof room, &folder, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    if (!put_text(setup->model_path, sizeof setup->model_path, path) ||
        !put_text(setup->pack_cache, sizeof setup->pack_cache, folder ? folder : "") ||
        !put_text(setup->cpu, sizeof setup->cpu, options->cpu)) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "the model's path or a name is too long");
    }
    return EMBELLAMA_OK;
}

static int on_loaded(void *arg, const struct emb_loaded *model, struct emb_setup *setup, embellama_error *error)
{
    const struct emb_cli_options *options = arg;
    size_t length;
    int rc = emb_cli_length(options, model->context_length, model->recommended_length, &length, error);
    setup->max_length = options->max_length == 0 ? 0 : length;
    return rc;
}

/* Octal, as chmod takes it. */
static bool parse_mode(const char *text, unsigned *mode)
{
    char *end;
    unsigned long value = strtoul(text, &end, 8);
    *mode = (unsigned)value;
    return text[0] >= '0' && text[0] <= '7' && *end == '\0' && value <= 0777;
}

/* A sentence where options do not go together, or NULL. */
static const char *check_sockets(const struct emb_cli_options *options, unsigned *mode)
{
    if (!options->tls_cert != !options->tls_key) {
        return options->tls_cert ? "--tls-cert needs --tls-key" : "--tls-key needs --tls-cert";
    }
    if (options->port == EMB_CLI_PORT_OFF && !options->unix_socket) {
        return "--port off needs --unix-socket";
    }
    return parse_mode(options->unix_socket_mode, mode) ? NULL : "--unix-socket-mode must be octal, such as 660";
}

int emb_cli_serve(const struct emb_cli_options *options)
{
    unsigned mode = 0;
    const char *wrong = check_sockets(options, &mode);
    if (wrong) {
        return emb_cli_usage("serve", "%s", wrong);
    }
    if (options->argument_count > 0) {
        return emb_cli_usage("serve", "serve takes no arguments: '%.60s'", options->arguments[0]);
    }
    if (options->pooling == EMBELLAMA_POOLING_NONE) {
        return emb_cli_usage("serve", "--pooling none: the server answers with one vector a text");
    }
    struct emb_cli_options tuned = *options;
    embellama_error error;
    char *path = NULL;
    emb_log_set_level((enum emb_log_level)options->log_level);
    emb_log_set_format((enum emb_log_format)options->log_format);
    tell_of_aliases(options);
    struct emb_supervisor_options supervisor = {
        .host = options->host,
        .port = (int)options->port,
        .unix_socket = options->unix_socket,
        .unix_mode = mode,
        .backlog = (unsigned)options->backlog,
        .argc = options->given_count,
        .argv = options->given,
        .stuck_ms = (unsigned)options->stuck_timeout * 1000,
        .drain_ms = (unsigned)options->drain_timeout * 1000,
        .core_dumps = options->core_dumps,
        .loaded = on_loaded,
        .arg = &tuned,
    };
    int rc = emb_cli_model_path(&path, options->model, &error);
    if (rc == EMBELLAMA_OK) {
        use_tuning(&tuned, path);
        rc = fill_setup(&supervisor.setup, &tuned, path, &error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_supervisor_run(&supervisor, &error);
    }
    emb_free(path);
    return rc == EMBELLAMA_OK ? EMB_CLI_OK : emb_cli_fail(&error);
}

/* ---- The front ---- */

static int run_front(const struct emb_setup *setup, const struct emb_cli_options *options, embellama_error *error)
{
    struct emb_server_options server = {
        .setup = setup,
        .model_name = options->model_name,
        .host = options->host,
        .unix_socket = options->unix_socket,
        .tls = {.cert = options->tls_cert, .key = options->tls_key, .http2 = true},
        .queue_size = (size_t)options->queue_size,
        .queue_tokens = (size_t)options->max_queued_tokens,
        .target_latency_ms = (unsigned)options->target_latency,
        .dead_letter = options->dead_letter,
        .dead_letter_text = options->dead_letter_text,
        .token_ids = options->token_ids,
        .max_inputs = (size_t)options->max_inputs,
        .auto_truncate = options->auto_truncate,
        .request_timeout_ms = (unsigned)options->request_timeout * 1000,
        .drain_ms = (unsigned)options->drain_timeout * 1000,
        .pooling = (embellama_pooling)options->pooling,
        .normalize = (embellama_normalize)options->normalize,
        .p = (float)options->p,
        .max_length = (size_t)setup->max_length,
        .limits = emb_cli_front_limits(options),
        .access = emb_cli_access(options),
        .cache = emb_cli_cache(options),
        .metrics = {.buckets = options->metrics_buckets, .token_cost = options->token_cost},
        .routes = emb_api_routes,
    };
    return emb_server_run(&server, error);
}

int emb_cli_front(void)
{
    struct emb_setup setup;
    struct emb_cli_options options;
    embellama_error error;
    char **arguments = NULL;
    emb_tls_use_memory();
    int rc = emb_setup_read(&setup, &error);
    if (rc == EMBELLAMA_OK) {
        emb_child_begin(&setup, EMB_ROLE_FRONT, 0);
        rc = emb_setup_arguments(&arguments, &setup, &error);
    } else {
        return emb_cli_usage(NULL, "%s", error.message);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_cli_parse(&options, EMB_CLI_SERVE, (int)setup.arguments, arguments, &error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = run_front(&setup, &options, &error);
    }
    emb_free(arguments);
    return rc == EMBELLAMA_OK ? EMB_CLI_OK : EMB_CLI_FAILED;
}
