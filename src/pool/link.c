/* The front's side of the wire: connections of workers, and what each of them holds. */
#include "pool/link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "pool/sockets.h"

enum {
    STRANGERS_MAX = 2 * EMB_WORKERS_MAX, /* connections that have not said who they are */
    BACKLOG = 2 * EMB_WORKERS_MAX,
    VERDICT_MS = 1000,
    PROBE_AGAIN_MS = 1000,
    ACCEPT_AGAIN_MS = 100,
    READ_BYTES = 1 << 16,
};

struct link_pool;

/* A connection. */
struct link {
    uv_pipe_t pipe; /* first: its handle is the link */
    struct link_pool *pool;
    struct link *next; /* in the pool's list of all */
    struct lane *lane; /* whose it is, or NULL */
    int pid;
    uint64_t sent; /* sequence of the last batch that went out whole */
    struct emb_buf in;
};

/* What is left of a batch that the socket did not take at once. */
struct rest {
    uv_write_t write; /* first */
    struct emb_wire_header header;
};

struct held {
    struct emb_pool_batch *batch;
    uint64_t sequence;
    bool sent; /* to a worker, as far as the socket took it */
};

struct verdict {
    int pid; /* 0: none */
    bool blamed;
    char reason[160];
};

/* A worker, whichever process it is. */
struct lane {
    struct link_pool *pool;
    int worker;
    struct link *link;                /* its connection, or NULL */
    struct link *successor;           /* of a process that waits for the fate of what the last one held */
    bool ready;                       /* as the pool was told: also while in doubt */
    struct held held[EMB_POOL_DEPTH]; /* oldest first; those in doubt once the process went away */
    int depth;
    uint64_t sequence;
    int32_t *probe_ids;
    struct emb_pool_batch probe;
    uint32_t probe_count;
    int probe_status;
    struct emb_task probe_task;
    float *probe_values;

    int doubt_pid;          /* of the process that went away while it held batches; 0: none */
    struct verdict verdict; /* the latest */
    uv_timer_t timer;       /* until a verdict must have come, or the probe is sent again */

    struct emb_pool_worker_stats stats;
};

struct link_pool {
    struct emb_pool pool; /* first */
    uv_loop_t *loop;
    uv_pipe_t listener;
    uv_timer_t late;  /* calls ready for workers that were so before anybody watched */
    uv_timer_t again; /* accepts the connection for which there was no memory */
    uint8_t token[EMB_TOKEN_BYTES];
    unsigned verdict_ms;
    void (*first_ready)(void *arg);
    void *arg;
    struct lane *lanes; /* [workers] */
    struct link *links;
    size_t strangers;
    int handles;
    bool watched, freeing;
};

static void link_drop(struct link *link);
static void lane_adopt(struct lane *lane, struct link *link);
static void probe(struct lane *lane);

/* ---- Memory ---- */

static void destroy(struct link_pool *p)
{
    for (int i = 0; p->lanes && i < p->pool.layout.workers; i++) {
        emb_free(p->lanes[i].probe_ids);
        emb_free(p->lanes[i].probe_values);
    }
    emb_free(p->lanes);
    emb_free(p);
}

static void released(struct link_pool *p)
{
    if (--p->handles == 0 && p->freeing) {
        destroy(p);
    }
}

static void on_own_closed(uv_handle_t *handle)
{
    released(handle->data);
}

static void on_lane_closed(uv_handle_t *handle)
{
    const struct lane *lane = handle->data;
    released(lane->pool);
}

/* ---- Loss ---- */

/* What the process that went away held is lost, and its successor gets its turn. */
static void settle(struct lane *lane, bool blamed, const char *reason)
{
    const struct emb_pool_events *e = &lane->pool->pool.events;
    struct held lost[EMB_POOL_DEPTH];
    int count = lane->depth;
    bool was_ready = lane->ready;
    memcpy(lost, lane->held, sizeof lost);
    lane->depth = 0;
    lane->doubt_pid = 0;
    lane->ready = lane->stats.ready = false;
    uv_timer_stop(&lane->timer);
    for (int i = 0; i < count; i++) {
        enum emb_pool_loss loss = i > 0 || !lost[i].sent ? EMB_POOL_UNSTARTED
                                  : blamed               ? EMB_POOL_SUSPECT
                                                         : EMB_POOL_BLAMELESS;
        if (lost[i].batch != &lane->probe) {
            e->lost(e->arg, lost[i].batch, loss, reason);
        }
    }
    if (was_ready) {
        e->gone(e->arg, lane->worker);
    }
    if (lane->successor && !lane->link) {
        struct link *next = lane->successor;
        lane->successor = NULL;
        lane_adopt(lane, next);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct lane *lane = timer->data;
    if (lane->doubt_pid) {
        settle(lane, true, "went away, nobody knows why");
    } else if (lane->link && !lane->ready && lane->depth == 0) {
        probe(lane);
    }
}

/* The lane's process is gone, as far as the wire tells. */
static void lane_left(struct lane *lane, int pid)
{
    lane->stats.ready = false;
    if (lane->verdict.pid == pid) {
        settle(lane, lane->verdict.blamed, lane->verdict.reason);
    } else if (lane->depth == 0) {
        settle(lane, false, "");
    } else {
        lane->doubt_pid = pid;
        uv_timer_start(&lane->timer, on_timer, lane->pool->verdict_ms, 0);
    }
}

void emb_link_pool_verdict(struct emb_pool *pool, int worker, int pid, bool blamed, const char *reason)
{
    struct link_pool *p = (struct link_pool *)pool;
    if (worker < 0 || worker >= pool->layout.workers) {
        return;
    }
    struct lane *lane = &p->lanes[worker];
    lane->verdict = (struct verdict){.pid = pid, .blamed = blamed};
    snprintf(lane->verdict.reason, sizeof lane->verdict.reason, "%s", reason);
    if (lane->doubt_pid == pid && pid != 0) {
        settle(lane, blamed, lane->verdict.reason);
    }
}

/* ---- Connections ---- */

static void on_link_closed(uv_handle_t *handle)
{
    struct link *link = (struct link *)handle;
    struct link_pool *p = link->pool;
    struct lane *lane = link->lane;
    struct link **at = &p->links;
    while (*at != link) {
        at = &(*at)->next;
    }
    *at = link->next;
    if (!lane) {
        p->strangers--;
    } else if (lane->successor == link) {
        lane->successor = NULL;
    } else if (lane->link == link) {
        lane->link = NULL;
        if (!p->freeing) {
            lane_left(lane, link->pid);
        }
    }
    emb_buf_deinit(&link->in);
    emb_free(link);
    released(p);
}

/* The rest happens once it is closed, so that no event comes from within a call of the pool's user. */
static void link_drop(struct link *link)
{
    if (!uv_is_closing((uv_handle_t *)&link->pipe)) {
        uv_close((uv_handle_t *)&link->pipe, on_link_closed);
    }
}

static void lane_adopt(struct lane *lane, struct link *link)
{
    lane->link = link;
    if (lane->stats.pid != link->pid) {
        lane->stats.restarts += lane->stats.pid != 0;
        lane->stats.pid = link->pid;
    }
    probe(lane);
}

static void greet(struct link *link, const struct emb_wire_hello *hello)
{
    struct link_pool *p = link->pool;
    unsigned differ = 0;
    for (size_t i = 0; i < sizeof hello->token; i++) {
        differ |= hello->token[i] ^ p->token[i];
    }
    if (differ || hello->worker < 0 || hello->worker >= p->pool.layout.workers || hello->dim != p->pool.dim ||
        hello->labels != p->pool.labels) {
        emb_log(EMB_LOG_WARN, "worker_refused", "pid=%d", link->pid);
        link_drop(link);
        return;
    }
    struct lane *lane = &p->lanes[hello->worker];
    link->lane = lane;
    p->strangers--;
    if (!lane->link && lane->doubt_pid == 0) {
        lane_adopt(lane, link);
        return;
    }
    if (lane->successor) {
        struct link *other = lane->successor;
        lane->successor = NULL;
        link_drop(other);
    }
    lane->successor = link;
    if (lane->link) {
        link_drop(lane->link);
    }
}

/* ---- Answers ---- */

static void answered_probe(struct lane *lane)
{
    struct link_pool *p = lane->pool;
    if (lane->probe_status != EMBELLAMA_OK) {
        emb_log(EMB_LOG_ERROR, "worker_unfit", "worker=%d status=%s", lane->worker,
                embellama_status_name(lane->probe_status));
        uv_timer_start(&lane->timer, on_timer, PROBE_AGAIN_MS, 0);
        return;
    }
    lane->ready = lane->stats.ready = true;
    if (p->first_ready) {
        void (*ready)(void *) = p->first_ready;
        p->first_ready = NULL;
        ready(p->arg);
    }
    if (p->watched) {
        p->pool.events.ready(p->pool.events.arg, lane->worker);
    }
}

/* When it was computed, as far as that can be: a worker's word is not trusted with sums. */
static void take_times(struct emb_pool_batch *batch, const struct emb_wire_header *h)
{
    uint64_t now = uv_hrtime();
    batch->started_ns = h->started_ns < now ? h->started_ns : now;
    batch->compute_ns = h->compute_ns < now - batch->started_ns ? h->compute_ns : now - batch->started_ns;
}

/* Takes an answer; false where it is not one to the oldest batch, or came before all of that was sent: then libuv still reads from the
 * batch. */
static bool take_answer(struct lane *lane, const struct emb_wire_header *h, const void *payload)
{
    struct link_pool *p = lane->pool;
    struct emb_pool_batch *batch = lane->depth > 0 ? lane->held[0].batch : NULL;
    if (!batch || lane->held[0].sequence != h->sequence || h->sequence > lane->link->sent ||
        batch->inputs != h->inputs || !emb_wire_answer(h, payload, batch->statuses, batch->vectors)) {
        return false;
    }
    take_times(batch, h);
    lane->depth--;
    for (int i = 0; i < lane->depth; i++) {
        lane->held[i] = lane->held[i + 1];
    }
    if (batch == &lane->probe) {
        answered_probe(lane);
    } else {
        lane->stats.batches++;
        lane->stats.busy_ns += batch->compute_ns;
        p->pool.events.done(p->pool.events.arg, batch);
    }
    return true;
}

/* The only answer that the oldest batch of the link's lane can have. */
static struct emb_wire_limits limits_of(const struct link *link)
{
    const struct lane *lane = link->lane;
    const struct emb_pool *pool = &link->pool->pool;
    struct emb_wire_limits limits = {0};
    if (lane && lane->link == link && lane->depth > 0) {
        const struct emb_pool_batch *b = lane->held[0].batch;
        limits.answer_inputs = (uint32_t)b->inputs;
        limits.answer_values = emb_task_values_of(b->tasks, b->counts, b->inputs, pool->dim, pool->labels);
    }
    return limits;
}

/* Takes the frames that are whole. */
static void take_frames(struct link *link)
{
    size_t at = 0;
    while (!uv_is_closing((uv_handle_t *)&link->pipe)) {
        struct emb_wire_header h;
        struct emb_wire_hello hello;
        struct emb_wire_limits limits = limits_of(link);
        const char *bytes = link->in.data + at;
        enum emb_wire_state state = emb_wire_look(bytes, link->in.size - at, &limits, &h);
        if (state == EMB_WIRE_MORE) {
            break;
        }
        const char *payload = bytes + sizeof h;
        bool sane = state == EMB_WIRE_FRAME;
        if (sane && h.kind == EMB_WIRE_HELLO && !link->lane) {
            memcpy(&hello, payload, sizeof hello);
            greet(link, &hello);
        } else if (sane && h.kind == EMB_WIRE_ANSWER && link->lane && link->lane->link == link) {
            sane = take_answer(link->lane, &h, payload);
        } else {
            sane = false;
        }
        if (!sane) {
            emb_log(EMB_LOG_ERROR, "worker_nonsense", "pid=%d", link->pid);
            link_drop(link);
            return;
        }
        at += sizeof h + (size_t)h.payload;
    }
    emb_buf_consume(&link->in, at);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct link *link = (struct link *)handle;
    (void)suggested;
    char *room = emb_buf_reserve(&link->in, READ_BYTES);
    *buf = uv_buf_init(room, room ? READ_BYTES : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct link *link = (struct link *)stream;
    (void)buf;
    if (n < 0) {
        link_drop(link);
    } else if (n > 0) {
        emb_buf_commit(&link->in, (size_t)n);
        take_frames(link);
    }
}

/* ---- Accepting ---- */

static void on_dialled(uv_stream_t *listener, int status);

static void on_again(uv_timer_t *timer)
{
    struct link_pool *p = timer->data;
    on_dialled((uv_stream_t *)&p->listener, 0);
}

static void on_dialled(uv_stream_t *listener, int status)
{
    const struct emb_wire_limits any_answer = {.answer_inputs = EMB_LINK_INPUTS_MAX,
                                               .answer_values = EMB_POOL_VALUES_MAX};
    struct link_pool *p = listener->data;
    if (status != 0) {
        return;
    }
    struct link *link = emb_calloc(1, sizeof *link);
    if (!link) {
        uv_timer_start(&p->again, on_again, ACCEPT_AGAIN_MS, 0);
        return;
    }
    link->pool = p;
    emb_buf_init(&link->in, emb_wire_most(&any_answer) + 2 * READ_BYTES);
    uv_pipe_init(p->loop, &link->pipe, 0);
    p->handles++;
    p->strangers++;
    link->next = p->links;
    p->links = link;
    uv_unref((uv_handle_t *)&link->pipe);
    uv_os_fd_t fd;
    if (uv_accept(listener, (uv_stream_t *)&link->pipe) != 0 || uv_fileno((uv_handle_t *)&link->pipe, &fd) != 0 ||
        (link->pid = emb_link_peer(fd)) < 0 || p->strangers > STRANGERS_MAX ||
        uv_read_start((uv_stream_t *)&link->pipe, on_alloc, on_read) != 0) {
        link_drop(link);
    }
}

/* ---- Submitting ---- */

static void on_rest_written(uv_write_t *write, int status)
{
    struct link *link = write->data;
    struct rest *rest = (struct rest *)write;
    if (status == 0) {
        link->sent = rest->header.sequence;
    } else {
        link_drop(link);
    }
    emb_free(rest);
}

/* Cuts the first n bytes off. */
static unsigned skip_bytes(uv_buf_t *parts, unsigned count, size_t n)
{
    unsigned first = 0;
    while (first < count && n >= parts[first].len) {
        n -= parts[first++].len;
    }
    for (unsigned i = first; i < count; i++) {
        parts[i - first] = parts[i];
    }
    if (first < count) {
        parts[0].base += n;
        parts[0].len -= n;
    }
    return count - first;
}

/* Sends a frame: header first, then what lies in the batch, which stays. */
static void send_frame(struct link *link, struct emb_wire_header *header, const struct emb_pool_batch *batch)
{
    uv_stream_t *stream = (uv_stream_t *)&link->pipe;
    uv_buf_t parts[] = {uv_buf_init((char *)header, sizeof *header),
                        uv_buf_init((char *)batch->counts, (unsigned)(batch->inputs * sizeof *batch->counts)),
                        uv_buf_init((char *)batch->ids, (unsigned)(header->tokens * sizeof *batch->ids)),
                        uv_buf_init((char *)batch->tasks, (unsigned)(header->tasks * sizeof *batch->tasks))};
    unsigned count = header->tasks > 0 ? 4 : 3;
    int n = uv_try_write(stream, parts, count);
    size_t written = n > 0 ? (size_t)n : 0;
    if (n < 0 && n != UV_EAGAIN) {
        link_drop(link);
        return;
    }
    if (written == sizeof *header + header->payload) {
        link->sent = header->sequence;
        return;
    }
    struct rest *rest = emb_alloc(1, sizeof *rest);
    if (!rest) {
        link_drop(link);
        return;
    }
    rest->header = *header;
    rest->write.data = link;
    parts[0].base = (char *)&rest->header;
    unsigned left = skip_bytes(parts, count, written);
    if (uv_write(&rest->write, stream, parts, left, on_rest_written) != 0) {
        emb_free(rest);
        link_drop(link);
    }
}

static void hand_over(struct lane *lane, struct emb_pool_batch *batch)
{
    size_t tokens = 0;
    for (size_t i = 0; i < batch->inputs; i++) {
        tokens += batch->counts[i];
    }
    bool open = lane->link && !uv_is_closing((uv_handle_t *)&lane->link->pipe);
    lane->held[lane->depth++] = (struct held){batch, ++lane->sequence, open};
    if (open) {
        struct emb_wire_header header =
            emb_wire_batch_header(lane->sequence, batch->inputs, tokens, batch->tasks != NULL);
        send_frame(lane->link, &header, batch);
    }
}

static void probe(struct lane *lane)
{
    lane->probe = (struct emb_pool_batch){
        .inputs = 1,
        .ids = lane->probe_ids,
        .counts = &lane->probe_count,
        .tasks = lane->pool->pool.labels > 0 ? &lane->probe_task : NULL,
        .vectors = lane->probe_values,
        .statuses = &lane->probe_status,
    };
    hand_over(lane, &lane->probe);
}

/* ---- The pool's functions ---- */

static void submit(struct emb_pool *pool, int worker, struct emb_pool_batch *batch)
{
    struct lane *lane = &((struct link_pool *)pool)->lanes[worker];
    assert(lane->ready && lane->depth < EMB_POOL_DEPTH && batch->inputs <= EMB_LINK_INPUTS_MAX);
    hand_over(lane, batch);
}

static void on_late(uv_timer_t *timer)
{
    struct link_pool *p = timer->data;
    p->watched = true;
    for (int i = 0; i < p->pool.layout.workers; i++) {
        if (p->lanes[i].ready) {
            p->pool.events.ready(p->pool.events.arg, i);
        }
    }
}

static void watch(struct emb_pool *pool)
{
    struct link_pool *p = (struct link_pool *)pool;
    for (int i = 0; i < pool->layout.workers; i++) {
        if (p->lanes[i].ready) {
            uv_timer_start(&p->late, on_late, 0, 0);
            return;
        }
    }
    p->watched = true;
}

static void stats(const struct emb_pool *pool, int worker, struct emb_pool_worker_stats *out)
{
    *out = ((const struct link_pool *)pool)->lanes[worker].stats;
}

static void free_pool(struct emb_pool *pool)
{
    struct link_pool *p = (struct link_pool *)pool;
    p->freeing = true;
    for (struct link *link = p->links; link; link = link->next) {
        link_drop(link);
    }
    for (int i = 0; i < pool->layout.workers; i++) {
        uv_close((uv_handle_t *)&p->lanes[i].timer, on_lane_closed);
    }
    uv_close((uv_handle_t *)&p->late, on_own_closed);
    uv_close((uv_handle_t *)&p->again, on_own_closed);
    uv_close((uv_handle_t *)&p->listener, on_own_closed);
}

static const struct emb_pool_kind kind = {.watch = watch, .submit = submit, .stats = stats, .free = free_pool};

/* ---- Making ---- */

static bool init_lane(struct link_pool *p, int worker, const struct emb_link_options *o)
{
    struct lane *lane = &p->lanes[worker];
    lane->pool = p;
    lane->worker = worker;
    lane->probe_count = (uint32_t)o->probe_count;
    lane->probe_ids = emb_alloc(o->probe_count, sizeof *lane->probe_ids);
    lane->probe_task = (struct emb_task){.kind = EMB_TASK_SCORE, .second = lane->probe_count};
    lane->probe_values = emb_alloc(o->labels > 0 ? o->labels : o->dim, sizeof *lane->probe_values);
    if (!lane->probe_ids || !lane->probe_values) {
        return false;
    }
    memcpy(lane->probe_ids, o->probe, o->probe_count * sizeof *o->probe);
    return true;
}

static struct link_pool *create(uv_loop_t *loop, const struct emb_link_options *o)
{
    struct link_pool *p = emb_calloc(1, sizeof *p);
    if (!p) {
        return NULL;
    }
    p->loop = loop;
    p->pool = (struct emb_pool){.kind = &kind, .layout = o->layout, .dim = o->dim, .labels = o->labels};
    p->verdict_ms = o->verdict_ms ? o->verdict_ms : VERDICT_MS;
    p->first_ready = o->ready;
    p->arg = o->arg;
    memcpy(p->token, o->token, sizeof p->token);
    p->lanes = emb_calloc((size_t)o->layout.workers, sizeof *p->lanes);
    bool whole = p->lanes != NULL;
    for (int i = 0; whole && i < o->layout.workers; i++) {
        whole = init_lane(p, i, o);
    }
    if (!whole) {
        destroy(p);
        return NULL;
    }
    return p;
}

/* These cannot fail on Linux. */
static void init_handles(struct link_pool *p)
{
    uv_pipe_init(p->loop, &p->listener, 0);
    uv_timer_init(p->loop, &p->late);
    uv_timer_init(p->loop, &p->again);
    p->listener.data = p->late.data = p->again.data = p;
    uv_unref((uv_handle_t *)&p->late);
    uv_unref((uv_handle_t *)&p->again);
    for (int i = 0; i < p->pool.layout.workers; i++) {
        uv_timer_init(p->loop, &p->lanes[i].timer);
        p->lanes[i].timer.data = &p->lanes[i];
        uv_unref((uv_handle_t *)&p->lanes[i].timer);
    }
    p->handles = 3 + p->pool.layout.workers;
}

int emb_link_pool_new(struct emb_pool **out, uv_loop_t *loop, const struct emb_link_options *o, embellama_error *error)
{
    struct link_pool *p = create(loop, o);
    if (!p) {
        close(o->listener);
        return emb_fail_nomem(error);
    }
    init_handles(p);
    int uv = uv_pipe_open(&p->listener, o->listener);
    if (uv == 0) {
        uv = uv_listen((uv_stream_t *)&p->listener, BACKLOG, on_dialled);
    } else {
        close(o->listener);
    }
    if (uv != 0) {
        free_pool(&p->pool);
        return emb_fail(error, EMBELLAMA_E_IO, "cannot listen for workers: %s", uv_strerror(uv));
    }
    uv_unref((uv_handle_t *)&p->listener);
    *out = &p->pool;
    return EMBELLAMA_OK;
}
