/* Messages between the supervisor and its processes. */
#include "pool/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/status.h"
#include "pool/setup.h"

int emb_control_pair(int fds[2], embellama_error *error)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot make a socket pair: %s", strerror(errno));
    }
    fds[0] = emb_fd_high(fds[0]);
    fds[1] = emb_fd_high(fds[1]);
    if (fds[0] < 0 || fds[1] < 0) {
        int left = fds[0] < 0 ? fds[1] : fds[0];
        if (left >= 0) {
            close(left);
        }
        return emb_fail(error, EMBELLAMA_E_IO, "too few file descriptors are allowed");
    }
    return EMBELLAMA_OK;
}

bool emb_control_send(int fd, const struct emb_control *message)
{
    ssize_t n;
    do {
        n = send(fd, message, sizeof *message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *message;
}

enum emb_control_got emb_control_receive(int fd, struct emb_control *message)
{
    ssize_t n;
    do {
        n = recv(fd, message, sizeof *message, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return EMB_CONTROL_NOTHING;
    }
    if (n != (ssize_t)sizeof *message) {
        return EMB_CONTROL_END;
    }
    message->text[sizeof message->text - 1] = '\0';
    return EMB_CONTROL_MESSAGE;
}
