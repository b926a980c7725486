/* What tune found best, kept between runs: ${XDG_CONFIG_HOME:-$HOME/.config}/embellama/tune.json.
 *
 * An entry counts for one model (by its shape, wherever it lies), CPU model, number of cores, version, precision and kernels.
 * Only speed is in it: nothing it says can change a vector. */
#ifndef EMB_TUNE_FILE_H
#define EMB_TUNE_FILE_H

#include "cli/options.h"

struct emb_tuning {
    int64_t workers, threads; /* of each worker */
    int64_t batch_tokens;     /* 0: automatic, like the next */
    int64_t shard_tokens;
    double tokens_per_s, p50_ms; /* what it reached, for those who read the file */
};

/* Looks up what was saved for the model at path and these options. No file, or nothing in it that fits, is no error: *found is
 * then false. Errors: E_FORMAT, E_IO; the message names the file. */
int emb_tuning_load(struct emb_tuning *out, bool *found, const struct emb_cli_options *options, const char *path,
                    embellama_error *error);

/* Saves it in the place of what was there for the same, leaving the rest; a broken file is replaced. The file changes as a
 * whole or not at all. file, of file_size bytes, gets its name. */
int emb_tuning_save(const struct emb_tuning *tuning, const struct emb_cli_options *options, const char *path,
                    const char *model_name, char *file, size_t file_size, embellama_error *error);

/* Sets what options leave automatic to what was saved: threads and workers where neither is given, the rest only along with
 * them. *used tells whether. Where options->tune is off nothing is read. Errors: those of load, with options unchanged. */
int emb_tuning_apply(struct emb_cli_options *options, bool *used, const char *path, embellama_error *error);

#endif
