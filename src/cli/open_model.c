/* The cache folder is ${XDG_CACHE_HOME:-$HOME/.cache}/embellama: models/ has one directory or file a model, packed/ the weights that
 * --pack-cache keeps. */
#include "cli/open_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "cli/cli.h"

/* A part of the cache folder in out[0..size); false where the environment names none. */
static bool cache_folder(const char *part, char *out, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int n = -1;
    if (cache && cache[0] == '/') { /* the XDG specification has relative ones ignored */
        n = snprintf(out, size, "%s/embellama/%s", cache, part);
    } else if (home && home[0] != '\0') {
        n = snprintf(out, size, "%s/.cache/embellama/%s", home, part);
    }
    return n > 0 && (size_t)n < size;
}

int emb_cli_model_path(char **out, const char *named, embellama_error *error)
{
    char folder[4096];
    bool has_folder = cache_folder("models", folder, sizeof folder);
    if (named && emb_path_exists(named)) {
        *out = emb_strdup(named);
        return *out ? EMBELLAMA_OK : emb_fail_nomem(error);
    }
    const char *name = named ? named : EMB_CLI_DEFAULT_MODEL;
    if (has_folder && !strchr(name, '/')) {
        char *path = emb_path_join(folder, name);
        if (!path) {
            return emb_fail_nomem(error);
        }
        if (emb_path_exists(path)) {
            *out = path;
            return EMBELLAMA_OK;
        }
        emb_free(path);
    }
    if (named) {
        return emb_fail(error, EMBELLAMA_E_NOT_FOUND, "no model '%.100s': neither a path nor a name in %.80s", named,
                        has_folder ? folder : "the cache folder");
    }
    return emb_fail(error, EMBELLAMA_E_NOT_FOUND,
                    "no model given and the default (" EMB_CLI_DEFAULT_MODEL ") is not installed: run "
                    "embellama-get-model, or make model in the source tree, or give --model");
}

int emb_cli_pack_folder(const char *asked, char *out, size_t size, const char **folder, embellama_error *error)
{
    *folder = asked;
    if (strcmp(asked, "off") == 0) {
        *folder = NULL;
    } else if (strcmp(asked, "on") == 0) {
        *folder = out;
        if (!cache_folder("packed", out, size)) {
            return emb_fail(error, EMBELLAMA_E_INVALID,
                            "--pack-cache: neither XDG_CACHE_HOME nor HOME says where; give a folder");
        }
    }
    return EMBELLAMA_OK;
}

static int open_path(embellama_model **out, const char *path, const struct emb_cli_options *options,
                     embellama_error *error)
{
    char folder[4096];
    embellama_model_options model = embellama_model_options_default();
    model.precision = (embellama_precision)options->precision;
    model.cpu = options->cpu;
    model.threads = (int)options->threads;
    model.numa = options->numa != 0;
    int rc = emb_cli_pack_folder(options->pack_cache, folder, sizeof folder, &model.pack_cache, error);
    if (rc == EMBELLAMA_OK) {
        rc = embellama_model_open(out, path, &model, error);
    }
    if (rc == EMBELLAMA_OK && embellama_model_get_info(*out)->notice) {
        emb_cli_say("%s", embellama_model_get_info(*out)->notice);
    }
    return rc;
}

int emb_cli_open_model(embellama_model **out, const struct emb_cli_options *options, embellama_error *error)
{
    char *path = NULL;
    int rc = emb_cli_model_path(&path, options->model, error);
    if (rc == EMBELLAMA_OK) {
        rc = open_path(out, path, options, error);
    }
    emb_free(path);
    return rc;
}

int emb_cli_length(const struct emb_cli_options *options, size_t context, size_t recommended, size_t *max_length,
                   embellama_error *error)
{
    *max_length = context;
    if (options->max_length == EMB_CLI_LENGTH_RECOMMENDED) {
        if (recommended == 0) {
            return emb_fail(error, EMBELLAMA_E_RANGE, "--max-length: this model recommends no length");
        }
        *max_length = recommended;
    } else if (options->max_length > 0) {
        *max_length = (size_t)options->max_length;
    }
    if (*max_length > context) {
        return emb_fail(error, EMBELLAMA_E_RANGE, "--max-length: %zu is beyond the model's context of %zu tokens",
                        *max_length, context);
    }
    return EMBELLAMA_OK;
}

int emb_cli_limits(const struct emb_cli_options *options, const embellama_model *model, size_t *max_length, size_t *dim,
                   embellama_error *error)
{
    const embellama_model_info *info = embellama_model_get_info(model);
    int rc = emb_cli_length(options, info->context_length, info->recommended_length, max_length, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    *dim = options->dimensions > 0 ? (size_t)options->dimensions : info->dim;
    if (*dim > info->dim) {
        return emb_fail(error, EMBELLAMA_E_RANGE, "--dimensions: %zu is more than the model's %zu", *dim, info->dim);
    }
    return EMBELLAMA_OK;
}
