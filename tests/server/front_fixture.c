/* The loop's thread runs the front and all handlers; the test's thread talks to it through sockets only. */
#include "front_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/access/admission.h"
#include "server/http/connection.h"

#define HOLD_MAX 64

atomic_int fixture_held, fixture_gone, fixture_big, fixture_pieces, fixture_over;
struct emb_access *fixture_access;
struct emb_tls_context *fixture_tls;
static struct emb_exchange *held[HOLD_MAX];
static int held_count;

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fixture: %s\n", what);
        abort();
    }
}

static void reply_text(struct emb_exchange *x, const char *text, size_t size)
{
    struct emb_buf body;
    emb_buf_init(&body, BIG_BYTES * 2);
    emb_buf_append(&body, text, size);
    emb_exchange_reply(x, 200, "text/plain", &body);
}

static void echo(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    size_t size;
    const char *body = emb_exchange_body(x, &size);
    reply_text(x, body, size);
}

static void show_model(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    const char *id = emb_exchange_segment(x);
    emb_exchange_add_header(x, "x-good", "a\tb");
    emb_exchange_add_header(x, "x-bad", "a\r\nx-smuggled: b");
    reply_text(x, id, strlen(id));
}

static void big(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    static char text[BIG_BYTES];
    atomic_fetch_add(&fixture_big, 1);
    memset(text, 'x', sizeof text);
    reply_text(x, text, sizeof text);
}

static void gone(void *arg)
{
    for (int i = 0; i < held_count; i++) {
        if (held[i] == arg) {
            held[i] = held[--held_count];
            atomic_fetch_add(&fixture_gone, 1);
            atomic_store(&fixture_held, held_count);
            return;
        }
    }
    check(false, "an exchange is gone that was not held");
}

static void keep(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    check(held_count < HOLD_MAX, "too many held");
    held[held_count++] = x;
    atomic_store(&fixture_held, held_count);
}

static void hold(struct emb_server *server, struct emb_exchange *x)
{
    keep(server, x);
    emb_exchange_on_gone(x, gone, x);
}

static void answer_held(void)
{
    char text[32];
    while (held_count > 0) {
        struct emb_exchange *h = held[--held_count];
        int size = snprintf(text, sizeof text, "held %d", held_count);
        reply_text(h, text, (size_t)size);
    }
    atomic_store(&fixture_held, 0);
}

static void release_all(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    char text[32];
    int size = snprintf(text, sizeof text, "%d", held_count);
    answer_held();
    reply_text(x, text, (size_t)size);
}

/* ---- Streams ---- */

struct stream {
    size_t given, total;
    bool fails;
};

char fixture_byte(size_t at)
{
    return (char)('a' + at % 26 + (at >> 20) % 2);
}

static enum emb_piece next_piece(void *arg, struct emb_buf *out)
{
    struct stream *s = arg;
    atomic_fetch_add(&fixture_pieces, 1);
    check(out->size == 0, "a piece is asked for on top of another");
    while (s->given < s->total && out->size < EMB_PIECE_BYTES) {
        char c = fixture_byte(s->given++);
        emb_buf_append(out, &c, 1);
    }
    return s->given < s->total ? EMB_PIECE_MORE : s->fails ? EMB_PIECE_FAILED : EMB_PIECE_LAST;
}

static void stream_over(void *arg)
{
    free(arg);
    atomic_fetch_add(&fixture_over, 1);
}

static void stream(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    const char *kind = emb_exchange_segment(x);
    struct stream *s = calloc(1, sizeof *s);
    check(s != NULL, "no memory");
    bool small = strcmp(kind, "small") == 0 || strcmp(kind, "fail-first") == 0;
    s->total = small ? SMALL_BYTES : strcmp(kind, "empty") == 0 ? 0 : BIG_BYTES;
    s->total = strcmp(kind, "endless") == 0 ? SIZE_MAX : s->total;
    s->fails = strncmp(kind, "fail", 4) == 0;
    uint64_t length = strcmp(kind, "known") == 0  ? BIG_BYTES
                      : strcmp(kind, "less") == 0 ? BIG_BYTES + 1
                      : strcmp(kind, "more") == 0 ? BIG_BYTES - 1
                                                  : EMB_LENGTH_UNKNOWN;
    emb_exchange_stream(x, 200, "text/plain", length,
                        &(struct emb_exchange_source){.next = next_piece, .over = stream_over, .arg = s});
}

static void show_client(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    const struct emb_client *client = emb_exchange_client(x);
    char text[128];
    int size = snprintf(text, sizeof text, "%s %u%s", client->name, client->priorities, client->admin ? " admin" : "");
    reply_text(x, text, (size_t)size);
}

/* Charges for as many tokens as the body says. */
static void spend(struct emb_server *server, struct emb_exchange *x)
{
    size_t size;
    struct emb_charge_refusal refusal;
    if (emb_admission_charge(x, strtoul(emb_exchange_body(x, &size), NULL, 10), &refusal)) {
        show_client(server, x);
        return;
    }
    emb_exchange_error(x, 429, "tokens", NULL, refusal.hopeless ? "hopeless" : "rate_limit_exceeded", "%u %s",
                       refusal.retry_after_ms, refusal.message);
}

/* A made-up dialect's: its clients want 422 where others want 400. */
static int flat_style(const struct emb_error *error, struct emb_buf *out)
{
    emb_buf_printf(out, "{\"why\":\"%s\",\"id\":\"%s\"}", error->code ? error->code : "-", error->request_id);
    return error->status == 400 ? 422 : error->status;
}

static void refuse(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    emb_exchange_error(x, 400, "invalid_request_error", "input", "wrong", "This is wrong");
}

static const struct emb_route routes[] = {
    {"GET", "/who", show_client, 0, NULL},
    {"POST", "/spend", spend, 0, NULL},
    {"GET", "/public", show_client, EMB_ROUTE_PUBLIC, NULL},
    {"GET", "/metrics", show_client, EMB_ROUTE_METRICS, NULL},
    {"POST", "/admin", show_client, EMB_ROUTE_ADMIN, NULL},
    {"GET", "/", echo, 0, NULL},
    {"POST", "/", echo, 0, NULL},
    {"GET", "/models/{id}", show_model, 0, NULL},
    {"GET", "/big", big, 0, NULL},
    {"GET", "/hold", hold, 0, NULL},
    {"POST", "/hold", hold, 0, NULL},
    {"GET", "/keep", keep, 0, NULL},
    {"POST", "/release", release_all, 0, NULL},
    {"GET", "/stream/{kind}", stream, 0, NULL},
    {"POST", "/flat", refuse, 0, flat_style},
    {NULL, NULL, NULL, 0, NULL},
};

static void on_stopped(void *arg)
{
    struct fixture *f = arg;
    check(f->front->held == 0, "bytes are held after the stop");
    emb_front_free(f->front);
    uv_close((uv_handle_t *)&f->stop, NULL);
    uv_close((uv_handle_t *)&f->turn, NULL);
    atomic_store(&f->stopped, true);
}

static void on_stop(uv_async_t *async)
{
    struct fixture *f = async->data;
    if (atomic_load(&f->give_up)) {
        answer_held();
    }
    emb_front_stop(f->front, on_stopped, f);
}

static void on_turn(uv_prepare_t *prepare)
{
    struct fixture *f = prepare->data;
    atomic_fetch_add(&f->turns, 1);
}

static void run(void *arg)
{
    struct fixture *f = arg;
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

int fixture_bind(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
              getsockname(fd, (struct sockaddr *)&address, &size) == 0,
          "cannot bind");
    *port = ntohs(address.sin_port);
    return fd;
}

void fixture_start(struct fixture *f, const struct emb_front_limits *limits)
{
    int listener = fixture_bind(&f->port);
    struct emb_front_options options = {.listeners = &listener,
                                        .listener_count = 1,
                                        .limits = *limits,
                                        .access = fixture_access,
                                        .routes = routes,
                                        .tls = fixture_tls};
    embellama_error error;
    atomic_store(&f->stopped, false);
    held_count = 0;
    atomic_store(&fixture_held, 0);
    atomic_store(&fixture_gone, 0);
    atomic_store(&fixture_big, 0);
    atomic_store(&fixture_pieces, 0);
    atomic_store(&fixture_over, 0);
    atomic_store(&f->give_up, false);
    check(uv_loop_init(&f->loop) == 0, "no loop");
    check(uv_async_init(&f->loop, &f->stop, on_stop) == 0, "no async");
    f->stop.data = f;
    check(uv_prepare_init(&f->loop, &f->turn) == 0 && uv_prepare_start(&f->turn, on_turn) == 0, "no prepare");
    f->turn.data = f;
    atomic_store(&f->turns, 0);
    int status = emb_front_open(&f->front, &f->loop, &options, &error);
    check(status == 0, status ? error.message : "");
    check(uv_thread_create(&f->thread, run, f) == 0, "no thread");
}

void fixture_stop(struct fixture *f)
{
    uv_async_send(&f->stop);
}

void fixture_join(struct fixture *f)
{
    if (!atomic_load(&f->stopped)) {
        atomic_store(&f->give_up, true);
        fixture_stop(f);
    }
    uv_thread_join(&f->thread);
    check(uv_loop_close(&f->loop) == 0, "handles are left in the loop");
}

bool client_connect(const struct fixture *f, int fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int status = connect(fd, (struct sockaddr *)&address, sizeof address);
    check(status == 0 || errno == ECONNREFUSED, "cannot connect");
    return status == 0;
}

int client_open(const struct fixture *f)
{
    struct timeval limit = {.tv_sec = 20};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    check(fd >= 0 && client_connect(f, fd), "cannot connect");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

void client_send(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* the server closed: the reply tells */
        }
        data += n;
        size -= (size_t)n;
    }
}

void client_puts(int fd, const char *text)
{
    client_send(fd, text, strlen(text));
}

struct reply client_reply(int fd, bool bodyless)
{
    struct reply r = {0};
    size_t used = 0;
    while (used < 4 || memcmp(r.head + used - 4, "\r\n\r\n", 4) != 0) {
        if (used + 1 == sizeof r.head || recv(fd, r.head + used, 1, 0) != 1) {
            return r;
        }
        used++;
    }
    const char *length = reply_header(&r, "content-length");
    r.status = (int)strtol(r.head + 9, NULL, 10);
    size_t size = length && !bodyless ? strtoul(length, NULL, 10) : 0;
    r.body = malloc(size + 1);
    while (r.size < size) {
        ssize_t n = recv(fd, r.body + r.size, size - r.size, 0);
        if (n <= 0) {
            r.status = 0;
            break;
        }
        r.size += (size_t)n;
    }
    r.body[r.size] = '\0';
    return r;
}

void reply_free(struct reply *r)
{
    free(r->body);
    r->body = NULL;
}

const char *reply_header(const struct reply *r, const char *name)
{
    static char value[256];
    size_t length = strlen(name);
    for (const char *line = strstr(r->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            line += strspn(line, " ");
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r"), line);
            return value;
        }
    }
    return NULL;
}

bool client_ended(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

bool wait_for(atomic_int *counter, int value)
{
    for (int i = 0; i < 4000; i++) {
        if (atomic_load(counter) == value) {
            return true;
        }
        usleep(5000);
    }
    return false;
}

bool wait_for_least(atomic_int *counter, int value)
{
    for (int i = 0; i < 4000; i++) {
        if (atomic_load(counter) >= value) {
            return true;
        }
        usleep(5000);
    }
    return false;
}
