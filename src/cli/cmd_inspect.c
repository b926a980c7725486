/* embellama inspect: what a model is and what will run it, as a table or as JSON. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json_write.h"
#include "cli/open_model.h"

static void bytes_row(struct emb_buf *page, const char *label, uint64_t bytes)
{
    emb_buf_printf(page, "%-20s %.1f MiB (%" PRIu64 " bytes)\n", label, (double)bytes / (1 << 20), bytes);
}

static void number_row(struct emb_buf *page, const char *label, uint64_t value)
{
    emb_buf_printf(page, "%-20s %" PRIu64 "\n", label, value);
}

static void text_row(struct emb_buf *page, const char *label, const char *value)
{
    emb_buf_printf(page, "%-20s ", label);
    for (const char *c = value; *c; c++) { /* a file's name for itself must not steer the terminal */
        emb_buf_append(page, (unsigned char)*c < 0x20 || *c == 0x7F ? "?" : c, 1);
    }
    emb_buf_puts(page, "\n");
}

/* "3 (contradiction, entailment, neutral)"; nothing where the model makes vectors only. */
static void labels_row(struct emb_buf *page, const embellama_model_info *info)
{
    struct emb_buf text;
    if (info->labels == 0) {
        return;
    }
    emb_buf_init(&text, 1 << 20);
    emb_buf_printf(&text, "%zu", info->labels);
    for (size_t i = 0; info->label_names && i < info->labels; i++) {
        emb_buf_printf(&text, "%s%s%s", i == 0 ? " (" : ", ", info->label_names[i], i + 1 == info->labels ? ")" : "");
    }
    text_row(page, "labels", text.failed ? "" : text.data);
    emb_buf_deinit(&text);
}

static void list_tiers(struct emb_buf *page, const char *quote, const char *separator)
{
    const char *const *tiers = embellama_cpu_tiers();
    for (size_t i = 0; tiers[i]; i++) {
        emb_buf_printf(page, "%s%s%s%s", i > 0 ? separator : "", quote, tiers[i], quote);
    }
}

static void as_table(struct emb_buf *page, const embellama_model_info *info)
{
    text_row(page, "name", info->name);
    text_row(page, "path", info->path);
    text_row(page, "format", info->format);
    text_row(page, "family", info->family);
    number_row(page, "dimensions", info->dim);
    number_row(page, "context length", info->context_length);
    if (info->recommended_length > 0) {
        number_row(page, "recommended length", info->recommended_length);
    } else {
        text_row(page, "recommended length", "none given");
    }
    text_row(page, "pooling", embellama_pooling_name(info->pooling));
    text_row(page, "normalization", embellama_normalize_name(info->normalize));
    labels_row(page, info);
    number_row(page, "layers", info->layers);
    number_row(page, "heads", info->heads);
    number_row(page, "intermediate size", info->intermediate_size);
    number_row(page, "vocabulary", info->vocab_size);
    number_row(page, "parameters", info->parameters);
    text_row(page, "tensor types", info->file_types);
    bytes_row(page, "file size", info->file_bytes);
    bytes_row(page, "memory, packed", info->packed_bytes);
    bytes_row(page, "memory, mapped", info->mapped_bytes);
    text_row(page, "precision", embellama_precision_name(info->precision));
    emb_buf_printf(page, "%-20s %s (this CPU runs ", "kernels", info->cpu_tier);
    list_tiers(page, "", ", ");
    emb_buf_puts(page, ")\n");
    number_row(page, "threads available", (uint64_t)embellama_cpu_count());
}

/* "query = \"query: \" (default)", a row each. */
static void prompt_rows(struct emb_buf *page, const embellama_model *model)
{
    const char *name, *fallback = embellama_prompt_default(model);
    for (size_t i = 0; (name = embellama_prompt_name(model, i)); i++) {
        struct emb_buf text;
        emb_buf_init(&text, 1 << 20);
        emb_json_write_cstring(&text, name);
        emb_buf_puts(&text, " is ");
        emb_json_write_cstring(&text, embellama_prompt(model, name));
        emb_buf_puts(&text, fallback && strcmp(fallback, name) == 0 ? ", the default" : "");
        text_row(page, "prompt", text.failed ? "" : text.data);
        emb_buf_deinit(&text);
    }
}

static void text_member(struct emb_buf *page, const char *name, const char *value)
{
    emb_buf_printf(page, "\"%s\":", name);
    emb_json_write_cstring(page, value);
    emb_buf_puts(page, ",");
}

static void number_member(struct emb_buf *page, const char *name, uint64_t value)
{
    emb_buf_printf(page, "\"%s\":%" PRIu64 ",", name, value);
}

static void prompts_member(struct emb_buf *page, const embellama_model *model)
{
    const char *name;
    emb_buf_puts(page, "\"prompts\":{");
    for (size_t i = 0; (name = embellama_prompt_name(model, i)); i++) {
        emb_buf_puts(page, i > 0 ? "," : "");
        emb_json_write_cstring(page, name);
        emb_buf_puts(page, ":");
        emb_json_write_cstring(page, embellama_prompt(model, name));
    }
    emb_buf_puts(page, "},");
    text_member(page, "default_prompt_name", embellama_prompt_default(model));
}

static void as_json(struct emb_buf *page, const embellama_model *model)
{
    const embellama_model_info *info = embellama_model_get_info(model);
    emb_buf_puts(page, "{");
    text_member(page, "name", info->name);
    text_member(page, "path", info->path);
    text_member(page, "format", info->format);
    text_member(page, "family", info->family);
    number_member(page, "dim", info->dim);
    number_member(page, "context_length", info->context_length);
    number_member(page, "recommended_length", info->recommended_length);
    text_member(page, "pooling", embellama_pooling_name(info->pooling));
    text_member(page, "normalize", embellama_normalize_name(info->normalize));
    number_member(page, "labels", info->labels);
    emb_buf_puts(page, "\"label_names\":[");
    for (size_t i = 0; info->label_names && i < info->labels; i++) {
        emb_buf_puts(page, i > 0 ? "," : "");
        emb_json_write_cstring(page, info->label_names[i]);
    }
    emb_buf_puts(page, "],");
    number_member(page, "layers", info->layers);
    number_member(page, "heads", info->heads);
    number_member(page, "intermediate_size", info->intermediate_size);
    number_member(page, "vocab_size", info->vocab_size);
    number_member(page, "parameters", info->parameters);
    text_member(page, "file_types", info->file_types);
    number_member(page, "file_bytes", info->file_bytes);
    number_member(page, "packed_bytes", info->packed_bytes);
    number_member(page, "mapped_bytes", info->mapped_bytes);
    text_member(page, "precision", embellama_precision_name(info->precision));
    text_member(page, "cpu_tier", info->cpu_tier);
    prompts_member(page, model);
    emb_buf_puts(page, "\"cpu_tiers\":[");
    list_tiers(page, "\"", ",");
    emb_buf_printf(page, "],\"threads\":%d}\n", embellama_cpu_count());
}

int emb_cli_inspect(const struct emb_cli_options *options)
{
    if (options->argument_count > 1) {
        return emb_cli_usage("inspect", "inspect takes one model; %d given", options->argument_count);
    }
    struct emb_cli_options asked = *options;
    if (options->argument_count == 1) {
        asked.model = options->arguments[0];
    }
    embellama_model *model = NULL;
    embellama_error error;
    if (emb_cli_open_model(&model, &asked, &error) != EMBELLAMA_OK) {
        return emb_cli_fail(&error);
    }
    struct emb_buf page;
    emb_buf_init(&page, 1 << 20);
    if (options->json) {
        as_json(&page, model);
    } else {
        as_table(&page, embellama_model_get_info(model));
        prompt_rows(&page, model);
    }
    embellama_model_close(model);
    int code = emb_cli_print(&page);
    emb_buf_deinit(&page);
    return code;
}
