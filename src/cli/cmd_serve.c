/* embellama serve: options into the server. */
#include "cli/cli.h"

#include "api/api.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/open_model.h"
#include "server/server.h"

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
    if (emb_cli_model_path(&path, options->model, &error) != EMBELLAMA_OK) {
        return emb_cli_fail(&error);
    }
    emb_log_set_level((enum emb_log_level)options->log_level);
    struct emb_server_options server = {
        .model_path = path,
        .model_name = options->model_name,
        .host = options->host,
        .port = (int)options->port,
        .workers = (int)options->workers,
        .threads = (int)options->threads,
        .queue_size = (size_t)options->queue_size,
        .precision = (embellama_precision)options->precision,
        .pooling = (embellama_pooling)options->pooling,
        .normalize = (embellama_normalize)options->normalize,
        .p = (float)options->p,
        .max_length = options->max_length > 0 ? (size_t)options->max_length : 0,
        .cpu = options->cpu,
        .routes = emb_api_routes,
    };
    int rc = emb_server_run(&server, &error);
    emb_free(path);
    return rc == EMBELLAMA_OK ? EMB_CLI_OK : emb_cli_fail(&error);
}
