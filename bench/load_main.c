/* A client that loads an embedding server over HTTP/1.1 and looks at every answer.
 *
 *     load --port N --texts FILE [options]
 *
 * Prints lines of JSON: {"event":"started"} and {"event":"sent"} when sending began and ended, then one object, the report. With
 * --timeline also every request as a line of CSV. Exits 0 when it ran, whatever the server did, and 2 when it could not run. */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "load_requests.h"
#include "load_run.h"

static const char usage[] =
    "usage: load --port N --texts FILE [options]\n"
    "  --host ADDRESS         of the server (127.0.0.1)\n"
    "  --port N\n"
    "  --path PATH            of the URL (/v1/embeddings)\n"
    "  --model NAME           in the body (all-MiniLM-L6-v2)\n"
    "  --texts FILE           a text a line, or JSON objects with a member \"text\"\n"
    "  --per-request N        texts of one request (1)\n"
    "  --encoding FORM        base64 or float (base64)\n"
    "  --header LINE          another header, \"name: value\"; may be repeated\n"
    "  --connections N        closed loop: so many requests at any time; open loop: at most (1)\n"
    "  --rate R               open loop: R requests a second; latency counts from when a request was due\n"
    "  --seconds S            of sending (10, unless --requests is given)\n"
    "  --warm S               seconds of these at the start that do not count (0)\n"
    "  --requests N           to send\n"
    "  --timeout S            of one request (60)\n"
    "  --cancel-after S       close the connection of a request that has no answer after so long\n"
    "  --verify HOW           first: a text's vector is always that of its first answer; FILE: a row a text, .npy or "
    "raw\n"
    "                         f32; none: vectors are only counted (first)\n"
    "  --cosine X             right is a cosine of at least X, not the same bits\n"
    "  --save-vectors FILE    write each text's vector as raw f32\n"
    "  --timeline FILE        write each request as CSV\n";

enum { HEADERS_MAX = 16 };

struct options {
    struct load_request_options request;
    struct load_run_options run;
    const char *header[HEADERS_MAX];
    const char *save, *timeline;
};

/* ---- Options ---- */

static double number(const char *name, const char *text, double least)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least)) {
        load_die(name, "not a number that can be");
    }
    return value;
}

static size_t count(const char *name, const char *text, size_t least)
{
    return (size_t)number(name, text, (double)least);
}

enum which {
    HOST = 1,
    PORT,
    PATH,
    MODEL,
    TEXTS,
    PER_REQUEST,
    ENCODING,
    HEADER,
    CONNECTIONS,
    RATE,
    SECONDS,
    WARM,
    REQUESTS,
    TIMEOUT,
    CANCEL_AFTER,
    VERIFY,
    COSINE,
    SAVE,
    TIMELINE,
    HELP
};

static const struct option option_table[] = {
    {"host", required_argument, NULL, HOST},
    {"port", required_argument, NULL, PORT},
    {"path", required_argument, NULL, PATH},
    {"model", required_argument, NULL, MODEL},
    {"texts", required_argument, NULL, TEXTS},
    {"per-request", required_argument, NULL, PER_REQUEST},
    {"encoding", required_argument, NULL, ENCODING},
    {"header", required_argument, NULL, HEADER},
    {"connections", required_argument, NULL, CONNECTIONS},
    {"rate", required_argument, NULL, RATE},
    {"seconds", required_argument, NULL, SECONDS},
    {"warm", required_argument, NULL, WARM},
    {"requests", required_argument, NULL, REQUESTS},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"cancel-after", required_argument, NULL, CANCEL_AFTER},
    {"verify", required_argument, NULL, VERIFY},
    {"cosine", required_argument, NULL, COSINE},
    {"save-vectors", required_argument, NULL, SAVE},
    {"timeline", required_argument, NULL, TIMELINE},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static void set_verify(struct load_request_options *request, const char *how)
{
    request->verify = strcmp(how, "none") != 0;
    request->reference = request->verify && strcmp(how, "first") != 0 ? how : NULL;
}

static void set_request_option(struct options *o, int option, const char *value)
{
    switch (option) {
    case PATH: o->request.path = value; break;
    case MODEL: o->request.model = value; break;
    case TEXTS: o->request.texts = value; break;
    case PER_REQUEST: o->request.per_request = count("--per-request", value, 1); break;
    case ENCODING: o->request.base64 = strcmp(value, "float") != 0; break;
    case VERIFY: set_verify(&o->request, value); break;
    case COSINE: o->request.cosine = number("--cosine", value, 0); break;
    case SAVE: o->save = value; break;
    case TIMELINE: o->timeline = value; break;
    case HEADER:
        if (o->request.headers == HEADERS_MAX) {
            load_die("--header", "too many");
        }
        o->header[o->request.headers++] = value;
        break;
    case HELP: fputs(usage, stdout); exit(0);
    default: fputs(usage, stderr); exit(2);
    }
}

static void set_option(struct options *o, int option, const char *value)
{
    struct load_run_options *run = &o->run;
    switch (option) {
    case HOST: run->host = o->request.host = value; break;
    case PORT: run->port = (int)number("--port", value, 1); break;
    case CONNECTIONS: run->connections = count("--connections", value, 1); break;
    case RATE: run->rate = number("--rate", value, 1e-3); break;
    case SECONDS: run->seconds = number("--seconds", value, 0); break;
    case WARM: run->warm = number("--warm", value, 0); break;
    case REQUESTS: run->requests = count("--requests", value, 1); break;
    case TIMEOUT: run->timeout = number("--timeout", value, 0); break;
    case CANCEL_AFTER: run->cancel_after = number("--cancel-after", value, 0); break;
    default: set_request_option(o, option, value); break;
    }
}

static struct options parse(int argc, char **argv)
{
    struct options o = {
        .request = {.host = "127.0.0.1",
                    .path = "/v1/embeddings",
                    .model = "all-MiniLM-L6-v2",
                    .per_request = 1,
                    .base64 = true,
                    .verify = true},
        .run = {.host = "127.0.0.1", .connections = 1, .timeout = 60},
    };
    for (int option; (option = getopt_long(argc, argv, "", option_table, NULL)) != -1;) {
        set_option(&o, option, optarg);
    }
    if (optind < argc || !o.request.texts || o.run.port == 0 || o.run.port > 65535) {
        fputs(usage, stderr);
        exit(2);
    }
    if (o.run.seconds <= 0 && o.run.requests == 0) {
        o.run.seconds = 10;
    }
    if (o.run.seconds > 0 && o.run.warm >= o.run.seconds) {
        load_die("--warm", "nothing is left to measure");
    }
    return o;
}

/* ---- Report ---- */

enum { STATUSES = 600 };

static bool is_refused(const struct load_record *r)
{
    return r->status == 429 || r->status == 503;
}

static bool is_right(const struct load_record *r)
{
    return r->status == 200 && r->outcome == LOAD_ANSWERED;
}

static bool told_when(const struct load_record *r)
{
    return is_refused(r) && r->retry_after >= 0;
}

static double latency_of(const struct load_record *r)
{
    return r->latency;
}

static double own_part_of(const struct load_record *r)
{
    return r->own;
}

static double retry_after_of(const struct load_record *r)
{
    return r->retry_after;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* "name":{"n":,"mean":,"p50":...} in milliseconds, over the records that counts. */
static void distribution(const char *name, const struct load_result *result, bool (*counts)(const struct load_record *),
                         double (*value)(const struct load_record *))
{
    static const struct {
        const char *name;
        double share;
    } marks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    double *values = load_need(malloc((result->n + 1) * sizeof *values)), sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < result->n; i++) {
        if (result->records[i].at >= result->from && counts(&result->records[i])) {
            values[n] = value(&result->records[i]) * 1e3;
            sum += values[n++];
        }
    }
    qsort(values, n, sizeof *values, by_value);
    printf(",\"%s\":{\"n\":%zu", name, n);
    if (n > 0) {
        printf(",\"mean\":%.4f,\"min\":%.4f", sum / (double)n, values[0]);
        for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
            /* Nearest rank: the smallest value with that share at or below it. */
            size_t rank = (size_t)ceil(marks[i].share * (double)n);
            size_t index = rank > 0 ? rank - 1 : 0;
            printf(",\"%s\":%.4f", marks[i].name, values[index < n ? index : n - 1]);
        }
    }
    printf("}");
    free(values);
}

static void print_counts(const struct load_result *result)
{
    size_t statuses[STATUSES] = {0}, outcomes[LOAD_OUTCOMES] = {0}, failed = 0, not_retried = 0, refused = 0, told = 0;
    for (size_t i = 0; i < result->n; i++) {
        const struct load_record *r = &result->records[i];
        statuses[r->status < STATUSES ? r->status : 0]++;
        outcomes[r->outcome]++;
        failed += !is_right(r) && r->outcome != LOAD_CANCELLED;
        not_retried += r->should_not_retry;
        refused += is_refused(r);
        told += told_when(r);
    }
    printf("\"requests\":%zu,\"failed\":%zu,\"refused\":%zu,\"refused_with_retry_after\":%zu,\"should_not_retry\":%zu",
           result->n, failed, refused, told, not_retried);
    printf(",\"statuses\":{");
    const char *comma = "";
    for (int i = 100; i < STATUSES; i++) {
        if (statuses[i] > 0) {
            printf("%s\"%d\":%zu", comma, i, statuses[i]);
            comma = ",";
        }
    }
    printf("},\"outcomes\":{");
    for (int i = 0; i < LOAD_OUTCOMES; i++) {
        printf("%s\"%s\":%zu", i ? "," : "", load_outcome_names[i], outcomes[i]);
    }
    printf("}");
}

static void report(const struct options *o, const struct load_requests *requests, const struct load_result *result)
{
    double seconds = result->until - result->from;
    size_t right = 0;
    for (size_t i = 0; i < result->n; i++) {
        const struct load_record *r = &result->records[i];
        right +=
            is_right(r) && r->at + (double)r->latency >= result->from && r->at + (double)r->latency <= result->until;
    }
    seconds = seconds > 0 ? seconds : 1e-9;
    printf("{");
    print_counts(result);
    printf(",\"texts_in_file\":%zu,\"per_request\":%zu,\"connections\":%zu,\"offered_per_s\":%.3f",
           requests->text_count, o->request.per_request, o->run.connections, o->run.rate);
    printf(",\"began\":%.6f,\"seconds\":%.6f,\"requests_per_s\":%.3f,\"texts_per_s\":%.3f,\"tokens_per_s\":%.2f",
           result->began, seconds, (double)right / seconds, result->texts / seconds, result->tokens / seconds);
    printf(",\"client_cpu\":%.4f,\"reconnects\":%zu,\"worst_cosine\":%.9f", result->cpu / seconds, result->reconnects,
           result->worst_cosine);
    distribution("latency_ms", result, is_right, latency_of);
    distribution("refused_ms", result, is_refused, latency_of);
    distribution("client_late_ms", result, is_right, own_part_of);
    distribution("retry_after_ms", result, told_when, retry_after_of);
    printf("}\n");
}

static void write_timeline(const struct load_result *result, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) {
        load_die(path, "cannot write");
    }
    fprintf(f, "at_s,latency_ms,status,outcome,retry_after_ms,request\n");
    for (size_t i = 0; i < result->n; i++) {
        const struct load_record *r = &result->records[i];
        fprintf(f, "%.6f,%.4f,%d,%s,%.1f,%" PRIu32 "\n", r->at, (double)r->latency * 1e3, r->status,
                load_outcome_names[r->outcome], (double)r->retry_after * 1e3, r->request);
    }
    if (fclose(f) != 0) {
        load_die(path, "cannot write");
    }
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    struct load_requests requests;
    struct load_result result;
    o.request.header = o.header;
    load_requests_init(&requests, &o.request);
    load_run(&requests, &o.run, &result);
    if (o.timeline) {
        write_timeline(&result, o.timeline);
    }
    if (o.save && !load_save_vectors(&requests, o.save)) {
        load_die(o.save, "not every text has a vector");
    }
    report(&o, &requests, &result);
    free(result.records);
    load_requests_deinit(&requests);
    return 0;
}
