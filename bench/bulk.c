/* Speed of the library, driven from outside so that a driver can take turns between programs under test.
 *
 *     bulk MODEL PRECISION THREADS [CPU-TIER]
 *
 * Prints one JSON line about the model, then obeys lines on standard input, answering each with one JSON line:
 *     texts FILE    reads UTF-8 texts, each ended by a zero byte, and passes over them once
 *     run N         N passes over all texts, tokenising included; the seconds of each
 *     write FILE    one pass; writes the vectors as raw f32
 * Inputs longer than the model's context are truncated. Only the public interface is used. */
#include "embellama/embellama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bulk {
    embellama_model *model;
    embellama_ctx *ctx;
    char *data;
    embellama_text *texts;
    size_t n;
    size_t tokens;
    float *vectors;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bulk: %s: %s\n", what, why);
    exit(1);
}

static void *need(void *memory)
{
    if (!memory) {
        die("memory", "none left");
    }
    return memory;
}

static char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        die(path, "cannot open");
    }
    long bytes = ftell(f);
    rewind(f);
    char *data = need(malloc(bytes > 0 ? (size_t)bytes : 1));
    if (bytes < 0 || fread(data, 1, (size_t)bytes, f) != (size_t)bytes) {
        die(path, "cannot read");
    }
    fclose(f);
    *size = (size_t)bytes;
    return data;
}

static void split_texts(struct bulk *b, size_t size)
{
    b->n = 0;
    for (size_t i = 0; i < size; i++) {
        b->n += b->data[i] == '\0';
    }
    b->texts = need(calloc(b->n ? b->n : 1, sizeof *b->texts));
    size_t start = 0;
    for (size_t i = 0, k = 0; i < size; i++) {
        if (b->data[i] == '\0') {
            b->texts[k++] = (embellama_text){b->data + start, i - start};
            start = i + 1;
        }
    }
}

static void count_tokens(struct bulk *b)
{
    size_t limit = embellama_model_get_info(b->model)->context_length;
    b->tokens = 0;
    for (size_t i = 0; i < b->n; i++) {
        size_t count = 0;
        embellama_error error;
        if (embellama_tokenize(b->model, b->texts[i], NULL, NULL, NULL, 0, &count, &error) != 0) {
            die("tokenize", error.message);
        }
        b->tokens += count < limit ? count : limit;
    }
}

static double pass(struct bulk *b)
{
    embellama_embed_options options = embellama_embed_options_default();
    options.truncate = true;
    struct timespec t0, t1;
    embellama_error error;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    if (embellama_embed(b->ctx, b->texts, b->n, &options, b->vectors, NULL, &error) != 0) {
        die("embed", error.message);
    }
    clock_gettime(CLOCK_MONOTONIC, &t1);
    return (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9;
}

static void free_texts(struct bulk *b)
{
    free(b->data);
    free(b->texts);
    free(b->vectors);
}

static void do_texts(struct bulk *b, const char *path)
{
    size_t size = 0;
    free_texts(b);
    b->data = read_file(path, &size);
    split_texts(b, size);
    count_tokens(b);
    b->vectors = need(calloc(b->n ? b->n : 1, embellama_dim(b->model) * sizeof *b->vectors));
    pass(b);
    printf("{\"texts\": %zu, \"tokens\": %zu, \"setting\": \"default\"}\n", b->n, b->tokens);
}

static void do_run(struct bulk *b, const char *count)
{
    printf("{\"seconds\": [");
    for (long i = 0, n = strtol(count, NULL, 10); i < n; i++) {
        printf("%s%.9f", i ? ", " : "", pass(b));
    }
    printf("]}\n");
}

static void do_write(struct bulk *b, const char *path)
{
    pass(b);
    size_t values = b->n * embellama_dim(b->model);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b->vectors, sizeof *b->vectors, values, f) != values || fclose(f) != 0) {
        die(path, "cannot write");
    }
    printf("{\"texts\": %zu}\n", b->n);
}

static void obey(struct bulk *b, char *line)
{
    static const struct {
        const char *name;
        void (*run)(struct bulk *b, const char *argument);
    } commands[] = {{"texts ", do_texts}, {"run ", do_run}, {"write ", do_write}};

    line[strcspn(line, "\n")] = '\0';
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        size_t length = strlen(commands[i].name);
        if (strncmp(line, commands[i].name, length) == 0) {
            commands[i].run(b, line + length);
            fflush(stdout);
            return;
        }
    }
    die(line, "no such command");
}

static void print_model(const embellama_model_info *info)
{
    printf("{\"name\": \"Embellama\", \"version\": \"%s\", \"dim\": %zu, \"precision\": \"%s\", \"tier\": \"%s\", "
           "\"tiers\": [",
           embellama_version(), info->dim, embellama_precision_name(info->precision), info->cpu_tier);
    for (const char *const *tier = embellama_cpu_tiers(); *tier; tier++) {
        printf("\"%s\"%s", *tier, tier[1] ? ", " : "");
    }
    printf("]}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: bulk MODEL PRECISION THREADS [CPU-TIER]\n");
        return 2;
    }
    struct bulk b = {0};
    embellama_error error;
    embellama_model_options model_options = embellama_model_options_default();
    embellama_ctx_options ctx_options = embellama_ctx_options_default();
    ctx_options.threads = (int)strtol(argv[3], NULL, 10);
    model_options.cpu = argc == 5 ? argv[4] : NULL;
    if (embellama_precision_parse(argv[2], &model_options.precision) != 0) {
        die(argv[2], "no such precision");
    }
    if (embellama_model_open(&b.model, argv[1], &model_options, &error) != 0 ||
        embellama_ctx_new(&b.ctx, b.model, &ctx_options, &error) != 0) {
        die(argv[1], error.message);
    }
    print_model(embellama_model_get_info(b.model));
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        obey(&b, line);
    }
    free_texts(&b);
    embellama_ctx_free(b.ctx);
    embellama_model_close(b.model);
    return 0;
}
