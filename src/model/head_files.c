/* What files say of a classification head: config.json's architectures, id2label and activation functions, and GGUF's keys.
 *
 * Where nothing names an activation function it is the sigmoid for a single label, as sentence-transformers has it, and the softmax for
 * several, as Hugging Face's text classification has it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "model/family.h"
#include "model/head.h"
#include "model/metadata.h"

/* ---- Whether it is a cross-encoder ---- */

static bool names_classifier(struct emb_json_value config, const char *family)
{
    struct emb_json_value list;
    const char *name;
    size_t size;
    const struct emb_family *const *f = emb_families;
    while (*f && strcmp((*f)->name, family) != 0) {
        f++;
    }
    if (!*f || !(*f)->hf_classifier || !emb_json_get(config, "architectures", &list)) {
        return false;
    }
    for (struct emb_json_iter it = emb_json_iterate(list); emb_json_next(&it);) {
        if (emb_json_string(it.value, &name, &size) && strcmp(name, (*f)->hf_classifier) == 0) {
            return true;
        }
    }
    return false;
}

/* sentence-transformers takes the encoder alone out of such a checkpoint when its modules pool. */
static int find_pooling(const char *directory, bool *found, embellama_error *error)
{
    struct emb_json *json = NULL;
    *found = false;
    int rc = emb_metadata_json_if_any(&json, directory, "modules.json", error);
    if (rc != EMBELLAMA_OK || !json) {
        return rc;
    }
    for (struct emb_json_iter it = emb_json_iterate(emb_json_root(json)); emb_json_next(&it);) {
        *found = *found || strcmp(emb_metadata_module(it.value), "Pooling") == 0;
    }
    emb_json_free(json);
    return EMBELLAMA_OK;
}

/* ---- Labels ---- */

static int check_labels(struct emb_spec *spec, const char *what, int64_t labels, embellama_error *error)
{
    if (labels < 1 || labels > EMB_LABELS_MOST) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "%s: %lld labels where a head has 1 to %d", what, (long long)labels,
                        EMB_LABELS_MOST);
    }
    spec->head.labels = (size_t)labels;
    return EMBELLAMA_OK;
}

/* As transformers counts them: id2label, else num_labels, else two. */
static int count_labels(struct emb_spec *spec, struct emb_json_value config, embellama_error *error)
{
    struct emb_json_value map, count;
    int64_t labels = 2;
    if (emb_json_get(config, "id2label", &map) && emb_json_type(map) == EMB_JSON_OBJECT) {
        labels = (int64_t)emb_json_size(map);
    } else if (emb_json_get(config, "num_labels", &count) && !emb_json_int(count, &labels)) {
        labels = 0;
    }
    return check_labels(spec, "config.json", labels, error);
}

/* "12" as 12; SIZE_MAX where it is no such number. */
static size_t parse_index(const char *text, size_t size)
{
    size_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || value > EMB_LABELS_MOST) {
            return SIZE_MAX;
        }
        value = value * 10 + (size_t)(text[i] - '0');
    }
    return size > 0 ? value : SIZE_MAX;
}

struct label {
    const char *text; /* NULL: none of that index so far */
    size_t size;
};

/* Copies labels into one block: pointers, then texts. */
static int copy_labels(char ***out, const struct label *labels, size_t n, embellama_error *error)
{
    size_t bytes = n * sizeof(char *);
    for (size_t i = 0; i < n; i++) {
        bytes += labels[i].size + 1;
    }
    char **names = emb_alloc(1, bytes);
    if (!names) {
        return emb_fail_nomem(error);
    }
    char *text = (char *)(names + n);
    for (size_t i = 0; i < n; i++) {
        memcpy(text, labels[i].text, labels[i].size);
        text[labels[i].size] = '\0';
        names[i] = text;
        text += labels[i].size + 1;
    }
    *out = names;
    return EMBELLAMA_OK;
}

/* Each index of 0 to labels - 1 once, with a string. */
static int read_map(struct label *labels, size_t n, struct emb_json_value map, embellama_error *error)
{
    for (struct emb_json_iter it = emb_json_iterate(map); emb_json_next(&it);) {
        size_t index = parse_index(it.key, it.key_size);
        if (index >= n || labels[index].text || !emb_json_string(it.value, &labels[index].text, &labels[index].size)) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, "config.json: id2label does not give names to labels 0 to %zu",
                            n - 1);
        }
    }
    return EMBELLAMA_OK;
}

static int config_labels(char ***out, struct label *labels, size_t n, const char *directory, embellama_error *error)
{
    struct emb_json *json = NULL;
    struct emb_json_value map;
    int rc = emb_metadata_json_if_any(&json, directory, "config.json", error);
    if (rc == EMBELLAMA_OK && json && emb_json_get(emb_json_root(json), "id2label", &map) && emb_json_size(map) == n) {
        rc = read_map(labels, n, map, error);
        if (rc == EMBELLAMA_OK) {
            rc = copy_labels(out, labels, n, error);
        }
    }
    emb_json_free(json);
    return rc;
}

static void gguf_key(const struct emb_spec *spec, const char *name, char key[64])
{
    snprintf(key, 64, "%.30s.%s", spec->family, name);
}

static int gguf_labels(char ***out, struct label *labels, size_t n, const struct emb_spec *spec,
                       const struct emb_gguf *gguf, embellama_error *error)
{
    char key[64];
    uint64_t count = 0;
    gguf_key(spec, "classifier.output_labels", key);
    if (!emb_gguf_get_string_array(gguf, key, &count) || count != n) {
        return EMBELLAMA_OK;
    }
    struct emb_gguf_string *names = emb_calloc(n, sizeof *names);
    if (!names) {
        return emb_fail_nomem(error);
    }
    emb_gguf_read_strings(gguf, key, names);
    for (size_t i = 0; i < n; i++) {
        labels[i] = (struct label){names[i].data, names[i].size};
    }
    emb_free(names);
    return copy_labels(out, labels, n, error);
}

int emb_head_read_labels(char ***out, const struct emb_spec *spec, const char *directory,
                         const struct emb_source *source, embellama_error *error)
{
    size_t n = spec->head.labels;
    *out = NULL;
    if (n == 0) {
        return EMBELLAMA_OK;
    }
    struct label *labels = emb_calloc(n, sizeof *labels);
    if (!labels) {
        return emb_fail_nomem(error);
    }
    int rc = source->gguf ? gguf_labels(out, labels, n, spec, source->gguf, error)
                          : config_labels(out, labels, n, directory, error);
    emb_free(labels);
    return rc;
}

/* ---- Activation ---- */

static enum emb_score_act default_act(const struct emb_spec *spec)
{
    return spec->head.labels == 1 ? EMB_SCORE_SIGMOID : EMB_SCORE_SOFTMAX;
}

/* A class of torch's by its full name. Others, which sentence-transformers only runs where the user trusts the model's code, count as
 * not named. */
static int parse_act(struct emb_spec *spec, const char *name, bool *found, embellama_error *error)
{
    static const struct {
        const char *name;
        enum emb_score_act act;
    } known[] = {
        {"Sigmoid", EMB_SCORE_SIGMOID},
        {"Softmax", EMB_SCORE_SOFTMAX},
        {"Tanh", EMB_SCORE_TANH},
        {"Identity", EMB_SCORE_NONE},
    };
    if (strncmp(name, "torch.", 6) != 0) {
        return EMBELLAMA_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(strrchr(name, '.') + 1, known[i].name) == 0) {
            spec->head.act = known[i].act;
            *found = true;
            return EMBELLAMA_OK;
        }
    }
    return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "the activation function \"%.80s\" of scores is not supported",
                    name);
}

/* The places where versions of sentence-transformers wrote it, in the order in which it reads them. */
static int read_act(struct emb_spec *spec, struct emb_json_value config, const char *directory, embellama_error *error)
{
    struct emb_json *json = NULL;
    struct emb_json_value nested;
    const char *name;
    size_t size;
    bool found = false;
    int rc = emb_metadata_json_if_any(&json, directory, "config_sentence_transformers.json", error);
    if (rc == EMBELLAMA_OK && json && emb_json_get_string(emb_json_root(json), "activation_fn", &name, &size)) {
        rc = parse_act(spec, name, &found, error);
    }
    emb_json_free(json);
    if (rc == EMBELLAMA_OK && !found &&
        ((emb_json_get(config, "sentence_transformers", &nested) &&
          emb_json_get_string(nested, "activation_fn", &name, &size)) ||
         emb_json_get_string(config, "sbert_ce_default_activation_function", &name, &size))) {
        rc = parse_act(spec, name, &found, error);
    }
    if (!found) {
        spec->head.act = default_act(spec);
    }
    return rc;
}

/* ---- The head ---- */

static int read_head(struct emb_spec *spec, struct emb_json_value config, const char *directory, embellama_error *error)
{
    bool pooling = false;
    int rc = names_classifier(config, spec->family) ? find_pooling(directory, &pooling, error) : EMBELLAMA_OK;
    if (rc != EMBELLAMA_OK || pooling || !names_classifier(config, spec->family)) {
        return rc;
    }
    spec->head.pooler = spec->names->pooler != NULL;
    rc = count_labels(spec, config, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_spec_check(spec, error);
    }
    return rc == EMBELLAMA_OK ? read_act(spec, config, directory, error) : rc;
}

int emb_head_from_directory(struct emb_spec *spec, const char *directory, embellama_error *error)
{
    struct emb_json *json = NULL;
    spec->head = (struct emb_head_spec){0};
    int rc = emb_metadata_json_if_any(&json, directory, "config.json", error);
    if (rc == EMBELLAMA_OK && json) {
        rc = read_head(spec, emb_json_root(json), directory, error);
    }
    emb_json_free(json);
    return rc;
}

int emb_head_from_gguf(struct emb_spec *spec, const struct emb_source *source, embellama_error *error)
{
    /* llama.cpp's LLAMA_POOLING_TYPE_RANK */
    enum { POOLING_RANK = 4 };
    char key[64], tensor[64];
    int64_t type = -1;
    uint64_t labels = 1;
    spec->head = (struct emb_head_spec){0};
    gguf_key(spec, "pooling_type", key);
    if (!emb_gguf_get_int(source->gguf, key, &type) || type != POOLING_RANK) {
        return EMBELLAMA_OK;
    }
    gguf_key(spec, "classifier.output_labels", key);
    emb_gguf_get_string_array(source->gguf, key, &labels);
    snprintf(tensor, sizeof tensor, "%.40s.weight", spec->names->pooler);
    spec->head.pooler = emb_source_tensor(source, tensor) != NULL;
    int rc = check_labels(spec, key, labels > EMB_LABELS_MOST ? EMB_LABELS_MOST + 1 : (int64_t)labels, error);
    spec->head.act = default_act(spec);
    return rc == EMBELLAMA_OK ? emb_spec_check(spec, error) : rc;
}
