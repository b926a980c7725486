/* The shared page. */
#include "pool/board.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memfd.h"
#include "base/status.h"

int emb_board_map(struct emb_board **board, int fd, embellama_error *error)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof **board) {
        return emb_fail(error, EMBELLAMA_E_IO, "the page shared by the processes is not one");
    }
    void *map = mmap(NULL, sizeof **board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot map the page shared by the processes: %s", strerror(errno));
    }
    *board = map;
    return EMBELLAMA_OK;
}

int emb_board_new(struct emb_board **board, int *out, embellama_error *error)
{
    int fd = -1;
    int rc = emb_memfd_new(&fd, "embellama-board", error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    if (ftruncate(fd, sizeof **board) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
        (fd = emb_fd_high(fd)) < 0) {
        rc = emb_fail(error, EMBELLAMA_E_IO, "cannot make the page shared by the processes: %s", strerror(errno));
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_board_map(board, fd, error);
    }
    if (rc != EMBELLAMA_OK) {
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    *out = fd;
    return EMBELLAMA_OK;
}
