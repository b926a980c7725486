/* embellama tokenize: ids and tokens, one JSON object a text. */
#include "cli/cli.h"

#include <inttypes.h>
#include <unistd.h>

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

static int do_window(struct emb_work *work, const struct emb_input *in, const struct emb_window *window,
                     struct emb_buf *lines, embellama_error *error)
{
    size_t good;
    embellama_error why;
    int fault = emb_work_tokenize(work, window, &good, &why);
    emb_buf_clear(lines);
    for (size_t i = 0; i < good; i++) {
        format_item(lines, work->model, &work->items[i]);
    }
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

static int do_all(struct emb_work *work, struct emb_input *in, embellama_error *error)
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
            rc = do_window(work, in, &window, &lines, error);
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
        rc = do_all(&work, in, &error);
    }
    int code = rc == EMBELLAMA_OK ? EMB_CLI_OK : emb_cli_fail(&error);
    emb_work_deinit(&work);
    embellama_model_close(model);
    emb_input_close(in);
    return code;
}
