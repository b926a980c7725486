/* Files mapped read-only. */
#ifndef EMB_FILE_H
#define EMB_FILE_H

#include "embellama/embellama.h"

/* Tells one state of a file from another, as far as the system can: every write changes it, another name does not. No padding. */
struct emb_file_stamp {
    uint64_t device, inode, size;
    int64_t modified_s, modified_ns, changed_s, changed_ns;
};

struct emb_file {
    const uint8_t *data; /* size bytes, or NULL for an empty file */
    size_t size;
    struct emb_file_stamp stamp; /* when it was mapped */
};

/* Maps a regular file. Errors: E_NOT_FOUND, E_IO (also for what is not a regular file), with the path in the message. */
int emb_file_map(struct emb_file *file, const char *path, embellama_error *error);

/* Unmaps; a zeroed file is allowed. */
void emb_file_unmap(struct emb_file *file);

/* Tells the system that the pages of data[0..size), a part of a mapped file, will not be needed soon. Only whole pages inside
 * the range are dropped; the bytes stay readable. */
void emb_file_drop(const uint8_t *data, size_t size);

/* Asks the system to read them soon: returns before they are there. */
void emb_file_want(const uint8_t *data, size_t size);

/* Reads a small file whole into memory with padding zero bytes behind it (not counted in *size). Refuses more than limit
 * bytes (E_FORMAT). *out is freed with emb_free. */
int emb_file_read(const char *path, size_t limit, size_t padding, char **out, size_t *size, embellama_error *error);

/* True where path exists (any kind); where it is a directory. */
bool emb_path_exists(const char *path);
bool emb_path_is_dir(const char *path);

/* directory + "/" + name in fresh memory (emb_free), or NULL. */
char *emb_path_join(const char *directory, const char *name);

#endif
