/* Weights in this process's own memory, and weights in a file that is mapped. */
#include "model/weights.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/memfd.h"
#include "base/numa.h"
#include "base/status.h"
#include "model/pack.h"

enum { HUGE_PAGE = 2 << 20 };

void emb_table_row(const struct emb_tensor *table, size_t row, float *out)
{
    size_t row_bytes = (size_t)(table->size / table->dims[0]);
    emb_dtype_traits(table->type)->to_f32(table->data + row * row_bytes, (size_t)table->dims[1], out);
}

static int alloc_layers(struct emb_weights *w, const struct emb_spec *spec, embellama_error *error)
{
    *w = (struct emb_weights){0};
    w->layers = emb_calloc(spec->layers, sizeof *w->layers);
    return w->layers ? EMBELLAMA_OK : emb_fail_nomem(error);
}

/* ---- This process's own ---- */

static int fill_own(struct emb_weights *w, const struct emb_plan *plan, const struct emb_spec *spec,
                    const struct emb_gemm *gemm, struct emb_team *team, embellama_error *error)
{
    w->block = emb_alloc_aligned(HUGE_PAGE, plan->size);
    if (!w->block) {
        return emb_fail_nomem(error);
    }
    w->block_size = plan->size;
    madvise(w->block, plan->size, MADV_HUGEPAGE);
    w->word = plan->tables[0].parts.tensors[0];
    w->position = plan->tables[1].parts.tensors[0];
    w->type = plan->tables[2].parts.tensors[0];
    w->mapped_size = w->word->size + w->position->size + w->type->size;
    emb_plan_bind(plan, w->block);
    return emb_pack_fill(plan, spec, gemm, w->block, team, NULL, error);
}

int emb_weights_load(struct emb_weights *w, const struct emb_spec *spec, const struct emb_source *source,
                     const struct emb_gemm *gemm, struct emb_team *team, embellama_error *error)
{
    struct emb_plan plan = {0};
    int rc = alloc_layers(w, spec, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_plan_tensors(&plan, w, spec, source, gemm, false, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = fill_own(w, &plan, spec, gemm, team, error);
    }
    emb_plan_deinit(&plan);
    if (rc != EMBELLAMA_OK) {
        emb_weights_free(w);
    }
    return rc;
}

/* ---- Packing into a file ---- */

/* Fills the file's mapping, the header last. */
static int fill_mapping(uint8_t *block, struct emb_hash *hash, const struct emb_plan *plan, const struct emb_spec *spec,
                        const struct emb_form *form, struct emb_team *team, embellama_error *error)
{
    struct emb_pack_header header;
    int rc = emb_pack_fill(plan, spec, form->gemm, block, team, hash, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_pack_describe(&header, plan, spec, form, *hash, error);
    }
    if (rc == EMBELLAMA_OK) {
        memcpy(block, &header, sizeof header);
    }
    return rc;
}

static int fill_file(int fd, struct emb_hash *hash, const struct emb_plan *plan, const struct emb_spec *spec,
                     const struct emb_form *form, struct emb_team *team, embellama_error *error)
{
    uint8_t *block;
    int rc = emb_fd_map_new(&block, fd, plan->size, team, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    rc = fill_mapping(block, hash, plan, spec, form, team, error);
    munmap(block, plan->size);
    return rc;
}

int emb_weights_pack(int fd, struct emb_hash *hash, const struct emb_spec *spec, const struct emb_source *source,
                     const struct emb_form *form, struct emb_team *team, embellama_error *error)
{
    struct emb_weights planned;
    struct emb_plan plan = {0};
    int rc = alloc_layers(&planned, spec, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_plan_tensors(&plan, &planned, spec, source, form->gemm, true, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = fill_file(fd, hash, &plan, spec, form, team, error);
    }
    emb_plan_deinit(&plan);
    emb_weights_free(&planned);
    return rc;
}

/* ---- Attaching ---- */

static int map_block(struct emb_weights *w, int fd, embellama_error *error)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return emb_fail(error, EMBELLAMA_E_IO, "packed weights that are not in a regular file");
    }
    if (st.st_size < EMB_PLAN_START) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights in a file of %lld bytes", (long long)st.st_size);
    }
    int rc = emb_fd_map(&w->block, fd, (size_t)st.st_size, error);
    if (rc == EMBELLAMA_OK) {
        w->block_size = (size_t)st.st_size;
        w->mapped = true;
    }
    return rc;
}

static void attach_tables(struct emb_weights *w, const struct emb_plan *plan, size_t columns)
{
    for (size_t i = 0; i < EMB_PLAN_TABLES; i++) {
        const struct emb_plan_table *t = &plan->tables[i];
        w->tables[i] = (struct emb_tensor){
            .name = "",
            .type = t->type,
            .type_name = emb_dtype_traits(t->type)->name,
            .n_dims = 2,
            .dims = {t->rows, columns},
            .data = w->block + t->offset,
            .size = t->size,
        };
    }
    w->word = &w->tables[0];
    w->position = &w->tables[1];
    w->type = &w->tables[2];
}

/* From a mapped block whose header is right to weights. */
static int attach_block(struct emb_weights *w, const struct emb_spec *spec, const enum emb_dtype *types,
                        const struct emb_form *form, embellama_error *error)
{
    struct emb_plan plan = {0};
    w->layers = emb_calloc(spec->layers, sizeof *w->layers);
    if (!w->layers) {
        return emb_fail_nomem(error);
    }
    int rc = emb_plan_layout(&plan, w, spec, types, form->gemm, error);
    if (rc == EMBELLAMA_OK && plan.size != w->block_size) {
        rc = emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights of %zu bytes where such a model has %zu",
                      w->block_size, plan.size);
    }
    if (rc == EMBELLAMA_OK) {
        emb_plan_bind(&plan, w->block);
        attach_tables(w, &plan, spec->hidden);
    }
    emb_plan_deinit(&plan);
    return rc;
}

int emb_weights_attach(struct emb_weights *w, struct emb_spec *spec, int fd, struct emb_form *form,
                       embellama_error *error)
{
    struct emb_pack_header header;
    enum emb_dtype types[EMB_PLAN_TABLES];
    *w = (struct emb_weights){0};
    w->tables = emb_calloc(EMB_PLAN_TABLES, sizeof *w->tables);
    int rc = w->tables ? map_block(w, fd, error) : emb_fail_nomem(error);
    if (rc == EMBELLAMA_OK) {
        memcpy(&header, w->block, sizeof header);
        rc = emb_pack_check(&header, w->block_size, form, spec, types, error);
    }
    if (rc == EMBELLAMA_OK) {
        w->hash = header.hash;
        rc = attach_block(w, spec, types, form, error);
    }
    if (rc != EMBELLAMA_OK) {
        emb_weights_free(w);
        return rc;
    }
    emb_file_want(w->block, w->block_size);
    return EMBELLAMA_OK;
}

/* ---- Copying ---- */

static int copy_block(struct emb_weights *copy, const struct emb_weights *w, const struct emb_plan *plan,
                      size_t columns, int node_id, int *refused, embellama_error *error)
{
    if (plan->size != w->block_size) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights of %zu bytes where such a model has %zu",
                        w->block_size, plan->size);
    }
    copy->block = emb_alloc_aligned(HUGE_PAGE, w->block_size);
    copy->tables = w->tables ? emb_calloc(EMB_PLAN_TABLES, sizeof *copy->tables) : NULL;
    if (!copy->block || (w->tables && !copy->tables)) {
        return emb_fail_nomem(error);
    }
    copy->block_size = w->block_size;
    madvise(copy->block, w->block_size, MADV_HUGEPAGE);
    *refused = emb_memory_near(copy->block, w->block_size, node_id); /* before the pages exist */
    memcpy(copy->block, w->block, w->block_size);
    emb_plan_bind(plan, copy->block);
    if (copy->tables) {
        attach_tables(copy, plan, columns);
    }
    return EMBELLAMA_OK;
}

int emb_weights_copy(struct emb_weights *copy, const struct emb_weights *w, const struct emb_spec *spec,
                     const struct emb_source *source, const struct emb_gemm *gemm, int node_id, int *refused,
                     embellama_error *error)
{
    struct emb_plan plan = {0};
    int rc = alloc_layers(copy, spec, error);
    if (rc == EMBELLAMA_OK) {
        copy->word = w->word;
        copy->position = w->position;
        copy->type = w->type;
        copy->hash = w->hash;
        rc = emb_plan_tensors(&plan, copy, spec, source, gemm, w->tables != NULL, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = copy_block(copy, w, &plan, spec->hidden, node_id, refused, error);
    }
    emb_plan_deinit(&plan);
    if (rc != EMBELLAMA_OK) {
        emb_weights_free(copy);
    }
    return rc;
}

void emb_weights_free(struct emb_weights *w)
{
    if (w->mapped) {
        munmap(w->block, w->block_size);
    } else {
        emb_free(w->block);
    }
    emb_free(w->layers);
    emb_free(w->tables);
    *w = (struct emb_weights){0};
}
