/* HTTP/1.1 with Connection: close, so that the end of the reply is the end of the stream, or of its Content-Length. */
#include "cli/post.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/status.h"

enum { SILENCE_S = 120, REPLY_BYTES = 1 << 22 };

struct place {
    char host[256], port[8];
    const char *prefix; /* of the path */
    size_t prefix_size;
    const char *unix_path; /* of a socket, in place of a port; or NULL */
};

static int parse_url(const char *url, struct place *place, embellama_error *error)
{
    static const char scheme[] = "http://";
    if (strncmp(url, "unix:", 5) == 0) {
        *place = (struct place){.host = "localhost", .port = "80", .prefix = "", .unix_path = url + 5};
        return EMBELLAMA_OK;
    }
    place->unix_path = NULL;
    if (strncmp(url, scheme, sizeof scheme - 1) != 0) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "--url: '%.100s' does not begin with http:// or unix:", url);
    }
    const char *host = url + sizeof scheme - 1;
    size_t size = strcspn(host, "/");
    bool bracket = *host == '[';
    const char *close = bracket ? memchr(host, ']', size) : NULL;
    size_t name = bracket ? (close ? (size_t)(close - host) - 1 : 0) : strcspn(host, ":/");
    const char *port = host + name + (bracket ? 2 : 0);
    size_t port_size = (size_t)(host + size - port);
    if (name == 0 || name >= sizeof place->host || port_size > 6 || (port_size > 0 && *port != ':') || port_size == 1) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "--url: '%.100s' has no host, or a port that is none", url);
    }
    memcpy(place->host, host + bracket, name);
    place->host[name] = '\0';
    snprintf(place->port, sizeof place->port, "%.*s", port_size ? (int)port_size - 1 : 2, port_size ? port + 1 : "80");
    place->prefix = host + size;
    place->prefix_size = strlen(place->prefix);
    while (place->prefix_size > 0 && place->prefix[place->prefix_size - 1] == '/') {
        place->prefix_size--;
    }
    return EMBELLAMA_OK;
}

/* Neither side waits longer than this for the other. */
static void limit_silence(int fd)
{
    struct timeval silence = {.tv_sec = SILENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
}

static int dial_unix(const char *path, int *out, embellama_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "--url: the path of the Unix socket is %s",
                        length ? "too long" : "empty");
    }
    memcpy(address.sun_path, path, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        limit_silence(fd);
    }
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int reason = errno;
        if (fd >= 0) {
            close(fd);
        }
        return emb_fail(error, EMBELLAMA_E_IO, "cannot connect to %s: %s", path, strerror(reason));
    }
    *out = fd;
    return EMBELLAMA_OK;
}

static int dial(const struct place *place, int *out, embellama_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *a;
    int rc = getaddrinfo(place->host, place->port, &hints, &found);
    if (rc != 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "%s: %s", place->host, gai_strerror(rc));
    }
    int fd = -1, reason = 0;
    for (a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0) {
            limit_silence(fd);
        }
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            reason = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    *out = fd;
    return fd >= 0 ? EMBELLAMA_OK
                   : emb_fail(error, EMBELLAMA_E_IO, "cannot connect to %s port %s: %s", place->host, place->port,
                              strerror(reason));
}

static int send_all(int fd, const struct emb_buf *data, embellama_error *error)
{
    size_t done = 0;
    while (done < data->size) {
        ssize_t n = send(fd, data->data + done, data->size - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return emb_fail(error, EMBELLAMA_E_IO, "cannot send: %s", strerror(errno));
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return EMBELLAMA_OK;
}

/* Where the body begins, or 0; *length is its Content-Length, or SIZE_MAX. */
static size_t find_body(const struct emb_buf *in, size_t *length)
{
    static const char name[] = "\r\ncontent-length:";
    const char *end = in->size ? strstr(in->data, "\r\n\r\n") : NULL;
    *length = SIZE_MAX;
    for (const char *at = in->data; end && at < end; at++) {
        if (strncasecmp(at, name, sizeof name - 1) == 0) {
            *length = strtoul(at + sizeof name - 1, NULL, 10);
        }
    }
    return end ? (size_t)(end - in->data) + 4 : 0;
}

static int receive(int fd, struct emb_buf *in, int *status, embellama_error *error)
{
    size_t length = SIZE_MAX, body = 0;
    while (body == 0 || length == SIZE_MAX || in->size - body < length) {
        char *to = emb_buf_reserve(in, 65536);
        ssize_t n = to ? recv(fd, to, 65536, 0) : 0;
        if (!to) {
            return emb_fail(error, EMBELLAMA_E_IO, "the reply is too large");
        }
        if (n < 0 && errno != EINTR) {
            return emb_fail(error, EMBELLAMA_E_IO, "cannot receive: %s", strerror(errno));
        }
        if (n == 0) {
            break;
        }
        emb_buf_commit(in, n > 0 ? (size_t)n : 0);
        body = find_body(in, &length);
    }
    if (body == 0 || strncmp(in->data, "HTTP/1.", 7) != 0 || in->size < 12) {
        return emb_fail(error, EMBELLAMA_E_IO, "no HTTP reply");
    }
    *status = (int)strtol(in->data + 9, NULL, 10);
    emb_buf_consume(in, body);
    return EMBELLAMA_OK;
}

int emb_cli_post(const char *url, const char *path, const char *key, const struct emb_buf *body, int *status,
                 struct emb_buf *reply, embellama_error *error)
{
    struct place place;
    struct emb_buf out;
    int fd = -1, rc = parse_url(url, &place, error);
    emb_buf_init(&out, body->size + 4096);
    reply->max = REPLY_BYTES;
    if (rc == EMBELLAMA_OK) {
        bool v6 = strchr(place.host, ':') != NULL;
        emb_buf_printf(&out, "POST %.*s%s HTTP/1.1\r\nHost: %s%s%s:%s\r\nConnection: close\r\n", (int)place.prefix_size,
                       place.prefix, path, v6 ? "[" : "", place.host, v6 ? "]" : "", place.port);
        if (key) {
            emb_buf_printf(&out, "Authorization: Bearer %s\r\n", key);
        }
        emb_buf_printf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body->size);
        emb_buf_append(&out, body->data, body->size);
        rc = out.failed        ? emb_fail(error, EMBELLAMA_E_INVALID, "--url or --api-key is too long")
             : place.unix_path ? dial_unix(place.unix_path, &fd, error)
                               : dial(&place, &fd, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = send_all(fd, &out, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = receive(fd, reply, status, error);
    }
    if (fd >= 0) {
        close(fd);
    }
    emb_buf_deinit(&out);
    return rc;
}
