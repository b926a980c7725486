/* Finding the model that was asked for, and opening it. */
#ifndef EMB_CLI_OPEN_MODEL_H
#define EMB_CLI_OPEN_MODEL_H

#include "cli/options.h"

#define EMB_CLI_DEFAULT_MODEL "all-MiniLM-L6-v2"

/* The path of a model: named where it exists, else the cache folder's directory of that name; without a name the default
 * model of the cache folder. *out is freed with emb_free. Errors: E_NOT_FOUND with a sentence on what to do, E_NOMEM. */
int emb_cli_model_path(char **out, const char *named, embellama_error *error);

/* Opens it with the options' precision, CPU tier, threads and folder of packed weights; says on standard error what opening could
 * not do as asked. */
int emb_cli_open_model(embellama_model **out, const struct emb_cli_options *options, embellama_error *error);

/* The folder that --pack-cache means, in out[0..size) where it is our own; *folder is NULL for none. Errors: E_INVALID. */
int emb_cli_pack_folder(const char *asked, char *out, size_t size, const char **folder, embellama_error *error);

/* Tokens that one text may have, from --max-length, with a model of that context and recommended length. Errors: E_RANGE. */
int emb_cli_length(const struct emb_cli_options *options, size_t context, size_t recommended, size_t *max_length,
                   embellama_error *error);

/* Tokens that one text may have, from --max-length, and values of a vector, from --dimensions. Errors: E_RANGE. */
int emb_cli_limits(const struct emb_cli_options *options, const embellama_model *model, size_t *max_length, size_t *dim,
                   embellama_error *error);

#endif
