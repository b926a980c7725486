/* embellama embed: windows of texts in, vectors out, until the end, a fault or a signal. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"
#include "cli/input.h"
#include "cli/open_model.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/tune_file.h"
#include "cli/work.h"

enum { THREADS_MAX = 1024 }; /* as --threads */

struct job {
    const struct emb_cli_options *options;
    struct emb_input *in;
    embellama_model *model;
    struct emb_work work;
    struct emb_window window;
    struct emb_output *out;
    struct emb_progress progress;
    uint64_t kept;
};

static int named_fault(const struct job *job, size_t at, const embellama_error *why, embellama_error *error)
{
    char place[160];
    return emb_fail(error, why->code, "%s: %s", emb_input_place(job->in, job->window.places[at], place, sizeof place),
                    why->message);
}

/* One window through the engine: what is good before a fault is written, then the fault is returned. */
static int do_window(struct job *job, embellama_error *error)
{
    struct emb_work *work = &job->work;
    embellama_error why;
    size_t good, embedded, tokens = 0;
    int fault = emb_work_tokenize(work, &job->window, &good, &why);
    if (good > 0) {
        embellama_error late;
        int rc = emb_work_embed(work, good, &embedded, &late);
        if (rc != EMBELLAMA_OK) {
            fault = rc;
            why = late;
            good = embedded;
        }
    }
    int rc = emb_output_write(job->out, work, good, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    for (size_t i = 0; i < good; i++) {
        tokens += work->items[i].count;
    }
    emb_progress_add(&job->progress, good, tokens, emb_input_done(job->in));
    return fault == EMBELLAMA_OK  ? fault
           : good < job->window.n ? named_fault(job, good, &why, error)
                                  : emb_fail(error, fault, "%s", why.message);
}

/* Passes over the texts whose vectors the output holds already. */
static int skip_kept(struct job *job, embellama_error *error)
{
    uint64_t left = job->kept;
    while (left > 0 && !emb_cli_stopped()) {
        size_t texts = emb_work_window_texts(&job->work);
        int rc = emb_input_fill(job->in, &job->window, left < texts ? (size_t)left : texts,
                                emb_work_window_bytes(&job->work), error);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
        if (job->window.n == 0 && !emb_cli_stopped()) {
            return emb_fail(error, EMBELLAMA_E_INVALID,
                            "cannot resume: the output holds %" PRIu64 " vectors, the input only %" PRIu64 " texts",
                            job->kept, job->kept - left);
        }
        left -= job->window.n;
    }
    return EMBELLAMA_OK;
}

static int do_all(struct job *job, embellama_error *error)
{
    int rc = skip_kept(job, error);
    bool terminal_output = job->options->output[0] == '-' && job->options->output[1] == '\0' && isatty(STDOUT_FILENO);
    emb_progress_begin(&job->progress, !terminal_output, emb_input_done(job->in), emb_input_total(job->in));
    while (rc == EMBELLAMA_OK && !emb_cli_stopped()) {
        embellama_error late;
        int fault = emb_input_fill(job->in, &job->window, emb_work_window_texts(&job->work),
                                   emb_work_window_bytes(&job->work), &late);
        if (emb_cli_stopped() || (fault == EMBELLAMA_OK && job->window.n == 0)) {
            break;
        }
        rc = job->window.n > 0 ? do_window(job, error) : EMBELLAMA_OK;
        if (rc == EMBELLAMA_OK && fault != EMBELLAMA_OK) {
            rc = emb_fail(error, fault, "%s", late.message);
        }
    }
    emb_progress_end(&job->progress);
    return rc;
}

static int check_usage(const struct emb_cli_options *options, embellama_error *error)
{
    if (options->argument_count > 0 && options->input_given) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "texts come from the command line or from --input, not both");
    }
    if (options->argument_count == 0 && !options->input) {
        return emb_fail(error, EMBELLAMA_E_INVALID,
                        "no text: give texts as arguments, or --input FILE (- is standard "
                        "input)");
    }
    return emb_output_check(options, options->pooling == EMBELLAMA_POOLING_NONE, error);
}

static int stopped(const struct job *job)
{
    uint64_t written = job->kept + job->progress.texts;
    bool can_resume = job->options->output[0] != '-' || job->options->output[1] != '\0';
    emb_cli_say("stopped after %" PRIu64 " text%s%s", written, written == 1 ? "" : "s",
                can_resume ? "; --resume goes on from there" : "");
    return 128 + emb_cli_stopped();
}

/* All the threads that tune's workers have, in one context. */
static void use_tuning(struct emb_cli_options *options)
{
    embellama_error error;
    char *path = NULL;
    bool used = false;
    if (emb_cli_model_path(&path, options->model, NULL) == EMBELLAMA_OK &&
        emb_tuning_apply(options, &used, path, &error) != EMBELLAMA_OK) {
        emb_cli_say("warning: what tune found is ignored: %s", error.message);
    }
    emb_free(path);
    if (used) {
        int64_t threads = options->workers * options->threads;
        options->threads = threads < THREADS_MAX ? threads : THREADS_MAX;
        if (isatty(STDERR_FILENO)) {
            emb_cli_say("threads: %" PRId64 ", as tune found best", options->threads);
        }
    }
}

int emb_cli_embed(const struct emb_cli_options *given)
{
    struct emb_cli_options tuned = *given, *options = &tuned;
    struct job job = {.options = options};
    embellama_error error, late;
    int rc = check_usage(options, &error);
    if (rc != EMBELLAMA_OK) {
        return emb_cli_usage("embed", "%s", error.message);
    }
    use_tuning(options);
    emb_window_init(&job.window);
    emb_cli_catch_signals();
    rc = emb_input_open(&job.in, options, &error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_cli_open_model(&job.model, options, &error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_work_init(&job.work, job.model, options, false, &error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_output_open(&job.out, options, &job.work, job.in, &job.kept, &error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = do_all(&job, &error);
    }
    int closed = emb_output_close(job.out, &late);
    int code = rc != EMBELLAMA_OK       ? emb_cli_fail(&error)
               : closed != EMBELLAMA_OK ? emb_cli_fail(&late)
               : emb_cli_stopped()      ? stopped(&job)
                                        : EMB_CLI_OK;
    emb_work_deinit(&job.work);
    emb_window_deinit(&job.window);
    embellama_model_close(job.model);
    emb_input_close(job.in);
    return code;
}
