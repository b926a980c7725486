/* Binding and dialling. */
#include "pool/sockets.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/status.h"

enum { LINK_BACKLOG = 2 * EMB_WORKERS_MAX };

/* ---- Clients ---- */

static int fail_bind(embellama_error *error, const char *host, int port, int cause)
{
    bool bracket = strchr(host, ':') != NULL;
    return emb_fail(error, EMBELLAMA_E_IO, "cannot listen on %s%s%s:%d: %s", bracket ? "[" : "", host,
                    bracket ? "]" : "", port, strerror(cause));
}

static void set_port(struct sockaddr *address, int port)
{
    if (address->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    } else {
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
    }
}

static int bound_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

/* 0 and one more socket, or an errno. */
static int bind_one(struct emb_sockets *s, const struct addrinfo *a)
{
    int on = 1, off = 0, fd = emb_fd_high(socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0) {
        return errno;
    }
    set_port(a->ai_addr, s->port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0) {
        int cause = errno;
        close(fd);
        return cause;
    }
    s->fds[s->count++] = fd;
    s->port = bound_port(fd);
    return 0;
}

static int bind_all(struct emb_sockets *s, const struct addrinfo *addresses, const char *host, embellama_error *error)
{
    int port = s->port, lacking = EADDRNOTAVAIL;
    for (const struct addrinfo *a = addresses; a && s->count < EMB_LISTENERS_MAX - 1; a = a->ai_next) {
        int cause = a->ai_family == AF_INET || a->ai_family == AF_INET6 ? bind_one(s, a) : EAFNOSUPPORT;
        if (cause == EADDRNOTAVAIL || cause == EAFNOSUPPORT) {
            lacking = cause;
        } else if (cause != 0) {
            return fail_bind(error, host, port, cause);
        }
    }
    return s->count > 0 ? EMBELLAMA_OK : fail_bind(error, host, port, lacking);
}

int emb_sockets_bind(struct emb_sockets *s, const char *named, int port, embellama_error *error)
{
    char host[256];
    size_t length = strlen(named);
    bool bracket = length > 2 && named[0] == '[' && named[length - 1] == ']';
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *addresses;
    *s = (struct emb_sockets){.port = port};
    if (length == 0 || length >= sizeof host) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "the host to listen on is %s", length ? "too long" : "empty");
    }
    snprintf(host, sizeof host, "%.*s", (int)(bracket ? length - 2 : length), named + bracket);
    int failed = getaddrinfo(host, NULL, &hints, &addresses);
    if (failed) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot listen on '%.100s': %s", host, gai_strerror(failed));
    }
    int rc = bind_all(s, addresses, host, error);
    freeaddrinfo(addresses);
    if (rc != EMBELLAMA_OK) {
        emb_sockets_close(s);
    }
    return rc;
}

static int fail_unix(embellama_error *error, const char *path, const char *why)
{
    return emb_fail(error, EMBELLAMA_E_IO, "cannot listen on the Unix socket %.120s: %s", path, why);
}

/* Whether nobody listens at address any more, which a socket file there outlives. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused =
        fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return refused;
}

/* 0 or an errno. The file is never more open than mode says. */
static int bind_file(int fd, const struct sockaddr_un *address, unsigned mode)
{
    mode_t before = umask(0777 & ~(mode_t)mode);
    int cause = bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    if (cause == EADDRINUSE && is_stale(address) && unlink(address->sun_path) == 0) {
        cause = bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    }
    umask(before);
    return cause;
}

int emb_sockets_bind_unix(struct emb_sockets *s, const char *path, unsigned mode, int backlog, embellama_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "the path of the Unix socket is %s", length ? "too long" : "empty");
    }
    memcpy(address.sun_path, path, length);
    int fd = emb_fd_high(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int cause = fd < 0 ? errno : bind_file(fd, &address, mode);
    if (cause == 0) {
        s->unix_path = path;
        cause = lstat(path, &st) == 0 && listen(fd, backlog) == 0 ? 0 : errno;
        s->unix_device = st.st_dev;
        s->unix_inode = st.st_ino;
    }
    if (cause != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return fail_unix(error, path, strerror(cause));
    }
    s->fds[s->count++] = fd;
    return EMBELLAMA_OK;
}

void emb_sockets_remove(struct emb_sockets *s)
{
    struct stat st;
    if (s->unix_path && lstat(s->unix_path, &st) == 0 && st.st_dev == s->unix_device && st.st_ino == s->unix_inode) {
        unlink(s->unix_path);
    }
    s->unix_path = NULL;
}

void emb_sockets_close(struct emb_sockets *s)
{
    for (size_t i = 0; i < s->count; i++) {
        close(s->fds[i]);
    }
    s->count = 0;
}

/* ---- Workers ---- */

static socklen_t link_address(struct sockaddr_un *address, const char *name)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address->sun_path + 1, name, length); /* its first byte is zero: abstract */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static bool random_bytes(void *out, size_t size)
{
    return getrandom(out, size, 0) == (ssize_t)size;
}

int emb_link_listen(int *out, char name[32], uint8_t token[EMB_TOKEN_BYTES], embellama_error *error)
{
    uint64_t number = 0;
    struct sockaddr_un address;
    int fd = emb_fd_high(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0 || !random_bytes(&number, sizeof number) || !random_bytes(token, EMB_TOKEN_BYTES)) {
        goto fail;
    }
    snprintf(name, 32, "embellama-%016llx", (unsigned long long)number);
    socklen_t size = link_address(&address, name);
    if (bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, LINK_BACKLOG) != 0) {
        goto fail;
    }
    *out = fd;
    return EMBELLAMA_OK;
fail:
    emb_fail(error, EMBELLAMA_E_IO, "cannot make the workers' socket: %s", strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return EMBELLAMA_E_IO;
}

int emb_link_dial(const char *name)
{
    struct sockaddr_un address;
    socklen_t size = link_address(&address, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, size) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        fd = -1;
    }
    return fd;
}

pid_t emb_link_peer(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != geteuid()) {
        return -1;
    }
    return peer.pid;
}
