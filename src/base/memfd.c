/* memfd_create and its seals, and mappings that huge pages fit.
 *
 * Weights are read from end to end, and through 4 KiB pages that costs up to a third of the time of a short text. Most systems
 * give shared memory no huge pages by themselves (shmem_enabled is never); MADV_COLLAPSE (Linux 6.1) does whatever that says,
 * and clears a huge page faster than 512 small ones are. */
#include "base/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/status.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

enum { HUGE_PAGE = 2 << 20 };

int emb_memfd_new(int *fd, const char *name, embellama_error *error)
{
    int made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made < 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot make shared memory: %s", strerror(errno));
    }
    *fd = made;
    return EMBELLAMA_OK;
}

int emb_memfd_seal(int fd, embellama_error *error)
{
    if (fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) != 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot seal shared memory: %s", strerror(errno));
    }
    return EMBELLAMA_OK;
}

bool emb_memfd_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SEALS) == SEALS;
}

/* ---- Mapping ---- */

/* Maps at an address that is a multiple of a huge page: cut out of a larger reservation. */
static uint8_t *map_aligned(int fd, size_t size, int protection, int flags)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page, reserved = whole + HUGE_PAGE;
    uint8_t *start = size > SIZE_MAX / 2
                         ? MAP_FAILED
                         : mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    size_t before = (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
    uint8_t *block = mmap(start + before, size, protection, flags | MAP_FIXED, fd, 0);
    if (block == MAP_FAILED) {
        int cause = errno;
        munmap(start, reserved);
        errno = cause;
        return NULL;
    }
    if (before > 0) {
        munmap(start, before);
    }
    munmap(block + whole, HUGE_PAGE - before);
    madvise(block, size, MADV_HUGEPAGE);
    return block;
}

int emb_fd_map(uint8_t **out, int fd, size_t size, embellama_error *error)
{
    /* Private: the pages are the file's as long as nobody writes, and kernels before 6.7 refuse shared mappings of a file
     * that is sealed against writing. */
    *out = map_aligned(fd, size, PROT_READ, MAP_PRIVATE);
    return *out ? EMBELLAMA_OK : emb_fail(error, EMBELLAMA_E_IO, "cannot map %zu bytes: %s", size, strerror(errno));
}

/* ---- Making room ---- */

struct collapsing {
    int fd;
    uint8_t *block;
    size_t each; /* huge pages of an item */
    size_t count;
};

/* Makes a stretch of a memory file huge pages. Each needs one small page to begin with. Failing is fine. */
static void collapse_item(void *arg, size_t item, int member)
{
    const struct collapsing *c = arg;
    size_t first = item * c->each, last = first + c->each < c->count ? first + c->each : c->count;
    (void)member;
    for (size_t i = first; i < last; i++) {
        if (pwrite(c->fd, "", 1, (off_t)(i * HUGE_PAGE)) != 1) {
            return;
        }
    }
    madvise(c->block + first * HUGE_PAGE, (last - first) * HUGE_PAGE, MADV_COLLAPSE);
}

static void collapse(int fd, uint8_t *block, size_t size, struct emb_team *team)
{
    struct collapsing c = {.fd = fd, .block = block, .count = size / HUGE_PAGE};
    size_t members = (size_t)emb_team_size(team);
    c.each = (c.count + members - 1) / members;
    if (c.count > 0) {
        emb_team_run(team, collapse_item, &c, (c.count + c.each - 1) / c.each);
    }
}

static int allocate(int fd, size_t size, embellama_error *error)
{
    int failed;
    do {
        failed = fallocate(fd, 0, 0, (off_t)size);
    } while (failed && errno == EINTR);
    if (failed) {
        int code = errno == ENOSPC || errno == ENOMEM ? EMBELLAMA_E_NOMEM : EMBELLAMA_E_IO;
        return emb_fail(error, code, "no room for %zu bytes: %s", size, strerror(errno));
    }
    return EMBELLAMA_OK;
}

int emb_fd_map_new(uint8_t **out, int fd, size_t size, struct emb_team *team, embellama_error *error)
{
    if (size > SIZE_MAX / 2 || ftruncate(fd, (off_t)size) != 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot make a file of %zu bytes: %s", size, strerror(errno));
    }
    uint8_t *block = map_aligned(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (!block) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot map %zu bytes: %s", size, strerror(errno));
    }
    if (fcntl(fd, F_GET_SEALS) >= 0) {
        collapse(fd, block, size, team);
    }
    int rc = allocate(fd, size, error);
    if (rc != EMBELLAMA_OK) {
        munmap(block, size);
        return rc;
    }
    *out = block;
    return EMBELLAMA_OK;
}
