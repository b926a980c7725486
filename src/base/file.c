/* Mapping and reading files. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"

/* Opens a regular file for reading and tells what it is. Returns the descriptor or a negative status. */
static int open_regular(const char *path, struct stat *st, embellama_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int code = errno == ENOENT || errno == ENOTDIR ? EMBELLAMA_E_NOT_FOUND : EMBELLAMA_E_IO;
        return emb_fail(error, code, "cannot open %s: %s", path, strerror(errno));
    }
    if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
        close(fd);
        return emb_fail(error, EMBELLAMA_E_IO, "%s is not a regular file", path);
    }
    return fd;
}

static struct emb_file_stamp stamp_of(const struct stat *st)
{
    return (struct emb_file_stamp){st->st_dev,          st->st_ino,         (uint64_t)st->st_size, st->st_mtim.tv_sec,
                                   st->st_mtim.tv_nsec, st->st_ctim.tv_sec, st->st_ctim.tv_nsec};
}

int emb_file_map(struct emb_file *file, const char *path, embellama_error *error)
{
    *file = (struct emb_file){0};
    struct stat st = {0};
    int fd = open_regular(path, &st, error);
    if (fd < 0) {
        return fd;
    }
    size_t size = (size_t)st.st_size;
    file->stamp = stamp_of(&st);
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            int cause = errno;
            close(fd);
            return emb_fail(error, EMBELLAMA_E_IO, "cannot map %s: %s", path, strerror(cause));
        }
        file->data = data;
        file->size = size;
    }
    close(fd);
    return EMBELLAMA_OK;
}

void emb_file_unmap(struct emb_file *file)
{
    if (file->data) {
        munmap((void *)(uintptr_t)file->data, file->size);
    }
    *file = (struct emb_file){0};
}

void emb_file_drop(const uint8_t *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t last = ((uintptr_t)data + size) / page * page;
    if (last > first) {
        madvise((void *)first, last - first, MADV_DONTNEED);
    }
}

/* The kernel reads no more at a call than its readahead window, by default 128 KiB. */
enum { WANT_STEP = 128 << 10 };

void emb_file_want(const uint8_t *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)data / page * page, last = (uintptr_t)data + size;
    for (; first < last; first += WANT_STEP) {
        madvise((void *)first, last - first < WANT_STEP ? last - first : WANT_STEP, MADV_WILLNEED);
    }
}

int emb_file_read(const char *path, size_t limit, size_t padding, char **out, size_t *size, embellama_error *error)
{
    struct stat st = {0};
    int fd = open_regular(path, &st, error);
    if (fd < 0) {
        return fd;
    }
    size_t total = (size_t)st.st_size;
    if (total > limit) {
        close(fd);
        return emb_fail(error, EMBELLAMA_E_FORMAT, "%s has %zu bytes, more than the %zu such a file may have", path,
                        total, limit);
    }
    char *data = emb_calloc(total + padding + 1, 1);
    if (!data) {
        close(fd);
        return emb_fail_nomem(error);
    }
    size_t have = 0;
    while (have < total) {
        ssize_t got = read(fd, data + have, total - have);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            const char *why = got < 0 ? strerror(errno) : "it became shorter";
            emb_fail(error, EMBELLAMA_E_IO, "cannot read %s: %s", path, why);
            close(fd);
            emb_free(data);
            return EMBELLAMA_E_IO;
        }
        have += (size_t)got;
    }
    close(fd);
    *out = data;
    *size = total;
    return EMBELLAMA_OK;
}

bool emb_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool emb_path_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *emb_path_join(const char *directory, const char *name)
{
    size_t a = strlen(directory), b = strlen(name);
    char *path = emb_alloc(a + b + 2, 1);
    if (path) {
        memcpy(path, directory, a);
        path[a] = '/';
        memcpy(path + a + 1, name, b + 1);
    }
    return path;
}
