/* Finding, checking and packing tensors.
 *
 * Two passes over the same list of wants: the first finds and checks every tensor and lays out the block, the second fills it. */
#include "model/weights.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

enum { HUGE_PAGE = 2 << 20, MAX_PARTS = 3 };

/* A matrix to pack: up to three tensors of the same width below each other. */
struct matrix {
    const struct emb_tensor *parts[MAX_PARTS];
    size_t n_parts;
    size_t n, k;
    size_t offset; /* in the block */
    const void **target;
};

/* A vector to convert: up to three tensors behind each other. */
struct vector {
    const struct emb_tensor *parts[MAX_PARTS];
    size_t n_parts;
    size_t n;
    size_t offset;
    const float **target;
};

struct loader {
    const struct emb_spec *spec;
    const struct emb_source *source;
    const struct emb_gemm *gemm;
    embellama_error *error;
    struct matrix *matrices;
    size_t n_matrices, matrix_capacity;
    struct vector *vectors;
    size_t n_vectors, vector_capacity;
    size_t size; /* of the block so far */
};

/* ---- Finding ---- */

struct emb_name {
    char text[160];
};

static struct emb_name table_name(const struct loader *l, const char *part, const char *suffix)
{
    struct emb_name name;
    snprintf(name.text, sizeof name.text, "%s%s%s", l->spec->prefix, part, suffix);
    return name;
}

static struct emb_name layer_name(const struct loader *l, size_t layer, const char *part, const char *suffix)
{
    struct emb_name name;
    snprintf(name.text, sizeof name.text, "%s%s%zu.%s%s", l->spec->prefix, l->spec->names->layer, layer, part, suffix);
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

/* Finds a tensor of the shape [rows, columns], or [columns] where rows is 0, that can be read as f32. */
static int find(const struct loader *l, struct emb_name name, size_t rows, size_t columns,
                const struct emb_tensor **out)
{
    const struct emb_tensor *t = emb_source_tensor(l->source, name.text);
    if (!t) {
        return emb_fail(l->error, EMBELLAMA_E_FORMAT, "tensor %s is missing", name.text);
    }
    bool shape = rows ? t->n_dims == 2 && t->dims[0] == rows && t->dims[1] == columns
                      : t->n_dims == 1 && t->dims[0] == columns;
    if (!shape) {
        char shape_text[96];
        return emb_fail(l->error, EMBELLAMA_E_FORMAT, "tensor %s has the shape %s where %zu rows of %zu belong",
                        name.text, print_shape(t, shape_text, sizeof shape_text), rows ? rows : 1, columns);
    }
    if (!emb_dtype_traits(t->type)->to_f32) {
        return emb_fail(l->error, EMBELLAMA_E_UNSUPPORTED, "tensor %s has the type %s, which is not supported",
                        name.text, t->type_name);
    }
    if (columns % emb_dtype_traits(t->type)->block != 0) {
        return emb_fail(l->error, EMBELLAMA_E_FORMAT, "tensor %s: rows of %zu values are no whole %s blocks",
                        name.text, columns, t->type_name);
    }
    *out = t;
    return EMBELLAMA_OK;
}

/* Reserves size bytes of the block, cache-line aligned. */
static int reserve(struct loader *l, size_t size, size_t *offset)
{
    size_t end;
    if (!emb_add(size, 63, &end) || !emb_add(l->size, end & ~(size_t)63, &end)) {
        return emb_fail(l->error, EMBELLAMA_E_FORMAT, "the model's weights overflow the address space");
    }
    *offset = l->size;
    l->size = end;
    return EMBELLAMA_OK;
}

static int want_vector(struct loader *l, const struct emb_name *names, size_t n_parts, size_t each,
                       const float **target)
{
    if (!emb_grow(&l->vectors, &l->vector_capacity, l->n_vectors + 1, sizeof *l->vectors)) {
        return emb_fail_nomem(l->error);
    }
    struct vector *v = &l->vectors[l->n_vectors];
    *v = (struct vector){.n_parts = n_parts, .n = each * n_parts, .target = target};
    for (size_t i = 0; i < n_parts; i++) {
        int rc = find(l, names[i], 0, each, &v->parts[i]);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
    }
    l->n_vectors++;
    return reserve(l, v->n * sizeof(float), &v->offset);
}

static int want_norm(struct loader *l, struct emb_name gamma, struct emb_name beta, struct emb_norm *norm)
{
    int rc = want_vector(l, &gamma, 1, l->spec->hidden, &norm->gamma);
    return rc != EMBELLAMA_OK ? rc : want_vector(l, &beta, 1, l->spec->hidden, &norm->beta);
}

/* The linear layer made of the named parts below each other, each [each, k] with a bias [each]. */
static int want_linear(struct loader *l, size_t layer, const char *const *parts, size_t n_parts, size_t each, size_t k,
                       struct emb_linear *linear)
{
    struct emb_name biases[MAX_PARTS];
    if (!emb_grow(&l->matrices, &l->matrix_capacity, l->n_matrices + 1, sizeof *l->matrices)) {
        return emb_fail_nomem(l->error);
    }
    struct matrix *m = &l->matrices[l->n_matrices];
    *m = (struct matrix){.n_parts = n_parts, .n = each * n_parts, .k = k, .target = &linear->w};
    for (size_t i = 0; i < n_parts; i++) {
        int rc = find(l, layer_name(l, layer, parts[i], ".weight"), each, k, &m->parts[i]);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
        biases[i] = layer_name(l, layer, parts[i], ".bias");
    }
    l->n_matrices++;
    linear->n = m->n;
    linear->k = k;
    size_t bytes = l->gemm->packed_size(m->n, k);
    if (bytes == 0) {
        return emb_fail(l->error, EMBELLAMA_E_FORMAT, "the model's weights overflow the address space");
    }
    int rc = reserve(l, bytes, &m->offset);
    return rc != EMBELLAMA_OK ? rc : want_vector(l, biases, n_parts, each, &linear->bias);
}

static int want_layer(struct loader *l, size_t i, struct emb_layer *layer)
{
    const struct emb_tensor_names *names = l->spec->names;
    size_t h = l->spec->hidden, inner = l->spec->intermediate;
    const char *qkv[] = {names->query, names->key, names->value};
    int rc = want_linear(l, i, qkv, 3, h, h, &layer->qkv);
    if (rc == EMBELLAMA_OK) {
        rc = want_linear(l, i, &names->attention_out, 1, h, h, &layer->attention_out);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_norm(l, layer_name(l, i, names->attention_norm, ".weight"),
                       layer_name(l, i, names->attention_norm, ".bias"), &layer->attention_norm);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_linear(l, i, &names->up, 1, inner, h, &layer->up);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_linear(l, i, &names->down, 1, h, inner, &layer->down);
    }
    if (rc == EMBELLAMA_OK) {
        rc = want_norm(l, layer_name(l, i, names->out_norm, ".weight"), layer_name(l, i, names->out_norm, ".bias"),
                       &layer->out_norm);
    }
    return rc;
}

static int want_all(struct loader *l, struct emb_weights *w)
{
    const struct emb_spec *spec = l->spec;
    const struct emb_tensor_names *names = spec->names;
    const struct {
        const char *part;
        size_t rows;
        const struct emb_tensor **target;
    } tables[] = {
        {names->word, spec->vocab, &w->word},
        {names->position, spec->positions, &w->position},
        {names->type, spec->types, &w->type},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        int rc = find(l, table_name(l, tables[i].part, ".weight"), tables[i].rows, spec->hidden, tables[i].target);
        if (rc != EMBELLAMA_OK) {
            return rc;
        }
        w->mapped_size += (*tables[i].target)->size;
    }
    int rc = want_norm(l, table_name(l, names->embed_norm, ".weight"), table_name(l, names->embed_norm, ".bias"),
                       &w->embed_norm);
    for (size_t i = 0; rc == EMBELLAMA_OK && i < spec->layers; i++) {
        rc = want_layer(l, i, &w->layers[i]);
    }
    return rc;
}

/* ---- Filling ---- */

void emb_table_row(const struct emb_tensor *table, size_t row, float *out)
{
    size_t row_bytes = (size_t)(table->size / table->dims[0]);
    emb_dtype_traits(table->type)->to_f32(table->data + row * row_bytes, (size_t)table->dims[1], out);
}

static void fill_vector(const struct vector *v, uint8_t *block)
{
    float *out = (float *)(void *)(block + v->offset);
    *v->target = out;
    for (size_t i = 0; i < v->n_parts; i++) {
        size_t n = (size_t)v->parts[i]->dims[0];
        emb_dtype_traits(v->parts[i]->type)->to_f32(v->parts[i]->data, n, out);
        out += n;
    }
}

struct packing {
    const struct loader *loader;
    const struct matrix *matrix;
    uint8_t *block;
    size_t strip;   /* rows of a strip: whole panels */
    float **rows;   /* each team member's [strip, k] */
};

static void pack_strip(void *arg, size_t item, int member)
{
    const struct packing *p = arg;
    const struct matrix *m = p->matrix;
    size_t each = m->n / m->n_parts;
    size_t r0 = item * p->strip, r1 = r0 + p->strip < m->n ? r0 + p->strip : m->n;
    float *rows = p->rows[member];
    for (size_t r = r0; r < r1; r++) {
        emb_table_row(m->parts[r / each], r % each, rows + (r - r0) * m->k);
    }
    p->loader->gemm->pack(p->block + m->offset, rows, r0, r1, m->n, m->k);
}

static void pack_matrix(const struct loader *l, const struct matrix *m, uint8_t *block, struct emb_team *team,
                        float **rows, size_t strip)
{
    struct packing p = {.loader = l, .matrix = m, .block = block, .strip = strip, .rows = rows};
    emb_team_run(team, pack_strip, &p, (m->n + strip - 1) / strip);
    *m->target = block + m->offset;
    for (size_t i = 0; i < m->n_parts; i++) {
        emb_file_drop(m->parts[i]->data, (size_t)m->parts[i]->size);
    }
}

/* Packs every matrix with one strip of f32 rows a member. */
static int fill_matrices(const struct loader *l, uint8_t *block, struct emb_team *team)
{
    size_t widest = 0, members = (size_t)emb_team_size(team), strip = l->gemm->nr, floats;
    for (size_t i = 0; i < l->n_matrices; i++) {
        widest = l->matrices[i].k > widest ? l->matrices[i].k : widest;
    }
    float **rows = emb_calloc(members, sizeof *rows);
    bool ok = rows && emb_mul(strip, widest, &floats);
    for (size_t i = 0; ok && i < members; i++) {
        rows[i] = emb_alloc(floats, sizeof(float));
        ok = rows[i] != NULL;
    }
    for (size_t i = 0; ok && i < l->n_matrices; i++) {
        pack_matrix(l, &l->matrices[i], block, team, rows, strip);
    }
    for (size_t i = 0; rows && i < members; i++) {
        emb_free(rows[i]);
    }
    emb_free(rows);
    return ok ? EMBELLAMA_OK : emb_fail_nomem(l->error);
}

static int fill(const struct loader *l, struct emb_weights *w, struct emb_team *team)
{
    w->block = emb_alloc_aligned(HUGE_PAGE, l->size);
    if (!w->block) {
        return emb_fail_nomem(l->error);
    }
    w->block_size = l->size;
    madvise(w->block, l->size, MADV_HUGEPAGE);
    for (size_t i = 0; i < l->n_vectors; i++) {
        fill_vector(&l->vectors[i], w->block);
    }
    return fill_matrices(l, w->block, team);
}

int emb_weights_load(struct emb_weights *w, const struct emb_spec *spec, const struct emb_source *source,
                     const struct emb_gemm *gemm, struct emb_team *team, embellama_error *error)
{
    struct loader l = {.spec = spec, .source = source, .gemm = gemm, .error = error};
    *w = (struct emb_weights){0};
    w->layers = emb_calloc(spec->layers, sizeof *w->layers);
    int rc = w->layers ? want_all(&l, w) : emb_fail_nomem(error);
    if (rc == EMBELLAMA_OK) {
        rc = fill(&l, w, team);
    }
    emb_free(l.matrices);
    emb_free(l.vectors);
    if (rc != EMBELLAMA_OK) {
        emb_weights_free(w);
    }
    return rc;
}

void emb_weights_free(struct emb_weights *w)
{
    emb_free(w->layers);
    emb_free(w->block);
    *w = (struct emb_weights){0};
}
