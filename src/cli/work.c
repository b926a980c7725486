/* Tokenises with a team of its own beside the context's threads: they are never busy at the same time. */
#include "cli/work.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "cli/open_model.h"

/* A second or so of work for a thread; far above what keeps it at full speed. */
#define TEXTS_A_THREAD ((size_t)1024)
#define BYTES_A_THREAD ((size_t)32 << 10)
#define BYTES_A_THREAD_PER_TOKEN ((size_t)4 << 10) /* every token gives a vector then */

struct emb_work_scratch {
    int32_t *ids;
    size_t capacity;
    char *text; /* with the prompt before it */
    size_t text_room;
};

/* The text that --prompt or --prompt-name mean, or the model's default. */
static int choose_prompt(embellama_text *out, const embellama_model *model, const struct emb_cli_options *options,
                         embellama_error *error)
{
    const char *text = options->prompt ? options->prompt : embellama_prompt(model, options->prompt_name);
    if (!text && options->prompt_name && strcmp(options->prompt_name, "none") != 0) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "--prompt-name: the model has no prompt \"%.60s\"%s",
                        options->prompt_name,
                        embellama_prompt_name(model, 0) ? " (inspect shows them)" : ", nor any other");
    }
    *out = (embellama_text){text, text ? strlen(text) : 0};
    return EMBELLAMA_OK;
}

int emb_work_init(struct emb_work *work, const embellama_model *model, const struct emb_cli_options *options,
                  bool tokens_only, embellama_error *error)
{
    *work = (struct emb_work){.model = model, .embed = embellama_embed_options_default()};
    int rc = EMBELLAMA_OK;
    if (!tokens_only) {
        rc = emb_cli_limits(options, model, &work->max_length, &work->dim, error);
    }
    if (rc == EMBELLAMA_OK && !tokens_only) {
        rc = choose_prompt(&work->prompt, model, options, error);
    }
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    embellama_pooling pooling = (embellama_pooling)options->pooling;
    work->per_token = (pooling == EMBELLAMA_POOLING_AUTO ? embellama_model_get_info(model)->pooling : pooling) ==
                      EMBELLAMA_POOLING_NONE;
    work->truncate = options->truncate;
    work->embed.pooling = pooling;
    work->embed.normalize = (embellama_normalize)options->normalize;
    work->embed.p = (float)options->p;
    work->embed.dimensions = (size_t)options->dimensions;
    work->embed.max_length = work->max_length;
    work->threads = options->threads > 0 ? (int)options->threads : embellama_cpu_count();
    work->scratch = emb_calloc((size_t)work->threads, sizeof *work->scratch);
    if (!work->scratch) {
        return emb_fail_nomem(error);
    }
    if (work->threads > 1) {
        rc = emb_team_new(&work->team, work->threads, error);
    }
    if (rc == EMBELLAMA_OK && !tokens_only) {
        embellama_ctx_options ctx = embellama_ctx_options_default();
        ctx.threads = work->threads;
        ctx.shard_tokens = (size_t)options->shard_tokens;
        ctx.pin = options->pin;
        rc = embellama_ctx_new(&work->ctx, model, &ctx, error);
    }
    if (rc != EMBELLAMA_OK) {
        emb_work_deinit(work);
    }
    return rc;
}

static void drop_items(struct emb_work *work)
{
    for (size_t i = 0; i < work->n; i++) {
        emb_free(work->items[i].ids);
    }
    work->n = 0;
}

void emb_work_deinit(struct emb_work *work)
{
    drop_items(work);
    for (int i = 0; work->scratch && i < work->threads; i++) {
        emb_free(work->scratch[i].ids);
        emb_free(work->scratch[i].text);
    }
    emb_free(work->scratch);
    emb_free(work->items);
    emb_free(work->inputs);
    emb_free(work->statuses);
    emb_free(work->vectors);
    emb_team_free(work->team);
    embellama_ctx_free(work->ctx);
    *work = (struct emb_work){0};
}

size_t emb_work_window_texts(const struct emb_work *work)
{
    return TEXTS_A_THREAD * (size_t)work->threads;
}

size_t emb_work_window_bytes(const struct emb_work *work)
{
    return (work->per_token ? BYTES_A_THREAD_PER_TOKEN : BYTES_A_THREAD) * (size_t)work->threads;
}

/* Tokens of a text into scratch, whatever their number. */
static int tokenize_into(const embellama_model *model, embellama_text text, struct emb_work_scratch *scratch,
                         size_t *count)
{
    for (;;) {
        int rc = embellama_tokenize(model, text, NULL, scratch->ids, NULL, scratch->capacity, count, NULL);
        if (rc != EMBELLAMA_OK || *count <= scratch->capacity) {
            return rc;
        }
        if (!emb_grow(&scratch->ids, &scratch->capacity, *count, sizeof *scratch->ids)) {
            return EMBELLAMA_E_NOMEM;
        }
    }
}

/* Puts the prompt before *text. */
static bool put_prompt(embellama_text prompt, struct emb_work_scratch *scratch, embellama_text *text)
{
    size_t size;
    if (!emb_add(prompt.size, text->size, &size) || !emb_grow(&scratch->text, &scratch->text_room, size, 1)) {
        return false;
    }
    memcpy(scratch->text, prompt.bytes, prompt.size);
    if (text->size > 0) {
        memcpy(scratch->text + prompt.size, text->bytes, text->size);
    }
    *text = (embellama_text){scratch->text, size};
    return true;
}

static void tokenize_item(void *arg, size_t at, int member)
{
    struct emb_work *work = arg;
    struct emb_work_item *item = &work->items[at];
    struct emb_work_scratch *scratch = &work->scratch[member];
    *item = (struct emb_work_item){0};
    embellama_text text = work->window->texts[at];
    if (work->prompt.size > 0 && !put_prompt(work->prompt, scratch, &text)) {
        item->status = EMBELLAMA_E_NOMEM;
        return;
    }
    item->status = tokenize_into(work->model, text, scratch, &item->full);
    if (item->status != EMBELLAMA_OK) {
        return;
    }
    item->count = item->full;
    if (work->max_length > 0 && item->count > work->max_length) {
        if (!work->truncate) {
            item->status = EMBELLAMA_E_TOO_LONG;
            return;
        }
        item->count = embellama_truncate_ids(work->model, scratch->ids, item->count, work->max_length);
    }
    item->ids = emb_alloc(item->count, sizeof *item->ids);
    if (!item->ids) {
        item->status = EMBELLAMA_E_NOMEM;
        return;
    }
    memcpy(item->ids, scratch->ids, item->count * sizeof *item->ids);
}

int emb_work_tokenize(struct emb_work *work, const struct emb_window *window, size_t *good, embellama_error *error)
{
    *good = 0;
    drop_items(work);
    if (!emb_grow(&work->items, &work->item_capacity, window->n, sizeof *work->items)) {
        return emb_fail_nomem(error);
    }
    work->window = window;
    work->n = window->n;
    emb_team_run(work->team, tokenize_item, work, window->n);
    for (; *good < work->n; (*good)++) {
        const struct emb_work_item *item = &work->items[*good];
        if (item->status == EMBELLAMA_E_TOO_LONG) {
            return emb_fail(error, item->status, "%zu tokens, but %zu fit (--truncate shortens)", item->full,
                            work->max_length);
        }
        if (item->status != EMBELLAMA_OK) {
            return emb_fail(error, item->status, "%s", embellama_status_message(item->status));
        }
    }
    return EMBELLAMA_OK;
}

int emb_work_embed(struct emb_work *work, size_t n, size_t *good, embellama_error *error)
{
    size_t rows = 0, floats;
    *good = 0;
    for (size_t i = 0; i < n; i++) {
        rows += work->per_token ? work->items[i].count : 1;
    }
    if (!emb_mul(rows, work->dim, &floats) ||
        !emb_grow(&work->vectors, &work->vector_capacity, floats, sizeof *work->vectors) ||
        !emb_grow(&work->inputs, &work->input_capacity, n, sizeof *work->inputs) ||
        !emb_grow(&work->statuses, &work->status_capacity, n, sizeof *work->statuses)) {
        return emb_fail_nomem(error);
    }
    for (size_t i = 0; i < n; i++) {
        work->inputs[i] = (embellama_ids){work->items[i].ids, work->items[i].count};
        work->statuses[i] = EMBELLAMA_E_INVALID; /* stays where the call as a whole is refused */
    }
    embellama_error why = {0};
    int rc = embellama_embed_ids(work->ctx, work->inputs, n, &work->embed, work->vectors, work->statuses, &why);
    if (rc == EMBELLAMA_OK) {
        *good = n;
        return rc;
    }
    while (*good < n && work->statuses[*good] == EMBELLAMA_OK) {
        (*good)++;
    }
    int status = *good < n ? work->statuses[*good] : rc;
    bool whole = status == EMBELLAMA_E_INVALID && why.message[0] != '\0';
    return emb_fail(error, status, "%s", whole ? why.message : embellama_status_message(status));
}
