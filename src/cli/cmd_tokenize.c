/* embellama tokenize: ids and tokens, one JSON object a text; or the other way, texts of lists of ids. */
#include "cli/cli.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/json_write.h"
#include "base/status.h"
#include "cli/input.h"
#include "cli/open_model.h"
#include "cli/work.h"

static void format_item(struct emb_buf *line, const embellama_model *model, const struct emb_work_item *item)
{
    emb_buf_puts(line, "{\"ids\":[");
    for (size_t i = 0; i < item->count; i++) {
        emb_buf_printf(line, "%s%" PRId32, i > 0 ? "," : "", item->ids[i]);
    }
    emb_buf_puts(line, "],\"tokens\":[");
    for (size_t i = 0; i < item->count; i++) {
        emb_buf_puts(line, i > 0 ? "," : "");
        emb_json_write_cstring(line, embellama_token_text(model, item->ids[i]));
    }
    emb_buf_puts(line, "]}\n");
}

/* Ids and the text they stand for, reused from line to line. */
struct decoder {
    int32_t *ids;
    size_t count, room;
    char *text;
    size_t text_room;
};

/* Reads numbers between blanks, commas and brackets. */
static int read_ids(struct decoder *d, embellama_text text, embellama_error *error)
{
    d->count = 0;
    for (size_t at = 0; at < text.size;) {
        int64_t id = -1;
        for (; at < text.size && text.bytes[at] >= '0' && text.bytes[at] <= '9' && id <= INT32_MAX; at++) {
            id = (id < 0 ? 0 : id * 10) + (text.bytes[at] - '0');
        }
        char c = at < text.size ? text.bytes[at] : ' ';
        bool apart = c == ' ' || c == ',' || c == '[' || c == ']' || c == '\t';
        if (id > INT32_MAX || !apart) {
            return emb_fail(error, EMBELLAMA_E_INVALID, "byte %zu is not of a list of token ids", at + 1);
        }
        if (id >= 0 && !emb_grow(&d->ids, &d->room, d->count + 1, sizeof *d->ids)) {
            return emb_fail_nomem(error);
        }
        if (id >= 0) {
            d->ids[d->count++] = (int32_t)id;
        }
        at += id < 0;
    }
    return EMBELLAMA_OK;
}

static int decode_item(struct decoder *d, const embellama_model *model, embellama_text text, struct emb_buf *line,
                       embellama_error *error)
{
    size_t size = 0;
    int rc = read_ids(d, text, error);
    for (size_t i = 0; i < d->count && rc == EMBELLAMA_OK; i++) {
        if (!embellama_token_text(model, d->ids[i])) {
            rc = emb_fail(error, EMBELLAMA_E_TOKEN_ID, "token id %" PRId32 " is not in the vocabulary", d->ids[i]);
        }
    }
    embellama_ids ids = {d->ids, d->count};
    while (rc == EMBELLAMA_OK) {
        rc = embellama_detokenize(model, ids, false, d->text, d->text_room, &size, error);
        if (rc != EMBELLAMA_OK || size <= d->text_room) {
            break;
        }
        rc = emb_grow(&d->text, &d->text_room, size, 1) ? EMBELLAMA_OK : emb_fail_nomem(error);
    }
    if (rc == EMBELLAMA_OK) {
        emb_buf_puts(line, "{\"text\":");
        emb_json_write_string(line, size > 0 ? d->text : "", size);
        emb_buf_puts(line, "}\n");
    }
    return rc;
}

static int decode_window(const embellama_model *model, const struct emb_window *window, struct emb_buf *lines,
                         size_t *good, embellama_error *error)
{
    struct decoder d = {0};
    int rc = EMBELLAMA_OK;
    for (*good = 0; *good < window->n; ++*good) {
        rc = decode_item(&d, model, window->texts[*good], lines, error);
        if (rc != EMBELLAMA_OK) {
            break;
        }
    }
    emb_free(d.ids);
    emb_free(d.text);
    return rc;
}

static int tokenize_window(struct emb_work *work, const struct emb_window *window, struct emb_buf *lines, size_t *good,
                           embellama_error *error)
{
    int rc = emb_work_tokenize(work, window, good, error);
    for (size_t i = 0; i < *good; i++) {
        format_item(lines, work->model, &work->items[i]);
    }
    return rc;
}

static int do_window(struct emb_work *work, const struct emb_input *in, const struct emb_window *window, bool decode,
                     struct emb_buf *lines, embellama_error *error)
{
    size_t good;
    embellama_error why;
    emb_buf_clear(lines);
    int fault = decode ? decode_window(work->model, window, lines, &good, &why)
                       : tokenize_window(work, window, lines, &good, &why);
    if (lines->failed) {
        return emb_fail_nomem(error);
    }
    int rc = emb_cli_write(STDOUT_FILENO, lines->data, lines->size, "standard output", error);
    if (rc == EMBELLAMA_OK && fault != EMBELLAMA_OK) {
        char place[160];
        uint64_t at = good < window->n ? window->places[good] : 0;
        rc = emb_fail(error, fault, "%s: %s", emb_input_place(in, at, place, sizeof place), why.message);
    }
    return rc;
}

static int do_all(struct emb_work *work, struct emb_input *in, bool decode, embellama_error *error)
{
    struct emb_window window;
    struct emb_buf lines;
    int rc = EMBELLAMA_OK;
    emb_window_init(&window);
    emb_buf_init(&lines, SIZE_MAX / 4);
    while (rc == EMBELLAMA_OK) {
        embellama_error late;
        int fault = emb_input_fill(in, &window, emb_work_window_texts(work), emb_work_window_bytes(work), &late);
        if (window.n > 0) {
            rc = do_window(work, in, &window, decode, &lines, error);
        }
        if (rc == EMBELLAMA_OK && fault != EMBELLAMA_OK) {
            rc = emb_fail(error, fault, "%s", late.message);
        }
        if (window.n == 0) {
            break;
        }
    }
    emb_buf_deinit(&lines);
    emb_window_deinit(&window);
    return rc;
}

int emb_cli_tokenize(const struct emb_cli_options *options)
{
    if (options->argument_count > 0 && options->input_given) {
        return emb_cli_usage("tokenize", "texts come from the command line or from --input, not both");
    }
    if (options->argument_count == 0 && !options->input) {
        return emb_cli_usage("tokenize", "no text: give texts as arguments, or --input FILE (- is standard input)");
    }
    struct emb_input *in = NULL;
    embellama_model *model = NULL;
    struct emb_work work = {0};
    embellama_error error;
    int rc = emb_input_open(&in, options, &error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_cli_open_model(&model, options, &error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_work_init(&work, model, options, true, &error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = do_all(&work, in, options->decode, &error);
    }
    int code = rc == EMBELLAMA_OK ? EMB_CLI_OK : emb_cli_fail(&error);
    emb_work_deinit(&work);
    embellama_model_close(model);
    emb_input_close(in);
    return code;
}
