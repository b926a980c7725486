/* A schema, and libcyaml's log lines turned into one message. */
#include "server/access/key_file.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/status.h"

#define FILE_MAX (1 << 20)

enum { WORD_SHOWN = 24 }; /* a longer word of the file may be a key: it is not repeated */

/* ---- The schema ---- */

static const cyaml_strval_t roles[] = {{"user", 0}, {"admin", 1}};
static const cyaml_strval_t priorities[] = {{"high", 1}, {"normal", 2}, {"low", 4}};

enum { GIVEN_OR_NULL = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL };

static const cyaml_schema_field_t entry_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct emb_key_entry, name, 1, 64),
    CYAML_FIELD_STRING_PTR("key", GIVEN_OR_NULL, struct emb_key_entry, key, 1, EMB_KEY_BYTES),
    CYAML_FIELD_STRING_PTR("sha256", GIVEN_OR_NULL, struct emb_key_entry, sha256, 64, 64),
    CYAML_FIELD_ENUM("role", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct emb_key_entry, role, roles, 2),
    CYAML_FIELD_FLAGS_PTR("priorities", GIVEN_OR_NULL | CYAML_FLAG_STRICT, struct emb_key_entry, priorities, priorities,
                          3),
    CYAML_FIELD_FLOAT_PTR("requests_per_second", GIVEN_OR_NULL, struct emb_key_entry, requests_per_second),
    CYAML_FIELD_FLOAT_PTR("tokens_per_second", GIVEN_OR_NULL, struct emb_key_entry, tokens_per_second),
    CYAML_FIELD_FLOAT_PTR("burst_seconds", GIVEN_OR_NULL, struct emb_key_entry, burst_seconds),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t entry_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct emb_key_entry, entry_fields)};
static const cyaml_schema_field_t file_fields[] = {
    CYAML_FIELD_SEQUENCE("keys", CYAML_FLAG_POINTER, struct emb_key_file, keys, &entry_schema, 1, EMB_KEYS_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct emb_key_file, file_fields)};

/* ---- libcyaml's ways ---- */

/* What it logs of an error: the reason first, then where, from the inside out. */
struct report {
    char why[256];
    char where[128];
};

static void on_log(cyaml_log_t level, void *arg, const char *format, va_list args)
{
    struct report *report = arg;
    char line[256];
    (void)level;
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    const char *place = strstr(line, "(line: ");
    if (place && report->where[0] == '\0') {
        snprintf(report->where, sizeof report->where, "%s", place);
    } else if (!place && report->why[0] == '\0' && !strstr(line, "Backtrace")) {
        snprintf(report->why, sizeof report->why, "%s", strncmp(line, "Load: ", 6) == 0 ? line + 6 : line);
    }
}

static void *allocate(void *arg, void *p, size_t size)
{
    (void)arg;
    if (size == 0) {
        emb_free(p);
        return NULL;
    }
    return emb_realloc(p, 1, size);
}

static cyaml_config_t config_with(struct report *report)
{
    return (cyaml_config_t){.log_fn = on_log,
                            .log_ctx = report,
                            .log_level = CYAML_LOG_WARNING,
                            .mem_fn = allocate,
                            .flags = CYAML_CFG_NO_ALIAS};
}

static int fail_load(const char *path, cyaml_err_t code, struct report *report, embellama_error *error)
{
    if (code == CYAML_ERR_OOM) {
        return emb_fail_nomem(error);
    }
    char *word = strncmp(report->why, "libyaml", 7) != 0 ? strstr(report->why, ": ") : NULL;
    if (word && strlen(word + 2) > WORD_SHOWN) {
        *word = '\0';
    }
    return emb_fail(error, EMBELLAMA_E_INVALID, "%s: %s %s", path, report->why[0] ? report->why : cyaml_strerror(code),
                    report->where);
}

/* ---- Reading ---- */

static int fail_file(const char *path, embellama_error *error)
{
    return emb_fail(error, EMBELLAMA_E_IO, "cannot read %s: %s", path, strerror(errno));
}

/* In one piece of memory, so that no copy of a key is left behind. */
static int read_text(int fd, const char *path, const struct stat *info, struct emb_buf *text, embellama_error *error)
{
    if (!S_ISREG(info->st_mode)) {
        return emb_fail(error, EMBELLAMA_E_IO, "%s is not a regular file", path);
    }
    if (info->st_size > FILE_MAX) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s is larger than a file of keys may be", path);
    }
    size_t size = (size_t)info->st_size;
    char *at = emb_buf_reserve(text, size);
    if (!at) {
        return emb_fail_nomem(error);
    }
    while (text->size < size) {
        ssize_t n = read(fd, at + text->size, size - text->size);
        if (n < 0) {
            return fail_file(path, error);
        }
        if (n == 0) {
            break;
        }
        emb_buf_commit(text, (size_t)n);
    }
    return EMBELLAMA_OK;
}

static bool has_plain_key(const struct emb_key_file *file)
{
    for (unsigned i = 0; i < file->keys_count; i++) {
        if (file->keys[i].key) {
            return true;
        }
    }
    return false;
}

static int parse(struct emb_key_file **out, const char *path, const struct emb_buf *text, bool open_to_all,
                 embellama_error *error)
{
    struct report report = {0};
    cyaml_config_t config = config_with(&report);
    cyaml_data_t *data = NULL;
    cyaml_err_t code = cyaml_load_data((const uint8_t *)(text->data ? text->data : ""), text->size, &config,
                                       &file_schema, &data, NULL);
    if (code != CYAML_OK) {
        return fail_load(path, code, &report, error);
    }
    if (!data) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: there are no keys in it", path);
    }
    if (open_to_all && has_plain_key(data)) {
        emb_key_file_free(data);
        return emb_fail(error, EMBELLAMA_E_INVALID,
                        "%s holds keys and everybody may read it: run chmod o-r on it, or write their sha256 instead",
                        path);
    }
    *out = data;
    return EMBELLAMA_OK;
}

int emb_key_file_open(struct emb_key_file **out, const char *path, embellama_error *error)
{
    struct stat info;
    struct emb_buf text;
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return fail_file(path, error);
    }
    emb_buf_init(&text, FILE_MAX);
    int rc = fstat(fd, &info) != 0 ? fail_file(path, error) : read_text(fd, path, &info, &text, error);
    if (rc == EMBELLAMA_OK) {
        rc = parse(out, path, &text, (info.st_mode & S_IROTH) != 0, error);
    }
    if (text.data) {
        OPENSSL_cleanse(text.data, text.capacity);
    }
    emb_buf_deinit(&text);
    close(fd);
    return rc;
}

void emb_key_file_free(struct emb_key_file *file)
{
    struct report report = {0};
    cyaml_config_t config = config_with(&report);
    for (unsigned i = 0; file && i < file->keys_count; i++) {
        if (file->keys[i].key) {
            OPENSSL_cleanse(file->keys[i].key, strlen(file->keys[i].key));
        }
    }
    cyaml_free(&config, &file_schema, file, 0);
}
