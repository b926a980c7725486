/* Reads an output file as a stranger's: whatever is in it, it is either counted or refused, and never changed here. */
#include "cli/resume.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/status.h"
#include "cli/npy.h"

#define BLOCK ((size_t)1 << 20)
#define RECORD_MAX ((uint64_t)256 << 20) /* bytes of one JSON line that is looked into */

static int read_at(int fd, const char *name, void *to, size_t size, uint64_t at, embellama_error *error)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, (char *)to + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return emb_fail(error, EMBELLAMA_E_IO, "cannot read %.120s: %s", name,
                            n < 0 ? strerror(errno) : "it became shorter");
        }
        done += (size_t)n;
    }
    return EMBELLAMA_OK;
}

static int scan_npy(int fd, const char *name, uint64_t size, size_t dim, uint64_t *records, uint64_t *end,
                    embellama_error *error)
{
    char header[EMB_NPY_HEADER];
    uint64_t rows;
    size_t width;
    int rc = size < EMB_NPY_HEADER ? EMBELLAMA_E_FORMAT : read_at(fd, name, header, sizeof header, 0, error);
    if (rc == EMBELLAMA_E_FORMAT || (rc == EMBELLAMA_OK && !emb_npy_read_header(header, &rows, &width))) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "cannot resume %.120s: not a npy file this command began", name);
    }
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    if (width != dim) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "cannot resume %.120s: its vectors have %zu values, these have %zu",
                        name, width, dim);
    }
    uint64_t present = (size - EMB_NPY_HEADER) / (dim * sizeof(float));
    *records = rows < present ? rows : present; /* the header is written last: rows it does not count may be torn */
    *end = EMB_NPY_HEADER + *records * dim * sizeof(float);
    return EMBELLAMA_OK;
}

/* The last complete line must be record number index, with vectors of dim values. */
static int check_line(const char *line, size_t size, const char *name, uint64_t index, size_t dim,
                      embellama_error *error)
{
    struct emb_json *json = NULL;
    struct emb_json_value root, vector, row;
    int64_t number = -1;
    int rc = emb_json_parse(&json, line, size, error);
    if (rc == EMBELLAMA_E_NOMEM) {
        return rc;
    }
    bool valid = rc == EMBELLAMA_OK;
    if (valid) {
        root = emb_json_root(json);
        valid = emb_json_get_int(root, "index", &number) && number >= 0 && (uint64_t)number == index &&
                emb_json_get(root, "embedding", &vector) && emb_json_type(vector) == EMB_JSON_ARRAY;
    }
    size_t width = 0;
    if (valid) {
        struct emb_json_iter it = emb_json_iterate(vector);
        row = vector;
        if (emb_json_next(&it) && emb_json_type(it.value) == EMB_JSON_ARRAY) {
            row = it.value;
        }
        width = emb_json_size(row);
    }
    emb_json_free(json);
    if (!valid) {
        return emb_fail(error, EMBELLAMA_E_FORMAT,
                        "cannot resume %.100s: its line %" PRIu64 " is not {\"index\":%" PRIu64 ",\"embedding\":[...]}",
                        name, index + 1, index);
    }
    if (width != dim) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "cannot resume %.120s: its vectors have %zu values, these have %zu",
                        name, width, dim);
    }
    return EMBELLAMA_OK;
}

static int count_lines(int fd, const char *name, uint64_t size, uint64_t *records, uint64_t *last, uint64_t *end,
                       embellama_error *error)
{
    char *block = emb_alloc(BLOCK, 1);
    int rc = block ? EMBELLAMA_OK : emb_fail_nomem(error);
    *records = *last = *end = 0;
    for (uint64_t at = 0; rc == EMBELLAMA_OK && at < size; at += BLOCK) {
        size_t n = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
        rc = read_at(fd, name, block, n, at, error);
        const char *from = block;
        const char *newline;
        while (rc == EMBELLAMA_OK && (newline = memchr(from, '\n', n - (size_t)(from - block))) != NULL) {
            (*records)++;
            *last = *end;
            *end = at + (uint64_t)(newline - block) + 1;
            from = newline + 1;
        }
    }
    emb_free(block);
    return rc;
}

/* A file without one whole line is ours only if it begins as our first line does. */
static int check_torn_start(int fd, const char *name, uint64_t size, embellama_error *error)
{
    static const char start[] = "{\"index\":0,";
    char text[sizeof start];
    size_t n = size < sizeof start - 1 ? (size_t)size : sizeof start - 1;
    int rc = read_at(fd, name, text, n, 0, error);
    if (rc == EMBELLAMA_OK && memcmp(text, start, n) != 0) {
        rc = emb_fail(error, EMBELLAMA_E_FORMAT, "cannot resume %.120s: not a file this command began", name);
    }
    return rc;
}

static int scan_lines(int fd, const char *name, uint64_t size, size_t dim, uint64_t *records, uint64_t *end,
                      embellama_error *error)
{
    uint64_t last;
    int rc = count_lines(fd, name, size, records, &last, end, error);
    if (rc != EMBELLAMA_OK || *records == 0) {
        return rc == EMBELLAMA_OK ? check_torn_start(fd, name, size, error) : rc;
    }
    if (*end - last > RECORD_MAX) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "cannot resume %.120s: its last line is too long", name);
    }
    size_t bytes = (size_t)(*end - last);
    char *line = emb_calloc(bytes + EMB_JSON_PADDING, 1);
    if (!line) {
        return emb_fail_nomem(error);
    }
    rc = read_at(fd, name, line, bytes, last, error);
    if (rc == EMBELLAMA_OK) {
        rc = check_line(line, bytes, name, *records - 1, dim, error);
    }
    emb_free(line);
    return rc;
}

int emb_resume_scan(int fd, const char *name, enum emb_cli_output_format format, size_t dim, uint64_t *records,
                    uint64_t *end, embellama_error *error)
{
    struct stat st;
    *records = *end = 0;
    if (fstat(fd, &st) != 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot read %.120s: %s", name, strerror(errno));
    }
    uint64_t size = (uint64_t)st.st_size;
    if (size == 0) {
        return EMBELLAMA_OK;
    }
    switch (format) {
    case EMB_CLI_OUTPUT_NPY: return scan_npy(fd, name, size, dim, records, end, error);
    case EMB_CLI_OUTPUT_JSONL: return scan_lines(fd, name, size, dim, records, end, error);
    case EMB_CLI_OUTPUT_F32: break;
    }
    *records = size / (dim * sizeof(float)); /* bare numbers say nothing more */
    *end = *records * dim * sizeof(float);
    return EMBELLAMA_OK;
}
