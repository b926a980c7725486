/* TLS between a connection and its socket. Private to connection.c and transport.c.
 *
 * Writes wait in a queue until those before them went out and are encrypted a step at a time, so that a reply of any size takes the
 * memory of one step beside its own. */
#ifndef EMB_TRANSPORT_H
#define EMB_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct emb_conn;
struct emb_tls;
struct emb_tls_wait; /* a write that was not encrypted whole */

struct emb_transport {
    struct emb_tls *tls; /* NULL: bytes go as they are */
    struct emb_tls_wait *first, *last;
    size_t waiting; /* bytes of theirs not yet encrypted */
    size_t flying;  /* bytes encrypted and not yet gone out, before encryption */
    size_t flights; /* writes of the socket that are not over */
    size_t held;    /* its part of the front's bytes held */
    bool broken;    /* nothing can be sent any more */
    bool greeted;   /* the handshake is over, and was told */
    bool ended;     /* the goodbye was sent */
};

/* What the connection's bytes become. */
enum emb_transport_event {
    EMB_TRANSPORT_OK,
    EMB_TRANSPORT_ENDED, /* the client said that it will send no more */
    EMB_TRANSPORT_FAILED,
    EMB_TRANSPORT_PLAIN, /* the client speaks no TLS; from now on neither does the connection */
};

/* With a context: TLS on conn. False: out of memory. */
bool emb_transport_open(struct emb_conn *conn);

/* Once the socket is closed: calls off what was not written, and frees. */
void emb_transport_close(struct emb_conn *conn);

/* Bytes of the socket into those of the protocol, in *plain (the front's buffer; none: *got is 0). Sends what the handshake needs. */
enum emb_transport_event emb_transport_receive(struct emb_conn *conn, const char *data, size_t size, char **plain,
                                               size_t *got);

/* Only with TLS. As uv_try_write and uv_write. */
int emb_transport_try(struct emb_conn *conn, const uv_buf_t *parts, int count);
int emb_transport_write(struct emb_conn *conn, uv_write_t *request, const uv_buf_t *parts, int count,
                        uv_write_cb written);

/* Sends the goodbye, once, where all that was written went out; else the client shall see that something is missing. */
void emb_transport_end(struct emb_conn *conn);

/* Bytes handed over that did not go out. */
size_t emb_transport_unsent(const struct emb_conn *conn);

/* The handshake is not over. */
bool emb_transport_shaking(const struct emb_conn *conn);

#endif
