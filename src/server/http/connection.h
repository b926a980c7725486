/* One connection and the exchanges on it. Private to listen.c, connection.c, conn_http2.c, exchange.c and reply.c. */
#ifndef EMB_CONNECTION_H
#define EMB_CONNECTION_H

#include <sys/socket.h>
#include <uv.h>

#include "server/access/auth.h"
#include "server/http/exchange.h"
#include "server/http/http1.h"
#include "server/http/listen.h"
#include "server/http/request_id.h"
#include "server/http/router.h"
#include "server/http/transport.h"

#define EMB_LISTENERS 8
#define EMB_READ_BYTES 65536
#define EMB_RECORD_BYTES 16384 /* the most that one TLS record carries */
#define EMB_PEER_UNIX "unix:"  /* a peer's name on a Unix socket, with its user's number */

struct emb_front {
    uv_loop_t *loop;
    struct emb_front_options options; /* host unset */
    struct emb_listener {
        uv_poll_t poll;
        int fd;
    } listeners[EMB_LISTENERS];
    int listener_count;
    uv_poll_t widest;  /* sizes the loop's table of descriptors */
    uv_timer_t sweep;  /* looks at every connection's time limits */
    uv_prepare_t turn; /* does what is due, where something is */
    int handles;       /* not yet closed: of the members above */
    struct emb_conn *due;
    struct emb_conn *conns;
    size_t conn_count;
    size_t exchange_count;
    uint64_t accepted, refused; /* connections, ever */
    size_t orphan_count;        /* exchanges that outlived their connection, as their handlers still have them */
    size_t conn_most;           /* beyond it a connection is closed without a word */
    bool accepting;             /* listeners are open */
    bool paused;                /* no descriptor or memory for another connection: they wait in the kernel */
    bool pause_told;            /* that was logged, and none was taken since */
    size_t held;                /* bytes, as limits.held counts them */
    bool stopping;
    uint64_t stop_at; /* uv_now */
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct emb_random_pool random;
    time_t date_of; /* second that date is for */
    char date[32];
    char read_buffer[EMB_READ_BYTES];     /* filled and used up within one read callback */
    char plain_buffer[EMB_READ_BYTES];    /* the same once decrypted */
    char record_buffer[EMB_RECORD_BYTES]; /* gathered to be encrypted */
};

struct emb_exchange {
    struct emb_conn *conn;     /* NULL once the connection is gone */
    struct emb_exchange *next; /* the connection's next request */
    struct emb_front *front;
    struct emb_http1_request *request; /* NULL where a connection was refused before one came */
    char id[EMB_REQUEST_ID_MAX + 1];
    const char *traceparent; /* in request's head, or NULL */
    char span[17];           /* with it: the id of what happens here */
    const char *route;       /* as the table has it; NULL: none was found */
    emb_error_style style;   /* the route's; NULL: OpenAI's */
    char *segment;
    struct emb_exchange_notes notes;
    void (*gone)(void *arg);
    void *gone_arg;
    uint64_t started; /* uv_hrtime */
    size_t held;      /* its part of front->held */
    size_t kept;      /* of that, what its handler keeps */
    bool malformed;   /* refused by the parser */
    bool http2;
    bool answered;
    bool sent;
    int status;
    char peer[64];
    struct emb_client client;
    struct emb_buf extra; /* reply's header lines that the handler added */
    struct emb_buf head;
    struct emb_buf body; /* or its piece */
    struct emb_exchange_source source;
    uint64_t length; /* of the body */
    bool streaming;  /* the source has more */
    bool chunked;
    char chunk[20];     /* a chunk's first line */
    uint64_t bytes_out; /* of the body, made so far */
    char spare[320];    /* the reply's head where there is no memory for another */
    size_t out_bytes;   /* handed to the socket */
    uv_write_t write;
    struct emb_http2_stream *stream; /* with HTTP/2, as what follows; NULL once it is over */
    size_t offset;                   /* of the body, or its piece: what was sent */
    struct emb_conn_http2 *origin;   /* of an orphan whose connection is still there */
};

/* What a connection speaks; where ALPN did not say, its first bytes do. */
enum emb_protocol { EMB_PROTOCOL_OPEN, EMB_PROTOCOL_HTTP1, EMB_PROTOCOL_HTTP2 };

struct emb_conn {
    union {
        uv_tcp_t tcp;
        uv_pipe_t pipe; /* over a Unix socket */
    };
    struct emb_transport transport;
    struct emb_front *front;
    struct emb_conn *next, *previous;
    enum emb_protocol protocol;
    unsigned preface;             /* bytes of HTTP/2's that came; what else will tell which protocol it is */
    struct emb_conn_http2 *http2; /* NULL: it speaks HTTP/1 */
    struct emb_conn *next_due;
    bool due; /* in the front's list */
    struct emb_http1 *parser;
    struct emb_exchange *first, *last; /* not fully answered, oldest first */
    size_t exchange_count;
    size_t unsent;       /* bytes handed to the socket and not written */
    size_t parser_held;  /* parser's part of front->held */
    struct emb_buf rest; /* read but not parsed: too many requests are pending */
    char peer[64];
    bool reading;
    bool ended; /* no further request is taken */
    bool drain; /* input may still come: linger before closing */
    bool eof;   /* the client closed its side */
    bool continue_due;
    bool finishing; /* the last reply was sent and our side is shut down */
    bool closing;
    enum emb_http1_phase phase;
    uint64_t phase_since; /* uv_now, as the times below */
    uint64_t last_read;
    uint64_t last_active; /* a request ended or the connection began */
    uint64_t finishing_at;
    uint64_t handed;         /* bytes ever given to the socket */
    uint64_t written;        /* of these gone out when last looked at */
    uint64_t written_before; /* gone out when write_since was set */
    uint64_t write_since;    /* bytes have been waiting since */
    uint64_t write_progress; /* some went out last */
    uint64_t drained;        /* bytes dropped while lingering */
    uv_shutdown_t shutdown;
};

/* A connection over fd (owned from now on) with that peer. */
void emb_conn_open(struct emb_front *front, int fd, const struct sockaddr *peer);

/* Applies the time limits. */
void emb_conn_check(struct emb_conn *conn, uint64_t now);

/* Closes at once; pending exchanges are told. */
void emb_conn_close(struct emb_conn *conn);

/* Says what was agreed on before the first byte of the protocol came. */
void emb_conn_set_protocol(struct emb_conn *conn, enum emb_protocol protocol);

/* All is answered and nothing more will be: shuts our side down, then closes, at once or after lingering. */
void emb_conn_finish(struct emb_conn *conn);

/* So many bytes are about to be queued in the socket: conn->unsent is to be lowered by them when they are written. */
void emb_conn_note_write(struct emb_conn *conn, size_t bytes);

/* The transport's writes, with the results of uv_try_write and uv_write. Parts live until written is called. */
int emb_conn_try_write(struct emb_conn *conn, const uv_buf_t *parts, int count);
int emb_conn_write(struct emb_conn *conn, uv_write_t *request, const uv_buf_t *parts, int count, uv_write_cb written);

/* A connection or an orphaned exchange is over: a stop may be complete. */
void emb_front_release(struct emb_front *front);

/* Seconds told in Keep-Alive: somewhat less than connections are kept, so that the client gives up first. */
unsigned emb_front_announced_idle(const struct emb_front *front);

/* Sends what is answered, in order. Called after an exchange was answered. */
void emb_conn_flush(struct emb_conn *conn);

/* A new exchange on conn, with request (owned from now on, may be NULL), or NULL when there is no memory. */
struct emb_exchange *emb_exchange_new(struct emb_conn *conn, struct emb_http1_request *request);
void emb_exchange_free(struct emb_exchange *x);

/* Answers what the parser refused. */
void emb_exchange_refuse(struct emb_exchange *x, int status, const char *message);

/* Finds the route and calls its handler, or answers why not. */
void emb_exchange_dispatch(struct emb_exchange *x);

/* Adds server-timing to a reply for inputs, and traceresponse where the request is part of a trace. */
void emb_exchange_annotate(struct emb_exchange *x);

/* Counts the request and writes its log line. */
#define EMB_CLIENT_GONE 499 /* nginx's code, in the log and the metrics only */
void emb_exchange_log(const struct emb_exchange *x, int status);

/* Makes the reply, or its first piece, ready to be sent; x->streaming tells whether more pieces follow. */
void emb_exchange_prepare(struct emb_exchange *x);

/* Whether only the end of the connection can tell where the body ends. */
bool emb_exchange_close_delimited(const struct emb_exchange *x);

/* The prepared reply's head, which lives in x; close: it announces the end of the connection. Where memory has run out the reply
 * becomes a bare 503 and the body is dropped. Returns its size. */
size_t emb_exchange_head(struct emb_exchange *x, bool close, const char **head);

/* The same for HTTP/2: the prepared reply's header fields, of which there may be most, good until x changes. */
struct emb_http2_field;
size_t emb_exchange_fields(struct emb_exchange *x, struct emb_http2_field *fields, size_t most);

/* The body, or its piece, as it goes out: up to three parts. Returns how many; where that is 0, *parts is empty. */
int emb_exchange_body_parts(struct emb_exchange *x, uv_buf_t *parts);

/* The next piece; false when there is none and the reply cannot be finished. */
bool emb_exchange_pull(struct emb_exchange *x);

/* Tells a source that is still asked that nobody wants its bytes. */
void emb_exchange_end_stream(struct emb_exchange *x);

/* Tells the handler that the client is gone. x may be freed by it or stay until it is answered in vain. */
void emb_exchange_abandon(struct emb_exchange *x);

/* Corrects x's part of the bytes held after its buffers changed. */
void emb_exchange_account(struct emb_exchange *x);

#endif
