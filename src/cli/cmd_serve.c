/* embellama serve: options into the server. */
#include "cli/cli.h"

#include <inttypes.h>

#include "api/api.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/front_options.h"
#include "cli/open_model.h"
#include "cli/tune_file.h"
#include "server/server.h"

/* Tokens of one input, 0 for the model's context. Only --max-length needs a look into the model. */
static int input_limit(const struct emb_cli_options *options, size_t *limit, embellama_error *error)
{
    embellama_model *model = NULL;
    size_t dim;
    *limit = 0;
    if (options->max_length == 0) {
        return EMBELLAMA_OK;
    }
    int rc = emb_cli_open_model(&model, options, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_cli_limits(options, model, limit, &dim, error);
    }
    embellama_model_close(model);
    return rc;
}

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

int emb_cli_serve(const struct emb_cli_options *options)
{
    if (options->argument_count > 0) {
        return emb_cli_usage("serve", "serve takes no arguments: '%.60s'", options->arguments[0]);
    }
    if (options->pooling == EMBELLAMA_POOLING_NONE) {
        return emb_cli_usage("serve", "--pooling none: the server answers with one vector a text");
    }
    embellama_error error;
    char *path = NULL;
    size_t limit;
    if (input_limit(options, &limit, &error) != EMBELLAMA_OK ||
        emb_cli_model_path(&path, options->model, &error) != EMBELLAMA_OK) {
        return emb_cli_fail(&error);
    }
    emb_log_set_level((enum emb_log_level)options->log_level);
    emb_log_set_format((enum emb_log_format)options->log_format);
    struct emb_cli_options tuned = *options;
    use_tuning(&tuned, path);
    struct emb_server_options server = {
        .model_path = path,
        .model_name = options->model_name,
        .host = options->host,
        .port = (int)options->port,
        .workers = (int)tuned.workers,
        .threads = (int)tuned.threads,
        .batch_tokens = (size_t)tuned.batch_tokens,
        .shard_tokens = (size_t)tuned.shard_tokens,
        .queue_size = (size_t)options->queue_size,
        .max_inputs = (size_t)options->max_inputs,
        .request_timeout_ms = (unsigned)options->request_timeout * 1000,
        .precision = (embellama_precision)options->precision,
        .pooling = (embellama_pooling)options->pooling,
        .normalize = (embellama_normalize)options->normalize,
        .p = (float)options->p,
        .max_length = limit,
        .cpu = options->cpu,
        .limits = emb_cli_front_limits(options),
        .access = emb_cli_access(options),
        .cache = emb_cli_cache(options),
        .metrics = {.buckets = options->metrics_buckets, .token_cost = options->token_cost},
        .routes = emb_api_routes,
    };
    int rc = emb_server_run(&server, &error);
    emb_free(path);
    return rc == EMBELLAMA_OK ? EMB_CLI_OK : emb_cli_fail(&error);
}
