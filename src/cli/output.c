/* Formats a window's records with the team, then writes them in order. */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "base/status.h"
#include "cli/cli.h"
#include "cli/npy.h"
#include "cli/resume.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are written as they lie in memory");

#define TEXTS_A_PIECE ((size_t)32)

struct emb_output {
    int fd;
    bool own_fd;
    const char *name;
    enum emb_cli_output_format format;
    uint64_t texts, rows; /* written */
    uint64_t base;        /* where a npy header begins */
    struct emb_buf *pieces;
    size_t piece_capacity;
    const struct emb_work *work; /* of the write under way */
    size_t n, *rows_before;
    size_t rows_capacity;
};

static bool to_stdout(const struct emb_cli_options *options)
{
    return strcmp(options->output, "-") == 0;
}

int emb_output_check(const struct emb_cli_options *options, bool per_token, embellama_error *error)
{
    struct stat st;
    bool npy = options->output_format == EMB_CLI_OUTPUT_NPY;
    bool standard = to_stdout(options);
    bool exists = !standard && stat(options->output, &st) == 0;
    if (npy &&
        (standard ? lseek(STDOUT_FILENO, 0, SEEK_CUR) < 0 : exists && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))) {
        return emb_fail(error, EMBELLAMA_E_INVALID,
                        "npy needs an output that can be sought in, not a pipe: give "
                        "--output FILE, or use --output-format jsonl or f32");
    }
    if (npy && standard && (fcntl(STDOUT_FILENO, F_GETFL) & O_APPEND)) {
        return emb_fail(error, EMBELLAMA_E_INVALID,
                        "npy cannot be appended to another file with >>: give --output "
                        "FILE, or use --output-format jsonl or f32");
    }
    if (options->resume && (standard || (exists && !S_ISREG(st.st_mode)))) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "--resume needs --output FILE, a regular file");
    }
    if (options->resume && per_token && options->output_format != EMB_CLI_OUTPUT_JSONL) {
        return emb_fail(error, EMBELLAMA_E_INVALID,
                        "--resume with one vector a token needs --output-format jsonl: "
                        "rows of npy and f32 do not say where a text ends");
    }
    return EMBELLAMA_OK;
}

static int write_header(struct emb_output *out, size_t dim, embellama_error *error)
{
    char header[EMB_NPY_HEADER];
    emb_npy_write_header(header, out->rows, dim);
    for (size_t done = 0; done < sizeof header;) {
        ssize_t n = pwrite(out->fd, header + done, sizeof header - done, (off_t)(out->base + done));
        if (n < 0 && errno != EINTR) {
            return emb_fail(error, EMBELLAMA_E_IO, "cannot write to %.120s: %s", out->name, strerror(errno));
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return EMBELLAMA_OK;
}

static int open_file(struct emb_output *out, const struct emb_cli_options *options, const struct emb_input *in,
                     embellama_error *error)
{
    out->name = to_stdout(options) ? "standard output" : options->output;
    out->fd = STDOUT_FILENO;
    if (!to_stdout(options)) {
        out->fd = open(options->output, (options->resume ? O_RDWR : O_WRONLY) | O_CREAT | O_CLOEXEC, 0666);
        out->own_fd = out->fd >= 0;
    }
    if (out->fd < 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot open %.120s: %s", out->name, strerror(errno));
    }
    if (emb_input_is_file(in, out->fd)) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%.120s is the input and the output", out->name);
    }
    return EMBELLAMA_OK;
}

/* Puts the file where the next record goes, with nothing behind. */
static int position(struct emb_output *out, const struct emb_cli_options *options, size_t dim, embellama_error *error)
{
    uint64_t end = 0;
    struct stat st;
    if (options->resume) {
        int rc = emb_resume_scan(out->fd, out->name, out->format, dim, &out->texts, &end, error);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
        out->rows = out->texts;
    }
    bool regular = fstat(out->fd, &st) == 0 && S_ISREG(st.st_mode);
    if (out->own_fd && regular && (ftruncate(out->fd, (off_t)end) != 0 || lseek(out->fd, (off_t)end, SEEK_SET) < 0)) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot cut %.120s: %s", out->name, strerror(errno));
    }
    if (out->format != EMB_CLI_OUTPUT_NPY) {
        return EMBELLAMA_OK;
    }
    if (end == 0) {
        off_t at = out->own_fd ? 0 : lseek(out->fd, 0, SEEK_CUR);
        out->base = at > 0 ? (uint64_t)at : 0;
        if (lseek(out->fd, (off_t)out->base + EMB_NPY_HEADER, SEEK_SET) < 0) {
            return emb_fail(error, EMBELLAMA_E_IO, "cannot seek in %.120s: %s", out->name, strerror(errno));
        }
    }
    return write_header(out, dim, error);
}

int emb_output_open(struct emb_output **result, const struct emb_cli_options *options, const struct emb_work *work,
                    const struct emb_input *in, uint64_t *kept, embellama_error *error)
{
    int rc = emb_output_check(options, work->per_token, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    struct emb_output *out = emb_calloc(1, sizeof *out);
    if (!out) {
        return emb_fail_nomem(error);
    }
    out->format = (enum emb_cli_output_format)options->output_format;
    rc = open_file(out, options, in, error);
    if (rc == EMBELLAMA_OK) {
        rc = position(out, options, work->dim, error);
    }
    if (rc != EMBELLAMA_OK) {
        (void)emb_output_close(out, NULL);
        return rc;
    }
    *kept = out->texts;
    *result = out;
    return EMBELLAMA_OK;
}

int emb_output_close(struct emb_output *out, embellama_error *error)
{
    if (!out) {
        return EMBELLAMA_OK;
    }
    int rc = EMBELLAMA_OK;
    if (out->own_fd && close(out->fd) != 0 && errno != EINTR) {
        rc = emb_fail(error, EMBELLAMA_E_IO, "cannot write to %.120s: %s", out->name, strerror(errno));
    }
    for (size_t i = 0; i < out->piece_capacity; i++) {
        emb_buf_deinit(&out->pieces[i]);
    }
    emb_free(out->pieces);
    emb_free(out->rows_before);
    emb_free(out);
    return rc;
}

/* ---- JSON lines --------------------------------------------------------------------------------------------------- */

static void format_vector(struct emb_buf *buf, const float *v, size_t dim)
{
    char *to = emb_buf_reserve(buf, dim * (EMB_FLOAT_CHARS + 1) + 2);
    if (!to) {
        return;
    }
    char *at = to;
    *at++ = '[';
    for (size_t i = 0; i < dim; i++) {
        if (i > 0) {
            *at++ = ',';
        }
        at += emb_json_write_float(v[i], at);
    }
    *at++ = ']';
    emb_buf_commit(buf, (size_t)(at - to));
}

static void format_tokens(struct emb_buf *buf, const struct emb_work *work, const struct emb_work_item *item)
{
    emb_buf_puts(buf, "\"tokens\":[");
    for (size_t i = 0; i < item->count; i++) {
        emb_buf_puts(buf, i > 0 ? "," : "");
        emb_json_write_cstring(buf, embellama_token_text(work->model, item->ids[i]));
    }
    emb_buf_puts(buf, "],");
}

static void format_text(struct emb_buf *buf, const struct emb_output *out, size_t i)
{
    const struct emb_work *work = out->work;
    const struct emb_work_item *item = &work->items[i];
    const float *v = work->vectors + out->rows_before[i] * work->dim;
    emb_buf_printf(buf, "{\"index\":%" PRIu64 ",", out->texts + i);
    if (!work->per_token) {
        emb_buf_puts(buf, "\"embedding\":");
        format_vector(buf, v, work->dim);
    } else {
        format_tokens(buf, work, item);
        emb_buf_puts(buf, "\"embedding\":[");
        for (size_t token = 0; token < item->count; token++) {
            emb_buf_puts(buf, token > 0 ? "," : "");
            format_vector(buf, v + token * work->dim, work->dim);
        }
        emb_buf_puts(buf, "]");
    }
    emb_buf_puts(buf, "}\n");
}

static void format_piece(void *arg, size_t piece, int member)
{
    const struct emb_output *out = arg;
    size_t first = piece * TEXTS_A_PIECE;
    size_t end = out->n - first < TEXTS_A_PIECE ? out->n : first + TEXTS_A_PIECE;
    (void)member;
    emb_buf_clear(&out->pieces[piece]);
    for (size_t i = first; i < end; i++) {
        format_text(&out->pieces[piece], out, i);
    }
}

static int write_lines(struct emb_output *out, embellama_error *error)
{
    size_t pieces = (out->n + TEXTS_A_PIECE - 1) / TEXTS_A_PIECE;
    size_t before = out->piece_capacity;
    if (!emb_grow(&out->pieces, &out->piece_capacity, pieces, sizeof *out->pieces)) {
        return emb_fail_nomem(error);
    }
    for (size_t i = before; i < out->piece_capacity; i++) {
        emb_buf_init(&out->pieces[i], SIZE_MAX / 4);
    }
    emb_team_run(out->work->team, format_piece, out, pieces);
    int rc = EMBELLAMA_OK;
    for (size_t i = 0; i < pieces && rc == EMBELLAMA_OK; i++) {
        rc = out->pieces[i].failed ? emb_fail_nomem(error)
                                   : emb_cli_write(out->fd, out->pieces[i].data, out->pieces[i].size, out->name, error);
    }
    return rc;
}

int emb_output_write(struct emb_output *out, const struct emb_work *work, size_t n, embellama_error *error)
{
    size_t rows = 0;
    if (!emb_grow(&out->rows_before, &out->rows_capacity, n, sizeof *out->rows_before)) {
        return emb_fail_nomem(error);
    }
    for (size_t i = 0; i < n; i++) {
        out->rows_before[i] = rows;
        rows += work->per_token ? work->items[i].count : 1;
    }
    out->work = work;
    out->n = n;
    int rc = out->format == EMB_CLI_OUTPUT_JSONL
                 ? write_lines(out, error)
                 : emb_cli_write(out->fd, work->vectors, rows * work->dim * sizeof(float), out->name, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    out->texts += n;
    out->rows += rows;
    return out->format == EMB_CLI_OUTPUT_NPY && n > 0 ? write_header(out, work->dim, error) : EMBELLAMA_OK;
}
