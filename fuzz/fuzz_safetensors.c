/* Safetensors: a first byte of 0 means that the rest is model.safetensors; else two bytes of length follow, an
 * index of that length, and a shard, which lies beside the index as "a" and as "b". */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two folders of symbolic links to files in memory. */
static char folder[256], single[300], sharded[300];
static int weights = -1, shard_index = -1;

static void die(const char *what)
{
    perror(what);
    abort();
}

static void link_to(const char *where, const char *name, int fd)
{
    char target[64], path[512];
    snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
    snprintf(path, sizeof path, "%s/%s", where, name);
    if (symlink(target, path) != 0) {
        die(path);
    }
}

static void remove_folders(void)
{
    static const char *const names[] = {"single/model.safetensors", "sharded/model.safetensors.index.json", "sharded/a",
                                        "sharded/b"};
    char path[512];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(single);
    rmdir(sharded);
    rmdir(folder);
}

static void make_folders(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/fuzz-XXXXXX", base && *base ? base : P_tmpdir);
    weights = memfd_create("weights", MFD_CLOEXEC);
    shard_index = memfd_create("index", MFD_CLOEXEC);
    if (weights < 0 || shard_index < 0 || !mkdtemp(folder)) {
        die(folder);
    }
    atexit(remove_folders);
    snprintf(single, sizeof single, "%s/single", folder);
    snprintf(sharded, sizeof sharded, "%s/sharded", folder);
    if (mkdir(single, 0700) != 0 || mkdir(sharded, 0700) != 0) {
        die(folder);
    }
    link_to(single, "model.safetensors", weights);
    link_to(sharded, "model.safetensors.index.json", shard_index);
    link_to(sharded, "a", weights);
    link_to(sharded, "b", weights);
}

static void fill(int fd, const uint8_t *data, size_t size)
{
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) {
        die("memfd");
    }
}

static void use(const char *directory)
{
    struct emb_safetensors *st = NULL;
    embellama_error error = {0};
    int rc = emb_safetensors_open(&st, directory, &error);
    if (rc != EMBELLAMA_OK) {
        if (error.code != rc || error.message[0] == '\0') {
            abort();
        }
        return;
    }
    for (size_t i = 0; i < emb_safetensors_tensor_count(st); i++) {
        const struct emb_tensor *t = emb_safetensors_tensor_at(st, i);
        const struct emb_dtype_traits *traits = emb_dtype_traits(t->type);
        float value;
        if (emb_safetensors_tensor(st, t->name) != t || strlen(t->type_name) == 0) {
            abort();
        }
        if (traits->to_f32 && t->size >= traits->block_bytes) {
            traits->to_f32(t->data, 1, &value);
            traits->to_f32(t->data + t->size - traits->block_bytes, 1, &value);
        }
    }
    emb_safetensors_close(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (folder[0] == '\0') {
        make_folders();
    }
    if (size < 1) {
        return 0;
    }
    if (data[0] == 0) {
        fill(weights, data + 1, size - 1);
        use(single);
        return 0;
    }
    if (size < 3) {
        return 0;
    }
    size_t length = (size_t)(data[1] | data[2] << 8);
    length = length < size - 3 ? length : size - 3;
    fill(shard_index, data + 3, length);
    fill(weights, data + 3 + length, size - 3 - length);
    use(sharded);
    return 0;
}
