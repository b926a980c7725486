/* HTTP/2 on a connection: streams to exchanges and back. Private to listen.c, connection.c, exchange.c and conn_http2.c.
 *
 * What is due (input was read, something was answered, a write is over) is done once a turn of the loop, for all streams of a
 * connection together, so that many small frames become one write, and no handler is called from within another's answer. */
#ifndef EMB_CONN_HTTP2_H
#define EMB_CONN_HTTP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct emb_conn;
struct emb_exchange;
struct emb_front;

/* The connection speaks HTTP/2 from its first byte on. False: out of memory. */
bool emb_conn_http2_begin(struct emb_conn *conn);

void emb_conn_http2_input(struct emb_conn *conn, const char *data, size_t size);

/* Something is to be done for conn in this turn of the loop. */
void emb_conn_http2_due(struct emb_conn *conn);

/* Does what is due, for all connections: called once a turn. */
void emb_conn_http2_turn(uv_prepare_t *prepare);

/* Applies the time limits; idle: it may end for having had nothing to do. */
void emb_conn_http2_check(struct emb_conn *conn, uint64_t now, bool idle);

/* The front stops: a first warning goes out; the rest follows with the checks. */
void emb_conn_http2_stop(struct emb_conn *conn);

/* The connection closes; and is closed. */
void emb_conn_http2_close(struct emb_conn *conn);
void emb_conn_http2_free(struct emb_conn *conn);

/* An exchange that its handler kept beyond its stream is over. */
void emb_conn_http2_orphan_over(struct emb_exchange *x);

#endif
