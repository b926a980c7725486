/* The file of API keys, as it is written: YAML, read by libcyaml. What the entries mean is auth.c's.
 *
 *     keys:
 *       - name: search                      # letters, digits, "-", "_", "."
 *         sha256: 2bb80d537b1da3e38bd30...  # of the key; or key: and the key itself
 *         role: user                        # or admin
 *         priorities: [normal, low]         # that x-priority may ask for
 *         requests_per_second: 10           # 0: no limit
 *         tokens_per_second: 50000
 *         burst_seconds: 60                 # so much of the rates may be used at once
 *
 * Only the name and the key are needed. */
#ifndef EMB_KEY_FILE_H
#define EMB_KEY_FILE_H

#include "embellama/embellama.h"

enum { EMB_KEYS_MAX = 1024, EMB_KEY_BYTES = 512 };

struct emb_key_entry {
    char *name;
    char *key, *sha256; /* NULL: not given, as below */
    int role;           /* 1: admin */
    uint32_t *priorities;
    double *requests_per_second, *tokens_per_second, *burst_seconds;
};

struct emb_key_file {
    struct emb_key_entry *keys;
    unsigned keys_count;
};

/* Errors: E_IO, E_INVALID naming file, line and column, E_NOMEM. A file with plain keys that everybody may read is
 * refused. */
int emb_key_file_open(struct emb_key_file **out, const char *path, embellama_error *error);

/* Wipes the keys. NULL is allowed. */
void emb_key_file_free(struct emb_key_file *file);

#endif
