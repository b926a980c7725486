/* One thread and one loop. Answers are parsed by llhttp as they come; a body is gathered only to look at its vectors. Times are
 * CLOCK_MONOTONIC's; the open loop's come from a timer descriptor, as libuv's timers count milliseconds. */
#include "load_run.h"

#include <errno.h>
#include <llhttp.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

enum { READ_BYTES = 1 << 18, SWEEP_MS = 10, NAME_BYTES = 32, VALUE_BYTES = 32, RECONNECT_MS = 20, SIGNALS = 2 };

const char *const load_outcome_names[LOAD_OUTCOMES] = {"answered", "wrong",   "malformed", "connect",
                                                       "reset",    "timeout", "cancelled"};

enum state { CLOSED, CONNECTING, IDLE, BUSY, CLOSING };

struct run;

struct connection {
    struct run *run;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    bool writing;
    enum state state;
    double again; /* CLOSED: not before */
    llhttp_t parser;
    /* The request under way. */
    size_t number;
    double due, sent;
    char *body;
    size_t size, capacity;
    char name[NAME_BYTES], value[VALUE_BYTES]; /* of a header; longer ones are cut and then nobody's */
    size_t name_size, value_size;
    double retry_after;
    bool should_not_retry;
    bool complete;
};

struct run {
    struct load_requests *requests;
    const struct load_run_options *options;
    struct load_result *result;
    uv_loop_t loop;
    uv_timer_t sweep;
    uv_poll_t due;
    int timer;
    uv_signal_t signals[SIGNALS];
    struct sockaddr_in address;
    struct connection *connections;
    size_t *idle; /* stack of those that are IDLE */
    size_t idle_count, open_count;
    size_t taken; /* requests sent or under way */
    size_t busy;
    double start;
    double stop_at; /* sending ends then at the latest */
    double cpu;
    bool measuring, ended;
    size_t capacity; /* of the records */
    char read_buffer[READ_BYTES];
};

static void next_request(struct connection *c);
static void open_connection(struct connection *c);
static void send_due(struct run *run);

static double now(const struct run *run)
{
    return (double)uv_hrtime() * 1e-9 - run->start;
}

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
}

/* ---- Records ---- */

/* How much of a request that ran from a to b lies in what is measured. */
static double part_within(const struct run *run, double a, double b)
{
    double from = a > run->options->warm ? a : run->options->warm;
    double until = b < run->stop_at ? b : run->stop_at;
    if (until <= from) {
        return 0;
    }
    return (until - from) / (b - a);
}

static void record(struct connection *c, enum load_outcome outcome, int status, const struct load_answer *answer)
{
    struct run *run = c->run;
    struct load_result *result = run->result;
    double end = now(run);
    if (result->n == run->capacity) {
        run->capacity = run->capacity ? 2 * run->capacity : 4096;
        result->records = load_need(realloc(result->records, run->capacity * sizeof *result->records));
    }
    result->records[result->n++] = (struct load_record){
        .at = c->due,
        .latency = (float)(end - c->due),
        .own = (float)(c->sent - c->due),
        .retry_after = (float)c->retry_after,
        .status = (uint16_t)status,
        .outcome = (uint8_t)outcome,
        .should_not_retry = c->should_not_retry,
        .request = (uint32_t)(c->number % run->requests->n),
    };
    if (answer) {
        double part = part_within(run, c->sent, end);
        result->texts += part * (double)(answer->vectors - answer->wrong);
        result->tokens += part * (double)answer->tokens;
        result->worst_cosine = fmin(result->worst_cosine, answer->worst_cosine);
    }
    result->until = fmin(end, run->stop_at);
    run->busy--;
}

/* ---- Answers ---- */

static int on_header_field(llhttp_t *parser, const char *at, size_t n)
{
    struct connection *c = parser->data;
    for (size_t i = 0; i < n; i++, c->name_size++) {
        if (c->name_size < NAME_BYTES - 1) {
            c->name[c->name_size] = at[i];
        }
    }
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t n)
{
    struct connection *c = parser->data;
    for (size_t i = 0; i < n; i++, c->value_size++) {
        if (c->value_size < VALUE_BYTES - 1) {
            c->value[c->value_size] = at[i];
        }
    }
    return 0;
}

static int on_header_complete(llhttp_t *parser)
{
    struct connection *c = parser->data;
    if (c->name_size < NAME_BYTES && c->value_size < VALUE_BYTES) {
        c->name[c->name_size] = '\0';
        c->value[c->value_size] = '\0';
        if (strcasecmp(c->name, "retry-after-ms") == 0) {
            c->retry_after = strtod(c->value, NULL) * 1e-3;
        } else if (strcasecmp(c->name, "retry-after") == 0 && c->retry_after < 0) {
            c->retry_after = strtod(c->value, NULL);
        } else if (strcasecmp(c->name, "x-should-retry") == 0) {
            c->should_not_retry = strcmp(c->value, "false") == 0;
        }
    }
    c->name_size = c->value_size = 0;
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct connection *c = parser->data;
    if (c->size + n + 1 > c->capacity) {
        c->capacity = 2 * (c->size + n + 1);
        c->body = load_need(realloc(c->body, c->capacity));
    }
    memcpy(c->body + c->size, at, n);
    c->size += n;
    c->body[c->size] = '\0';
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    struct connection *c = parser->data;
    c->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* ---- Connections ---- */

static bool sending_is_over(struct run *run)
{
    const struct load_run_options *o = run->options;
    return (o->requests > 0 && run->taken >= o->requests) || now(run) >= run->stop_at;
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    c->state = CLOSED;
    c->run->open_count--;
    if (!sending_is_over(c->run) && c->again <= now(c->run) && c->run->options->rate <= 0) {
        open_connection(c);
    }
}

static void forget_idle(struct connection *c)
{
    struct run *run = c->run;
    size_t index = (size_t)(c - run->connections), i = 0;
    while (run->idle[i] != index) {
        i++;
    }
    run->idle[i] = run->idle[--run->idle_count];
}

static void close_connection(struct connection *c)
{
    if (c->state == IDLE) {
        forget_idle(c);
    }
    if (c->state != CLOSING && c->state != CLOSED) {
        c->state = CLOSING;
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    }
}

/* The request under way has no answer. */
static void lose(struct connection *c, enum load_outcome outcome)
{
    if (c->state == BUSY) {
        record(c, outcome, 0, NULL);
    }
    close_connection(c);
}

static void become_idle(struct connection *c)
{
    struct run *run = c->run;
    c->state = IDLE;
    run->idle[run->idle_count++] = (size_t)(c - run->connections);
    if (run->options->rate > 0) {
        send_due(run);
    } else if (!sending_is_over(run)) {
        next_request(c);
    }
}

static void take_answer(struct connection *c)
{
    int status = c->parser.status_code;
    bool keep = llhttp_should_keep_alive(&c->parser) && !c->writing;
    struct load_answer answer = {0};
    enum load_outcome outcome = LOAD_ANSWERED;
    if (status == 200) {
        load_check(c->run->requests, c->number % c->run->requests->n, c->body ? c->body : "", c->size, &answer);
        outcome = answer.wrong > 0 || answer.absent > 0 ? LOAD_WRONG : LOAD_ANSWERED;
    }
    record(c, outcome, status, status == 200 ? &answer : NULL);
    if (keep) {
        become_idle(c);
    } else {
        c->run->result->reconnects++;
        close_connection(c);
    }
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    struct connection *c = handle->data;
    (void)hint;
    *buf = uv_buf_init(c->run->read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (n == 0) {
        return;
    }
    if (n < 0) {
        lose(c, LOAD_RESET);
        return;
    }
    if (c->state != BUSY) {
        close_connection(c); /* an answer to nothing, such as 408 for a connection that idles */
        return;
    }
    llhttp_errno_t result = llhttp_execute(&c->parser, buf->base, (size_t)n);
    if (c->complete) {
        take_answer(c);
    } else if (result != HPE_OK) {
        lose(c, LOAD_MALFORMED);
    }
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct connection *c = connect->data;
    if (c->state != CONNECTING) {
        return;
    }
    if (status < 0) {
        /* A request's turn is over with this; another connection is tried a moment later. */
        struct run *run = c->run;
        if (!sending_is_over(run) && run->options->rate <= 0) {
            c->number = run->taken++;
            c->due = c->sent = now(run);
            c->retry_after = -1;
            c->should_not_retry = false;
            run->busy++;
            record(c, LOAD_CONNECT, 0, NULL);
        }
        c->again = now(run) + RECONNECT_MS * 1e-3;
        close_connection(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    become_idle(c);
}

static void open_connection(struct connection *c)
{
    struct run *run = c->run;
    uv_tcp_init(&run->loop, &c->tcp);
    c->tcp.data = c;
    c->connect.data = c;
    c->write.data = c;
    c->writing = false;
    c->state = CONNECTING;
    run->open_count++;
    int rc = uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&run->address, on_connected);
    if (rc < 0) {
        c->again = now(run) + RECONNECT_MS * 1e-3;
        close_connection(c);
    }
}

/* ---- Sending ---- */

static void on_written(uv_write_t *write, int status)
{
    struct connection *c = write->data;
    (void)status; /* a broken connection is told to its reader, too */
    c->writing = false;
}

static void send_request(struct connection *c, size_t number, double due)
{
    struct run *run = c->run;
    struct load_bytes bytes = run->requests->requests[number % run->requests->n];
    forget_idle(c);
    c->state = BUSY;
    c->number = number;
    c->due = due;
    c->sent = now(run);
    c->size = c->name_size = c->value_size = 0;
    c->retry_after = -1;
    c->should_not_retry = c->complete = false;
    llhttp_init(&c->parser, HTTP_RESPONSE, &settings);
    c->parser.data = c;
    run->busy++;
    uv_buf_t buf = uv_buf_init(bytes.data, (unsigned)bytes.size);
    int done = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (done < 0 && done != UV_EAGAIN) {
        lose(c, LOAD_RESET);
        return;
    }
    size_t written = done > 0 ? (size_t)done : 0;
    if (written < bytes.size) {
        buf = uv_buf_init(bytes.data + written, (unsigned)(bytes.size - written));
        c->writing = uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) == 0;
    }
}

static void next_request(struct connection *c)
{
    send_request(c, c->run->taken++, now(c->run));
}

/* Open loop: number's time. */
static double due_at(const struct run *run, size_t number)
{
    return (double)number / run->options->rate;
}

static struct connection *closed_connection(struct run *run)
{
    double t = now(run);
    for (size_t i = 0; run->open_count < run->options->connections && i < run->options->connections; i++) {
        if (run->connections[i].state == CLOSED && run->connections[i].again <= t) {
            return &run->connections[i];
        }
    }
    return NULL;
}

static void arm(struct run *run)
{
    double at = run->start + due_at(run, run->taken);
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)at, .tv_nsec = (long)((at - floor(at)) * 1e9)}};
    timerfd_settime(run->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Open loop: whatever is due and has a connection. With none free one more is opened, which comes back here; with all of them
 * busy, requests wait, and their latency grows. */
static void send_due(struct run *run)
{
    while (!sending_is_over(run) && due_at(run, run->taken) <= now(run)) {
        if (run->idle_count == 0) {
            struct connection *c = closed_connection(run);
            if (c) {
                open_connection(c);
            }
            return;
        }
        size_t number = run->taken++;
        send_request(&run->connections[run->idle[run->idle_count - 1]], number, due_at(run, number));
    }
    if (!sending_is_over(run)) {
        arm(run);
    }
}

static void on_due(uv_poll_t *poll, int status, int events)
{
    struct run *run = poll->data;
    uint64_t times;
    (void)status;
    (void)events;
    if (read(run->timer, &times, sizeof times) == sizeof times) {
        send_due(run);
    }
}

/* ---- Course ---- */

static void say(const char *event, const struct run *run)
{
    printf("{\"event\":\"%s\",\"monotonic\":%.6f}\n", event, run->start + now(run));
    fflush(stdout);
}

static void end_sending(struct run *run)
{
    if (run->ended) {
        return;
    }
    run->ended = true;
    run->result->cpu = cpu_seconds() - run->cpu;
    say("sent", run);
}

static void sweep_connection(struct connection *c, double t)
{
    const struct load_run_options *o = c->run->options;
    if (c->state == BUSY && t - c->sent > o->timeout) {
        lose(c, LOAD_TIMEOUT);
    } else if (c->state == BUSY && o->cancel_after > 0 && t - c->sent > o->cancel_after) {
        lose(c, LOAD_CANCELLED);
    } else if (c->state == CLOSED && o->rate <= 0 && c->again <= t && !sending_is_over(c->run)) {
        open_connection(c);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct run *run = timer->data;
    double t = now(run);
    if (!run->measuring && t >= run->options->warm) {
        run->measuring = true;
        run->cpu = cpu_seconds();
    }
    for (size_t i = 0; i < run->options->connections; i++) {
        sweep_connection(&run->connections[i], t);
    }
    if (!sending_is_over(run)) {
        if (run->options->rate > 0) {
            send_due(run);
        }
        return;
    }
    end_sending(run);
    if (run->busy > 0) {
        return;
    }
    for (size_t i = 0; i < run->options->connections; i++) {
        close_connection(&run->connections[i]);
    }
    uv_close((uv_handle_t *)&run->sweep, NULL);
    for (int i = 0; i < SIGNALS; i++) {
        uv_close((uv_handle_t *)&run->signals[i], NULL);
    }
    if (run->options->rate > 0) {
        uv_close((uv_handle_t *)&run->due, NULL);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct run *run = handle->data;
    (void)number;
    run->stop_at = fmin(run->stop_at, now(run));
}

static void allow_descriptors(size_t n)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < n + 64) {
        limit.rlim_cur = limit.rlim_max < n + 64 ? limit.rlim_max : n + 64;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void begin(struct run *run)
{
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM};
    const struct load_run_options *o = run->options;
    signal(SIGPIPE, SIG_IGN);
    allow_descriptors(o->connections);
    if (uv_loop_init(&run->loop) != 0 || uv_ip4_addr(o->host, o->port, &run->address) != 0) {
        load_die(o->host, "not an IPv4 address");
    }
    run->connections = load_need(calloc(o->connections, sizeof *run->connections));
    run->idle = load_need(calloc(o->connections, sizeof *run->idle));
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&run->loop, &run->signals[i]);
        run->signals[i].data = run;
        uv_signal_start(&run->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&run->loop, &run->sweep);
    run->sweep.data = run;
    uv_timer_start(&run->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    run->start = (double)uv_hrtime() * 1e-9;
    run->result->began = run->start;
    run->cpu = cpu_seconds();
    for (size_t i = 0; i < o->connections; i++) {
        run->connections[i].run = run;
        if (o->rate <= 0) {
            open_connection(&run->connections[i]);
        }
    }
    if (o->rate > 0) {
        run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (run->timer < 0 || uv_poll_init(&run->loop, &run->due, run->timer) != 0) {
            load_die("timer", strerror(errno));
        }
        run->due.data = run;
        uv_poll_start(&run->due, UV_READABLE, on_due);
        send_due(run);
    }
    say("started", run);
}

void load_run(struct load_requests *requests, const struct load_run_options *options, struct load_result *result)
{
    struct run *run = load_need(calloc(1, sizeof *run));
    *result = (struct load_result){.from = options->warm, .worst_cosine = 1};
    run->stop_at = options->seconds > 0 ? options->seconds : INFINITY;
    run->requests = requests;
    run->options = options;
    run->result = result;
    begin(run);
    uv_run(&run->loop, UV_RUN_DEFAULT);
    if (options->rate > 0) {
        close(run->timer);
    }
    for (size_t i = 0; i < options->connections; i++) {
        free(run->connections[i].body);
    }
    if (run->stop_at < INFINITY && now(run) >= run->stop_at) {
        result->until = run->stop_at;
    }
    uv_loop_close(&run->loop);
    free(run->connections);
    free(run->idle);
    free(run);
}
