/* Bulk speed of the library, driven from outside so that a driver can take turns between programs under test.
 *
 *     bulk MODEL PRECISION THREADS TEXTS    TEXTS: a file of UTF-8 texts, each ended by a zero byte
 *
 * Prints one JSON line about the model, then obeys lines on standard input:
 *     run           one pass over all texts, tokenising included; prints "TOKENS SECONDS"
 *     write FILE    one pass; writes the vectors as raw f32
 * Only the public interface is used. */
#include "embellama/embellama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bulk {
    embellama_model *model;
    embellama_ctx *ctx;
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

static void split_texts(struct bulk *b, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        b->n += data[i] == '\0';
    }
    b->texts = need(calloc(b->n ? b->n : 1, sizeof *b->texts));
    size_t start = 0;
    for (size_t i = 0, k = 0; i < size; i++) {
        if (data[i] == '\0') {
            b->texts[k++] = (embellama_text){data + start, i - start};
            start = i + 1;
        }
    }
}

static void count_tokens(struct bulk *b)
{
    size_t limit = embellama_model_get_info(b->model)->context_length;
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

static void write_vectors(const struct bulk *b, const char *path)
{
    size_t values = b->n * embellama_dim(b->model);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b->vectors, sizeof *b->vectors, values, f) != values || fclose(f) != 0) {
        die(path, "cannot write");
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: bulk MODEL PRECISION THREADS TEXTS\n");
        return 2;
    }
    struct bulk b = {0};
    embellama_error error;
    embellama_model_options model_options = embellama_model_options_default();
    embellama_ctx_options ctx_options = embellama_ctx_options_default();
    ctx_options.threads = (int)strtol(argv[3], NULL, 10);
    if (embellama_precision_parse(argv[2], &model_options.precision) != 0) {
        die(argv[2], "no such precision");
    }
    if (embellama_model_open(&b.model, argv[1], &model_options, &error) != 0 ||
        embellama_ctx_new(&b.ctx, b.model, &ctx_options, &error) != 0) {
        die(argv[1], error.message);
    }
    size_t size = 0;
    char *data = read_file(argv[4], &size);
    split_texts(&b, data, size);
    count_tokens(&b);
    b.vectors = need(calloc(b.n ? b.n : 1, embellama_dim(b.model) * sizeof *b.vectors));

    const embellama_model_info *info = embellama_model_get_info(b.model);
    printf("{\"texts\": %zu, \"tokens\": %zu, \"dim\": %zu, \"tier\": \"%s\", \"precision\": \"%s\"}\n", b.n, b.tokens,
           info->dim, info->cpu_tier, embellama_precision_name(info->precision));
    fflush(stdout);
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        double seconds = pass(&b);
        if (strncmp(line, "write ", 6) == 0) {
            write_vectors(&b, line + 6);
        }
        printf("%zu %.6f\n", b.tokens, seconds);
        fflush(stdout);
    }
    embellama_ctx_free(b.ctx);
    embellama_model_close(b.model);
    free(b.vectors);
    free(b.texts);
    free(data);
    return 0;
}
