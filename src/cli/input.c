/* Reads texts from arguments or lines. Holds one line and one window at a time, whatever the size of the input. */
#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"
#include "cli/cli.h"

#define READ_BYTES ((size_t)256 << 10)

struct emb_input {
    char **arguments; /* or NULL, where lines are read */
    uint64_t argument_count;
    const char *name; /* of the file, for messages */
    int fd;
    bool own_fd, jsonl, ended;
    const char *field;
    struct emb_buf raw;    /* read and not taken yet, from raw.data + start on */
    size_t start, scanned; /* no newline in raw before scanned */
    uint64_t taken;        /* lines or arguments so far */
    uint64_t taken_bytes, total_bytes;
    char *padded; /* a line with JSON padding behind it */
    size_t padded_capacity;
};

static int open_file(struct emb_input *in, const char *path, embellama_error *error)
{
    struct stat st;
    bool standard = strcmp(path, "-") == 0;
    in->name = standard ? "standard input" : path;
    in->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    in->own_fd = !standard && in->fd >= 0;
    if (in->fd < 0 || fstat(in->fd, &st) != 0) {
        int why = errno;
        return emb_fail(error, why == ENOENT ? EMBELLAMA_E_NOT_FOUND : EMBELLAMA_E_IO, "cannot read %.160s: %s",
                        in->name, strerror(why));
    }
    if (S_ISREG(st.st_mode)) {
        off_t at = lseek(in->fd, 0, SEEK_CUR);
        in->total_bytes = at >= 0 && at < st.st_size ? (uint64_t)(st.st_size - at) : 0;
    }
    return EMBELLAMA_OK;
}

int emb_input_open(struct emb_input **out, const struct emb_cli_options *options, embellama_error *error)
{
    struct emb_input *in = emb_calloc(1, sizeof *in);
    if (!in) {
        return emb_fail_nomem(error);
    }
    in->fd = -1;
    in->jsonl = options->input_format == EMB_CLI_INPUT_JSONL;
    in->field = options->field;
    emb_buf_init(&in->raw, EMB_INPUT_LINE_MAX + 4 * READ_BYTES);
    if (options->argument_count > 0) {
        in->arguments = options->arguments;
        in->argument_count = (uint64_t)options->argument_count;
    } else {
        int rc = open_file(in, options->input, error);
        if (rc != EMBELLAMA_OK) {
            emb_input_close(in);
            return rc;
        }
    }
    *out = in;
    return EMBELLAMA_OK;
}

void emb_input_close(struct emb_input *in)
{
    if (!in) {
        return;
    }
    if (in->own_fd) {
        close(in->fd);
    }
    emb_buf_deinit(&in->raw);
    emb_free(in->padded);
    emb_free(in);
}

void emb_window_init(struct emb_window *window)
{
    *window = (struct emb_window){0};
    emb_buf_init(&window->bytes, SIZE_MAX / 4);
}

void emb_window_deinit(struct emb_window *window)
{
    emb_free(window->texts);
    emb_free(window->places);
    emb_buf_deinit(&window->bytes);
}

const char *emb_input_place(const struct emb_input *in, uint64_t place, char *out, size_t size)
{
    if (in->arguments) {
        snprintf(out, size, "argument %" PRIu64, place);
    } else {
        snprintf(out, size, "%.120s:%" PRIu64, in->name, place);
    }
    return out;
}

uint64_t emb_input_done(const struct emb_input *in)
{
    return in->arguments ? in->taken : in->taken_bytes;
}

uint64_t emb_input_total(const struct emb_input *in)
{
    return in->arguments ? in->argument_count : in->total_bytes;
}

bool emb_input_is_file(const struct emb_input *in, int fd)
{
    struct stat a, b;
    return !in->arguments && fstat(in->fd, &a) == 0 && fstat(fd, &b) == 0 && S_ISREG(a.st_mode) &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* ---- Lines -------------------------------------------------------------------------------------------------------- */

static int place_error(const struct emb_input *in, embellama_error *error, int code, const char *what)
{
    char place[160];
    return emb_fail(error, code, "%s: %s", emb_input_place(in, in->taken, place, sizeof place), what);
}

static int read_more(struct emb_input *in, embellama_error *error)
{
    if (in->start > 0) {
        emb_buf_consume(&in->raw, in->start);
        in->scanned -= in->start;
        in->start = 0;
    }
    char *to = emb_buf_reserve(&in->raw, READ_BYTES);
    if (!to) {
        return emb_fail_nomem(error);
    }
    ssize_t n;
    do {
        n = read(in->fd, to, READ_BYTES);
    } while (n < 0 && errno == EINTR && !emb_cli_stopped());
    if (n < 0 && errno != EINTR) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot read %.160s: %s", in->name, strerror(errno));
    }
    in->ended = n <= 0;
    emb_buf_commit(&in->raw, n > 0 ? (size_t)n : 0);
    return EMBELLAMA_OK;
}

/* The next line without its end; *line = NULL at the end of the input. It lives until the next call. */
static int next_line(struct emb_input *in, char **line, size_t *size, embellama_error *error)
{
    char *newline = NULL;
    *line = NULL;
    for (;;) {
        size_t left = in->raw.size - in->scanned;
        newline = left > 0 ? memchr(in->raw.data + in->scanned, '\n', left) : NULL;
        in->scanned = in->raw.size;
        size_t line_size = newline ? (size_t)(newline - in->raw.data) - in->start : in->raw.size - in->start;
        if (line_size > EMB_INPUT_LINE_MAX) {
            in->taken++;
            return place_error(in, error, EMBELLAMA_E_FORMAT, "the line is longer than 16 MiB");
        }
        if (newline || in->ended) {
            break;
        }
        int rc = read_more(in, error);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
    }
    if (emb_cli_stopped() || (!newline && in->start == in->raw.size)) {
        return EMBELLAMA_OK;
    }
    *line = in->raw.data + in->start;
    *size = newline ? (size_t)(newline - *line) : in->raw.size - in->start;
    in->start += *size + (newline ? 1 : 0);
    in->scanned = in->start;
    in->taken_bytes += *size + (newline ? 1 : 0);
    in->taken++;
    if (newline && *size > 0 && (*line)[*size - 1] == '\r') {
        (*size)--;
    }
    if (in->taken == 1 && *size >= 3 && memcmp(*line, "\xEF\xBB\xBF", 3) == 0) {
        *line += 3;
        *size -= 3;
    }
    return EMBELLAMA_OK;
}

static bool add_text(struct emb_window *window, const char *bytes, size_t size, uint64_t place)
{
    size_t capacity = window->capacity, same = window->capacity;
    if (!emb_grow(&window->texts, &capacity, window->n + 1, sizeof *window->texts) ||
        !emb_grow(&window->places, &same, window->n + 1, sizeof *window->places)) {
        return false;
    }
    window->capacity = capacity < same ? capacity : same;
    emb_buf_append(&window->bytes, bytes, size);
    if (window->bytes.failed) {
        return false;
    }
    window->texts[window->n] = (embellama_text){NULL, size};
    window->places[window->n++] = place;
    return true;
}

static int add_plain(struct emb_input *in, struct emb_window *window, const char *text, size_t size,
                     embellama_error *error)
{
    if (emb_utf8_valid_prefix(text, size) != size) {
        return place_error(in, error, EMBELLAMA_E_UTF8, "not valid UTF-8");
    }
    return add_text(window, text, size, in->taken) ? EMBELLAMA_OK : emb_fail_nomem(error);
}

static int add_member(struct emb_input *in, struct emb_window *window, struct emb_json_value root,
                      embellama_error *error)
{
    char what[160];
    struct emb_json_value member;
    const char *text;
    size_t size;
    if (emb_json_type(root) != EMB_JSON_OBJECT) {
        snprintf(what, sizeof what, "%s, not an object", emb_json_type_name(emb_json_type(root)));
        return place_error(in, error, EMBELLAMA_E_FORMAT, what);
    }
    if (!emb_json_get(root, in->field, &member)) {
        snprintf(what, sizeof what, "the object has no member \"%.60s\" (--field names it)", in->field);
        return place_error(in, error, EMBELLAMA_E_FORMAT, what);
    }
    if (!emb_json_string(member, &text, &size)) {
        snprintf(what, sizeof what, "member \"%.60s\" is %s, not a string", in->field,
                 emb_json_type_name(emb_json_type(member)));
        return place_error(in, error, EMBELLAMA_E_FORMAT, what);
    }
    return add_text(window, text, size, in->taken) ? EMBELLAMA_OK : emb_fail_nomem(error);
}

static int add_json(struct emb_input *in, struct emb_window *window, const char *line, size_t size,
                    embellama_error *error)
{
    size_t blank = 0;
    while (blank < size && (line[blank] == ' ' || line[blank] == '\t' || line[blank] == '\r')) {
        blank++;
    }
    if (blank == size) {
        return EMBELLAMA_OK; /* an empty line holds no object */
    }
    if (!emb_grow(&in->padded, &in->padded_capacity, size + EMB_JSON_PADDING, 1)) {
        return emb_fail_nomem(error);
    }
    memcpy(in->padded, line, size);
    memset(in->padded + size, 0, EMB_JSON_PADDING);
    struct emb_json *json = NULL;
    embellama_error why;
    int rc = emb_json_parse(&json, in->padded, size, &why);
    if (rc != EMBELLAMA_OK) {
        return place_error(in, error, rc, why.message);
    }
    rc = add_member(in, window, emb_json_root(json), error);
    emb_json_free(json);
    return rc;
}

static int fill_from_lines(struct emb_input *in, struct emb_window *window, size_t max_texts, size_t max_bytes,
                           embellama_error *error)
{
    while (window->n < max_texts && window->bytes.size < max_bytes) {
        char *line;
        size_t size = 0;
        int rc = next_line(in, &line, &size, error);
        if (rc == EMBELLAMA_OK && line) {
            rc = in->jsonl ? add_json(in, window, line, size, error) : add_plain(in, window, line, size, error);
        }
        if (rc != EMBELLAMA_OK || !line) {
            return rc;
        }
    }
    return EMBELLAMA_OK;
}

static int fill_from_arguments(struct emb_input *in, struct emb_window *window, size_t max_texts, size_t max_bytes,
                               embellama_error *error)
{
    int rc = EMBELLAMA_OK;
    while (rc == EMBELLAMA_OK && in->taken < in->argument_count && window->n < max_texts &&
           window->bytes.size < max_bytes) {
        const char *text = in->arguments[in->taken++];
        rc = add_plain(in, window, text, strlen(text), error);
    }
    return rc;
}

int emb_input_fill(struct emb_input *in, struct emb_window *window, size_t max_texts, size_t max_bytes,
                   embellama_error *error)
{
    window->n = 0;
    emb_buf_clear(&window->bytes);
    int rc = in->arguments ? fill_from_arguments(in, window, max_texts, max_bytes, error)
                           : fill_from_lines(in, window, max_texts, max_bytes, error);
    if (window->bytes.failed) {
        window->n = 0;
    }
    const char *at = window->bytes.data ? window->bytes.data : "";
    for (size_t i = 0; i < window->n; i++) {
        window->texts[i].bytes = at;
        at += window->texts[i].size;
    }
    return rc;
}
