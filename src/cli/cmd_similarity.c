/* embellama similarity: the cosine between two texts. */
#include "cli/cli.h"

#include "base/status.h"
#include "cli/input.h"
#include "cli/open_model.h"
#include "cli/work.h"

static int compare(struct emb_work *work, struct emb_input *in, float *cosine, embellama_error *error)
{
    struct emb_window window;
    embellama_error why;
    size_t good = 0;
    emb_window_init(&window);
    int rc = emb_input_fill(in, &window, 2, SIZE_MAX, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_work_tokenize(work, &window, &good, &why);
        if (rc == EMBELLAMA_OK) {
            rc = emb_work_embed(work, window.n, &good, &why);
        }
        if (rc != EMBELLAMA_OK) {
            char place[160];
            uint64_t at = good < window.n ? window.places[good] : 0;
            rc = emb_fail(error, rc, "%s: %s", emb_input_place(in, at, place, sizeof place), why.message);
        }
    }
    if (rc == EMBELLAMA_OK) {
        *cosine = embellama_cosine(work->vectors, work->vectors + work->dim, work->dim);
    }
    emb_window_deinit(&window);
    return rc;
}

int emb_cli_similarity(const struct emb_cli_options *options)
{
    if (options->argument_count != 2) {
        return emb_cli_usage("similarity", "similarity compares two texts; %d given", options->argument_count);
    }
    if (options->pooling == EMBELLAMA_POOLING_NONE) {
        return emb_cli_usage("similarity", "--pooling none gives no one vector to compare");
    }
    struct emb_input *in = NULL;
    embellama_model *model = NULL;
    struct emb_work work = {0};
    embellama_error error;
    float cosine = 0;
    int rc = emb_input_open(&in, options, &error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_cli_open_model(&model, options, &error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_work_init(&work, model, options, false, &error);
    }
    if (rc == EMBELLAMA_OK && work.per_token) {
        rc = emb_fail(&error, EMBELLAMA_E_INVALID, "this model pools nothing: choose a --pooling to compare by");
    }
    if (rc == EMBELLAMA_OK) {
        rc = compare(&work, in, &cosine, &error);
    }
    emb_work_deinit(&work);
    embellama_model_close(model);
    emb_input_close(in);
    if (rc != EMBELLAMA_OK) {
        return emb_cli_fail(&error);
    }
    struct emb_buf line;
    emb_buf_init(&line, 64);
    emb_buf_printf(&line, "%.6f\n", (double)cosine);
    int code = emb_cli_print(&line);
    emb_buf_deinit(&line);
    return code;
}
