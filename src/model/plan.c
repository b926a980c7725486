/* The list of a model's tensors, in one order for all uses. */
#include "model/plan.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/status.h"

struct planner {
    const struct emb_spec *spec;
    const struct emb_source *source; /* or NULL */
    const struct emb_gemm *gemm;
    bool with_tables;
    embellama_error *error;
    struct emb_plan *plan;
};

/* ---- Finding ---- */

struct emb_name {
    char text[160];
};

static struct emb_name table_name(const struct planner *p, const char *part, const char *suffix)
{
    struct emb_name name = {""};
    if (p->source) {
        snprintf(name.text, sizeof name.text, "%s%s%s", p->spec->prefix, part, suffix);
    }
    return name;
}

static struct emb_name layer_name(const struct planner *p, size_t layer, const char *part, const char *suffix)
{
    struct emb_name name = {""};
    if (p->source) {
        snprintf(name.text, sizeof name.text, "%s%s%zu.%s%s", p->spec->prefix, p->spec->names->layer, layer, part,
                 suffix);
    }
    return name;
}

/* "[384, 1536]" */
static const char *print_shape(const struct emb_tensor *t, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (uint32_t i = 0; i < t->n_dims; i++) {
        used += (size_t)snprintf(out + used, size - used, "%s%llu", i ? ", " : "", (unsigned long long)t->dims[i]);
    }
    snprintf(out + used, size - used, "]");
    return out;
}

/* Adds a tensor of the shape [rows, columns], or [columns] where rows is 0, that can be read as f32. Without a source there is none
 * to find. */
static int find(const struct planner *p, struct emb_name name, size_t rows, size_t columns,
                struct emb_plan_parts *parts)
{
    const struct emb_tensor **out = &parts->tensors[parts->count++];
    if (!p->source) {
        return EMBELLAMA_OK;
    }
    const struct emb_tensor *t = emb_source_tensor(p->source, name.text);
    if (!t) {
        return emb_fail(p->error, EMBELLAMA_E_FORMAT, "tensor %s is missing", name.text);
    }
    bool shape =
        rows ? t->n_dims == 2 && t->dims[0] == rows && t->dims[1] == columns : t->n_dims == 1 && t->dims[0] == columns;
    if (!shape) {
        char shape_text[96];
        return emb_fail(p->error, EMBELLAMA_E_FORMAT, "tensor %s has the shape %s where %zu rows of %zu belong",
                        name.text, print_shape(t, shape_text, sizeof shape_text), rows ? rows : 1, columns);
    }
    if (!emb_dtype_traits(t->type)->to_f32) {
        return emb_fail(p->error, EMBELLAMA_E_UNSUPPORTED, "tensor %s has the type %s, which is not supported",
                        name.text, t->type_name);
    }
    if (columns % emb_dtype_traits(t->type)->block != 0) {
        return emb_fail(p->error, EMBELLAMA_E_FORMAT, "tensor %s: rows of %zu values are no whole %s blocks", name.text,
                        columns, t->type_name);
    }
    *out = t;
    return EMBELLAMA_OK;
}

/* ---- Laying out ---- */

/* Reserves size bytes of the block, cache-line aligned. */
static int reserve(const struct planner *p, size_t size, size_t *offset)
{
    size_t end;
    if (!emb_add(size, 63, &end) || !emb_add(p->plan->size, end & ~(size_t)63, &end)) {
        return emb_fail(p->error, EMBELLAMA_E_FORMAT, "the model's weights overflow the address space");
    }
    *offset = p->plan->size;
    p->plan->size = end;
    return EMBELLAMA_OK;
}

/* Whether a matrix of one row is written as a vector: ggml drops outer dimensions of 1. */
static bool is_flat(const struct planner *p, struct emb_name name)
{
    const struct emb_tensor *t = p->source ? emb_source_tensor(p->source, name.text) : NULL;
    return t && t->n_dims == 1;
}

/* The named tensors behind each other as f32: of the shape [each], or [rows, each] where rows is not 0. */
static int want_floats(struct planner *p, const struct emb_name *names, size_t n_parts, size_t rows, size_t each,
                       const float **target)
{
    struct emb_plan *plan = p->plan;
    if (!emb_grow(&plan->vectors, &plan->vector_capacity, plan->n_vectors + 1, sizeof *plan->vectors)) {
        return emb_fail_nomem(p->error);
    }
    struct emb_plan_vector *v = &plan->vectors[plan->n_vectors];
    *v = (struct emb_plan_vector){.n = each * n_parts * (rows ? rows : 1), .target = target};
    for (size_t i = 0; i < n_parts; i++) {
        int rc = find(p, names[i], rows == 1 && is_flat(p, names[i]) ? 0 : rows, each, &v->parts);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
    }
    plan->n_vectors++;
    return reserve(p, v->n * sizeof(float), &v->offset);
}

static int want_vector(struct planner *p, const struct emb_name *names, size_t n_parts, size_t each,
                       const float **target)
{
    return want_floats(p, names, n_parts, 0, each, target);
}

static int want_norm(struct planner *p, struct emb_name gamma, struct emb_name beta, struct emb_norm *norm)
{
    int rc = want_vector(p, &gamma, 1, p->spec->hidden, &norm->gamma);
    return rc != EMBELLAMA_OK ? rc : want_vector(p, &beta, 1, p->spec->hidden, &norm->beta);
}

/* The linear layer made of the named parts below each other, each [each, k] with a bias [each]. */
static int want_linear(struct planner *p, size_t layer, const char *const *parts, size_t n_parts, size_t each, size_t k,
                       struct emb_linear *linear)
{
    struct emb_name biases[EMB_PLAN_PARTS];
    struct emb_plan *plan = p->plan;
    if (!emb_grow(&plan->matrices, &plan->matrix_capacity, plan->n_matrices + 1, sizeof *plan->matrices)) {
        return emb_fail_nomem(p->error);
    }
    struct emb_plan_matrix *m = &plan->matrices[plan->n_matrices];
    *m = (struct emb_plan_matrix){.n = each * n_parts, .k = k, .target = &linear->w};
    for (size_t i = 0; i < n_parts; i++) {
        int rc = find(p, layer_name(p, layer, parts[i], ".weight"), each, k, &m->parts);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
        biases[i] = layer_name(p, layer, parts[i], ".bias");
    }
    plan->n_matrices++;
    linear->n = m->n;
    linear->k = k;
    size_t bytes = p->gemm->packed_size(m->n, k);
    if (bytes == 0) {
        return emb_fail(p->error, EMBELLAMA_E_FORMAT, "the model's weights overflow the address space");
    }
    int rc = reserve(p, bytes, &m->offset);
    return rc != EMBELLAMA_OK ? rc : want_vector(p, biases, n_parts, each, &linear->bias);
}

static int want_layer(struct planner *p, size_t i, struct emb_layer *layer)
{
    static const struct emb_tensor_names none = {0};
    const struct emb_tensor_names *names = p->source ? p->spec->names : &none;
    size_t h = p->spec->hidden, inner = p->spec->intermediate;
    const char *qkv[] = {names->query, names->key, names->value};
    int rc = want_linear(p, i, qkv, 3, h, h, &layer->qkv);
    if (rc == EMBELLAMA_OK) {
        rc = want_linear(p, i, &names->attention_out, 1, h, h, &layer->attention_out);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_norm(p, layer_name(p, i, names->attention_norm, ".weight"),
                       layer_name(p, i, names->attention_norm, ".bias"), &layer->attention_norm);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_linear(p, i, &names->up, 1, inner, h, &layer->up);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_linear(p, i, &names->down, 1, h, inner, &layer->down);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_norm(p, layer_name(p, i, names->out_norm, ".weight"), layer_name(p, i, names->out_norm, ".bias"),
                       &layer->out_norm);
    }
    return rc;
}

/* A layer of the head, kept in f32: [n, hidden] with a bias [n]. */
static int want_head_layer(struct planner *p, const char *prefix, const char *part, size_t n, const float **w,
                           const float **bias)
{
    struct emb_name weight = {""}, bias_name = {""};
    if (p->source) {
        snprintf(weight.text, sizeof weight.text, "%s%s.weight", prefix, part);
        snprintf(bias_name.text, sizeof bias_name.text, "%s%s.bias", prefix, part);
    }
    int rc = want_floats(p, &weight, 1, n, p->spec->hidden, w);
    return rc != EMBELLAMA_OK ? rc : want_vector(p, &bias_name, 1, n, bias);
}

static int want_head(struct planner *p, struct emb_head *head)
{
    const struct emb_spec *spec = p->spec;
    const char *pooler = p->source ? spec->names->pooler : NULL,
               *classifier = p->source ? spec->names->classifier : NULL;
    int rc = EMBELLAMA_OK;
    if (spec->head.labels > 0 && spec->head.pooler) {
        rc = want_head_layer(p, spec->prefix, pooler, spec->hidden, &head->pooler, &head->pooler_bias);
    }
    if (rc == EMBELLAMA_OK && spec->head.labels > 0) {
        rc = want_head_layer(p, "", classifier, spec->head.labels, &head->classifier, &head->classifier_bias);
    }
    return rc;
}

/* types: of the tables, without a source. */
static int want_tables(struct planner *p, const enum emb_dtype *types)
{
    const struct emb_spec *spec = p->spec;
    const size_t rows[EMB_PLAN_TABLES] = {spec->vocab, spec->positions, spec->types};
    const char *names[EMB_PLAN_TABLES] = {NULL};
    if (p->source) {
        names[0] = spec->names->word;
        names[1] = spec->names->position;
        names[2] = spec->names->type;
    }
    for (size_t i = 0; i < EMB_PLAN_TABLES; i++) {
        struct emb_plan_table *t = &p->plan->tables[i];
        uint64_t bytes;
        *t = (struct emb_plan_table){.rows = rows[i]};
        int rc = find(p, table_name(p, names[i], ".weight"), rows[i], spec->hidden, &t->parts);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
        t->type = p->source ? t->parts.tensors[0]->type : types[i];
        if (!emb_dtype_bytes(t->type, (uint64_t)rows[i] * spec->hidden, &bytes) || bytes > SIZE_MAX) {
            return emb_fail(p->error, EMBELLAMA_E_FORMAT, "an embedding table's rows are no whole blocks");
        }
        t->size = (size_t)bytes;
        rc = p->with_tables ? reserve(p, t->size, &t->offset) : EMBELLAMA_OK;
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
    }
    return EMBELLAMA_OK;
}

static int want_all(struct planner *p, struct emb_weights *w, const enum emb_dtype *types)
{
    const char *norm = p->source ? p->spec->names->embed_norm : NULL;
    *p->plan = (struct emb_plan){.size = EMB_PLAN_START};
    int rc = want_tables(p, types);
    if (rc == EMBELLAMA_OK) {
        rc = want_norm(p, table_name(p, norm, ".weight"), table_name(p, norm, ".bias"), &w->embed_norm);
    }
    for (size_t i = 0; rc == EMBELLAMA_OK && i < p->spec->layers; i++) {
        rc = want_layer(p, i, &w->layers[i]);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_head(p, &w->head);
    }
    if (rc != EMBELLAMA_OK) {
        emb_plan_deinit(p->plan);
    }
    return rc;
}

int emb_plan_tensors(struct emb_plan *plan, struct emb_weights *weights, const struct emb_spec *spec,
                     const struct emb_source *source, const struct emb_gemm *gemm, bool with_tables,
                     embellama_error *error)
{
    struct planner p = {spec, source, gemm, with_tables, error, plan};
    return want_all(&p, weights, NULL);
}

int emb_plan_layout(struct emb_plan *plan, struct emb_weights *weights, const struct emb_spec *spec,
                    const enum emb_dtype types[EMB_PLAN_TABLES], const struct emb_gemm *gemm, embellama_error *error)
{
    struct planner p = {spec, NULL, gemm, true, error, plan};
    return want_all(&p, weights, types);
}

void emb_plan_deinit(struct emb_plan *plan)
{
    emb_free(plan->matrices);
    emb_free(plan->vectors);
    *plan = (struct emb_plan){0};
}

void emb_plan_bind(const struct emb_plan *plan, const uint8_t *block)
{
    for (size_t i = 0; i < plan->n_matrices; i++) {
        *plan->matrices[i].target = block + plan->matrices[i].offset;
    }
    for (size_t i = 0; i < plan->n_vectors; i++) {
        *plan->vectors[i].target = (const float *)(const void *)(block + plan->vectors[i].offset);
    }
}
