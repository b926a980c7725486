/* What libuv and llhttp can answer at most: a program that gives every request the same answer.
 *
 *     bare_http BODY-FILE
 *
 * Listens on a free port of 127.0.0.1, prints {"port":N}, and answers 200 with the file's bytes until it is ended. */
#include <llhttp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { READ_BYTES = 65536, BODY_MAX = 1 << 26, BACKLOG = 1024 };

static char *answer;
static size_t answer_size;
static char read_buffer[READ_BYTES];

struct connection {
    uv_tcp_t tcp;
    llhttp_t parser;
    bool closing;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bare_http: %s: %s\n", what, why);
    exit(2);
}

static void read_answer(const char *path)
{
    char head[128];
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        die(path, "cannot open");
    }
    long size = ftell(f);
    rewind(f);
    if (size < 0 || size > BODY_MAX) {
        die(path, "too large");
    }
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %ld\r\n\r\n", size);
    answer_size = (size_t)n + (size_t)size;
    answer = calloc(1, answer_size + 1);
    if (!answer || snprintf(answer, answer_size + 1, "%s", head) != n ||
        fread(answer + n, 1, (size_t)size, f) != (size_t)size) {
        die(path, "cannot read");
    }
    fclose(f);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_connection(struct connection *c)
{
    if (!c->closing) {
        c->closing = true;
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    }
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    free(write);
}

static int on_complete(llhttp_t *parser)
{
    struct connection *c = parser->data;
    uv_buf_t buf = uv_buf_init(answer, (unsigned)answer_size);
    int done = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    size_t written = done > 0 ? (size_t)done : 0;
    if (written < answer_size) {
        uv_write_t *write = malloc(sizeof *write);
        buf = uv_buf_init(answer + written, (unsigned)(answer_size - written));
        if (!write || uv_write(write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
            free(write);
            return -1;
        }
    }
    return 0;
}

static const llhttp_settings_t settings = {.on_message_complete = on_complete};

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    (void)handle;
    (void)hint;
    *buf = uv_buf_init(read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (n < 0 || (n > 0 && llhttp_execute(&c->parser, buf->base, (size_t)n) != HPE_OK)) {
        close_connection(c);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct connection *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        return;
    }
    uv_tcp_init(listener->loop, &c->tcp);
    c->tcp.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0) {
        close_connection(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

int main(int argc, char **argv)
{
    static uv_tcp_t listener;
    struct sockaddr_in address;
    int size = sizeof address;
    if (argc != 2) {
        fputs("usage: bare_http BODY-FILE\n", stderr);
        return 2;
    }
    read_answer(argv[1]);
    uv_loop_t *loop = uv_default_loop();
    if (uv_ip4_addr("127.0.0.1", 0, &address) != 0 || uv_tcp_init(loop, &listener) != 0 ||
        uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection) != 0 ||
        uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &size) != 0) {
        die("127.0.0.1", "cannot listen");
    }
    printf("{\"port\":%d}\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
