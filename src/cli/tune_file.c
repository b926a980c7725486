/* tune.json: {"tuned": [{...}, ...]}, read and written whole. */
#include "cli/tune_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu_name.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "base/status.h"

enum {
    FILE_BYTES_MAX = 1 << 20,
    ENTRIES_MAX = 256, /* the oldest go */
    HEAD_BYTES = 64 << 10,
    WORKERS_MAX = 128,
    THREADS_MAX = 1024,
    BATCH_TOKENS_MAX = 1 << 20,
    SHARD_TOKENS_MAX = 8192,
};

struct key {
    char model[17];
    char cpu[96];
    int cores;
    const char *version, *precision, *kernels;
};

/* ---- Keys ---- */

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

/* The first bytes of a file and its size; a GGUF's metadata and the shapes of its tensors are there. */
static uint64_t hash_file(uint64_t hash, const char *path)
{
    static const char none;
    struct emb_file file = {0};
    if (emb_file_map(&file, path, NULL) != EMBELLAMA_OK) {
        return hash;
    }
    hash =
        hash_bytes(hash, file.data ? (const char *)file.data : &none, file.size < HEAD_BYTES ? file.size : HEAD_BYTES);
    hash = hash_bytes(hash, &file.size, sizeof file.size);
    emb_file_unmap(&file);
    return hash;
}

/* A directory's config.json, and the sizes of its weights, in whatever order they are listed. */
static uint64_t hash_directory(uint64_t hash, const char *path)
{
    uint64_t sizes = 0;
    DIR *dir = opendir(path);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        const char *dot = strrchr(e->d_name, '.');
        struct stat st;
        if (dot && strcmp(dot, ".safetensors") == 0 && fstatat(dirfd(dir), e->d_name, &st, 0) == 0) {
            sizes += (uint64_t)st.st_size;
        }
    }
    if (dir) {
        closedir(dir);
    }
    hash = hash_bytes(hash, &sizes, sizeof sizes);
    char *config = emb_path_join(path, "config.json");
    if (config) {
        hash = hash_file(hash, config);
    }
    emb_free(config);
    return hash;
}

static void make_key(struct key *key, const struct emb_cli_options *options, const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;
    hash = emb_path_is_dir(path) ? hash_directory(hash, path) : hash_file(hash, path);
    snprintf(key->model, sizeof key->model, "%016" PRIx64, hash);
    emb_cpu_name(key->cpu, sizeof key->cpu);
    key->cores = embellama_cpu_count();
    key->version = embellama_version();
    key->precision = embellama_precision_name((embellama_precision)options->precision);
    key->kernels = options->cpu ? options->cpu : "auto";
}

/* ---- Reading ---- */

static bool says(struct emb_json_value entry, const char *name, const char *want)
{
    const char *text;
    size_t size;
    return emb_json_get_string(entry, name, &text, &size) && size == strlen(want) && memcmp(text, want, size) == 0;
}

static bool has_key(struct emb_json_value entry, const struct key *key)
{
    int64_t cores;
    return says(entry, "model", key->model) && says(entry, "cpu", key->cpu) &&
           emb_json_get_int(entry, "cores", &cores) && cores == key->cores && says(entry, "version", key->version) &&
           says(entry, "precision", key->precision) && says(entry, "kernels", key->kernels);
}

static bool in_range(struct emb_json_value entry, const char *name, int64_t min, int64_t max, int64_t *out)
{
    return emb_json_get_int(entry, name, out) && *out >= min && *out <= max;
}

static bool read_tuning(struct emb_json_value entry, struct emb_tuning *out)
{
    return in_range(entry, "workers", 1, WORKERS_MAX, &out->workers) &&
           in_range(entry, "threads", 1, THREADS_MAX, &out->threads) &&
           in_range(entry, "batch_tokens", 0, BATCH_TOKENS_MAX, &out->batch_tokens) &&
           in_range(entry, "shard_tokens", 0, SHARD_TOKENS_MAX, &out->shard_tokens);
}

/* The folder, without the file; false where the environment names none. */
static bool config_folder(char *out, size_t size)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = -1;
    if (config && config[0] == '/') { /* the XDG specification has relative ones ignored */
        n = snprintf(out, size, "%s/embellama", config);
    } else if (home && home[0] != '\0') {
        n = snprintf(out, size, "%s/.config/embellama", home);
    }
    return n > 0 && (size_t)n < size;
}

/* The array of entries; E_NOT_FOUND where there is no file. */
static int read_file(struct emb_json **json, struct emb_json_value *entries, embellama_error *error)
{
    char folder[4096], file[4096 + 16];
    *json = NULL;
    if (!config_folder(folder, sizeof folder)) {
        return EMBELLAMA_E_NOT_FOUND;
    }
    snprintf(file, sizeof file, "%s/tune.json", folder);
    int rc = emb_json_read(json, file, FILE_BYTES_MAX, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    if (!emb_json_get(emb_json_root(*json), "tuned", entries) || emb_json_type(*entries) != EMB_JSON_ARRAY) {
        emb_json_free(*json);
        *json = NULL;
        return emb_fail(error, EMBELLAMA_E_FORMAT, "%.200s: no list \"tuned\" in it", file);
    }
    return EMBELLAMA_OK;
}

int emb_tuning_load(struct emb_tuning *out, bool *found, const struct emb_cli_options *options, const char *path,
                    embellama_error *error)
{
    struct emb_json *json;
    struct emb_json_value entries;
    struct emb_tuning tuning = {0};
    *found = false;
    int rc = read_file(&json, &entries, error);
    if (rc != EMBELLAMA_OK) {
        return rc == EMBELLAMA_E_NOT_FOUND ? EMBELLAMA_OK : rc;
    }
    struct key key = {0};
    make_key(&key, options, path);
    for (struct emb_json_iter it = emb_json_iterate(entries); rc == EMBELLAMA_OK && !*found && emb_json_next(&it);) {
        if (has_key(it.value, &key)) {
            *found = read_tuning(it.value, &tuning);
            rc = *found ? EMBELLAMA_OK
                        : emb_fail(error, EMBELLAMA_E_FORMAT,
                                   "tune.json: an entry of this model lacks a number or has one out of range");
        }
    }
    emb_json_free(json);
    if (*found) {
        *out = tuning;
    }
    return rc;
}

int emb_tuning_apply(struct emb_cli_options *options, bool *used, const char *path, embellama_error *error)
{
    struct emb_tuning tuning;
    *used = false;
    if (!options->tune || options->workers > 0 || options->threads > 0) {
        return EMBELLAMA_OK;
    }
    int rc = emb_tuning_load(&tuning, used, options, path, error);
    if (*used) {
        options->workers = tuning.workers;
        options->threads = tuning.threads;
        options->batch_tokens = options->batch_tokens > 0 ? options->batch_tokens : tuning.batch_tokens;
        options->shard_tokens = tuning.shard_tokens;
    }
    return rc;
}

/* ---- Writing ---- */

static void write_entry(struct emb_buf *out, const struct key *key, const char *name, const struct emb_tuning *t)
{
    const struct {
        const char *name, *value;
    } texts[] = {{"model", key->model},     {"model_name", name},          {"cpu", key->cpu},
                 {"version", key->version}, {"precision", key->precision}, {"kernels", key->kernels}};
    emb_buf_puts(out, "  {");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        emb_buf_printf(out, "\"%s\": ", texts[i].name);
        emb_json_write_cstring(out, texts[i].value);
        emb_buf_puts(out, ", ");
    }
    emb_buf_printf(out,
                   "\"cores\": %d, \"workers\": %" PRId64 ", \"threads\": %" PRId64 ", \"batch_tokens\": %" PRId64
                   ", \"shard_tokens\": %" PRId64 ", \"tokens_per_s\": %.0f, \"p50_ms\": %.3f}",
                   key->cores, t->workers, t->threads, t->batch_tokens, t->shard_tokens, t->tokens_per_s, t->p50_ms);
}

/* Writes an entry of the file again. What write_entry would not have written is dropped with its entry. */
static bool copy_entry(struct emb_buf *out, struct emb_json_value entry)
{
    const char *text[6], *const names[6] = {"model", "model_name", "cpu", "version", "precision", "kernels"};
    struct emb_tuning t = {0};
    int64_t cores;
    size_t size;
    for (size_t i = 0; i < 6; i++) {
        if (!emb_json_get_string(entry, names[i], &text[i], &size)) {
            return false;
        }
    }
    if (!read_tuning(entry, &t) || !emb_json_get_int(entry, "cores", &cores)) {
        return false;
    }
    emb_json_get_number(entry, "tokens_per_s", &t.tokens_per_s);
    emb_json_get_number(entry, "p50_ms", &t.p50_ms);
    struct key key = {.cores = (int)cores, .version = text[3], .precision = text[4], .kernels = text[5]};
    snprintf(key.model, sizeof key.model, "%s", text[0]);
    snprintf(key.cpu, sizeof key.cpu, "%s", text[2]);
    write_entry(out, &key, text[1], &t);
    return true;
}

/* Puts the new entry behind all others but the one it replaces. */
static void write_all(struct emb_buf *out, const struct key *key, const char *name, const struct emb_tuning *tuning)
{
    struct emb_json *json;
    struct emb_json_value entries;
    emb_buf_puts(out, "{\"tuned\": [\n");
    if (read_file(&json, &entries, NULL) == EMBELLAMA_OK) {
        size_t n = emb_json_size(entries), i = 0;
        for (struct emb_json_iter it = emb_json_iterate(entries); emb_json_next(&it); i++) {
            if (i + ENTRIES_MAX > n && !has_key(it.value, key) && copy_entry(out, it.value)) {
                emb_buf_puts(out, ",\n");
            }
        }
        emb_json_free(json);
    }
    write_entry(out, key, name, tuning);
    emb_buf_puts(out, "\n]}\n");
}

static int make_folders(char *path, embellama_error *error)
{
    for (char *at = strchr(path + 1, '/');; at = strchr(at + 1, '/')) {
        if (at) {
            *at = '\0';
        }
        int rc = mkdir(path, 0755) == 0 || errno == EEXIST
                     ? EMBELLAMA_OK
                     : emb_fail(error, EMBELLAMA_E_IO, "cannot make the folder %.150s: %s", path, strerror(errno));
        if (at) {
            *at = '/';
        }
        if (rc != EMBELLAMA_OK || !at) {
            return rc;
        }
    }
}

static int replace_file(const char *file, const struct emb_buf *content, embellama_error *error)
{
    char fresh[4096 + 64];
    snprintf(fresh, sizeof fresh, "%s.%ld", file, (long)getpid());
    FILE *f = fopen(fresh, "we");
    bool written = f && fwrite(content->data, 1, content->size, f) == content->size;
    written = f && fclose(f) == 0 && written;
    if (written && rename(fresh, file) == 0) {
        return EMBELLAMA_OK;
    }
    int why = errno;
    unlink(fresh);
    return emb_fail(error, EMBELLAMA_E_IO, "cannot write %.180s: %s", file, strerror(why));
}

int emb_tuning_save(const struct emb_tuning *tuning, const struct emb_cli_options *options, const char *path,
                    const char *model_name, char *file, size_t file_size, embellama_error *error)
{
    char folder[4096];
    struct emb_buf content;
    struct key key = {0};
    if (!config_folder(folder, sizeof folder)) {
        return emb_fail(error, EMBELLAMA_E_IO, "nowhere to save: neither XDG_CONFIG_HOME nor HOME is set");
    }
    int n = snprintf(file, file_size, "%s/tune.json", folder);
    if (n < 0 || (size_t)n >= file_size) {
        return emb_fail(error, EMBELLAMA_E_IO, "the name of the folder for settings is too long");
    }
    make_key(&key, options, path);
    emb_buf_init(&content, 4 * FILE_BYTES_MAX);
    write_all(&content, &key, model_name, tuning);
    int rc = content.failed ? emb_fail_nomem(error) : make_folders(folder, error);
    if (rc == EMBELLAMA_OK) {
        rc = replace_file(file, &content, error);
    }
    emb_buf_deinit(&content);
    return rc;
}
