/* The JSON files of a model directory: the input's parts between zero bytes are, in this order, config.json, modules.json,
 * 1_Pooling/config.json, sentence_bert_config.json and config_sentence_transformers.json. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/head.h"
#include "model/metadata.h"
#include "model/prompts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES = 5, LABELS_LIMIT = 4 << 20 };

static const char *const names[FILES] = {"config.json", "modules.json", "1_Pooling/config.json",
                                         "sentence_bert_config.json", "config_sentence_transformers.json"};
static char folder[256];
static int files[FILES];
static struct emb_source source;

static void die(const char *what)
{
    perror(what);
    abort();
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void remove_folder(void)
{
    for (int i = 0; i < FILES; i++) {
        unlink(path_of(names[i]));
    }
    unlink(path_of("model.safetensors"));
    rmdir(path_of("1_Pooling"));
    rmdir(folder);
    emb_source_close(&source);
}

/* The files are links to memory; the weights have no tensors. */
static void make_folder(void)
{
    static const uint8_t weights[] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    const char *base = getenv("TMPDIR");
    embellama_error error;
    snprintf(folder, sizeof folder, "%s/fuzz-XXXXXX", base && *base ? base : P_tmpdir);
    if (!mkdtemp(folder) || mkdir(path_of("1_Pooling"), 0700) != 0) {
        die(folder);
    }
    for (int i = 0; i < FILES; i++) {
        char target[64];
        files[i] = memfd_create(names[i], MFD_CLOEXEC);
        snprintf(target, sizeof target, "/proc/self/fd/%d", files[i]);
        if (files[i] < 0 || symlink(target, path_of(names[i])) != 0) {
            die(names[i]);
        }
    }
    FILE *f = fopen(path_of("model.safetensors"), "wb");
    if (!f || fwrite(weights, sizeof weights, 1, f) != 1 || fclose(f) != 0) {
        die("model.safetensors");
    }
    if (emb_source_open(&source, folder, &error) != EMBELLAMA_OK) {
        die(error.message);
    }
    atexit(remove_folder);
}

static void check_prompts(void)
{
    struct emb_prompts prompts;
    embellama_error error = {0};
    int rc = emb_prompts_read(&prompts, folder, &error);
    if (rc != EMBELLAMA_OK && (error.code != rc || error.message[0] == '\0' || prompts.count > 0)) {
        abort();
    }
    for (size_t i = 0; i < prompts.count; i++) {
        if (emb_prompts_find(&prompts, prompts.list[i].name) != &prompts.list[i]) {
            abort();
        }
    }
    emb_prompts_deinit(&prompts);
}

/* A head that is accepted has labels with names or without. */
static void check_head(struct emb_spec *spec)
{
    char **labels = NULL;
    embellama_error error = {0};
    int rc = emb_head_from_directory(spec, folder, &error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_head_read_labels(&labels, spec, folder, &source, &error);
    }
    if (rc != EMBELLAMA_OK && (error.code != rc || error.message[0] == '\0' || labels)) {
        abort();
    }
    size_t total = 0;
    for (size_t i = 0; labels && i < spec->head.labels; i++) {
        total += strlen(labels[i]);
    }
    if (total > LABELS_LIMIT) {
        abort();
    }
    emb_free(labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct emb_spec spec;
    embellama_error error = {0};
    if (folder[0] == '\0') {
        make_folder();
    }
    for (int i = 0; i < FILES; i++) {
        const uint8_t *end = size ? memchr(data, 0, size) : NULL;
        size_t length = end ? (size_t)(end - data) : size;
        if (ftruncate(files[i], 0) != 0 || pwrite(files[i], data, length, 0) != (ssize_t)length) {
            die("memfd");
        }
        size_t used = end ? length + 1 : length;
        data += used;
        size -= used;
    }
    int rc = emb_metadata_from_directory(&spec, folder, &source, &error);
    if (rc != EMBELLAMA_OK && (error.code != rc || error.message[0] == '\0')) {
        abort();
    }
    if (rc == EMBELLAMA_OK && (spec.hidden % spec.heads != 0 || spec.pooling == EMBELLAMA_POOLING_AUTO)) {
        abort();
    }
    if (rc == EMBELLAMA_OK) {
        check_prompts();
        check_head(&spec);
    }
    return 0;
}
