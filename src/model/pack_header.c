/* Writing and judging the header of a packed block. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "model/family.h"
#include "model/pack.h"

_Static_assert(sizeof(struct emb_pack_spec) == 16 + 9 * 8 + 6 * 4, "no padding: it is hashed");
_Static_assert(offsetof(struct emb_pack_header, checksum) == 232, "no padding, and much less than its page");

static const char magic[8] = {'E', 'M', 'B', 'P', 'A', 'C', 'K', '\n'};

/* ---- The packed form ---- */

/* Rows and columns of the sample: whole and broken panels, whole and broken steps. */
enum { SAMPLE_DEPTH = 201, SAMPLE_REST = 3 };

/* The hash of what gemm makes of a fixed matrix. It changes with anything in its packed form: order, rounding, scales. */
static int hash_form(const struct emb_gemm *gemm, uint64_t *out, embellama_error *error)
{
    size_t n = 2 * gemm->nr + SAMPLE_REST, size = gemm->packed_size(n, SAMPLE_DEPTH);
    float *sample = emb_alloc(n * SAMPLE_DEPTH, sizeof *sample);
    uint8_t *packed = emb_alloc_aligned(64, size);
    if (sample && packed) {
        uint32_t state = 1;
        for (size_t i = 0; i < n * SAMPLE_DEPTH; i++) {
            state = state * 1664525u + 1013904223u;
            sample[i] = ((float)(state >> 8) - 8388608.0F) * 0x1p-24F;
        }
        memset(packed, 0, size);
        gemm->pack(packed, sample, 0, n, n, SAMPLE_DEPTH);
        *out = emb_hash64_of(packed, size);
    }
    bool ok = sample && packed;
    emb_free(sample);
    emb_free(packed);
    return ok ? EMBELLAMA_OK : emb_fail_nomem(error);
}

/* ---- Writing ---- */

/* Copies text, cut where it does not fit; the rest of the field is zero. */
static void set_text(char *field, size_t size, const char *text)
{
    memset(field, 0, size);
    memcpy(field, text, strnlen(text, size - 1));
}

struct emb_pack_spec emb_pack_spec_of(const struct emb_spec *spec)
{
    struct emb_pack_spec out = {
        .hidden = spec->hidden,
        .layers = spec->layers,
        .heads = spec->heads,
        .intermediate = spec->intermediate,
        .vocab = spec->vocab,
        .positions = spec->positions,
        .types = spec->types,
        .recommended_length = spec->recommended_length,
        .norm_eps = spec->norm_eps,
        .act = (uint32_t)spec->act,
        .pooling = (uint32_t)spec->pooling,
        .normalize = (uint32_t)spec->normalize,
        .labels = spec->head.labels,
        .head_pooler = spec->head.labels > 0 && spec->head.pooler,
        .score_act = spec->head.labels > 0 ? (uint32_t)spec->head.act : 0,
    };
    set_text(out.family, sizeof out.family, spec->family);
    return out;
}

int emb_pack_describe(struct emb_pack_header *header, const struct emb_plan *plan, const struct emb_spec *spec,
                      const struct emb_form *form, struct emb_hash hash, embellama_error *error)
{
    *header = (struct emb_pack_header){
        .version = EMB_PACK_VERSION,
        .data = EMB_PLAN_START,
        .size = plan->size,
        .hash = hash,
        .spec = emb_pack_spec_of(spec),
    };
    memcpy(header->magic, magic, sizeof magic);
    set_text(header->tier, sizeof header->tier, form->kernels->tier);
    set_text(header->gemm, sizeof header->gemm, form->gemm->name);
    for (size_t i = 0; i < EMB_PLAN_TABLES; i++) {
        set_text(header->table_types[i], sizeof header->table_types[i], emb_dtype_traits(plan->tables[i].type)->name);
    }
    int rc = hash_form(form->gemm, &header->form, error);
    header->checksum = emb_hash64_of(header, offsetof(struct emb_pack_header, checksum));
    return rc;
}

/* ---- Judging ---- */

/* Whether a field holds exactly text, zero-filled. */
static bool has_text(const char *field, size_t size, const char *text)
{
    char expected[32];
    set_text(expected, size, text);
    return memcmp(field, expected, size) == 0;
}

static int check_frame(const struct emb_pack_header *h, uint64_t file_size, embellama_error *error)
{
    if (memcmp(h->magic, magic, sizeof magic) != 0) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "not packed weights");
    }
    if (h->version != EMB_PACK_VERSION || h->data != EMB_PLAN_START) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights of layout %u where this build has %d", h->version,
                        EMB_PACK_VERSION);
    }
    if (h->checksum != emb_hash64_of(h, offsetof(struct emb_pack_header, checksum))) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights whose header does not match its checksum");
    }
    if (h->size != file_size) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights of %llu bytes in a file of %llu",
                        (unsigned long long)h->size, (unsigned long long)file_size);
    }
    return EMBELLAMA_OK;
}

static int check_form(const struct emb_pack_header *h, struct emb_form *form, embellama_error *error)
{
    const struct emb_kernels *kernels = form->kernels;
    const struct emb_gemm *known[] = {&kernels->gemm_f32, &kernels->gemm_bf16, &kernels->gemm_i8}, *gemm = NULL;
    uint64_t expected = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (has_text(h->gemm, sizeof h->gemm, known[i]->name) && (!form->gemm || form->gemm == known[i])) {
            gemm = known[i];
        }
    }
    if (!gemm || !has_text(h->tier, sizeof h->tier, kernels->tier)) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "weights packed for %.15s (%.31s) where %s (%s) runs", h->tier,
                        h->gemm, kernels->tier, form->gemm ? form->gemm->name : "any");
    }
    int rc = hash_form(gemm, &expected, error);
    if (rc == EMBELLAMA_OK && h->form != expected) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "weights packed by another build, in another form");
    }
    form->gemm = gemm;
    return rc;
}

/* The family's own string of that name, or NULL. */
static const char *find_family(const struct emb_pack_spec *s)
{
    for (const struct emb_family *const *f = emb_families; *f; f++) {
        if (has_text(s->family, sizeof s->family, (*f)->name)) {
            return (*f)->name;
        }
    }
    return NULL;
}

static int read_spec(const struct emb_pack_spec *s, struct emb_spec *spec, embellama_error *error)
{
    *spec = (struct emb_spec){
        .family = find_family(s),
        .prefix = "",
        .hidden = s->hidden,
        .layers = s->layers,
        .heads = s->heads,
        .intermediate = s->intermediate,
        .vocab = s->vocab,
        .positions = s->positions,
        .types = s->types,
        .norm_eps = s->norm_eps,
        .recommended_length = s->recommended_length,
    };
    if (!spec->family || s->act > EMB_ACT_SILU || s->pooling > EMBELLAMA_POOLING_NONE ||
        s->normalize > EMBELLAMA_NORMALIZE_P || s->head_pooler > 1 || s->score_act > EMB_SCORE_NONE) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights of an unknown family, activation, pooling or head");
    }
    spec->act = (enum emb_act)s->act;
    spec->pooling = (embellama_pooling)s->pooling;
    spec->normalize = (embellama_normalize)s->normalize;
    spec->head = (struct emb_head_spec){
        .labels = s->labels, .pooler = s->head_pooler == 1, .act = (enum emb_score_act)s->score_act};
    return emb_spec_check(spec, error);
}

static int read_type(const char field[8], size_t columns, enum emb_dtype *out, embellama_error *error)
{
    for (int i = 0; i < EMB_DTYPE_COUNT; i++) {
        const struct emb_dtype_traits *traits = emb_dtype_traits((enum emb_dtype)i);
        if (traits->to_f32 && has_text(field, 8, traits->name) && columns % traits->block == 0) {
            *out = (enum emb_dtype)i;
            return EMBELLAMA_OK;
        }
    }
    return emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights with an embedding table of unknown type");
}

int emb_pack_check(const struct emb_pack_header *header, uint64_t file_size, struct emb_form *form,
                   struct emb_spec *spec, enum emb_dtype types[EMB_PLAN_TABLES], embellama_error *error)
{
    int rc = check_frame(header, file_size, error);
    if (rc == EMBELLAMA_OK) {
        rc = check_form(header, form, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = read_spec(&header->spec, spec, error);
    }
    for (size_t i = 0; rc == EMBELLAMA_OK && i < EMB_PLAN_TABLES; i++) {
        rc = read_type(header->table_types[i], spec->hidden, &types[i], error);
    }
    return rc;
}
