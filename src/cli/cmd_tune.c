/* embellama tune: tries setups under load through the server's own queue and workers, and saves the best.
 *
 * First workers and threads, then the tokens of a batch, then those of a shard, each with the best of what came before; the
 * setups of a step in turn, several times over. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/status.h"
#include "cli/bench_texts.h"
#include "cli/measure.h"
#include "cli/open_model.h"
#include "cli/tune_file.h"
#include "server/schedule/scheduler.h"
#include "server/schedule/trial.h"

enum { SECONDS = 60, ROUNDS = 3, LAYOUTS_MAX = 16, BATCHES = 4, SHARDS = 3 };
enum { SETUPS_MAX = LAYOUTS_MAX + BATCHES + SHARDS };

/* Of the best throughput: what is at least that fast is judged by latency. And how much lower that must be to leave what is
 * automatic. */
#define FAST_ENOUGH 0.97
#define WORTH_LEAVING 0.95

/* A round that takes so many times what it should is a step's last: the model is slow, or the machine is busy. */
#define SLOW_ROUND 2

/* Tokens of a batch for each thread, and of a shard, to try beside the automatic ones. */
static const size_t batch_tokens[BATCHES - 1] = {256, 512, 2048};
static const size_t shard_tokens[SHARDS - 1] = {128, 512};

struct setup {
    struct emb_pool_layout layout;
    size_t batch_tokens, shard_tokens;
    bool best;
    double rates[ROUNDS];
    size_t rounds;
    struct emb_trial_result loaded, alone; /* short texts among many others, and by themselves */
    double rate, loaded_p50, loaded_p99, alone_p50, alone_p99;
};

struct tune {
    embellama_model *model;
    struct emb_bench_texts bulk, brief;
    struct setup setups[SETUPS_MAX]; /* a step's are consecutive, the automatic one first */
    size_t n;
    size_t trials, trials_planned;
    double seconds; /* of a setup in a round */
};

/* ---- Setups ---- */

static void add_setup(struct tune *t, struct emb_pool_layout layout, size_t batch, size_t shard)
{
    t->setups[t->n++] = (struct setup){.layout = layout, .batch_tokens = batch, .shard_tokens = shard};
}

static bool has_layout(const struct tune *t, struct emb_pool_layout layout)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->setups[i].layout.workers == layout.workers && t->setups[i].layout.threads == layout.threads) {
            return true;
        }
    }
    return false;
}

/* All cores, and half of them, which are all there is where two share one core's arithmetic; split among 1, 2, 4... workers. */
static void add_layouts(struct tune *t)
{
    int cores = embellama_cpu_count();
    add_setup(t, emb_pool_layout(cores, 0, 0), 0, 0);
    for (int total = cores; total > 0 && total >= cores / 2; total = total == cores ? cores / 2 : 0) {
        for (int workers = 1; workers <= total; workers *= 2) {
            struct emb_pool_layout layout = {.workers = workers, .threads = total / workers};
            if (t->n < LAYOUTS_MAX && !has_layout(t, layout)) {
                add_setup(t, layout, 0, 0);
            }
        }
    }
}

static void add_batches(struct tune *t, const struct setup *best)
{
    struct emb_pool_layout layout = best->layout;
    add_setup(t, layout, 0, 0);
    for (size_t i = 0; i < BATCHES - 1; i++) {
        add_setup(t, layout, batch_tokens[i] * (size_t)layout.threads, 0);
    }
}

static void add_shards(struct tune *t, const struct setup *best)
{
    struct setup base = *best;
    add_setup(t, base.layout, base.batch_tokens, 0);
    for (size_t i = 0; i < SHARDS - 1; i++) {
        add_setup(t, base.layout, base.batch_tokens, shard_tokens[i]);
    }
}

/* ---- Trials ---- */

static int try_setup(struct tune *t, struct setup *s, embellama_error *error)
{
    struct emb_trial trial = {
        .model = t->model,
        .layout = s->layout,
        .batch_tokens = s->batch_tokens,
        .shard_tokens = s->shard_tokens,
        .bulk = t->bulk.ids,
        .n_bulk = t->bulk.n,
        .brief = t->brief.ids,
        .n_brief = t->brief.n,
        .seconds = t->seconds * 0.75,
    };
    char what[64];
    snprintf(what, sizeof what, "%d x %d, %zu tokens a batch", s->layout.workers, s->layout.threads, s->batch_tokens);
    emb_measure_progress((double)t->trials / (double)t->trials_planned, what);
    t->trials++;
    int rc = emb_trial_run(&trial, &s->loaded, error);
    s->rates[s->rounds++] = s->loaded.tokens_per_s;
    if (rc == EMBELLAMA_OK && !emb_cli_stopped()) {
        trial.n_bulk = 0;
        trial.seconds = t->seconds * 0.25;
        rc = emb_trial_run(&trial, &s->alone, error);
    }
    return rc;
}

static void sum_up(struct setup *s)
{
    s->rate = emb_measure_percentile(s->rates, s->rounds, 0.5);
    s->loaded_p50 = emb_measure_percentile(s->loaded.ms, s->loaded.n, 0.5);
    s->loaded_p99 = emb_measure_percentile(s->loaded.ms, s->loaded.n, 0.99);
    s->alone_p50 = emb_measure_percentile(s->alone.ms, s->alone.n, 0.5);
    s->alone_p99 = emb_measure_percentile(s->alone.ms, s->alone.n, 0.99);
}

/* The best of a step: the first stands for what is automatic. */
static struct setup *choose(struct setup *setups, size_t n)
{
    double fastest = 0;
    struct setup *best = NULL;
    for (size_t i = 0; i < n; i++) {
        fastest = setups[i].rate > fastest ? setups[i].rate : fastest;
    }
    for (size_t i = 0; i < n; i++) {
        struct setup *s = &setups[i];
        double latency = s->loaded_p50 * s->alone_p50, margin = best == setups ? WORTH_LEAVING : 1;
        if (s->rate >= FAST_ENOUGH * fastest && (!best || latency < margin * best->loaded_p50 * best->alone_p50)) {
            best = s;
        }
    }
    return best;
}

/* Tries the setups from first on. */
static int run_step(struct tune *t, size_t first, struct setup **best, embellama_error *error)
{
    bool in_time = true;
    for (int round = 0; round < ROUNDS && in_time; round++) {
        double began = emb_measure_now();
        for (size_t i = first; i < t->n && !emb_cli_stopped(); i++) {
            int rc = try_setup(t, &t->setups[i], error);
            if (rc != EMBELLAMA_OK) {
                return rc;
            }
        }
        in_time = emb_measure_now() - began < SLOW_ROUND * t->seconds * (double)(t->n - first);
    }
    for (size_t i = first; i < t->n; i++) {
        sum_up(&t->setups[i]);
    }
    *best = choose(t->setups + first, t->n - first);
    return EMBELLAMA_OK;
}

static int run_steps(struct tune *t, double seconds, struct setup **best, embellama_error *error)
{
    add_layouts(t);
    t->trials_planned = ROUNDS * (t->n + BATCHES + SHARDS);
    t->seconds = seconds / (double)t->trials_planned;
    int rc = run_step(t, 0, best, error);
    for (int step = 0; rc == EMBELLAMA_OK && step < 2 && !emb_cli_stopped(); step++) {
        size_t first = t->n;
        if (step == 0) {
            add_batches(t, *best);
        } else {
            add_shards(t, *best);
        }
        rc = run_step(t, first, best, error);
    }
    emb_measure_progress_done();
    return rc;
}

/* ---- The command ---- */

static void print_setup(struct emb_buf *page, const struct setup *s)
{
    size_t batch = s->batch_tokens ? s->batch_tokens : emb_scheduler_batch_tokens(s->layout.threads);
    char shard[24] = "auto";
    if (s->shard_tokens > 0) {
        snprintf(shard, sizeof shard, "%zu", s->shard_tokens);
    }
    emb_buf_printf(page, "%7d %7d %7zu %7s %10.0f %9.2f %9.2f %9.2f %9.2f%s\n", s->layout.workers, s->layout.threads,
                   batch, shard, s->rate, s->loaded_p50, s->loaded_p99, s->alone_p50, s->alone_p99,
                   s->best ? "  best" : "");
}

static void print_table(struct emb_buf *page, const struct tune *t)
{
    emb_buf_printf(page, "%60s %19s\n", "short text among others", "short text alone");
    emb_buf_printf(page, "%7s %7s %7s %7s %10s %9s %9s %9s %9s\n", "workers", "threads", "batch", "shard", "tokens/s",
                   "p50 ms", "p99 ms", "p50 ms", "p99 ms");
    for (size_t i = 0; i < t->n; i++) {
        print_setup(page, &t->setups[i]);
    }
}

static int save(const struct tune *t, const struct setup *best, const struct emb_cli_options *options, const char *path,
                struct emb_buf *page, embellama_error *error)
{
    char file[4096 + 16];
    struct emb_tuning tuning = {
        .workers = best->layout.workers,
        .threads = best->layout.threads,
        .batch_tokens = (int64_t)best->batch_tokens,
        .shard_tokens = (int64_t)best->shard_tokens,
        .tokens_per_s = best->rate,
        .p50_ms = best->loaded_p50,
    };
    int rc =
        emb_tuning_save(&tuning, options, path, embellama_model_get_info(t->model)->name, file, sizeof file, error);
    if (rc == EMBELLAMA_OK) {
        emb_buf_printf(page, "\nSaved to %s: serve and embed use it from now on (--no-tune: not).\n", file);
    }
    return rc;
}

static int tune(struct tune *t, const struct emb_cli_options *options, struct emb_buf *page, embellama_error *error)
{
    char *path = NULL;
    struct setup *best = NULL;
    int rc = emb_cli_model_path(&path, options->model, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_cli_open_model(&t->model, options, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_bench_texts_make(&t->bulk, t->model, "p128", 512, 128, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_bench_texts_make(&t->brief, t->model, "short", 512, 16, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = run_steps(t, (double)(options->seconds > 0 ? options->seconds : SECONDS), &best, error);
    }
    if (rc == EMBELLAMA_OK && !emb_cli_stopped()) {
        best->best = true;
        print_table(page, t);
        rc = save(t, best, options, path, page, error);
    }
    emb_free(path);
    return rc;
}

int emb_cli_tune(const struct emb_cli_options *options)
{
    if (options->argument_count > 1) {
        return emb_cli_usage("tune", "tune takes one model; %d given", options->argument_count);
    }
    struct emb_cli_options asked = *options;
    struct emb_buf page;
    embellama_error error;
    if (options->argument_count == 1) {
        asked.model = options->arguments[0];
    }
    struct tune *t = emb_calloc(1, sizeof *t);
    if (!t) {
        emb_fail_nomem(&error);
        return emb_cli_fail(&error);
    }
    emb_buf_init(&page, 1 << 20);
    emb_cli_catch_signals();
    int rc = tune(t, &asked, &page, &error);
    int printed = page.size > 0 ? emb_cli_print(&page) : EMB_CLI_OK;
    int code = rc != EMBELLAMA_OK ? emb_cli_fail(&error) : emb_cli_stopped() ? 128 + emb_cli_stopped() : printed;
    emb_buf_deinit(&page);
    for (size_t i = 0; i < t->n; i++) {
        emb_free(t->setups[i].loaded.ms);
        emb_free(t->setups[i].alone.ms);
    }
    emb_bench_texts_free(&t->bulk);
    emb_bench_texts_free(&t->brief);
    embellama_model_close(t->model);
    emb_free(t);
    return code;
}
