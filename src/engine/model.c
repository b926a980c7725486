/* The public model: opening, closing, and what it says of itself. */
#include "engine/handle.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"

embellama_model_options embellama_model_options_default(void)
{
    return (embellama_model_options){.precision = EMBELLAMA_PRECISION_AUTO};
}

/* "F32 x 103, I64 x 1": the file's tensor types in order of first appearance. */
static char *list_types(const struct emb_source *source)
{
    struct {
        const char *name;
        size_t count;
    } seen[32];
    size_t n = 0;
    for (size_t i = 0; i < emb_source_tensor_count(source); i++) {
        const char *name = emb_source_tensor_at(source, i)->type_name;
        size_t k = 0;
        while (k < n && strcmp(seen[k].name, name) != 0) {
            k++;
        }
        if (k == n && n < sizeof seen / sizeof seen[0]) {
            seen[n].name = name;
            seen[n++].count = 0;
        }
        if (k < n) {
            seen[k].count++;
        }
    }
    char text[512] = "";
    size_t used = 0;
    for (size_t k = 0; k < n && used < sizeof text; k++) {
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s x %zu", k ? ", " : "", seen[k].name, seen[k].count);
    }
    return emb_strdup(text);
}

static uint64_t count_parameters(const struct emb_weights *w, const struct emb_spec *spec)
{
    uint64_t h = spec->hidden, inner = spec->intermediate;
    uint64_t layer = 4 * (h * h + h) + 2 * h * inner + inner + h + 4 * h;
    uint64_t tables = (w->word->dims[0] + w->position->dims[0] + w->type->dims[0]) * h;
    uint64_t head = spec->head.labels > 0 ? spec->head.labels * (h + 1) + (spec->head.pooler ? h * h + h : 0) : 0;
    return tables + 2 * h + spec->layers * layer + head;
}

static uint64_t count_token_flops(const struct emb_weights *w, const struct emb_spec *spec)
{
    uint64_t weights = 0;
    for (size_t i = 0; i < spec->layers; i++) {
        const struct emb_layer *l = &w->layers[i];
        const struct emb_linear *products[] = {&l->qkv, &l->attention_out, &l->up, &l->down};
        for (size_t k = 0; k < sizeof products / sizeof products[0]; k++) {
            weights += (uint64_t)products[k]->n * products[k]->k;
        }
    }
    return 2 * weights;
}

static int describe(embellama_model *model, embellama_error *error)
{
    const struct emb_model *m = &model->loaded;
    model->file_types = m->path ? list_types(&m->source) : NULL;
    if (m->path && !model->file_types) {
        return emb_fail_nomem(error);
    }
    model->info = (embellama_model_info){
        .name = m->name,
        .path = m->path,
        .format = m->path ? emb_source_format(&m->source) : NULL,
        .family = m->spec.family,
        .file_types = model->file_types,
        .cpu_tier = m->kernels->tier,
        .precision = m->precision,
        .pooling = m->spec.pooling,
        .normalize = m->spec.normalize,
        .dim = m->spec.hidden,
        .context_length = m->spec.positions,
        .recommended_length = m->spec.recommended_length,
        .layers = m->spec.layers,
        .heads = m->spec.heads,
        .intermediate_size = m->spec.intermediate,
        .vocab_size = m->spec.vocab,
        .parameters = count_parameters(&m->weights, &m->spec),
        .file_bytes = m->path ? emb_source_file_size(&m->source) : 0,
        .packed_bytes = m->weights.block_size,
        .mapped_bytes = m->weights.mapped_size,
        .token_flops = count_token_flops(&m->weights, &m->spec),
        .notice = m->notice[0] ? m->notice : NULL,
        .labels = m->spec.head.labels,
        .label_names = (const char *const *)m->labels,
        .numa_nodes = model->replicas.models ? (size_t)model->replicas.topology.count : 1,
    };
    return EMBELLAMA_OK;
}

int embellama_model_open(embellama_model **out, const char *path, const embellama_model_options *options,
                         embellama_error *error)
{
    embellama_model_options defaults = embellama_model_options_default();
    if (!out || !path || !*path) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "no model path given");
    }
    embellama_model *model = emb_calloc(1, sizeof *model);
    if (!model) {
        return emb_fail_nomem(error);
    }
    int rc = emb_model_load(&model->loaded, path, options ? options : &defaults, error);
    if (rc == EMBELLAMA_OK && options && options->numa) {
        rc = emb_replicas_new(&model->replicas, &model->loaded, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = describe(model, error);
    }
    if (rc != EMBELLAMA_OK) {
        embellama_model_close(model);
        return rc;
    }
    *out = model;
    return EMBELLAMA_OK;
}

int embellama_model_pack(int fd, const char *path, const embellama_model_options *options, embellama_error *error)
{
    embellama_model_options defaults = embellama_model_options_default();
    struct emb_hash hash;
    if (fd < 0 || !path || !*path) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "no model path or no file to pack into given");
    }
    return emb_model_pack(fd, &hash, path, options ? options : &defaults, error);
}

int embellama_model_attach(embellama_model **out, int fd, const char *path, const char *cpu, embellama_error *error)
{
    if (!out || fd < 0) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "no file of packed weights given");
    }
    embellama_model *model = emb_calloc(1, sizeof *model);
    if (!model) {
        return emb_fail_nomem(error);
    }
    int rc = path ? emb_model_attach_at(&model->loaded, fd, path, cpu, error)
                  : emb_model_attach(&model->loaded, fd, cpu, error);
    if (rc == EMBELLAMA_OK) {
        rc = describe(model, error);
    }
    if (rc != EMBELLAMA_OK) {
        embellama_model_close(model);
        return rc;
    }
    *out = model;
    return EMBELLAMA_OK;
}

void embellama_model_close(embellama_model *model)
{
    if (model) {
        emb_replicas_deinit(&model->replicas);
        emb_model_unload(&model->loaded);
        emb_free(model->file_types);
        emb_free(model);
    }
}

const embellama_model_info *embellama_model_get_info(const embellama_model *model)
{
    return &model->info;
}

size_t embellama_dim(const embellama_model *model)
{
    return model->info.dim;
}

const char *const *embellama_cpu_tiers(void)
{
    return emb_kernels_tiers();
}
