/* embellama rerank: documents by how well they answer a query, best first. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "base/status.h"
#include "cli/input.h"
#include "cli/open_model.h"
#include "cli/progress.h"

/* Documents taken at once for each thread: a second or so of work. */
#define TEXTS_A_THREAD ((size_t)256)
#define BYTES_A_THREAD ((size_t)32 << 10)

struct ranked {
    float score;
    uint64_t place; /* in its file */
    size_t file;
    size_t index;       /* among all documents */
    size_t begin, size; /* in texts, where these are kept */
};

struct job {
    const struct emb_cli_options *options;
    embellama_model *model;
    embellama_ctx *ctx;
    embellama_embed_options limits;
    embellama_text query;
    size_t threads;
    struct emb_window window;
    struct emb_progress progress;
    uint64_t passed; /* bytes of the files before the one at hand */
    struct ranked *ranked;
    size_t n, capacity;
    struct emb_buf texts;
    float *scores; /* of a window */
    int *statuses;
    size_t score_capacity, status_capacity;
};

/* ---- Scoring ---- */

/* Why document i of the window has no score. */
static int name_fault(const struct job *job, const struct emb_input *in, size_t i, int status, embellama_error *error)
{
    char place[160];
    size_t count = 0;
    emb_input_place(in, job->window.places[i], place, sizeof place);
    if (status == EMBELLAMA_E_TOO_LONG && embellama_tokenize(job->model, job->query, &job->window.texts[i], NULL, NULL,
                                                             0, &count, NULL) == EMBELLAMA_OK) {
        return emb_fail(error, status, "%s: %zu tokens with the query, but %zu fit (--truncate shortens)", place, count,
                        job->limits.max_length);
    }
    return emb_fail(error, status, "%s: %s", place, embellama_status_message(status));
}

static int keep(struct job *job, size_t file, size_t i)
{
    const embellama_text text = job->window.texts[i];
    struct ranked *r = &job->ranked[job->n];
    *r = (struct ranked){job->scores[i], job->window.places[i], file, job->n, job->texts.size, text.size};
    if (job->options->return_documents) {
        emb_buf_append(&job->texts, text.bytes, text.size);
    }
    job->n++;
    return job->texts.failed ? EMBELLAMA_E_NOMEM : EMBELLAMA_OK;
}

static int do_window(struct job *job, const struct emb_input *in, size_t file, embellama_error *error)
{
    size_t n = job->window.n;
    if (!emb_grow(&job->scores, &job->score_capacity, n, sizeof *job->scores) ||
        !emb_grow(&job->statuses, &job->status_capacity, n, sizeof *job->statuses) ||
        !emb_grow(&job->ranked, &job->capacity, job->n + n, sizeof *job->ranked)) {
        return emb_fail_nomem(error);
    }
    for (size_t i = 0; i < n; i++) {
        job->statuses[i] = EMBELLAMA_OK;
    }
    int rc = embellama_score(job->ctx, job->query, job->window.texts, n, &job->limits, job->options->raw_scores,
                             job->scores, job->statuses, error);
    for (size_t i = 0; i < n; i++) {
        if (job->statuses[i] != EMBELLAMA_OK) {
            return name_fault(job, in, i, job->statuses[i], error);
        }
        if (rc == EMBELLAMA_OK && keep(job, file, i) != EMBELLAMA_OK) {
            return emb_fail_nomem(error);
        }
    }
    emb_progress_add(&job->progress, n, 0, job->passed + emb_input_done(in));
    return rc;
}

static int do_lines(struct job *job, struct emb_input *in, size_t file, embellama_error *error)
{
    for (;;) {
        int rc = emb_input_fill(in, &job->window, TEXTS_A_THREAD * job->threads, BYTES_A_THREAD * job->threads, error);
        if (rc == EMBELLAMA_OK && job->window.n > 0) {
            rc = do_window(job, in, file, error);
        }
        if (rc != EMBELLAMA_OK || job->window.n == 0) {
            return rc;
        }
    }
}

/* The name of file i; standard input where none was given. */
static const char *file_name(const struct job *job, size_t i)
{
    return job->options->argument_count > 1 ? job->options->arguments[i + 1] : "-";
}

static int do_file(struct job *job, size_t file, bool only, embellama_error *error)
{
    struct emb_cli_options asked = *job->options;
    struct emb_input *in = NULL;
    asked.input = file_name(job, file);
    asked.argument_count = 0;
    int rc = emb_input_open(&in, &asked, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    if (file == 0) {
        emb_progress_begin(&job->progress, true, 0, only ? emb_input_total(in) : 0);
    }
    rc = do_lines(job, in, file, error);
    job->passed += emb_input_done(in);
    emb_input_close(in);
    return rc;
}

static int do_all(struct job *job, embellama_error *error)
{
    int rc = EMBELLAMA_OK;
    size_t files = job->options->argument_count > 1 ? (size_t)job->options->argument_count - 1 : 1;
    for (size_t i = 0; rc == EMBELLAMA_OK && i < files; i++) {
        rc = do_file(job, i, files == 1, error);
    }
    emb_progress_end(&job->progress);
    return rc;
}

/* ---- Output ---- */

/* The best first, of equals the one that came first. */
static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

/* A document's text, where texts are kept. */
static embellama_text text_of(const struct job *job, const struct ranked *r)
{
    return (embellama_text){r->size > 0 ? job->texts.data + r->begin : "", r->size};
}

/* On one line, and without what steers a terminal. */
static void put_plain(struct emb_buf *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool control = (unsigned char)text[i] < 0x20 || text[i] == 0x7F;
        emb_buf_append(out, control ? " " : &text[i], 1);
    }
}

static void as_text(struct emb_buf *out, const struct job *job, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct ranked *r = &job->ranked[i];
        const char *name = file_name(job, r->file);
        emb_buf_printf(out, "%.6f\t", (double)r->score);
        put_plain(out, name, strlen(name));
        emb_buf_printf(out, ":%" PRIu64, r->place);
        if (job->options->return_documents) {
            embellama_text text = text_of(job, r);
            emb_buf_puts(out, "\t");
            put_plain(out, text.bytes, text.size);
        }
        emb_buf_puts(out, "\n");
    }
}

static void as_json(struct emb_buf *out, const struct job *job, size_t n)
{
    emb_buf_puts(out, "{\"model\":");
    emb_json_write_cstring(out, embellama_model_get_info(job->model)->name);
    emb_buf_puts(out, ",\"results\":[");
    for (size_t i = 0; i < n; i++) {
        const struct ranked *r = &job->ranked[i];
        char score[EMB_FLOAT_CHARS];
        emb_buf_printf(out, "%s{\"index\":%zu,\"relevance_score\":", i > 0 ? "," : "", r->index);
        emb_buf_append(out, score, emb_json_write_float(r->score, score));
        if (job->options->return_documents) {
            embellama_text text = text_of(job, r);
            emb_buf_puts(out, ",\"document\":{\"text\":");
            emb_json_write_string(out, text.bytes, text.size);
            emb_buf_puts(out, "}");
        }
        emb_buf_puts(out, "}");
    }
    emb_buf_puts(out, "]}\n");
}

static int print(const struct job *job)
{
    size_t top = (size_t)job->options->top_n, n = top > 0 && top < job->n ? top : job->n;
    struct emb_buf out;
    if (job->n > 0) {
        qsort(job->ranked, job->n, sizeof *job->ranked, by_score);
    }
    emb_buf_init(&out, SIZE_MAX / 4);
    if (job->options->json) {
        as_json(&out, job, n);
    } else {
        as_text(&out, job, n);
    }
    int code = emb_cli_print(&out);
    emb_buf_deinit(&out);
    return code;
}

/* ---- The command ---- */

static int check_model(const struct job *job, embellama_error *error)
{
    const embellama_model_info *info = embellama_model_get_info(job->model);
    size_t count;
    if (info->labels != 1) {
        return info->labels == 0
                   ? emb_fail(error, EMBELLAMA_E_UNSUPPORTED,
                              "%.100s makes vectors only: reranking needs a cross-encoder, a model that scores pairs",
                              info->name)
                   : emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "%.100s has %zu labels: reranking needs a single score",
                              info->name, info->labels);
    }
    embellama_error why;
    int rc = embellama_tokenize(job->model, job->query, NULL, NULL, NULL, 0, &count, &why);
    return rc == EMBELLAMA_OK ? rc : emb_fail(error, rc, "--query: %s", why.message);
}

static int prepare(struct job *job, embellama_error *error)
{
    struct emb_cli_options asked = *job->options;
    embellama_ctx_options ctx = embellama_ctx_options_default();
    asked.model = job->options->arguments[0];
    int rc = emb_cli_open_model(&job->model, &asked, error);
    if (rc == EMBELLAMA_OK) {
        rc = check_model(job, error);
    }
    if (rc == EMBELLAMA_OK) {
        const embellama_model_info *info = embellama_model_get_info(job->model);
        job->limits = embellama_embed_options_default();
        job->limits.truncate = asked.truncate;
        rc = emb_cli_length(&asked, info->context_length, info->recommended_length, &job->limits.max_length, error);
    }
    if (rc == EMBELLAMA_OK) {
        ctx.threads = asked.threads > 0 ? (int)asked.threads : embellama_cpu_count();
        job->threads = (size_t)ctx.threads;
        rc = embellama_ctx_new(&job->ctx, job->model, &ctx, error);
    }
    return rc;
}

int emb_cli_rerank(const struct emb_cli_options *options)
{
    if (options->argument_count < 1) {
        return emb_cli_usage("rerank", "rerank needs a model: a cross-encoder's directory or .gguf file");
    }
    if (!options->query) {
        return emb_cli_usage("rerank", "rerank needs --query TEXT");
    }
    struct job job = {.options = options, .query = {options->query, strlen(options->query)}};
    embellama_error error;
    emb_window_init(&job.window);
    emb_buf_init(&job.texts, SIZE_MAX / 4);
    int rc = prepare(&job, &error);
    if (rc == EMBELLAMA_OK) {
        rc = do_all(&job, &error);
    }
    int code = rc == EMBELLAMA_OK ? print(&job) : emb_cli_fail(&error);
    embellama_ctx_free(job.ctx);
    embellama_model_close(job.model);
    emb_window_deinit(&job.window);
    emb_buf_deinit(&job.texts);
    emb_free(job.ranked);
    emb_free(job.scores);
    emb_free(job.statuses);
    return code;
}
