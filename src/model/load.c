/* Opening a model: files, spec, tokenizer, kernels, weights, in that order. */
#include "model/load.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/memfd.h"
#include "base/status.h"
#include "base/team.h"
#include "model/head.h"
#include "model/metadata.h"
#include "model/pack.h"
#include "model/pack_cache.h"

/* The last part of a path, without trailing slashes and without ".gguf". */
static char *name_from_path(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    if (end - start > 5 && memcmp(path + end - 5, ".gguf", 5) == 0) {
        end -= 5;
    }
    return emb_strndup(path + start, end - start);
}

static int load_tokenizer(struct emb_model *m, const char *path, embellama_error *error)
{
    if (m->source.gguf) {
        return emb_tokenizer_from_gguf(&m->tokenizer, m->source.gguf, error);
    }
    char *file = emb_path_join(path, "tokenizer.json");
    if (!file) {
        return emb_fail_nomem(error);
    }
    int rc = emb_tokenizer_from_json(&m->tokenizer, file, error);
    emb_free(file);
    return rc;
}

/* Tokenizer and weights must agree: every id has a row, and the special tokens leave room for text. */
static int check_tokenizer(const struct emb_model *m, embellama_error *error)
{
    embellama_ids prefix, suffix;
    size_t ids = emb_tokenizer_vocab_size(m->tokenizer);
    if (ids > m->spec.vocab) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the tokenizer has %zu tokens, the model only %zu", ids,
                        m->spec.vocab);
    }
    emb_tokenizer_frame(m->tokenizer, &prefix, &suffix);
    if (prefix.count + suffix.count >= m->spec.positions) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "a context of %zu tokens has no room beside %zu special tokens",
                        m->spec.positions, prefix.count + suffix.count);
    }
    struct emb_pair_frame pair = emb_tokenizer_pair_frame(m->tokenizer);
    if (m->spec.head.labels > 0 && pair.before + pair.between + pair.after >= m->spec.positions) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "a context of %zu tokens has no room beside a pair's special tokens",
                        m->spec.positions);
    }
    return EMBELLAMA_OK;
}

static int choose_tier(struct emb_model *m, const char *cpu, embellama_error *error)
{
    m->kernels = emb_kernels_get(cpu);
    if (!m->kernels) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "no kernels for the CPU tier \"%.40s\" here", cpu);
    }
    return EMBELLAMA_OK;
}

static int choose_kernels(struct emb_model *m, const embellama_model_options *options, embellama_error *error)
{
    int rc = choose_tier(m, options->cpu, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    m->precision = options->precision;
    if (m->precision == EMBELLAMA_PRECISION_AUTO) {
        /* Also of quantised files: int8 on top of the loss of Q8_0 falls to a cosine of 0.9987 over passages of 512 tokens. */
        m->precision = m->kernels->gemm_bf16.native ? EMBELLAMA_PRECISION_BF16 : EMBELLAMA_PRECISION_F32;
    }
    switch (m->precision) {
    case EMBELLAMA_PRECISION_F32: m->gemm = &m->kernels->gemm_f32; break;
    case EMBELLAMA_PRECISION_BF16: m->gemm = &m->kernels->gemm_bf16; break;
    case EMBELLAMA_PRECISION_INT8: m->gemm = &m->kernels->gemm_i8; break;
    default: return emb_fail(error, EMBELLAMA_E_INVALID, "unknown precision %d", (int)options->precision);
    }
    return EMBELLAMA_OK;
}

/* Says of a head without pooler that it is half of one: llama.cpp's converter leaves BERT's pooler out. */
static void note_pooler(struct emb_model *m)
{
    size_t used = strlen(m->notice);
    if (m->source.gguf && m->spec.head.labels > 0 && !m->spec.head.pooler) {
        snprintf(
            m->notice + used, sizeof m->notice - used,
            "%sthe file's head lacks the pooler (cls.weight) that BERT has: scores differ from the original model's",
            used ? "; " : "");
    }
}

/* All but kernels and weights. */
static int read_files(struct emb_model *m, const char *path, embellama_error *error)
{
    *m = (struct emb_model){0};
    m->name = name_from_path(path);
    m->path = emb_strdup(path);
    int rc = m->name && m->path ? EMBELLAMA_OK : emb_fail_nomem(error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_source_open(&m->source, path, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = m->source.gguf ? emb_metadata_from_gguf(&m->spec, m->source.gguf, error)
                            : emb_metadata_from_directory(&m->spec, path, &m->source, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = m->source.gguf ? emb_head_from_gguf(&m->spec, &m->source, error)
                            : emb_head_from_directory(&m->spec, path, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = load_tokenizer(m, path, error);
    }
    if (rc == EMBELLAMA_OK && !m->source.gguf) {
        rc = emb_prompts_read(&m->prompts, path, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = check_tokenizer(m, error);
    }
    return rc == EMBELLAMA_OK ? emb_head_read_labels(&m->labels, &m->spec, path, &m->source, error) : rc;
}

/* All but the weights. */
static int prepare(struct emb_model *m, const char *path, const embellama_model_options *options,
                   embellama_error *error)
{
    int rc = read_files(m, path, error);
    return rc == EMBELLAMA_OK ? choose_kernels(m, options, error) : rc;
}

static int new_team(struct emb_team **team, const embellama_model_options *options, embellama_error *error)
{
    return emb_team_new(team, options->threads > 0 ? options->threads : emb_cpu_count(), error);
}

int emb_model_load(struct emb_model *m, const char *path, const embellama_model_options *options,
                   embellama_error *error)
{
    struct emb_team *team = NULL;
    int rc = prepare(m, path, options, error);
    if (rc == EMBELLAMA_OK) {
        rc = new_team(&team, options, error);
    }
    if (rc == EMBELLAMA_OK) {
        struct emb_form form = {m->kernels, m->gemm};
        rc = options->pack_cache ? emb_pack_cache_load(&m->weights, options->pack_cache, &m->spec, &m->source, &form,
                                                       team, m->notice, error)
                                 : emb_weights_load(&m->weights, &m->spec, &m->source, m->gemm, team, error);
    }
    emb_team_free(team);
    note_pooler(m);
    if (rc != EMBELLAMA_OK) {
        emb_model_unload(m);
    }
    return rc;
}

/* Fills fd with what the folder of packed weights has for the model. *done tells whether it could. */
static int copy_kept(int fd, struct emb_hash *hash, const struct emb_model *m, const char *folder,
                     struct emb_team *team, bool *done, embellama_error *error)
{
    struct emb_weights kept = {0};
    struct emb_form form = {m->kernels, m->gemm};
    char notice[256];
    uint8_t *block;
    int rc = emb_pack_cache_load(&kept, folder, &m->spec, &m->source, &form, team, notice, error);
    *done = rc == EMBELLAMA_OK && kept.mapped;
    if (*done) {
        rc = emb_fd_map_new(&block, fd, kept.block_size, team, error);
    }
    if (*done && rc == EMBELLAMA_OK) {
        memcpy(block, kept.block, kept.block_size);
        munmap(block, kept.block_size);
        *hash = kept.hash;
    }
    emb_weights_free(&kept);
    return rc;
}

int emb_model_pack(int fd, struct emb_hash *hash, const char *path, const embellama_model_options *options,
                   embellama_error *error)
{
    struct emb_model m;
    struct emb_team *team = NULL;
    int rc = prepare(&m, path, options, error);
    if (rc == EMBELLAMA_OK) {
        rc = new_team(&team, options, error);
    }
    bool done = false;
    if (rc == EMBELLAMA_OK && options->pack_cache) {
        rc = copy_kept(fd, hash, &m, options->pack_cache, team, &done, error);
    }
    if (rc == EMBELLAMA_OK && !done) {
        struct emb_form form = {m.kernels, m.gemm};
        rc = emb_weights_pack(fd, hash, &m.spec, &m.source, &form, team, error);
    }
    emb_team_free(team);
    emb_model_unload(&m);
    return rc;
}

/* Kernels and weights; *spec becomes the packed model's. */
static int attach_weights(struct emb_model *m, struct emb_spec *spec, int fd, const char *cpu, embellama_error *error)
{
    int rc = choose_tier(m, cpu, error);
    if (rc == EMBELLAMA_OK) {
        struct emb_form form = {.kernels = m->kernels};
        rc = emb_weights_attach(&m->weights, spec, fd, &form, error);
        m->gemm = form.gemm;
    }
    if (rc == EMBELLAMA_OK) {
        m->precision = m->gemm == &m->kernels->gemm_f32    ? EMBELLAMA_PRECISION_F32
                       : m->gemm == &m->kernels->gemm_bf16 ? EMBELLAMA_PRECISION_BF16
                                                           : EMBELLAMA_PRECISION_INT8;
    }
    return rc;
}

int emb_model_attach(struct emb_model *m, int fd, const char *cpu, embellama_error *error)
{
    *m = (struct emb_model){0};
    int rc = attach_weights(m, &m->spec, fd, cpu, error);
    if (rc != EMBELLAMA_OK) {
        emb_model_unload(m);
    }
    return rc;
}

int emb_model_attach_at(struct emb_model *m, int fd, const char *path, const char *cpu, embellama_error *error)
{
    struct emb_spec packed;
    int rc = read_files(m, path, error);
    if (rc == EMBELLAMA_OK) {
        rc = attach_weights(m, &packed, fd, cpu, error);
    }
    if (rc == EMBELLAMA_OK) {
        struct emb_pack_spec a = emb_pack_spec_of(&m->spec), b = emb_pack_spec_of(&packed);
        /* Bytes, as the header holds them. */
        if (memcmp((const void *)&a, (const void *)&b, sizeof a) != 0) {
            rc = emb_fail(error, EMBELLAMA_E_FORMAT, "the weights were packed from another model than %.150s", path);
        }
    }
    note_pooler(m);
    if (rc != EMBELLAMA_OK) {
        emb_model_unload(m);
    }
    return rc;
}

void emb_model_unload(struct emb_model *m)
{
    emb_weights_free(&m->weights);
    emb_tokenizer_free(m->tokenizer);
    emb_source_close(&m->source);
    emb_prompts_deinit(&m->prompts);
    emb_free(m->name);
    emb_free(m->path);
    emb_free(m->labels);
    *m = (struct emb_model){0};
}
