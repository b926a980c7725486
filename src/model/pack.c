/* Filling the block: one list of small items that the team takes in turn, so that threads end together whatever the tensors' sizes.
 *
 * A tensor, or the group packed as one matrix, is a job; jobs stand in the order of the file, and a job's items side by side: first
 * those that hash its bytes, then those that pack them (an embedding table's do both). So only the tensors at hand are in memory, a little is read ahead, and the last
 * item of a job gives its pages back. */
#include "model/pack.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

/* Bytes that one item hashes or copies, and bytes read ahead of the job at hand. */
enum { CHUNK = 256 << 10, AHEAD = 64 << 20 };

enum job_kind { JOB_TABLE, JOB_VECTOR, JOB_MATRIX };

struct job {
    enum job_kind kind;
    const void *what; /* the plan's entry */
    const struct emb_plan_parts *parts;
    size_t n_chunks;    /* items that hash */
    size_t first_chunk; /* in hashes: the plan's order, not the file's */
    size_t n_items;
    size_t first_item;
    uint64_t start; /* bytes of the jobs before it */
};

struct filling {
    const struct emb_plan *plan;
    const struct emb_gemm *gemm;
    uint8_t *block;
    struct job *jobs; /* in the file's order */
    size_t n_jobs, n_items, n_chunks;
    atomic_size_t *left;     /* of each job: items not done yet */
    atomic_size_t advised;   /* jobs read ahead so far */
    struct emb_hash *hashes; /* of every chunk, or NULL */
    size_t strip;            /* rows packed by an item: whole panels */
    size_t strip_floats;     /* of the widest strip */
    float **rows;            /* each member's strip as f32 */
};

/* ---- The list ---- */

static size_t ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static size_t count_chunks(const struct emb_plan_parts *parts)
{
    size_t n = 0;
    for (size_t i = 0; i < parts->count; i++) {
        n += ceil_div((size_t)parts->tensors[i]->size, CHUNK);
    }
    return n;
}

static void add_job(struct filling *f, enum job_kind kind, const void *what, const struct emb_plan_parts *parts,
                    size_t work_items)
{
    struct job *job = &f->jobs[f->n_jobs++];
    *job = (struct job){.kind = kind, .what = what, .parts = parts, .first_chunk = f->n_chunks};
    job->n_chunks = f->hashes ? count_chunks(parts) : 0;
    job->n_items = job->n_chunks + work_items;
    f->n_chunks += job->n_chunks;
}

static int by_place(const void *a, const void *b)
{
    const uint8_t *x = ((const struct job *)a)->parts->tensors[0]->data;
    const uint8_t *y = ((const struct job *)b)->parts->tensors[0]->data;
    return (x > y) - (x < y);
}

static void list_jobs(struct filling *f)
{
    const struct emb_plan *plan = f->plan;
    uint64_t start = 0;
    for (size_t i = 0; i < EMB_PLAN_TABLES; i++) {
        const struct emb_plan_table *t = &plan->tables[i];
        if (t->offset != 0) {
            add_job(f, JOB_TABLE, t, &t->parts, f->hashes ? 0 : ceil_div(t->size, CHUNK));
        }
    }
    for (size_t i = 0; i < plan->n_vectors; i++) {
        add_job(f, JOB_VECTOR, &plan->vectors[i], &plan->vectors[i].parts, 1);
    }
    for (size_t i = 0; i < plan->n_matrices; i++) {
        const struct emb_plan_matrix *m = &plan->matrices[i];
        add_job(f, JOB_MATRIX, m, &m->parts, ceil_div(m->n, f->strip));
        f->strip_floats = m->k * f->strip > f->strip_floats ? m->k * f->strip : f->strip_floats;
    }
    qsort(f->jobs, f->n_jobs, sizeof *f->jobs, by_place);
    for (size_t i = 0; i < f->n_jobs; i++) {
        struct job *job = &f->jobs[i];
        job->first_item = f->n_items;
        job->start = start;
        f->n_items += job->n_items;
        atomic_init(&f->left[i], job->n_items);
        for (size_t k = 0; k < job->parts->count; k++) {
            start += job->parts->tensors[k]->size;
        }
    }
}

/* ---- Items ---- */

/* The job an item belongs to: the last whose first item is not after it. */
static size_t job_of(const struct filling *f, size_t item)
{
    size_t low = 0, high = f->n_jobs;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (f->jobs[middle].first_item <= item) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Asks for the bytes of the jobs that come next. */
static void read_ahead(struct filling *f, const struct job *job)
{
    size_t next = atomic_load(&f->advised);
    while (next < f->n_jobs && f->jobs[next].start < job->start + AHEAD) {
        if (!atomic_compare_exchange_weak(&f->advised, &next, next + 1)) {
            continue;
        }
        const struct emb_plan_parts *parts = f->jobs[next].parts;
        for (size_t i = 0; i < parts->count; i++) {
            emb_file_want(parts->tensors[i]->data, (size_t)parts->tensors[i]->size);
        }
        next = atomic_load(&f->advised);
    }
}

static void hash_chunk(struct filling *f, const struct job *job, size_t chunk)
{
    size_t part = 0, slot = job->first_chunk + chunk;
    for (size_t n; chunk >= (n = ceil_div((size_t)job->parts->tensors[part]->size, CHUNK)); part++) {
        chunk -= n;
    }
    const struct emb_tensor *t = job->parts->tensors[part];
    size_t begin = chunk * CHUNK, left = (size_t)t->size - begin;
    f->hashes[slot] = emb_hash_of(t->data + begin, left < CHUNK ? left : CHUNK);
}

/* Copied as it is hashed, and its pages given back at once: a table may be by far the largest tensor. */
static void copy_chunk(const struct filling *f, const struct emb_plan_table *t, size_t chunk)
{
    size_t begin = chunk * CHUNK, left = t->size - begin, size = left < CHUNK ? left : CHUNK;
    const uint8_t *from = t->parts.tensors[0]->data + begin;
    memcpy(f->block + t->offset + begin, from, size);
    emb_file_drop(from, size);
}

static void fill_vector(const struct filling *f, const struct emb_plan_vector *v)
{
    float *out = (float *)(void *)(f->block + v->offset);
    for (size_t i = 0; i < v->parts.count; i++) {
        const struct emb_tensor *t = v->parts.tensors[i];
        size_t n = v->n / v->parts.count;
        emb_dtype_traits(t->type)->to_f32(t->data, n, out);
        out += n;
    }
}

/* Rows r0..r1 of a matrix as f32: where they lie in the file, if they are that already, else in out. */
static const float *strip_rows(const struct emb_plan_matrix *m, size_t r0, size_t r1, float *out)
{
    size_t each = m->n / m->parts.count;
    const struct emb_tensor *t = m->parts.tensors[r0 / each];
    if (t->type == EMB_DTYPE_F32 && r0 / each == (r1 - 1) / each && (uintptr_t)t->data % _Alignof(float) == 0) {
        return (const float *)(const void *)t->data + r0 % each * m->k;
    }
    for (size_t r = r0; r < r1; r++) {
        emb_table_row(m->parts.tensors[r / each], r % each, out + (r - r0) * m->k);
    }
    return out;
}

static void pack_strip(const struct filling *f, const struct emb_plan_matrix *m, size_t strip, int member)
{
    size_t r0 = strip * f->strip, r1 = r0 + f->strip < m->n ? r0 + f->strip : m->n;
    f->gemm->pack(f->block + m->offset, strip_rows(m, r0, r1, f->rows[member]), r0, r1, m->n, m->k);
}

static void fill_item(void *arg, size_t item, int member)
{
    struct filling *f = arg;
    size_t index = job_of(f, item), at = item - f->jobs[index].first_item;
    const struct job *job = &f->jobs[index];
    if (at == 0) {
        read_ahead(f, job);
    }
    bool hashing = at < job->n_chunks;
    if (hashing) {
        hash_chunk(f, job, at);
    }
    if (job->kind == JOB_TABLE) {
        copy_chunk(f, job->what, at);
    } else if (!hashing && job->kind == JOB_VECTOR) {
        fill_vector(f, job->what);
    } else if (!hashing) {
        pack_strip(f, job->what, at - job->n_chunks, member);
    }
    if (atomic_fetch_sub(&f->left[index], 1) == 1) {
        for (size_t i = 0; i < job->parts->count; i++) {
            emb_file_drop(job->parts->tensors[i]->data, (size_t)job->parts->tensors[i]->size);
        }
    }
}

/* ---- The model's hash ---- */

static void hash_tensor(struct emb_hash *hash, const struct emb_tensor *t)
{
    emb_hash_add(hash, t->name, strlen(t->name));
    emb_hash_add(hash, t->type_name, strlen(t->type_name));
    emb_hash_add(hash, t->dims, t->n_dims * sizeof *t->dims);
}

static void hash_parts(struct emb_hash *hash, const struct emb_plan_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        hash_tensor(hash, parts->tensors[i]);
    }
}

static struct emb_hash hash_model(const struct filling *f, const struct emb_spec *spec)
{
    struct emb_pack_spec fixed = emb_pack_spec_of(spec);
    struct emb_hash hash = emb_hash_of(&fixed, sizeof fixed);
    for (size_t i = 0; i < EMB_PLAN_TABLES; i++) {
        hash_parts(&hash, &f->plan->tables[i].parts);
    }
    for (size_t i = 0; i < f->plan->n_vectors; i++) {
        hash_parts(&hash, &f->plan->vectors[i].parts);
    }
    for (size_t i = 0; i < f->plan->n_matrices; i++) {
        hash_parts(&hash, &f->plan->matrices[i].parts);
    }
    emb_hash_add(&hash, f->hashes, f->n_chunks * sizeof *f->hashes);
    return hash;
}

/* ---- All ---- */

/* Room for the hashes of everything in the block. */
static struct emb_hash *alloc_hashes(const struct emb_plan *plan)
{
    size_t n = 0;
    for (size_t i = 0; i < EMB_PLAN_TABLES; i++) {
        n += count_chunks(&plan->tables[i].parts);
    }
    for (size_t i = 0; i < plan->n_vectors; i++) {
        n += count_chunks(&plan->vectors[i].parts);
    }
    for (size_t i = 0; i < plan->n_matrices; i++) {
        n += count_chunks(&plan->matrices[i].parts);
    }
    return emb_calloc(n, sizeof(struct emb_hash));
}

static bool alloc_rows(struct filling *f, size_t members)
{
    f->rows = emb_calloc(members, sizeof *f->rows);
    for (size_t i = 0; f->rows && i < members; i++) {
        f->rows[i] = emb_alloc(f->strip_floats, sizeof(float));
        if (!f->rows[i]) {
            return false;
        }
    }
    return f->rows != NULL;
}

int emb_pack_fill(const struct emb_plan *plan, const struct emb_spec *spec, const struct emb_gemm *gemm, uint8_t *block,
                  struct emb_team *team, struct emb_hash *hash, embellama_error *error)
{
    struct filling f = {.plan = plan, .gemm = gemm, .block = block, .strip = gemm->nr};
    size_t jobs = EMB_PLAN_TABLES + plan->n_vectors + plan->n_matrices, members = (size_t)emb_team_size(team);
    f.jobs = emb_calloc(jobs, sizeof *f.jobs);
    f.left = emb_calloc(jobs, sizeof *f.left);
    f.hashes = hash ? alloc_hashes(plan) : NULL;
    bool ok = f.jobs && f.left && (f.hashes || !hash);
    if (ok) {
        list_jobs(&f);
        ok = alloc_rows(&f, members);
    }
    if (ok) {
        emb_team_run(team, fill_item, &f, f.n_items);
    }
    if (ok && hash) {
        *hash = hash_model(&f, spec);
    }
    for (size_t i = 0; f.rows && i < members; i++) {
        emb_free(f.rows[i]);
    }
    emb_free(f.rows);
    emb_free(f.hashes);
    emb_free(f.left);
    emb_free(f.jobs);
    return ok ? EMBELLAMA_OK : emb_fail_nomem(error);
}
