/* The front: addresses, accepting, the sweep over time limits, and stopping.
 *
 * Listening sockets are watched and accepted from here, not by libuv, whose own answer to a process without a free descriptor is
 * to close whoever waits. Here they wait until there is one. */
#include "server/http/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "server/http/conn_http2.h"
#include "server/http/connection.h"

#define SWEEP_MS 250
#define ACCEPTS 64      /* before other connections have their turn */
#define SPARE_FILES 256 /* descriptors that are not connections, at most a quarter */

struct emb_front_limits emb_front_limits_default(void)
{
    return (struct emb_front_limits){
        .http1 = emb_http1_limits_default(),
        .http2 = {.guard = {.frames = 1000,
                            .frames_per_s = 100,
                            .resets = 200,
                            .resets_per_s = 20,
                            .continuations = 8,
                            .block = 64u << 10},
                  .streams = 100,
                  .window = 128u << 10,
                  .memory = 2u << 20},
        .backlog = 1024,
        .connections = 1024,
        .pipelined = 16,
        .unanswered = 16u << 20,
        .held = 256u << 20,
        .least_rate = 1024,
        .head_ms = 10000,
        .body_ms = 30000,
        .idle_ms = 75000,
        .write_ms = 30000,
        .compress = true,
        .linger_ms = 2000,
        .linger_bytes = 64u << 20,
        .stop_accept_ms = 0,
        .stop_idle_ms = 100,
        .stop_partial_ms = 5000,
    };
}

unsigned emb_front_announced_idle(const struct emb_front *front)
{
    unsigned seconds = front->options.limits.idle_ms / 1000;
    return seconds > 6 ? seconds - 5 : 1;
}

struct emb_front_stats emb_front_stats(const struct emb_front *front)
{
    return (struct emb_front_stats){.connections = front->conn_count,
                                    .connections_limit = front->options.limits.connections,
                                    .exchanges = front->exchange_count,
                                    .held = front->held,
                                    .held_limit = front->options.limits.held,
                                    .accepted = front->accepted,
                                    .refused = front->refused};
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

static void listen_again(struct emb_front *front);

/* The sweep's handle is closed last: when it is, nothing of the front is in use any more. */
void emb_front_release(struct emb_front *front)
{
    if (front->paused) {
        listen_again(front);
    }
    if (front->conn_count == 0 && !front->paused && !front->stopping) {
        uv_timer_stop(&front->sweep);
    }
    if (front->stopping && !front->accepting && front->conn_count == 0 && front->orphan_count == 0) {
        close_handle((uv_handle_t *)&front->turn);
        close_handle((uv_handle_t *)&front->sweep);
    }
}

static void on_sweep(uv_timer_t *timer);

static void start_sweep(struct emb_front *front)
{
    const struct emb_front_limits *l = &front->options.limits;
    unsigned times[] = {l->head_ms,   l->body_ms,      l->idle_ms,        l->write_ms,
                        l->linger_ms, l->stop_idle_ms, l->stop_partial_ms};
    uint64_t every = SWEEP_MS * 4;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        every = times[i] < every ? times[i] : every;
    }
    every = every / 4 > 10 ? every / 4 : 10;
    if (!uv_is_active((const uv_handle_t *)&front->sweep)) {
        uv_timer_start(&front->sweep, on_sweep, every, every);
    }
}

static bool accept_some(struct emb_front *front, struct emb_listener *listener);

/* Takes whoever was told that there is a connection, then refuses others. */
static void close_listeners(struct emb_front *front)
{
    for (int i = 0; i < front->listener_count; i++) {
        struct emb_listener *listener = &front->listeners[i];
        for (int turn = 0; turn <= (int)front->options.limits.backlog / ACCEPTS && accept_some(front, listener);
             turn++) {
        }
        close_handle((uv_handle_t *)&listener->poll);
        shutdown(listener->fd, SHUT_RDWR);
        close(listener->fd);
    }
    front->accepting = front->paused = false;
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
    if (front->options.limits.stop_accept_ms == 0) {
        close_listeners(front);
    }
    for (struct emb_conn *conn = front->conns; conn; conn = conn->next) {
        if (conn->http2) {
            emb_conn_http2_stop(conn);
        } else if (conn->first && conn->phase == EMB_HTTP1_IDLE) {
            conn->ended = true;
        }
    }
    start_sweep(front);
    emb_front_release(front);
}

void emb_front_free(struct emb_front *front)
{
    emb_free(front);
}

/* ---- Accepting ---- */

static void on_acceptable(uv_poll_t *poll, int status, int events);

/* Nothing is lost where it fails: the next sweep tries again. */
static void listen_again(struct emb_front *front)
{
    front->paused = false;
    for (int i = 0; front->accepting && i < front->listener_count; i++) {
        front->paused |= uv_poll_start(&front->listeners[i].poll, UV_READABLE, on_acceptable) != 0;
    }
}

static void pause_accepting(struct emb_front *front, int reason)
{
    if (!front->pause_told) {
        emb_log(EMB_LOG_WARN, "accept_paused", "connections=%zu error=\"%s\"", front->conn_count, strerror(reason));
    }
    front->pause_told = front->paused = true;
    for (int i = 0; i < front->listener_count; i++) {
        uv_poll_stop(&front->listeners[i].poll);
    }
}

/* Takes up to ACCEPTS connections; false when no more waits or can be taken. */
static bool accept_some(struct emb_front *front, struct emb_listener *listener)
{
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
        socklen_t size = sizeof peer;
        int fd = accept4(listener->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            front->pause_told = false;
            emb_conn_open(front, fd, (const struct sockaddr *)&peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(front, errno);
            return false;
        } else if (errno == EAGAIN || errno == EINVAL || errno == EBADF) {
            return false;
        } /* else that connection has failed already */
    }
    return true;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct emb_front *front = poll->data;
    (void)events;
    if (status < 0) {
        pause_accepting(front, -status);
    } else {
        accept_some(front, (struct emb_listener *)poll); /* its first member */
    }
    start_sweep(front);
}

static void on_sweep(uv_timer_t *timer)
{
    struct emb_front *front = timer->data;
    uint64_t now = uv_now(front->loop);
    for (struct emb_conn *conn = front->conns; conn; conn = conn->next) {
        emb_conn_check(conn, now);
    }
    if (front->accepting && front->stopping && now - front->stop_at >= front->options.limits.stop_accept_ms) {
        close_listeners(front);
    }
    emb_front_release(front);
}

/* ---- Listening ---- */

/* Watches a listening socket, owned from now on. */
static int adopt(struct emb_front *front, int fd)
{
    struct emb_listener *listener = &front->listeners[front->listener_count];
    int on = 1, status = uv_poll_init(front->loop, &listener->poll, fd);
    if (status != 0) {
        close(fd);
        return status;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* its connections inherit it; a Unix socket has none */
    listener->fd = fd;
    listener->poll.data = front;
    front->listener_count++;
    front->handles++;
    front->accepting = true;
    return uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

static int listen_all(struct emb_front *front, const int *fds, size_t count, embellama_error *error)
{
    for (size_t i = 0; i < count; i++) {
        int status = front->listener_count == EMB_LISTENERS ? UV_EMFILE : 0;
        if (status == 0 && listen(fds[i], (int)front->options.limits.backlog) != 0) {
            status = uv_translate_sys_error(errno);
        }
        if (status == 0) {
            status = adopt(front, fds[i]);
        } else {
            close(fds[i]);
        }
        if (status != 0) {
            for (i++; i < count; i++) {
                close(fds[i]);
            }
            return emb_fail(error, EMBELLAMA_E_IO, "cannot listen: %s", uv_strerror(status));
        }
    }
    return 0;
}

/* Lowers the limit of connections to what the process may open, some descriptors left free. */
static void fit_files(struct emb_front *front)
{
    struct emb_front_limits *limits = &front->options.limits;
    struct rlimit files;
    front->conn_most = limits->connections * 2;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return;
    }
    rlim_t wanted = front->conn_most + SPARE_FILES;
    if (files.rlim_cur < wanted && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    size_t may = files.rlim_cur - (files.rlim_cur / 4 < SPARE_FILES ? files.rlim_cur / 4 : SPARE_FILES);
    if (may < front->conn_most) {
        front->conn_most = may;
    }
    if (may - may / 8 < limits->connections) {
        emb_log(EMB_LOG_WARN, "connections_lowered", "from=%zu to=%zu files=%zu", limits->connections, may - may / 8,
                (size_t)files.rlim_cur);
        limits->connections = may - may / 8;
    }
}

/* libuv ends the process where it lacks memory to make its table of descriptors larger: so that is done now. */
static void size_table(struct emb_front *front)
{
    struct rlimit files;
    size_t highest = front->conn_most + SPARE_FILES / 2;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur <= highest) {
        highest = files.rlim_cur - 1;
    }
    int fd = fcntl(front->listeners[0].fd, F_DUPFD_CLOEXEC, (int)highest);
    if (fd < 0) {
        return;
    }
    if (uv_poll_init(front->loop, &front->widest, fd) == 0) {
        front->handles++;
        front->widest.data = front;
        uv_poll_start(&front->widest, UV_READABLE, on_acceptable);
        close_handle((uv_handle_t *)&front->widest);
    }
    close(fd);
}

/* Frees a front whose opening failed, once its handles are closed. */
static void free_failed(void *arg)
{
    emb_front_free(arg);
}

int emb_front_open(struct emb_front **out, uv_loop_t *loop, const struct emb_front_options *options,
                   embellama_error *error)
{
    struct emb_front *front = emb_calloc(1, sizeof *front);
    if (!front || uv_timer_init(loop, &front->sweep) != 0 || uv_prepare_init(loop, &front->turn) != 0) {
        emb_free(front);
        for (size_t i = 0; i < options->listener_count; i++) {
            close(options->listeners[i]);
        }
        return emb_fail_nomem(error);
    }
    front->loop = loop;
    front->options = *options;
    front->options.listeners = NULL;
    front->sweep.data = front->turn.data = front;
    front->handles = 2;
    fit_files(front);
    int status = listen_all(front, options->listeners, options->listener_count, error);
    if (front->listener_count > 0) {
        size_table(front);
    }
    if (status != 0) {
        front->options.limits.stop_accept_ms = 0;
        emb_front_stop(front, free_failed, front);
        return status;
    }
    *out = front;
    return 0;
}
