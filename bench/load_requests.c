/* Requests are bytes made beforehand, so that sending one costs a write. Vectors are compared as the text they came as wherever
 * that decides: a base64 string equal to the reference's is the same vector. */
#include "load_requests.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/base64.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/json_write.h"

enum { DIM_MAX = 65536, NPY_PREFIX = 10 };
#define TOTAL_MAX ((size_t)4 << 30) /* bytes of all requests */
#define LINE_MAX_BYTES ((size_t)64 << 20)

void load_die(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(2);
}

void *load_need(void *memory)
{
    if (!memory) {
        load_die("memory", "none left");
    }
    return memory;
}

static struct load_bytes copy_bytes(const char *data, size_t size)
{
    struct load_bytes copy = {load_need(malloc(size + 1)), size};
    memcpy(copy.data, data, size);
    copy.data[size] = '\0';
    return copy;
}

static struct load_bytes read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        load_die(path, "cannot open");
    }
    long end = ftell(f);
    rewind(f);
    struct load_bytes file = {load_need(calloc(1, (end > 0 ? (size_t)end : 0) + EMB_JSON_PADDING)), 0};
    if (end < 0 || fread(file.data, 1, (size_t)end, f) != (size_t)end) {
        load_die(path, "cannot read");
    }
    fclose(f);
    file.size = (size_t)end;
    return file;
}

/* ---- Texts and requests ---- */

/* The line as a JSON string. */
static struct load_bytes json_text(const char *path, const char *line, size_t size)
{
    struct emb_buf out;
    struct emb_json *json = NULL;
    const char *text = line;
    emb_buf_init(&out, LINE_MAX_BYTES);
    if (line[0] == '{') {
        char *padded = load_need(calloc(1, size + EMB_JSON_PADDING));
        embellama_error error;
        memcpy(padded, line, size);
        if (emb_json_parse(&json, padded, size, &error) != 0) {
            load_die(path, error.message);
        }
        if (!emb_json_get_string(emb_json_root(json), "text", &text, &size)) {
            load_die(path, "a line is a JSON object without a string named \"text\"");
        }
        free(padded);
    }
    emb_json_write_string(&out, text, size);
    emb_json_free(json);
    if (out.failed) {
        load_die(path, "a line is too long");
    }
    struct load_bytes copy = copy_bytes(out.data, out.size);
    emb_buf_deinit(&out);
    return copy;
}

static void read_texts(struct load_requests *r, const char *path)
{
    struct load_bytes file = read_file(path);
    size_t capacity = 0;
    for (size_t at = 0; at < file.size;) {
        char *newline = memchr(file.data + at, '\n', file.size - at);
        size_t end = newline ? (size_t)(newline - file.data) : file.size;
        if (end > at) {
            if (r->text_count == capacity) {
                capacity = capacity ? 2 * capacity : 1024;
                r->texts = load_need(realloc(r->texts, capacity * sizeof *r->texts));
            }
            r->texts[r->text_count++] = json_text(path, file.data + at, end - at);
        }
        at = end + 1;
    }
    free(file.data);
    if (r->text_count == 0) {
        load_die(path, "holds no text");
    }
}

static size_t greatest_divisor(size_t a, size_t b)
{
    return b == 0 ? a : greatest_divisor(b, a % b);
}

static size_t text_of(const struct load_requests *r, size_t request, size_t i)
{
    return (request * r->options.per_request + i) % r->text_count;
}

static void write_body(const struct load_requests *r, size_t request, struct emb_buf *body)
{
    emb_buf_puts(body, "{\"model\":");
    emb_json_write_cstring(body, r->options.model);
    emb_buf_printf(body, ",\"encoding_format\":\"%s\",\"input\":[", r->options.base64 ? "base64" : "float");
    for (size_t i = 0; i < r->options.per_request; i++) {
        struct load_bytes text = r->texts[text_of(r, request, i)];
        emb_buf_puts(body, i ? "," : "");
        emb_buf_append(body, text.data, text.size);
    }
    emb_buf_puts(body, "]}");
}

static struct load_bytes make_request(const struct load_requests *r, size_t request)
{
    struct emb_buf body, out;
    emb_buf_init(&body, TOTAL_MAX);
    emb_buf_init(&out, TOTAL_MAX);
    write_body(r, request, &body);
    emb_buf_printf(&out, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n",
                   r->options.path, r->options.host, body.size);
    for (size_t i = 0; i < r->options.headers; i++) {
        emb_buf_puts(&out, r->options.header[i]);
        emb_buf_puts(&out, "\r\n");
    }
    emb_buf_puts(&out, "\r\n");
    emb_buf_append(&out, body.data, body.size);
    if (body.failed || out.failed) {
        load_die("memory", "none left for the requests");
    }
    struct load_bytes copy = copy_bytes(out.data, out.size);
    emb_buf_deinit(&body);
    emb_buf_deinit(&out);
    return copy;
}

/* ---- Reference vectors ---- */

/* The header of a NumPy file of little-endian float32 in C order; rows and dim of it, and where the values begin. */
static size_t read_npy_header(const char *path, const struct load_bytes *file, size_t *rows, size_t *dim)
{
    if (file->size < NPY_PREFIX || file->data[6] != 1) {
        load_die(path, "not a NumPy file of format 1.0");
    }
    size_t start = NPY_PREFIX + (unsigned char)file->data[8] + ((size_t)(unsigned char)file->data[9] << 8);
    char header[1024] = "";
    if (start > file->size || start - NPY_PREFIX >= sizeof header) {
        load_die(path, "bad header");
    }
    memcpy(header, file->data + NPY_PREFIX, start - NPY_PREFIX);
    const char *shape = strstr(header, "'shape': (");
    if (!shape || !strstr(header, "'<f4'") || !strstr(header, "'fortran_order': False")) {
        load_die(path, "not a matrix of float32");
    }
    char *end;
    *rows = strtoul(shape + strlen("'shape': ("), &end, 10);
    *dim = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;
    return start;
}

static void read_reference(struct load_requests *r, const char *path)
{
    struct load_bytes file = read_file(path);
    size_t start = 0;
    if (file.size >= 6 && memcmp(file.data, "\x93NUMPY", 6) == 0) {
        start = read_npy_header(path, &file, &r->reference_rows, &r->dim);
    } else {
        r->reference_rows = r->text_count;
        r->dim = file.size / sizeof(float) / r->text_count;
    }
    if (r->dim == 0 || r->dim > DIM_MAX || r->reference_rows == 0 ||
        r->reference_rows > SIZE_MAX / r->dim / sizeof(float) ||
        file.size - start != r->reference_rows * r->dim * sizeof(float)) {
        load_die(path, "its size is not that of a row a text");
    }
    r->reference = load_need(malloc(file.size - start));
    memcpy(r->reference, file.data + start, file.size - start);
    free(file.data);
    r->reference_rows = r->reference_rows < r->text_count ? r->reference_rows : r->text_count;
}

/* Bit for bit and base64: the strings that must come. */
static void encode_reference(struct load_requests *r)
{
    for (size_t i = 0; i < r->reference_rows; i++) {
        struct emb_buf out;
        emb_buf_init(&out, LINE_MAX_BYTES);
        emb_buf_puts(&out, "\"");
        emb_base64_floats(&out, r->reference + i * r->dim, r->dim);
        emb_buf_puts(&out, "\"");
        r->first[i] = copy_bytes(out.data, out.size);
        emb_buf_deinit(&out);
    }
}

/* ---- Looking at answers ---- */

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static size_t decode_base64(const char *text, size_t size, float *out)
{
    unsigned char *to = (unsigned char *)out;
    size_t n = 0;
    unsigned bits = 0, held = 0;
    for (size_t i = 0; i < size && n < DIM_MAX * sizeof(float); i++) {
        int value = base64_value(text[i]);
        if (value < 0) {
            break;
        }
        bits = (bits << 6 | (unsigned)value) & 0xFFFFFF;
        held += 6;
        if (held >= 8) {
            held -= 8;
            to[n++] = (unsigned char)(bits >> held);
        }
    }
    return n / sizeof(float);
}

/* A vector, a base64 string or a list of numbers, as floats; how many. */
static size_t decode_vector(struct load_bytes vector, float *out)
{
    if (vector.size > 2 && vector.data[0] == '"') {
        return decode_base64(vector.data + 1, vector.size - 2, out);
    }
    size_t n = 0;
    const char *at = vector.data + 1, *end = vector.data + vector.size;
    while (at < end && n < DIM_MAX) {
        char *next;
        out[n] = strtof(at, &next);
        if (next == at) {
            break;
        }
        n++;
        at = next;
        at += strspn(at, ", \n\r\t");
    }
    return n;
}

static double cosine_of(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static bool same_bytes(struct load_bytes a, struct load_bytes b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* Whether the vector of text is right. The first answer of one without a reference is taken as its reference. */
static bool is_right(struct load_requests *r, size_t text, struct load_bytes vector, double *worst)
{
    static float got[DIM_MAX], first[DIM_MAX];
    const float *want = text < r->reference_rows ? r->reference + text * r->dim : NULL;
    if (r->reference && !want) {
        return true;
    }
    if (!want && !r->first[text].data) {
        r->first[text] = copy_bytes(vector.data, vector.size);
        return decode_vector(vector, got) > 0;
    }
    if (r->first[text].data && same_bytes(r->first[text], vector)) {
        return true;
    }
    size_t n = decode_vector(vector, got);
    size_t dim = r->dim;
    if (!want) {
        dim = decode_vector(r->first[text], first);
        want = first;
    }
    if (n != dim || n == 0) {
        *worst = 0;
        return false;
    }
    double cosine = cosine_of(got, want, n);
    *worst = cosine < *worst ? cosine : *worst;
    return r->options.cosine > 0 ? cosine >= r->options.cosine : memcmp(got, want, n * sizeof *got) == 0;
}

/* The JSON value at *at, a string without escapes, a list of numbers, or null; *at goes behind it. */
static struct load_bytes next_vector(const char **at, const char *end)
{
    const char *start = *at;
    while (start < end && (*start == ' ' || *start == '\n' || *start == '\t' || *start == '\r')) {
        start++;
    }
    char closing = start < end && *start == '"' ? '"' : ']';
    const char *stop = NULL;
    if (start < end && (*start == '"' || *start == '[')) {
        stop = memchr(start + 1, closing, (size_t)(end - start - 1));
    }
    *at = stop ? stop + 1 : start;
    return (struct load_bytes){stop ? (char *)(uintptr_t)start : NULL, stop ? (size_t)(stop + 1 - start) : 0};
}

static uint64_t number_behind(const char *body, size_t size, const char *name)
{
    const char *found = memmem(body, size, name, strlen(name));
    return found ? strtoull(found + strlen(name), NULL, 10) : 0;
}

void load_check(struct load_requests *r, size_t request, const char *body, size_t size, struct load_answer *answer)
{
    static const char mark[] = "\"embedding\":", usage[] = "\"prompt_tokens\":";
    const char *at = body, *end = body + size;
    *answer = (struct load_answer){.worst_cosine = 1};
    for (size_t i = 0; i < r->options.per_request; i++) {
        const char *found = memmem(at, (size_t)(end - at), mark, sizeof mark - 1);
        if (!found) {
            break;
        }
        at = found + sizeof mark - 1;
        struct load_bytes vector = next_vector(&at, end);
        if (vector.size == 0) {
            continue;
        }
        answer->vectors++;
        if (r->options.verify) {
            answer->wrong += !is_right(r, text_of(r, request, i), vector, &answer->worst_cosine);
        }
    }
    answer->absent = r->options.per_request - answer->vectors;
    answer->tokens = number_behind(at, (size_t)(end - at), usage);
    if (answer->tokens == 0) {
        answer->tokens = number_behind(body, (size_t)(at - body), usage);
    }
}

bool load_save_vectors(const struct load_requests *r, const char *path)
{
    static float values[DIM_MAX];
    FILE *f = fopen(path, "wb");
    if (!f) {
        load_die(path, "cannot write");
    }
    bool all = true;
    for (size_t i = 0; i < r->text_count; i++) {
        size_t n = r->first[i].data ? decode_vector(r->first[i], values) : 0;
        all = all && n > 0 && fwrite(values, sizeof *values, n, f) == n;
    }
    return fclose(f) == 0 && all;
}

void load_requests_init(struct load_requests *r, const struct load_request_options *options)
{
    *r = (struct load_requests){.options = *options};
    read_texts(r, options->texts);
    r->first = load_need(calloc(r->text_count, sizeof *r->first));
    if (options->reference) {
        read_reference(r, options->reference);
        if (options->base64 && options->cosine <= 0) {
            encode_reference(r);
        }
    }
    r->n = r->text_count / greatest_divisor(r->text_count, options->per_request);
    r->requests = load_need(calloc(r->n, sizeof *r->requests));
    size_t total = 0;
    for (size_t i = 0; i < r->n; i++) {
        r->requests[i] = make_request(r, i);
        total += r->requests[i].size;
        if (total > TOTAL_MAX) {
            load_die(options->texts, "too many bytes of requests");
        }
    }
}

static void free_all(struct load_bytes *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++) {
        free(list[i].data);
    }
    free(list);
}

void load_requests_deinit(struct load_requests *r)
{
    free_all(r->requests, r->n);
    free_all(r->texts, r->text_count);
    free_all(r->first, r->text_count);
    free(r->reference);
}
