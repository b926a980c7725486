/* embellama dead-letter: what a server's dead-letter file says, and sending its inputs again. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "base/status.h"
#include "cli/post.h"

enum { FILE_BYTES = 1 << 26, LINE_BYTES = 1 << 22 };

struct record {
    const char *time, *model, *request_id, *hash, *reason;
    const char *task; /* what was wanted of it, if not its vector; else NULL */
    int64_t input, tokens;
    struct emb_json_value ids;
    bool has_ids;
};

static const char *string_of(struct emb_json_value v, const char *key, const char *fallback)
{
    const char *text;
    size_t size;
    return emb_json_get_string(v, key, &text, &size) ? text : fallback;
}

static bool parse_record(const struct emb_json *json, struct record *r)
{
    struct emb_json_value v = emb_json_root(json);
    *r = (struct record){.time = string_of(v, "time", NULL),
                         .model = string_of(v, "model", NULL),
                         .request_id = string_of(v, "request_id", "-"),
                         .hash = string_of(v, "hash", "-"),
                         .reason = string_of(v, "reason", ""),
                         .task = string_of(v, "task", NULL)};
    r->has_ids = emb_json_get(v, "ids", &r->ids) && emb_json_type(r->ids) == EMB_JSON_ARRAY;
    return r->time && r->model && emb_json_get_int(v, "input", &r->input) && emb_json_get_int(v, "tokens", &r->tokens);
}

/* Control characters of a file are not for a terminal. */
static void write_plain(struct emb_buf *out, const char *text)
{
    for (; *text; text++) {
        char c = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
        emb_buf_append(out, &c, 1);
    }
}

static void write_row(struct emb_buf *out, const struct record *r)
{
    write_plain(out, r->time);
    emb_buf_printf(out, "  %.8s  %5" PRId64 "  %6" PRId64 "  %-3s  ", r->hash, r->input, r->tokens,
                   r->has_ids ? "yes" : "no");
    write_plain(out, r->request_id);
    emb_buf_puts(out, "  ");
    if (r->task) {
        write_plain(out, r->task);
        emb_buf_puts(out, ": ");
    }
    write_plain(out, r->reason);
    emb_buf_puts(out, "\n");
}

static bool write_request(struct emb_buf *body, const struct record *r)
{
    emb_buf_puts(body, "{\"model\":");
    emb_json_write_cstring(body, r->model);
    emb_buf_puts(body, ",\"encoding_format\":\"base64\",\"input\":[[");
    bool first = true;
    for (struct emb_json_iter it = emb_json_iterate(r->ids); emb_json_next(&it);) {
        int64_t id;
        if (!emb_json_int(it.value, &id)) {
            return false;
        }
        emb_buf_printf(body, "%s%" PRId64, first ? "" : ",", id);
        first = false;
    }
    emb_buf_puts(body, "]]}");
    return !first && !body->failed;
}

/* The message of an error in OpenAI's form, or nothing. */
static void write_error(struct emb_buf *out, struct emb_buf *reply)
{
    struct emb_json *json = NULL;
    struct emb_json_value error;
    char *padding = emb_buf_reserve(reply, EMB_JSON_PADDING);
    if (padding) {
        memset(padding, 0, EMB_JSON_PADDING);
    }
    if (padding && emb_json_parse(&json, reply->data, reply->size, NULL) == EMBELLAMA_OK &&
        emb_json_get(emb_json_root(json), "error", &error)) {
        emb_buf_puts(out, " ");
        write_plain(out, string_of(error, "message", ""));
    }
    emb_json_free(json);
}

/* Says what became of one; false: it has no vector now, or nothing could be asked (then *rc is not 0). */
static bool retry(const struct emb_cli_options *options, const struct record *r, struct emb_buf *out, int *rc,
                  embellama_error *error)
{
    struct emb_buf body, reply;
    int status = 0;
    emb_buf_init(&body, LINE_BYTES);
    emb_buf_init(&reply, LINE_BYTES);
    emb_buf_printf(out, "%.8s  ", r->hash);
    if (r->task) {
        emb_buf_puts(out, "not sent again: it was no request for an embedding (");
        write_plain(out, r->task);
        emb_buf_puts(out, ")\n");
    } else if (!r->has_ids || !write_request(&body, r)) {
        emb_buf_puts(out, "no token ids: recorded without --dead-letter-text\n");
    } else {
        *rc = emb_cli_post(options->url, "/v1/embeddings", options->api_key, &body, &status, &reply, error);
        emb_buf_puts(out, status == 200 ? "embedded" : "failed:");
        if (status != 200 && *rc == EMBELLAMA_OK) {
            emb_buf_printf(out, " %d", status);
            write_error(out, &reply);
        }
        emb_buf_puts(out, "\n");
    }
    emb_buf_deinit(&body);
    emb_buf_deinit(&reply);
    return status == 200;
}

/* One line of the file. */
static bool do_line(const struct emb_cli_options *options, bool again, const char *line, size_t size, size_t number,
                    int *rc, embellama_error *error)
{
    struct emb_json *json = NULL;
    struct record r;
    struct emb_buf out;
    bool good = false;
    emb_buf_init(&out, LINE_BYTES);
    if (emb_json_parse(&json, line, size, error) != EMBELLAMA_OK || !parse_record(json, &r)) {
        emb_cli_say("line %zu is no dead letter", number);
    } else if (again) {
        good = retry(options, &r, &out, rc, error);
    } else {
        write_row(&out, &r);
        good = true;
    }
    if (*rc == EMBELLAMA_OK && out.size > 0 && emb_cli_print(&out) != EMB_CLI_OK) {
        good = false;
    }
    emb_buf_deinit(&out);
    emb_json_free(json);
    return good;
}

/* Lines are copied, as the parser wants zeros behind them. */
static int do_lines(const struct emb_cli_options *options, bool again, const char *text, size_t size)
{
    struct emb_buf line;
    embellama_error error;
    int rc = EMBELLAMA_OK;
    bool all = true;
    const char *end = text + size;
    emb_buf_init(&line, FILE_BYTES + EMB_JSON_PADDING);
    for (size_t number = 1; text < end && rc == EMBELLAMA_OK; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((stop ? stop : end) - text);
        static const char zeros[EMB_JSON_PADDING];
        emb_buf_clear(&line);
        emb_buf_append(&line, text, length);
        emb_buf_append(&line, zeros, sizeof zeros);
        if (line.failed) {
            rc = emb_fail_nomem(&error);
        } else if (length > 0) {
            all &= do_line(options, again, line.data, length, number, &rc, &error);
        }
        text = stop ? stop + 1 : end;
    }
    emb_buf_deinit(&line);
    return rc != EMBELLAMA_OK ? emb_cli_fail(&error) : all ? EMB_CLI_OK : EMB_CLI_FAILED;
}

int emb_cli_dead_letter(const struct emb_cli_options *options)
{
    const char *action = options->argument_count > 0 ? options->arguments[0] : "";
    bool again = strcmp(action, "retry") == 0;
    if (options->argument_count != 2 || (!again && strcmp(action, "list") != 0)) {
        return emb_cli_usage("dead-letter", "list FILE or retry FILE is wanted");
    }
    char *text = NULL;
    size_t size;
    embellama_error error;
    if (emb_file_read(options->arguments[1], FILE_BYTES, 1, &text, &size, &error) != EMBELLAMA_OK) {
        return emb_cli_fail(&error);
    }
    int code = do_lines(options, again, text, size);
    emb_free(text);
    return code;
}
