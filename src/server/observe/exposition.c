/* Prometheus's text format. */
#include "server/observe/exposition.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/utf8.h"

int emb_expo_buckets(struct emb_histogram *out, const char *text, embellama_error *error)
{
    double bounds[EMB_HISTOGRAM_BUCKETS];
    size_t n = 0;
    const char *at = text;
    for (;;) {
        char *end;
        double value = strtod(at, &end);
        if (end == at || (*end != ',' && *end != '\0') || !isfinite(value) || value <= 0) {
            return emb_fail(error, EMBELLAMA_E_INVALID, "buckets '%.100s': positive numbers with commas between", text);
        }
        if (n == EMB_HISTOGRAM_BUCKETS) {
            return emb_fail(error, EMBELLAMA_E_INVALID, "buckets '%.100s': more than %d", text, EMB_HISTOGRAM_BUCKETS);
        }
        if (n > 0 && value <= bounds[n - 1]) {
            return emb_fail(error, EMBELLAMA_E_INVALID, "buckets '%.100s': not in rising order", text);
        }
        bounds[n++] = value;
        if (*end == '\0') {
            emb_histogram_init(out, bounds, n);
            return EMBELLAMA_OK;
        }
        at = end + 1;
    }
}

void emb_expo_family(struct emb_buf *out, const char *name, const char *type, const char *help)
{
    emb_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_number(struct emb_buf *out, double value)
{
    if (isnan(value)) {
        emb_buf_puts(out, "NaN");
    } else if (isinf(value)) {
        emb_buf_puts(out, value > 0 ? "+Inf" : "-Inf");
    } else {
        emb_buf_printf(out, "%.15g", value);
    }
}

/* Name and labels of a sample, and the blank before its value; more: further labels or "". */
static void begin_sample(struct emb_buf *out, const char *name, const char *suffix, const char *labels,
                         const char *more)
{
    const char *comma = labels[0] && more[0] ? "," : "";
    bool braces = labels[0] || more[0];
    emb_buf_printf(out, "%s%s%s%s%s%s%s ", name, suffix, braces ? "{" : "", labels, comma, more, braces ? "}" : "");
}

void emb_expo_value(struct emb_buf *out, const char *name, const char *labels, double value)
{
    begin_sample(out, name, "", labels, "");
    write_number(out, value);
    emb_buf_puts(out, "\n");
}

void emb_expo_count(struct emb_buf *out, const char *name, const char *labels, uint64_t value)
{
    begin_sample(out, name, "", labels, "");
    emb_buf_printf(out, "%" PRIu64 "\n", value);
}

void emb_expo_histogram(struct emb_buf *out, const char *name, const char *labels, const struct emb_histogram *h)
{
    uint64_t below = 0;
    for (size_t i = 0; i <= h->bounds; i++) {
        char le[48] = "le=\"+Inf\"";
        if (i < h->bounds) {
            snprintf(le, sizeof le, "le=\"%.15g\"", h->bound[i]);
        }
        below += h->counts[i];
        begin_sample(out, name, "_bucket", labels, le);
        emb_buf_printf(out, "%" PRIu64 "\n", below);
    }
    begin_sample(out, name, "_sum", labels, "");
    write_number(out, h->sum);
    emb_buf_puts(out, "\n");
    begin_sample(out, name, "_count", labels, "");
    emb_buf_printf(out, "%" PRIu64 "\n", h->count);
}

void emb_expo_gauge(struct emb_buf *out, const char *name, double value, const char *help)
{
    emb_expo_family(out, name, "gauge", help);
    emb_expo_value(out, name, "", value);
}

void emb_expo_counter(struct emb_buf *out, const char *name, uint64_t value, const char *help)
{
    emb_expo_family(out, name, "counter", help);
    emb_expo_count(out, name, "", value);
}

const char *emb_expo_label(const char *text, char *out, size_t size)
{
    size_t used = 0, left = strlen(text), valid = emb_utf8_valid_prefix(text, left);
    while (left > 0 && used + 5 < size) {
        size_t n = 1;
        char c = *text;
        if (c == '"' || c == '\\' || c == '\n') {
            out[used++] = '\\';
            out[used++] = c == '\n' ? 'n' : c;
        } else if (valid == 0) {
            out[used++] = '?';
        } else {
            emb_utf8_decode(text, &n);
            memcpy(out + used, text, n);
            used += n;
        }
        text += n;
        left -= n;
        valid = valid > n ? valid - n : emb_utf8_valid_prefix(text, left);
    }
    out[used] = '\0';
    return out;
}
