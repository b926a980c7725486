/* Keys in an array, in the order they are written. Every look-up hashes what it is given and goes through all of
 * them. */
#include "server/access/auth.h"

#include <math.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/status.h"
#include "server/access/key_file.h"

enum { HASH_BYTES = 32, NAME_BYTES = 65, BEARERS = 2 };

#define RATE_MAX 1e12
#define BURST_MAX 86400.0

struct key {
    unsigned char hash[HASH_BYTES];
    char name[NAME_BYTES];
    struct emb_client client;
};

struct emb_auth {
    struct key keys[EMB_KEYS_MAX];
    size_t count;
};

void emb_auth_free(struct emb_auth *auth)
{
    emb_free(auth);
}

size_t emb_auth_count(const struct emb_auth *auth)
{
    return auth->count;
}

/* ---- Adding ---- */

static bool hash_of(const char *key, size_t size, unsigned char out[HASH_BYTES])
{
    unsigned length = 0;
    return EVP_Digest(key, size, out, &length, EVP_sha256(), NULL) == 1 && length == HASH_BYTES;
}

/* Whether it could come in a header, and so ever match. */
static bool key_usable(const char *key, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (key[i] <= 0x20 || key[i] >= 0x7F) {
            return false;
        }
    }
    return size > 0 && size <= EMB_KEY_BYTES;
}

static bool name_usable(const char *name)
{
    return name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")] == '\0' &&
           strcmp(name, "anonymous") != 0;
}

static int add(struct emb_auth *auth, const char *name, const unsigned char hash[HASH_BYTES],
               const struct emb_client *client, embellama_error *error)
{
    for (size_t i = 0; i < auth->count; i++) {
        if (strcmp(auth->keys[i].name, name) == 0) {
            return emb_fail(error, EMBELLAMA_E_INVALID, "two keys are named %s", name);
        }
        if (memcmp(auth->keys[i].hash, hash, HASH_BYTES) == 0) {
            return emb_fail(error, EMBELLAMA_E_INVALID, "the keys %s and %s are the same", auth->keys[i].name, name);
        }
    }
    if (auth->count == EMB_KEYS_MAX) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "more than %d keys", EMB_KEYS_MAX);
    }
    struct key *key = &auth->keys[auth->count];
    memcpy(key->hash, hash, HASH_BYTES);
    snprintf(key->name, sizeof key->name, "%s", name);
    key->client = *client;
    key->client.name = key->name;
    key->client.id = ++auth->count;
    return EMBELLAMA_OK;
}

static int add_plain(struct emb_auth *auth, const char *name, const char *key, size_t size,
                     const struct emb_client *client, embellama_error *error)
{
    unsigned char hash[HASH_BYTES];
    if (!key_usable(key, size)) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: a key is 1 to %d visible ASCII characters without spaces",
                        name, EMB_KEY_BYTES);
    }
    return hash_of(key, size, hash) ? add(auth, name, hash, client, error) : emb_fail_nomem(error);
}

static int add_list(struct emb_auth *auth, const struct emb_auth_options *options, embellama_error *error)
{
    const char *at = options->keys;
    int rc = EMBELLAMA_OK;
    while (rc == EMBELLAMA_OK && *at) {
        char name[NAME_BYTES];
        size_t size = strcspn(at, ",");
        snprintf(name, sizeof name, "key-%zu", auth->count + 1);
        rc = add_plain(auth, name, at, size, &options->defaults, error);
        at += size + (at[size] == ',');
    }
    return rc;
}

/* ---- The file ---- */

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
    return c && at ? (int)(at - digits) : -1;
}

static bool read_hash(const char *hex, unsigned char out[HASH_BYTES])
{
    for (int i = 0; i < HASH_BYTES; i++, hex += 2) {
        int high = hex_digit(hex[0]), low = high < 0 ? -1 : hex_digit(hex[1]);
        if (low < 0) {
            return false;
        }
        out[i] = (unsigned char)(high * 16 + low);
    }
    return true;
}

static bool set_number(double *out, const double *given, double most)
{
    if (given) {
        *out = *given;
    }
    return *out >= 0 && *out <= most; /* false for a NaN too */
}

static int add_entry(struct emb_auth *auth, const struct emb_key_entry *entry, const struct emb_client *defaults,
                     embellama_error *error)
{
    struct emb_client client = *defaults;
    unsigned char hash[HASH_BYTES];
    if (!name_usable(entry->name)) {
        return emb_fail(error, EMBELLAMA_E_INVALID,
                        "a name has letters, digits, '-', '_' and '.' and is not 'anonymous', unlike '%s'",
                        entry->name);
    }
    client.admin = entry->role == 1;
    client.priorities = entry->priorities ? *entry->priorities : client.priorities;
    if (!set_number(&client.requests_per_s, entry->requests_per_second, RATE_MAX) ||
        !set_number(&client.tokens_per_s, entry->tokens_per_second, RATE_MAX) ||
        !set_number(&client.burst_s, entry->burst_seconds, BURST_MAX)) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: rates are numbers from 0 on, and burst_seconds from 0 to %.0f",
                        entry->name, BURST_MAX);
    }
    if (!entry->key == !entry->sha256) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s needs either key or sha256", entry->name);
    }
    if (entry->key) {
        return add_plain(auth, entry->name, entry->key, strlen(entry->key), &client, error);
    }
    if (!read_hash(entry->sha256, hash)) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: sha256 is 64 hexadecimal digits", entry->name);
    }
    return add(auth, entry->name, hash, &client, error);
}

static int add_file(struct emb_auth *auth, const struct emb_auth_options *options, embellama_error *error)
{
    struct emb_key_file *file;
    embellama_error why;
    int rc = emb_key_file_open(&file, options->key_file, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    for (unsigned i = 0; i < file->keys_count && rc == EMBELLAMA_OK; i++) {
        rc = add_entry(auth, &file->keys[i], &options->defaults, &why);
    }
    emb_key_file_free(file);
    return rc == EMBELLAMA_OK ? rc : emb_fail(error, rc, "%s: %s", options->key_file, why.message);
}

int emb_auth_new(struct emb_auth **out, const struct emb_auth_options *options, embellama_error *error)
{
    int rc = EMBELLAMA_OK;
    *out = NULL;
    struct emb_auth *auth = emb_calloc(1, sizeof *auth);
    if (!auth) {
        return emb_fail_nomem(error);
    }
    if (options->keys) {
        rc = add_list(auth, options, error);
    }
    if (rc == EMBELLAMA_OK && options->key_file) {
        rc = add_file(auth, options, error);
    }
    if (rc != EMBELLAMA_OK) {
        emb_auth_free(auth);
        return rc;
    }
    *out = auth;
    return EMBELLAMA_OK;
}

/* ---- Finding ---- */

const struct emb_client *emb_auth_find(const struct emb_auth *auth, const char *key, size_t size)
{
    unsigned char hash[HASH_BYTES];
    size_t found = auth->count;
    if (!hash_of(key, size, hash)) {
        return NULL;
    }
    for (size_t i = 0; i < auth->count; i++) {
        size_t same = (size_t)0 - (CRYPTO_memcmp(auth->keys[i].hash, hash, HASH_BYTES) == 0);
        found = (found & ~same) | (i & same);
    }
    return found < auth->count ? &auth->keys[found].client : NULL;
}

const char *emb_auth_bearer(const char *value)
{
    static const char scheme[] = "bearer";
    int times = 0;
    while (times < BEARERS && strncasecmp(value, scheme, sizeof scheme - 1) == 0 &&
           (value[sizeof scheme - 1] == ' ' || value[sizeof scheme - 1] == '\0')) {
        value += sizeof scheme - 1;
        value += strspn(value, " ");
        times++;
    }
    return times > 0 && *value ? value : NULL;
}
