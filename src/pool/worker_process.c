/* A worker's life: attach the weights, dial in, compute until told to stop or until nobody listens any more. When only the front went
 * away it dials again; when only the supervisor did, it goes on for as long as there is a front. */
#include "pool/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/numa.h"
#include "base/status.h"
#include "pool/board.h"
#include "pool/control.h"
#include "pool/hook.h"
#include "pool/link.h"
#include "pool/sockets.h"
#include "pool/wire.h"
#include "pool/worker.h"

enum { NICE = 5, OOM_SCORE = 300, READ_BYTES = 1 << 16, DIAL_AGAIN_MS = 50 };

struct process {
    struct emb_setup setup;
    int index;
    struct emb_board_slot *slot;
    embellama_model *model;
    struct emb_pool_recipe recipe;
    struct emb_pool_engine engine;
    void *state;
    int control; /* -1: the supervisor is gone */
    int link;
    bool stopping;
    struct emb_wire_limits limits;
    struct emb_buf in;
    struct emb_pool_batch batch;
    struct emb_task *tasks;
    size_t ids_capacity, counts_capacity, tasks_capacity, vectors_capacity, statuses_capacity;
};

/* ---- Beginning ---- */

/* Raises the chance that the kernel, when memory ends, takes a worker and not the front. */
static void offer_to_oom_killer(void)
{
    char text[16] = "0";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (pread(fd, text, sizeof text - 1, 0) > 0) {
        long score = strtol(text, NULL, 10) + OOM_SCORE;
        int length = snprintf(text, sizeof text, "%ld", score < 1000 ? score : 1000);
        if (pwrite(fd, text, (size_t)length, 0) < 0) {
            emb_log(EMB_LOG_DEBUG, "oom_score_adj", "errno=%d", errno);
        }
    }
    close(fd);
}

static void move_near_memory(const struct process *w)
{
    struct emb_topology topology = {0};
    if (emb_topology_read(&topology, NULL, NULL) == EMBELLAMA_OK && topology.count > 1) {
        struct emb_place place = emb_topology_place(&topology, w->index, w->setup.workers);
        embellama_error error;
        if (emb_place_enter(&place, &topology, &error) != EMBELLAMA_OK) {
            char reason[512];
            emb_log(EMB_LOG_WARN, "numa", "reason=%s", emb_log_quote(error.message, reason, sizeof reason));
        }
    }
    emb_topology_deinit(&topology);
}

static int begin(struct process *w, embellama_error *error)
{
    struct emb_board *board;
    const struct emb_setup *s = &w->setup;
    int rc = emb_board_map(&board, EMB_FD_BOARD, error);
    if (rc == EMBELLAMA_OK) {
        w->slot = &board->workers[w->index];
        rc = embellama_model_attach(&w->model, EMB_FD_WEIGHTS, NULL, s->cpu[0] ? s->cpu : NULL, error);
    }
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    w->recipe = (struct emb_pool_recipe){
        .model = w->model,
        .pooling = (embellama_pooling)s->pooling,
        .normalize = (embellama_normalize)s->normalize,
        .p = s->p,
        .shard_tokens = s->shard_tokens,
    };
    w->engine = emb_pool_engine(&w->recipe);
    w->limits = (struct emb_wire_limits){.inputs = EMB_LINK_INPUTS_MAX, .tokens = EMB_LINK_TOKENS_MAX};
    emb_buf_init(&w->in, emb_wire_most(&w->limits) + 2 * READ_BYTES);
    rc = w->engine.start(w->engine.arg, s->threads, &w->state, error);
    if (rc == EMBELLAMA_OK) {
        emb_pool_count_layers(w->state, &w->slot->progress);
        atomic_store_explicit(&w->slot->busy, 0, memory_order_relaxed);
    }
    return rc;
}

/* ---- Control ---- */

static void heed_control(struct process *w)
{
    struct emb_control message;
    enum emb_control_got got;
    while ((got = emb_control_receive(w->control, &message)) == EMB_CONTROL_MESSAGE) {
        if (message.kind == EMB_CONTROL_STOP) {
            w->stopping = true;
        } else if (message.kind == EMB_CONTROL_LOG) {
            emb_log_set_level((enum emb_log_level)message.value);
        }
    }
    if (got == EMB_CONTROL_END) {
        w->control = -1;
    }
}

/* ---- The link ---- */

static bool send_parts(int fd, struct iovec *parts, size_t count)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        size_t sent = n > 0 ? (size_t)n : 0;
        while (count > 0 && sent >= parts->iov_len) {
            sent -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= sent;
        }
    }
    return true;
}

static bool say_hello(struct process *w)
{
    struct emb_wire_header header = emb_wire_hello_header();
    struct emb_wire_hello hello = {.worker = w->index,
                                   .threads = w->setup.threads,
                                   .dim = (uint32_t)w->engine.dim,
                                   .labels = (uint32_t)w->engine.labels};
    memcpy(hello.token, w->setup.token, sizeof hello.token);
    struct iovec parts[] = {{&header, sizeof header}, {&hello, sizeof hello}};
    return send_parts(w->link, parts, 2);
}

/* Reads more of the link, heeding the supervisor meanwhile. False when the link has ended or the worker shall stop. */
static bool read_more(struct process *w)
{
    struct pollfd fds[] = {{.fd = w->link, .events = POLLIN}, {.fd = w->control, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) {
        return false;
    }
    if (w->control >= 0 && fds[1].revents) {
        heed_control(w);
    }
    if (w->stopping) {
        return false;
    }
    if (!fds[0].revents) {
        return true;
    }
    char *room = emb_buf_reserve(&w->in, READ_BYTES);
    ssize_t n = room ? recv(w->link, room, READ_BYTES, MSG_DONTWAIT) : -1;
    if (room && n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (n > 0) {
        emb_buf_commit(&w->in, (size_t)n);
    }
    return n > 0;
}

/* ---- Computing ---- */

static void need(bool memory, const struct emb_wire_header *h)
{
    if (!memory) {
        emb_log(EMB_LOG_ERROR, "worker_out_of_memory", "inputs=%u tokens=%u", h->inputs, h->tokens);
        exit(1);
    }
}

/* Makes the batch of a frame, with room for what it asks for. False where it is nonsense. */
static bool take_batch(struct process *w, const struct emb_wire_header *h, const void *payload, size_t *values)
{
    struct emb_pool_batch *b = &w->batch;
    need(emb_grow(&b->ids, &w->ids_capacity, h->tokens, sizeof *b->ids) &&
             emb_grow(&b->counts, &w->counts_capacity, h->inputs, sizeof *b->counts) &&
             emb_grow(&w->tasks, &w->tasks_capacity, h->tasks, sizeof *w->tasks) &&
             emb_grow(&b->statuses, &w->statuses_capacity, h->inputs, sizeof *b->statuses),
         h);
    if (!emb_wire_batch(h, payload, b->counts, b->ids, w->tasks)) {
        return false;
    }
    b->inputs = h->inputs;
    b->tasks = h->tasks > 0 ? w->tasks : NULL;
    *values = emb_task_values_of(b->tasks, b->counts, b->inputs, w->engine.dim, w->engine.labels);
    if (*values > EMB_POOL_VALUES_MAX) {
        return false;
    }
    need(emb_grow(&b->vectors, &w->vectors_capacity, *values > 0 ? *values : 1, sizeof *b->vectors), h);
    return true;
}

/* Computes and answers. False where the batch is nonsense or the front did not take the answer. */
static bool serve_batch(struct process *w, const struct emb_wire_header *h, const void *payload)
{
    struct emb_pool_batch *b = &w->batch;
    size_t values;
    if (!take_batch(w, h, payload, &values)) {
        return false;
    }
    atomic_store_explicit(&w->slot->busy, 1, memory_order_relaxed);
    b->started_ns = emb_clock_ns();
    emb_hook_batch(b);
    w->engine.run(w->state, b);
    b->compute_ns = emb_clock_ns() - b->started_ns;
    atomic_store_explicit(&w->slot->busy, 0, memory_order_relaxed);
    struct emb_wire_header answer = emb_wire_answer_header(h->sequence, b->inputs, values);
    answer.started_ns = b->started_ns;
    answer.compute_ns = b->compute_ns;
    struct iovec parts[] = {{&answer, sizeof answer},
                            {b->statuses, b->inputs * sizeof *b->statuses},
                            {b->vectors, values * sizeof *b->vectors}};
    if (!send_parts(w->link, parts, 3)) {
        return false;
    }
    atomic_fetch_add_explicit(&w->slot->answered, 1, memory_order_relaxed);
    return true;
}

/* Serves one connection to its end; the number of batches it brought. */
static size_t serve_link(struct process *w)
{
    size_t batches = 0;
    emb_buf_clear(&w->in);
    bool alive = say_hello(w);
    while (alive && !w->stopping) {
        struct emb_wire_header h;
        enum emb_wire_state state = emb_wire_look(w->in.data, w->in.size, &w->limits, &h);
        if (state == EMB_WIRE_MORE) {
            alive = read_more(w);
        } else if (state == EMB_WIRE_FRAME && h.kind == EMB_WIRE_BATCH) {
            alive = serve_batch(w, &h, w->in.data + sizeof h);
            emb_buf_consume(&w->in, sizeof h + (size_t)h.payload);
            batches++;
            if (w->control >= 0) {
                heed_control(w);
            }
        } else {
            emb_log(EMB_LOG_ERROR, "front_nonsense", "worker=%d", w->index);
            alive = false;
        }
    }
    close(w->link);
    return batches;
}

static void serve(struct process *w)
{
    while (!w->stopping) {
        w->link = emb_link_dial(w->setup.link);
        if (w->link < 0 && errno == ECONNREFUSED) {
            return;
        }
        if (w->link < 0 || serve_link(w) == 0) {
            struct timespec pause = {.tv_nsec = DIAL_AGAIN_MS * 1000000};
            nanosleep(&pause, NULL);
        }
    }
}

static void end(struct process *w)
{
    if (w->state) {
        w->engine.stop(w->state);
    }
    embellama_model_close(w->model);
    emb_buf_deinit(&w->in);
    emb_free(w->batch.ids);
    emb_free(w->batch.counts);
    emb_free(w->tasks);
    emb_free(w->batch.statuses);
    emb_free(w->batch.vectors);
}

int emb_worker_main(int index)
{
    struct process w = {.index = index, .control = EMB_FD_CONTROL};
    embellama_error error;
    if (emb_setup_read(&w.setup, &error) != EMBELLAMA_OK) {
        fprintf(stderr, "embellama: %s\n", error.message);
        return 2;
    }
    emb_child_begin(&w.setup, EMB_ROLE_WORKER, index);
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICE);
    offer_to_oom_killer();
    if (w.setup.numa) {
        move_near_memory(&w);
    }
    int rc = begin(&w, &error);
    if (rc == EMBELLAMA_OK) {
        serve(&w);
    } else {
        char reason[512];
        emb_log(EMB_LOG_ERROR, "worker_failed", "reason=%s", emb_log_quote(error.message, reason, sizeof reason));
    }
    end(&w);
    return rc == EMBELLAMA_OK ? 0 : 1;
}
