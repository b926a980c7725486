/* The sockets that the supervisor owns, so that they outlive any other process: where clients connect, and where workers dial in. */
#ifndef EMB_SOCKETS_H
#define EMB_SOCKETS_H

#include "pool/setup.h"

/* Where clients connect: bound, not yet listening. */
struct emb_sockets {
    int fds[EMB_LISTENERS_MAX];
    size_t count;
    int port;
    const char *unix_path; /* a file of ours there, known by the two below; or NULL */
    dev_t unix_device;
    ino_t unix_inode;
};

/* Binds to each address of host, a name or an address, "[::1]" too; one that this machine lacks is left out as long as another works.
 * Port 0 takes any free one, the same for all. Errors: E_INVALID, E_IO with a sentence that names host and port; nothing is open
 * then. */
int emb_sockets_bind(struct emb_sockets *sockets, const char *host, int port, embellama_error *error);

/* One more: a Unix socket at path (which must outlive sockets), of that mode. It listens at once, so that another server can tell that it
 * is in use. One that nobody listens on is replaced; any other file is left alone. Errors: E_INVALID, E_IO. */
int emb_sockets_bind_unix(struct emb_sockets *sockets, const char *path, unsigned mode, int backlog,
                          embellama_error *error);

void emb_sockets_close(struct emb_sockets *sockets);

/* Removes the Unix socket's file, where it is still ours. */
void emb_sockets_remove(struct emb_sockets *sockets);

/* A listening Unix socket with a random abstract name (name, zero-ended; which only this network namespace sees), and a random token.
 * Errors: E_IO. */
int emb_link_listen(int *fd, char name[32], uint8_t token[EMB_TOKEN_BYTES], embellama_error *error);

/* A blocking connection to it, or -1 with errno: ECONNREFUSED where nobody has it open any more. */
int emb_link_dial(const char *name);

/* The process at the other end of fd, where it is one of this user's, else -1. */
pid_t emb_link_peer(int fd);

#endif
