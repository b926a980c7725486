/* embellama bench: rounds over all workloads in turn, so that what disturbs the machine for a while disturbs all of them. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/peak.h"
#include "base/status.h"
#include "base/team.h"
#include "cli/bench_report.h"
#include "cli/bench_texts.h"
#include "cli/measure.h"
#include "cli/open_model.h"

enum { SECONDS = 20, BULK = EMB_BENCH_SIZES - 1 };

/* Parts of a workload's time in a round: calls in bulk, the same with the clock of operations, single texts, and each batch
 * size. */
enum { PARTS_BULK = 3, PARTS_PROFILE = 1, PARTS_SINGLE = 2, PARTS_BATCH = 1, PARTS = 10 };
#define PART_OVERRUN 5     /* parts that a call may take and still be made */
#define PEAK_SECONDS 0.008 /* a round */
#define WARM_SECONDS 0.15

struct load {
    struct emb_bench_texts texts;
    size_t next; /* text that the next call begins with */
    float *vectors;
};

struct bench {
    const struct emb_cli_options *options;
    embellama_model *model;
    embellama_ctx *ctx;
    struct emb_team *team; /* NULL: one thread */
    int cores;             /* that the threads keep busy */
    struct load loads[EMB_BENCH_WORKLOADS];
    struct emb_bench_result result;
    double part; /* seconds */
    double began, wanted;
};

/* ---- Calls ---- */

/* One call with n texts, from where the last one ended. Its tokens and seconds are added. */
static int call(struct bench *b, struct load *load, size_t n, size_t *tokens, double *seconds, embellama_error *error)
{
    embellama_embed_options options = embellama_embed_options_default();
    options.truncate = true;
    options.pooling = embellama_model_get_info(b->model)->pooling;
    options.pooling = options.pooling == EMBELLAMA_POOLING_NONE ? EMBELLAMA_POOLING_MEAN : options.pooling;
    if (load->next + n > load->texts.n) {
        load->next = 0;
    }
    double start = emb_measure_now();
    int rc = embellama_embed(b->ctx, load->texts.texts + load->next, n, &options, load->vectors, NULL, error);
    *seconds += emb_measure_now() - start;
    for (size_t i = 0; i < n; i++) {
        *tokens += load->texts.ids[load->next + i].count;
    }
    load->next += n;
    return rc;
}

/* Calls of one size for about some parts of time, at least one. */
static int run_series(struct bench *b, size_t w, struct emb_bench_series *series, int parts, embellama_error *error)
{
    struct emb_bench_workload *workload = &b->result.workloads[w];
    double seconds = 0, cpu = emb_measure_cpu();
    size_t tokens = 0, texts = 0;
    int round = b->result.rounds;
    do {
        double before = seconds;
        int rc = call(b, &b->loads[w], series->texts, &tokens, &seconds, error);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
        texts += series->texts;
        if (series->texts == 1) {
            if (!emb_grow(&workload->ms, &workload->ms_capacity, workload->n_ms + 1, sizeof *workload->ms)) {
                return emb_fail_nomem(error);
            }
            workload->ms[workload->n_ms++] = (seconds - before) * 1e3;
        }
    } while (seconds < parts * b->part && !emb_cli_stopped());
    series->token_rate[round] = (double)tokens / seconds;
    series->text_rate[round] = (double)texts / seconds;
    if (series == &workload->series[BULK]) {
        workload->cpu_use[round] = (emb_measure_cpu() - cpu) / (seconds * b->result.threads);
    }
    return EMBELLAMA_OK;
}

static int run_profile(struct bench *b, size_t w, embellama_error *error)
{
    size_t tokens = 0;
    double seconds = 0;
    int rc = EMBELLAMA_OK;
    embellama_ctx_profile(b->ctx, &b->result.workloads[w].profile);
    while (rc == EMBELLAMA_OK && seconds < PARTS_PROFILE * b->part && !emb_cli_stopped()) {
        rc = call(b, &b->loads[w], b->result.workloads[w].series[BULK].texts, &tokens, &seconds, error);
    }
    embellama_ctx_profile(b->ctx, NULL);
    return rc;
}

/* ---- Rounds ---- */

struct peak {
    const embellama_model_info *info;
    double flops[1024]; /* by member; what a team may have at most */
};

static void peak_item(void *arg, size_t item, int member)
{
    struct peak *peak = arg;
    (void)member;
    peak->flops[item] = emb_peak_measure(peak->info->cpu_tier, peak->info->precision, PEAK_SECONDS);
}

static double measure_peak(struct bench *b)
{
    struct peak peak = {.info = b->result.model};
    double sum = 0;
    emb_team_run(b->team, peak_item, &peak, (size_t)b->cores);
    for (int i = 0; i < b->cores; i++) {
        sum += peak.flops[i];
    }
    return sum;
}

static int run_workload(struct bench *b, size_t w, embellama_error *error)
{
    struct emb_bench_workload *workload = &b->result.workloads[w];
    char what[64];
    snprintf(what, sizeof what, "round %d of %d, %s", b->result.rounds + 1, EMB_BENCH_ROUNDS, workload->name);
    emb_measure_progress((emb_measure_now() - b->began) / b->wanted, what);
    int rc = EMBELLAMA_OK;
    for (int i = 0; rc == EMBELLAMA_OK && i < EMB_BENCH_SIZES; i++) {
        if (workload->series[i].texts > 0 && !emb_cli_stopped()) {
            rc = run_series(b, w, &workload->series[i],
                            i == BULK ? PARTS_BULK
                            : i == 0  ? PARTS_SINGLE
                                      : PARTS_BATCH,
                            error);
        }
    }
    return rc == EMBELLAMA_OK ? run_profile(b, w, error) : rc;
}

static int run_rounds(struct bench *b, embellama_error *error)
{
    struct emb_bench_result *r = &b->result;
    int rc = EMBELLAMA_OK;
    while (rc == EMBELLAMA_OK && r->rounds < EMB_BENCH_ROUNDS && !emb_cli_stopped()) {
        r->peak[r->rounds] = measure_peak(b);
        for (size_t w = 0; rc == EMBELLAMA_OK && w < r->n_workloads; w++) {
            rc = run_workload(b, w, error);
        }
        r->rounds += rc == EMBELLAMA_OK;
    }
    r->seconds = emb_measure_now() - b->began;
    return rc;
}

/* ---- Setting up ---- */

/* A workload's rate, measured while caches and clocks warm up, tells which calls fit into the time. */
static int plan_workload(struct bench *b, size_t w, embellama_error *error)
{
    struct emb_bench_workload *workload = &b->result.workloads[w];
    struct load *load = &b->loads[w];
    size_t tokens = 0, texts = 0, n = load->texts.n < 4 ? load->texts.n : 4;
    double seconds = 0;
    while (seconds < WARM_SECONDS && !emb_cli_stopped()) {
        int rc = call(b, load, n, &tokens, &seconds, error);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
        texts += n;
    }
    double each = texts ? seconds / (double)texts : 1, fit = PARTS_BULK * b->part / each;
    size_t least = (size_t)b->result.threads < load->texts.n ? (size_t)b->result.threads : load->texts.n;
    for (int i = 0; i < BULK; i++) {
        size_t size = (size_t)1 << 2 * i;
        bool fits = size <= load->texts.n && (double)size * each < PART_OVERRUN * b->part;
        workload->series[i].texts = i == 0 || fits ? size : 0;
    }
    workload->series[BULK].texts = fit > (double)load->texts.n ? load->texts.n
                                   : fit < (double)least       ? least
                                                               : (size_t)fit;
    load->next = 0;
    return EMBELLAMA_OK;
}

/* The built-in texts that the model's context has room for, or the input's. */
static int make_loads(struct bench *b, embellama_error *error)
{
    static const struct {
        const char *name;
        size_t texts, tokens;
    } kinds[EMB_BENCH_WORKLOADS] = {{"short", 2048, 16}, {"p128", 512, 128}, {"p512", 128, 512}};
    size_t context = b->result.model->context_length, dim = embellama_dim(b->model), values;
    int rc = EMBELLAMA_OK;
    for (size_t i = 0; rc == EMBELLAMA_OK && i < EMB_BENCH_WORKLOADS; i++) {
        struct load *load = &b->loads[b->result.n_workloads];
        if (b->options->input) {
            rc = emb_bench_texts_read(&load->texts, b->model, b->options, error);
        } else if (i == 0 || context >= kinds[i].tokens) {
            rc = emb_bench_texts_make(&load->texts, b->model, kinds[i].name, kinds[i].texts, kinds[i].tokens, error);
        } else {
            break;
        }
        if (rc == EMBELLAMA_OK) {
            b->result.workloads[b->result.n_workloads++] = (struct emb_bench_workload){
                .name = load->texts.name,
                .texts = load->texts.n,
                .tokens_per_text = (double)load->texts.tokens / (double)load->texts.n,
            };
            load->vectors = emb_mul(load->texts.n, dim, &values) ? emb_alloc(values, sizeof(float)) : NULL;
            rc = load->vectors ? EMBELLAMA_OK : emb_fail_nomem(error);
        }
        if (b->options->input) {
            break;
        }
    }
    return rc;
}

static int set_up(struct bench *b, const struct emb_cli_options *options, embellama_error *error)
{
    int rc = emb_cli_open_model(&b->model, options, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    b->result.model = embellama_model_get_info(b->model);
    b->result.threads = options->threads > 0 ? (int)options->threads : embellama_cpu_count();
    b->cores = b->result.threads < embellama_cpu_count() ? b->result.threads : embellama_cpu_count();
    embellama_ctx_options ctx = embellama_ctx_options_default();
    ctx.threads = b->result.threads;
    ctx.pin = options->pin;
    rc = embellama_ctx_new(&b->ctx, b->model, &ctx, error);
    if (rc == EMBELLAMA_OK && b->cores > 1) {
        rc = emb_team_new(&b->team, b->cores, error);
    }
    return rc == EMBELLAMA_OK ? make_loads(b, error) : rc;
}

static int run(struct bench *b, embellama_error *error)
{
    b->wanted = (double)(b->options->seconds > 0 ? b->options->seconds : SECONDS);
    b->part = b->wanted / (double)(EMB_BENCH_ROUNDS * PARTS * b->result.n_workloads);
    b->began = emb_measure_now();
    for (size_t w = 0; w < b->result.n_workloads; w++) {
        int rc = plan_workload(b, w, error);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
    }
    int rc = run_rounds(b, error);
    emb_measure_progress_done();
    return rc;
}

static void tear_down(struct bench *b)
{
    for (size_t i = 0; i < EMB_BENCH_WORKLOADS; i++) {
        emb_bench_texts_free(&b->loads[i].texts);
        emb_free(b->loads[i].vectors);
        emb_free(b->result.workloads[i].ms);
    }
    emb_team_free(b->team);
    embellama_ctx_free(b->ctx);
    embellama_model_close(b->model);
}

int emb_cli_bench(const struct emb_cli_options *options)
{
    if (options->argument_count > 1) {
        return emb_cli_usage("bench", "bench takes one model; %d given", options->argument_count);
    }
    struct emb_cli_options asked = *options;
    struct bench b = {.options = &asked};
    embellama_error error;
    asked.argument_count = 0;
    if (options->argument_count == 1) {
        asked.model = options->arguments[0];
    }
    emb_cli_catch_signals();
    int rc = set_up(&b, &asked, &error);
    if (rc == EMBELLAMA_OK) {
        rc = run(&b, &error);
    }
    int code = rc != EMBELLAMA_OK ? emb_cli_fail(&error) : emb_cli_stopped() ? 128 + emb_cli_stopped() : EMB_CLI_OK;
    if (code == EMB_CLI_OK) {
        struct emb_buf page;
        emb_buf_init(&page, 1 << 20);
        if (options->json) {
            emb_bench_as_json(&page, &b.result);
        } else {
            emb_bench_as_table(&page, &b.result);
        }
        code = emb_cli_print(&page);
        emb_buf_deinit(&page);
    }
    tear_down(&b);
    return code;
}
