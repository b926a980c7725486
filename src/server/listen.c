/* The front: addresses, accepting, the sweep over time limits, and stopping. */
#include "server/listen.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "server/connection.h"

#define BACKLOG 1024
#define SWEEP_MS 250

struct emb_front_limits emb_front_limits_default(void)
{
    return (struct emb_front_limits){
        .http1 = emb_http1_limits_default(),
        .connections = 1024,
        .pipelined = 16,
        .unanswered = 16u << 20,
        .held = 256u << 20,
        .least_rate = 1024,
        .head_ms = 10000,
        .body_ms = 30000,
        .idle_ms = 75000,
        .write_ms = 30000,
        .half_closed_ms = 2000,
        .linger_ms = 2000,
        .linger_bytes = 64u << 20,
        .stop_idle_ms = 100,
        .stop_partial_ms = 5000,
    };
}

unsigned emb_front_announced_idle(const struct emb_front *front)
{
    unsigned seconds = front->options.limits.idle_ms / 1000;
    return seconds > 6 ? seconds - 5 : 1;
}

int emb_front_port(const struct emb_front *front)
{
    return front->port;
}

bool emb_front_stopping(const struct emb_front *front)
{
    return front->stopping;
}

/* ---- Stopping ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct emb_front *front = handle->data;
    if (--front->handles == 0 && front->stopped) {
        front->stopped(front->stopped_arg);
    }
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, on_handle_closed);
    }
}

/* The sweep's handle is closed last: when it is, nothing of the front is in use any more. */
void emb_front_release(struct emb_front *front)
{
    if (front->conn_count == 0 && !front->accept_due) {
        uv_timer_stop(&front->sweep);
    }
    if (front->stopping && front->conn_count == 0 && front->orphan_count == 0) {
        close_handle((uv_handle_t *)&front->sweep);
    }
}

static void on_sweep(uv_timer_t *timer);

static void start_sweep(struct emb_front *front)
{
    const struct emb_front_limits *l = &front->options.limits;
    unsigned times[] = {l->head_ms,        l->body_ms,   l->idle_ms,      l->write_ms,
                        l->half_closed_ms, l->linger_ms, l->stop_idle_ms, l->stop_partial_ms};
    uint64_t every = SWEEP_MS * 4;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        every = times[i] < every ? times[i] : every;
    }
    every = every / 4 > 10 ? every / 4 : 10;
    if (!uv_is_active((const uv_handle_t *)&front->sweep)) {
        uv_timer_start(&front->sweep, on_sweep, every, every);
    }
}

void emb_front_stop(struct emb_front *front, void (*stopped)(void *arg), void *arg)
{
    if (front->stopping) {
        return;
    }
    front->stopping = true;
    front->stop_at = uv_now(front->loop);
    front->stopped = stopped;
    front->stopped_arg = arg;
    for (int i = 0; i < front->listener_count; i++) {
        close_handle((uv_handle_t *)&front->listeners[i]);
    }
    for (struct emb_conn *conn = front->conns; conn; conn = conn->next) {
        if (conn->first && conn->phase == EMB_HTTP1_IDLE) {
            conn->ended = true;
        }
    }
    emb_front_release(front);
}

void emb_front_free(struct emb_front *front)
{
    emb_free(front);
}

/* ---- Accepting ---- */

static void on_connection(uv_stream_t *listener, int status)
{
    struct emb_front *front = listener->data;
    if (status < 0) {
        emb_log(EMB_LOG_WARN, "accept", "error=\"%s\"", uv_strerror(status));
        return;
    }
    emb_conn_accept(front, listener);
    start_sweep(front);
}

static void on_sweep(uv_timer_t *timer)
{
    struct emb_front *front = timer->data;
    uint64_t now = uv_now(front->loop);
    for (struct emb_conn *conn = front->conns; conn; conn = conn->next) {
        emb_conn_check(conn, now);
    }
    if (front->accept_due && !front->stopping) {
        front->accept_due = false;
        for (int i = 0; i < front->listener_count; i++) {
            emb_conn_accept(front, (uv_stream_t *)&front->listeners[i]);
        }
    }
}

/* ---- Listening ---- */

static int fail_listen(embellama_error *error, const char *host, int port, int status)
{
    bool bracket = strchr(host, ':') != NULL;
    return emb_fail(error, EMBELLAMA_E_IO, "cannot listen on %s%s%s:%d: %s", bracket ? "[" : "", host,
                    bracket ? "]" : "", port, uv_strerror(status));
}

static void set_port(struct sockaddr *address, int port)
{
    uint16_t value = htons((uint16_t)port);
    if (address->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = value;
    } else {
        ((struct sockaddr_in *)address)->sin_port = value;
    }
}

static int bound_port(const uv_tcp_t *listener)
{
    struct sockaddr_storage address;
    int size = sizeof address;
    if (uv_tcp_getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

/* One more listener, or libuv's error. A listener that fails is closed and never used. */
static int listen_one(struct emb_front *front, struct sockaddr *address)
{
    uv_tcp_t *listener = &front->listeners[front->listener_count];
    int status = uv_tcp_init(front->loop, listener);
    if (status != 0) {
        return status;
    }
    front->listener_count++;
    front->handles++;
    listener->data = front;
    set_port(address, front->port);
    status = uv_tcp_bind(listener, address, 0);
    if (status == 0) {
        status = uv_listen((uv_stream_t *)listener, BACKLOG, on_connection);
    }
    if (status != 0) {
        close_handle((uv_handle_t *)listener);
        return status;
    }
    front->port = bound_port(listener);
    return 0;
}

/* Listens on each address; one that this machine lacks is left out as long as another works. */
static int listen_all(struct emb_front *front, struct addrinfo *addresses, const char *host, embellama_error *error)
{
    int port = front->port, lacking = 0, working = 0;
    for (struct addrinfo *a = addresses; a && front->listener_count < EMB_LISTENERS; a = a->ai_next) {
        int status = listen_one(front, a->ai_addr);
        if (status == UV_EADDRNOTAVAIL || status == UV_EAFNOSUPPORT) {
            lacking = status;
        } else if (status != 0) {
            return fail_listen(error, host, port, status);
        } else {
            working++;
        }
    }
    return working > 0 ? 0 : fail_listen(error, host, port, lacking ? lacking : UV_EADDRNOTAVAIL);
}

static int resolve(const char *host, struct addrinfo **out, embellama_error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int status = getaddrinfo(host, NULL, &hints, out);
    if (status != 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot listen on '%s': %s", host, gai_strerror(status));
    }
    return 0;
}

/* Frees a front whose opening failed, once its handles are closed. */
static void free_failed(void *arg)
{
    emb_front_free(arg);
}

int emb_front_open(struct emb_front **out, uv_loop_t *loop, const struct emb_front_options *options,
                   embellama_error *error)
{
    char host[256];
    size_t length = strlen(options->host);
    bool bracket = length > 2 && options->host[0] == '[' && options->host[length - 1] == ']';
    if (length == 0 || length >= sizeof host) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "the host to listen on is %s", length ? "too long" : "empty");
    }
    snprintf(host, sizeof host, "%.*s", (int)(bracket ? length - 2 : length), options->host + bracket);
    struct addrinfo *addresses = NULL;
    int status = resolve(host, &addresses, error);
    if (status != 0) {
        return status;
    }
    struct emb_front *front = emb_calloc(1, sizeof *front);
    if (!front || uv_timer_init(loop, &front->sweep) != 0) {
        emb_free(front);
        freeaddrinfo(addresses);
        return emb_fail_nomem(error);
    }
    front->loop = loop;
    front->options = *options;
    front->options.host = NULL;
    front->port = options->port;
    front->sweep.data = front;
    front->handles = 1;
    status = listen_all(front, addresses, host, error);
    freeaddrinfo(addresses);
    if (status != 0) {
        emb_front_stop(front, free_failed, front);
        return status;
    }
    *out = front;
    return 0;
}
