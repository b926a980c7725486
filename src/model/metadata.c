/* Reading config.json and the files of sentence-transformers (its Transformer, Pooling and Normalize modules), and GGUF's keys.
 *
 * Without modules.json sentence-transformers pools by the mean; the vectors are then normalised, as GGUF's are, since neither
 * format says otherwise and cosine is what everybody takes. */
#include "model/metadata.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "model/family.h"

enum { CONFIG_LIMIT = 4 << 20 };

int emb_metadata_json(struct emb_json **out, const char *directory, const char *name, embellama_error *error)
{
    char *path = emb_path_join(directory, name);
    *out = NULL;
    if (!path) {
        return emb_fail_nomem(error);
    }
    int rc = emb_json_read(out, path, CONFIG_LIMIT, error);
    emb_free(path);
    return rc;
}

int emb_metadata_json_if_any(struct emb_json **out, const char *directory, const char *name, embellama_error *error)
{
    int rc = emb_metadata_json(out, directory, name, error);
    return rc == EMBELLAMA_E_NOT_FOUND ? EMBELLAMA_OK : rc;
}

/* ---- config.json ---- */

static int read_config(struct emb_spec *spec, const char *directory, embellama_error *error)
{
    struct emb_json *json = NULL;
    const char *type = "";
    size_t size;
    int rc = emb_metadata_json(&json, directory, "config.json", error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    struct emb_json_value config = emb_json_root(json);
    emb_json_get_string(config, "model_type", &type, &size);
    rc = emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "config.json: model_type \"%.60s\" is not supported", type);
    for (const struct emb_family *const *f = emb_families; *f; f++) {
        if (strcmp(type, (*f)->hf_model_type) == 0) {
            spec->family = (*f)->name;
            rc = (*f)->from_config(spec, config, error);
            break;
        }
    }
    emb_json_free(json);
    return rc;
}

/* ---- Pooling ---- */

static const struct {
    const char *key;  /* of 1_Pooling/config.json: "pooling_mode_" + key */
    const char *name; /* as newer files' "pooling_mode" gives it */
    embellama_pooling pooling;
} pooling_modes[] = {
    {"pooling_mode_cls_token", "cls", EMBELLAMA_POOLING_CLS},
    {"pooling_mode_mean_tokens", "mean", EMBELLAMA_POOLING_MEAN},
    {"pooling_mode_max_tokens", "max", EMBELLAMA_POOLING_MAX},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", EMBELLAMA_POOLING_MEAN_SQRT_LEN},
    {"pooling_mode_lasttoken", "lasttoken", EMBELLAMA_POOLING_LAST},
};
enum { POOLING_MODES = sizeof pooling_modes / sizeof pooling_modes[0] };

static int parse_pooling(struct emb_spec *spec, struct emb_json_value config, embellama_error *error)
{
    const char *name;
    size_t size;
    int found = 0;
    bool on = false;
    int64_t dim = (int64_t)spec->hidden;

    bool named = emb_json_get_string(config, "pooling_mode", &name, &size);
    for (int i = 0; i < POOLING_MODES; i++) {
        on = false;
        emb_json_get_bool(config, pooling_modes[i].key, &on);
        if (on || (named && strcmp(name, pooling_modes[i].name) == 0)) {
            spec->pooling = pooling_modes[i].pooling;
            found++;
        }
    }
    on = false;
    if (emb_json_get_bool(config, "pooling_mode_weightedmean_tokens", &on) && on) {
        found = 0;
    }
    if (found != 1) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED,
                        "the Pooling module's mode is not one of cls, mean, max, mean_sqrt_len, last token");
    }
    emb_json_get_int(config, "word_embedding_dimension", &dim);
    if (dim != (int64_t)spec->hidden) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the Pooling module's dimension %lld is not the hidden size %zu",
                        (long long)dim, spec->hidden);
    }
    return EMBELLAMA_OK;
}

/* folder is the module's "path" out of modules.json: it may not leave the directory. */
static int read_pooling(struct emb_spec *spec, const char *directory, const char *folder, embellama_error *error)
{
    struct emb_json *json = NULL;
    char name[256];
    if (strstr(folder, "..") || folder[0] == '/' ||
        snprintf(name, sizeof name, "%s%sconfig.json", folder, *folder ? "/" : "") >= (int)sizeof name) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "modules.json: a module's path leaves the directory");
    }
    int rc = emb_metadata_json(&json, directory, name, error);
    if (rc == EMBELLAMA_OK) {
        rc = parse_pooling(spec, emb_json_root(json), error);
        emb_json_free(json);
    }
    return rc;
}

/* ---- modules.json ---- */

const char *emb_metadata_module(struct emb_json_value module)
{
    struct emb_json_value type;
    const char *name, *dot;
    size_t size;
    if (!emb_json_get(module, "type", &type) || !emb_json_string(type, &name, &size)) {
        return "";
    }
    dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static int read_module(struct emb_spec *spec, const char *directory, struct emb_json_value module,
                       embellama_error *error)
{
    const char *kind = emb_metadata_module(module), *type = "", *path = "";
    size_t size;
    emb_json_get_string(module, "type", &type, &size);
    emb_json_get_string(module, "path", &path, &size);
    if (strcmp(kind, "Transformer") == 0) {
        return EMBELLAMA_OK;
    }
    if (strcmp(kind, "Pooling") == 0) {
        return read_pooling(spec, directory, path, error);
    }
    if (strcmp(kind, "Normalize") == 0) {
        spec->normalize = EMBELLAMA_NORMALIZE_L2;
        return EMBELLAMA_OK;
    }
    return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "modules.json: module type \"%.80s\" is not supported", type);
}

static int read_modules(struct emb_spec *spec, const char *directory, embellama_error *error)
{
    struct emb_json *json = NULL;
    spec->pooling = EMBELLAMA_POOLING_MEAN;
    spec->normalize = EMBELLAMA_NORMALIZE_L2;
    int rc = emb_metadata_json_if_any(&json, directory, "modules.json", error);
    if (rc != EMBELLAMA_OK || !json) {
        return rc;
    }
    spec->normalize = EMBELLAMA_NORMALIZE_NONE;
    if (emb_json_type(emb_json_root(json)) != EMB_JSON_ARRAY) {
        rc = emb_fail(error, EMBELLAMA_E_FORMAT, "modules.json is not a list of modules");
    }
    struct emb_json_iter it = emb_json_iterate(emb_json_root(json));
    while (rc == EMBELLAMA_OK && emb_json_next(&it)) {
        rc = read_module(spec, directory, it.value, error);
    }
    emb_json_free(json);
    return rc;
}

/* ---- sentence_bert_config.json ---- */

static int read_recommended_length(struct emb_spec *spec, const char *directory, embellama_error *error)
{
    struct emb_json *json = NULL;
    int64_t length = 0;
    int rc = emb_metadata_json_if_any(&json, directory, "sentence_bert_config.json", error);
    if (rc == EMBELLAMA_OK && json) {
        emb_json_get_int(emb_json_root(json), "max_seq_length", &length);
        spec->recommended_length = length > 0 && (uint64_t)length <= spec->positions ? (size_t)length : 0;
        emb_json_free(json);
    }
    return rc;
}

/* Checkpoints saved from a model with a head carry the encoder's tensors under a prefix. */
static const char *find_prefix(const struct emb_spec *spec, const struct emb_source *source)
{
    static const char *const prefixes[] = {"", "bert.", "model."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s.weight", prefixes[i], spec->names->word);
        if (emb_source_tensor(source, name)) {
            return prefixes[i];
        }
    }
    return "";
}

int emb_metadata_from_directory(struct emb_spec *spec, const char *directory, const struct emb_source *source,
                                embellama_error *error)
{
    *spec = (struct emb_spec){0};
    int rc = read_config(spec, directory, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_spec_check(spec, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = read_modules(spec, directory, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = read_recommended_length(spec, directory, error);
    }
    if (rc == EMBELLAMA_OK) {
        spec->prefix = find_prefix(spec, source);
    }
    return rc;
}

/* ---- GGUF ---- */

static int gguf_pooling(struct emb_spec *spec, const struct emb_gguf *gguf, embellama_error *error)
{
    /* llama.cpp's enum llama_pooling_type; the last is rank, whose head reads the first token (head.h) */
    static const embellama_pooling known[] = {EMBELLAMA_POOLING_NONE, EMBELLAMA_POOLING_MEAN, EMBELLAMA_POOLING_CLS,
                                              EMBELLAMA_POOLING_LAST, EMBELLAMA_POOLING_CLS};
    char key[128];
    int64_t type = 1;
    snprintf(key, sizeof key, "%s.pooling_type", spec->family);
    emb_gguf_get_int(gguf, key, &type);
    if (type < 0 || type >= (int64_t)(sizeof known / sizeof known[0])) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "%s %lld is not supported", key, (long long)type);
    }
    spec->pooling = known[type];
    spec->normalize = EMBELLAMA_NORMALIZE_L2;
    return EMBELLAMA_OK;
}

int emb_metadata_from_gguf(struct emb_spec *spec, const struct emb_gguf *gguf, embellama_error *error)
{
    struct emb_gguf_string architecture = {"", 0};
    *spec = (struct emb_spec){.prefix = ""};
    emb_gguf_get_string(gguf, "general.architecture", &architecture);
    for (const struct emb_family *const *f = emb_families; *f; f++) {
        size_t size = strlen((*f)->gguf_architecture);
        if (architecture.size != size || memcmp(architecture.data, (*f)->gguf_architecture, size) != 0) {
            continue;
        }
        spec->family = (*f)->name;
        int rc = (*f)->from_gguf(spec, gguf, error);
        if (rc == EMBELLAMA_OK) {
            rc = emb_spec_check(spec, error);
        }
        return rc == EMBELLAMA_OK ? gguf_pooling(spec, gguf, error) : rc;
    }
    return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "general.architecture \"%.*s\" is not supported",
                    (int)(architecture.size < 60 ? architecture.size : 60), architecture.data);
}
