/* bench's table and JSON. */
#include "cli/bench_report.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cpu_name.h"
#include "base/json_write.h"
#include "cli/measure.h"

static double median(double *by_round, const struct emb_bench_result *r)
{
    return emb_measure_percentile(by_round, (size_t)r->rounds, 0.5);
}

static struct emb_bench_series *bulk_of(struct emb_bench_workload *w)
{
    return &w->series[EMB_BENCH_SIZES - 1];
}

/* Of the machine's peak, in bulk; 0 where that is not known. */
static double share_of_peak(struct emb_bench_workload *w, struct emb_bench_result *r)
{
    double peak = median(r->peak, r);
    return peak > 0 ? median(bulk_of(w)->token_rate, r) * (double)r->model->token_flops / peak : 0;
}

static double share_of_time(const embellama_profile *profile, int operation)
{
    uint64_t all = 0;
    for (int i = 0; i < EMBELLAMA_OPERATION_COUNT; i++) {
        all += profile->ns[i];
    }
    return all ? (double)profile->ns[operation] / (double)all : 0;
}

/* ---- Table ---- */

/* A name out of a file must not steer the terminal. */
static void puts_plain(struct emb_buf *page, const char *text)
{
    for (const char *c = text; *c; c++) {
        emb_buf_append(page, (unsigned char)*c < 0x20 || *c == 0x7F ? "?" : c, 1);
    }
}

/* A row of the table: a cell a workload, by this function. An empty cell is a dash. */
typedef void (*cell_fn)(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg);

static void row(struct emb_buf *page, struct emb_bench_result *r, const char *label, cell_fn cell, int arg)
{
    emb_buf_printf(page, "%-24s", label);
    for (size_t i = 0; i < r->n_workloads; i++) {
        char text[32] = "-";
        cell(text, sizeof text, &r->workloads[i], r, arg);
        emb_buf_printf(page, "%12s", text);
    }
    emb_buf_puts(page, "\n");
}

static void cell_name(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg)
{
    (void)r;
    (void)arg;
    snprintf(out, size, "%s", w->name);
}

static void cell_tokens(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg)
{
    (void)r;
    (void)arg;
    snprintf(out, size, "%.1f", w->tokens_per_text);
}

static void cell_token_rate(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg)
{
    if (w->series[arg].texts > 0) {
        snprintf(out, size, "%.0f", median(w->series[arg].token_rate, r));
    }
}

static void cell_text_rate(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg)
{
    snprintf(out, size, "%.1f", median(w->series[arg].text_rate, r));
}

static void cell_peak(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg)
{
    (void)arg;
    double share = share_of_peak(w, r);
    if (share > 0) {
        snprintf(out, size, "%.1f %%", 100 * share);
    }
}

static void cell_cpu(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg)
{
    (void)arg;
    snprintf(out, size, "%.1f %%", 100 * median(w->cpu_use, r));
}

static void cell_ms(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg)
{
    (void)r;
    snprintf(out, size, "%.3f", emb_measure_percentile(w->ms, w->n_ms, arg * 0.01));
}

static void cell_operation(char *out, size_t size, struct emb_bench_workload *w, struct emb_bench_result *r, int arg)
{
    (void)r;
    snprintf(out, size, "%.1f %%", 100 * share_of_time(&w->profile, arg));
}

void emb_bench_as_table(struct emb_buf *page, struct emb_bench_result *r)
{
    char cpu[96], label[64];
    enum { BULK = EMB_BENCH_SIZES - 1 };
    double peak = median(r->peak, r);
    emb_buf_puts(page, "model ");
    puts_plain(page, r->model->name);
    emb_buf_printf(page, ", %s products by %s kernels, %d thread%s, ", embellama_precision_name(r->model->precision),
                   r->model->cpu_tier, r->threads, r->threads == 1 ? "" : "s");
    puts_plain(page, emb_cpu_name(cpu, sizeof cpu));
    emb_buf_printf(page, "\na token's products: %.1f MFLOP; measured peak: ", (double)r->model->token_flops * 1e-6);
    if (peak > 0) {
        emb_buf_printf(page, "%.1f GFLOP/s", peak * 1e-9);
    } else {
        emb_buf_puts(page, "not known");
    }
    emb_buf_printf(page, "; %d rounds in %.1f s\n\n", r->rounds, r->seconds);

    row(page, r, "", cell_name, 0);
    row(page, r, "tokens a text", cell_tokens, 0);
    emb_buf_puts(page, "in bulk\n");
    row(page, r, "  tokens/s", cell_token_rate, BULK);
    row(page, r, "  texts/s", cell_text_rate, BULK);
    row(page, r, "  share of the peak", cell_peak, 0);
    row(page, r, "  CPU use", cell_cpu, 0);
    emb_buf_puts(page, "one text, ms\n");
    row(page, r, "  p50", cell_ms, 50);
    row(page, r, "  p90", cell_ms, 90);
    row(page, r, "  p99", cell_ms, 99);
    emb_buf_puts(page, "tokens/s in batches of\n");
    for (int i = 0; i < BULK; i++) {
        snprintf(label, sizeof label, "  %d", 1 << 2 * i);
        row(page, r, label, cell_token_rate, i);
    }
    emb_buf_puts(page, "share of time, in bulk\n");
    for (int i = 0; i < EMBELLAMA_OPERATION_COUNT; i++) {
        snprintf(label, sizeof label, "  %s", embellama_operation_name((embellama_operation)i));
        row(page, r, label, cell_operation, i);
    }
}

/* ---- JSON ---- */

static void text_member(struct emb_buf *page, const char *name, const char *value)
{
    emb_buf_printf(page, "\"%s\":", name);
    emb_json_write_cstring(page, value);
    emb_buf_puts(page, ",");
}

/* 0 stands for what is not known. */
static void number_member(struct emb_buf *page, const char *name, double value, int digits)
{
    if (value > 0) {
        emb_buf_printf(page, "\"%s\":%.*f,", name, digits, value);
    } else {
        emb_buf_printf(page, "\"%s\":null,", name);
    }
}

static void write_batches(struct emb_buf *page, struct emb_bench_workload *w, struct emb_bench_result *r)
{
    const char *separator = "";
    emb_buf_puts(page, "\"batches\":[");
    for (int i = 0; i < EMB_BENCH_SIZES - 1; i++) {
        struct emb_bench_series *s = &w->series[i];
        if (s->texts > 0) {
            emb_buf_printf(page, "%s{\"texts\":%zu,\"tokens_per_s\":%.1f,\"texts_per_s\":%.2f}", separator, s->texts,
                           median(s->token_rate, r), median(s->text_rate, r));
            separator = ",";
        }
    }
    emb_buf_puts(page, "],");
}

static void write_workload(struct emb_buf *page, struct emb_bench_workload *w, struct emb_bench_result *r)
{
    struct emb_bench_series *bulk = bulk_of(w);
    double share = share_of_peak(w, r);
    emb_buf_puts(page, "{");
    text_member(page, "name", w->name);
    emb_buf_printf(page, "\"texts\":%zu,\"tokens_per_text\":%.2f,", w->texts, w->tokens_per_text);
    emb_buf_printf(page, "\"bulk_texts\":%zu,\"tokens_per_s\":%.1f,\"texts_per_s\":%.2f,\"cpu_use\":%.4f,", bulk->texts,
                   median(bulk->token_rate, r), median(bulk->text_rate, r), median(w->cpu_use, r));
    number_member(page, "share_of_peak", share, 4);
    emb_buf_printf(page, "\"latency_ms\":{\"calls\":%zu,\"p50\":%.4f,\"p90\":%.4f,\"p99\":%.4f},", w->n_ms,
                   emb_measure_percentile(w->ms, w->n_ms, 0.5), emb_measure_percentile(w->ms, w->n_ms, 0.9),
                   emb_measure_percentile(w->ms, w->n_ms, 0.99));
    write_batches(page, w, r);
    emb_buf_puts(page, "\"operations\":{");
    for (int i = 0; i < EMBELLAMA_OPERATION_COUNT; i++) {
        emb_buf_printf(page, "%s\"%s\":%.6f", i ? "," : "", embellama_operation_name((embellama_operation)i),
                       share_of_time(&w->profile, i));
    }
    emb_buf_puts(page, "}}");
}

void emb_bench_as_json(struct emb_buf *page, struct emb_bench_result *r)
{
    char cpu[96];
    double peak = median(r->peak, r);
    emb_buf_puts(page, "{");
    text_member(page, "version", embellama_version());
    text_member(page, "cpu", emb_cpu_name(cpu, sizeof cpu));
    text_member(page, "model", r->model->name);
    text_member(page, "precision", embellama_precision_name(r->model->precision));
    text_member(page, "cpu_tier", r->model->cpu_tier);
    emb_buf_printf(page, "\"threads\":%d,\"rounds\":%d,\"seconds\":%.3f,", r->threads, r->rounds, r->seconds);
    emb_buf_printf(page, "\"token_flops\":%" PRIu64 ",", r->model->token_flops);
    number_member(page, "peak_flops", peak, 0);
    emb_buf_puts(page, "\"workloads\":[");
    for (size_t i = 0; i < r->n_workloads; i++) {
        emb_buf_puts(page, i ? "," : "");
        write_workload(page, &r->workloads[i], r);
    }
    emb_buf_puts(page, "]}\n");
}
