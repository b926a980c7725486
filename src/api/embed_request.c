/* Requests for vectors, from body to reply. Owns their memory and their way between the loop, the thread pool of
 * the loop (large bodies, so that the loop keeps answering) and the scheduler. Knows no dialect. */
#include "api/embed_request.h"

#include <stdio.h>
#include <string.h>

#include "api/embed_terms.h"
#include "api/json_request.h"
#include "api/served_model.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "server/http/exchange.h"
#include "server/http/listen.h"
#include "server/schedule/scheduler.h"

enum {
    /* Bodies up to this are read on the loop: some 50 microseconds of tokenising. */
    LOOP_BODY_BYTES = 8192,
    /* Replies of up to this many values are written at once: some 500 microseconds as decimals. Longer ones in pieces. */
    WHOLE_REPLY_VALUES = 16384,
    /* The same for bytes of the dialect's. */
    WHOLE_REPLY_STATE = 65536,
    /* Most bytes of a reply that is written at once: far more than all this comes to, a name with every value included. */
    REPLY_BYTES = 16 << 20,
};

struct request {
    struct emb_embed_request r; /* first: the dialect's functions get it */
    struct emb_server *server;
    struct emb_exchange *x; /* NULL once the client is gone */
    bool queued;            /* job is with the scheduler */
    uint64_t arrived_ns;
    struct emb_embed_terms terms;
    uv_work_t work;
    char *copy; /* of a large body, since the exchange's own may vanish with the client */
    const char *body;
    size_t body_size;
    uint64_t tokenize_ns;
    uint64_t given_ns, begun_ns, ended_ns; /* of the work on a thread */
    embellama_normalize normalize;         /* after a cut */
    float p;
    struct emb_job job;
    /* The reply in pieces: */
    size_t entries, written;
    size_t entry_values; /* of each, on average */
    bool cut_late;       /* vectors are cut as they are written */
};

static void request_free(struct request *q)
{
    if (q->r.free_state) {
        q->r.free_state(q->r.state);
    }
    emb_free(q->copy);
    emb_embed_inputs_deinit(&q->r.inputs);
    emb_free(q);
}

static void refuse_and_free(struct request *q)
{
    emb_refusal_answer(&q->r.refusal, q->x);
    request_free(q);
}

/* ---- For dialects ---- */

const float *emb_embed_vector(const struct emb_embed_request *r, size_t i)
{
    return emb_embed_inputs_status(&r->inputs, i) == EMBELLAMA_OK ? emb_embed_inputs_vector(&r->inputs, i) : NULL;
}

const float *emb_embed_values(const struct emb_embed_request *r, size_t i, size_t *n)
{
    const float *values = emb_embed_vector(r, i);
    const struct emb_embed_inputs *in = &r->inputs;
    const struct emb_task task = {.kind = r->task};
    bool whole = r->task == EMB_TASK_TOKENS || r->task == EMB_TASK_SCORE;
    *n = !values ? 0
         : whole ? emb_task_values(&task, in->items[i].tokens, embellama_dim(in->model),
                                   embellama_model_get_info(in->model)->labels)
                 : r->dimensions;
    return values;
}

void emb_embed_write_errors(const struct emb_embed_request *r, struct emb_buf *out)
{
    size_t n = 0;
    for (size_t i = 0; i < r->inputs.count; i++) {
        int status = emb_embed_inputs_status(&r->inputs, i);
        if (status != EMBELLAMA_OK) {
            emb_buf_printf(out, "%s{\"index\":%zu,\"code\":", n++ == 0 ? ",\"errors\":[" : ",", i);
            emb_json_write_cstring(out, emb_refusal_code(status));
            emb_buf_puts(out, ",\"message\":");
            emb_json_write_cstring(out, embellama_status_message(status));
            emb_buf_puts(out, "}");
        }
    }
    emb_buf_puts(out, n > 0 ? "]" : "");
}

/* ---- Writing ---- */

/* A vector that was cut is normalised again. */
static void cut(struct request *q, size_t i)
{
    const struct emb_embed_request *r = &q->r;
    if (r->task == EMB_TASK_EMBED && r->dimensions < embellama_dim(r->inputs.model) && emb_embed_vector(r, i)) {
        embellama_normalize_vector(emb_embed_inputs_vector(&r->inputs, i), r->dimensions, q->normalize, q->p);
    }
}

/* Where a dialect looks at all vectors together, or at other times than one after the other, all are ready before. */
static void finish(struct request *q)
{
    const struct emb_embed_dialect *dialect = q->r.dialect;
    bool together = dialect->finish || dialect->entries;
    for (size_t i = 0; together && i < q->r.inputs.count; i++) {
        cut(q, i);
    }
    if (dialect->finish) {
        dialect->finish(&q->r);
    }
    q->cut_late = !together;
    q->entries = dialect->entries ? dialect->entries(&q->r) : q->r.inputs.count;
}

static void write_entry(struct request *q, size_t i, struct emb_buf *out)
{
    if (q->cut_late) {
        cut(q, i);
    }
    q->r.dialect->input(&q->r, i, out);
}

/* Values of the whole reply, about. */
static size_t reply_values(const struct request *q)
{
    size_t values = 0, n;
    for (size_t i = 0; i < q->r.inputs.count; i++) {
        emb_embed_values(&q->r, i, &n);
        values += n;
    }
    return values;
}

static void write_whole(struct request *q, struct emb_buf *out)
{
    q->r.dialect->begin(&q->r, out);
    for (size_t i = 0; i < q->entries; i++) {
        write_entry(q, i, out);
    }
    q->r.dialect->end(&q->r, out);
}

/* A piece: inputs until it is large, with what stands before the first and behind the last. out is empty at first. */
static enum emb_piece write_piece(void *arg, struct emb_buf *out)
{
    struct request *q = arg;
    if (q->written == 0) {
        q->r.dialect->begin(&q->r, out);
    }
    for (size_t values = 0; q->written < q->entries; q->written++) {
        if (values >= WHOLE_REPLY_VALUES || out->size >= EMB_PIECE_BYTES) {
            return EMB_PIECE_MORE;
        }
        write_entry(q, q->written, out);
        values += q->entry_values;
    }
    q->r.dialect->end(&q->r, out);
    return out->failed ? EMB_PIECE_FAILED : EMB_PIECE_LAST;
}

static void on_written(void *arg)
{
    request_free(arg);
}

static void add_headers(const struct request *q)
{
    const struct emb_embed_inputs *in = &q->r.inputs;
    if (in->truncated > 0) {
        char count[24];
        snprintf(count, sizeof count, "%zu", in->truncated);
        emb_exchange_add_header(q->x, "x-embellama-truncated", count);
    }
    bool vector = q->r.task == EMB_TASK_EMBED || q->r.task == EMB_TASK_RAW;
    if (vector && emb_server_cache(q->server)) {
        emb_exchange_add_header(q->x, "x-embellama-cache",
                                in->misses == 0           ? "hit"
                                : in->misses == in->count ? "miss"
                                                          : "partial");
    }
    if (q->r.dialect->headers) {
        q->r.dialect->headers(&q->r, q->x);
    }
}

static void answer(struct request *q)
{
    finish(q);
    add_headers(q);
    size_t values = reply_values(q);
    if (values > WHOLE_REPLY_VALUES || q->r.state_bytes > WHOLE_REPLY_STATE) {
        q->entry_values = q->entries > 0 ? values / q->entries : 0;
        struct emb_exchange_source source = {.next = write_piece, .over = on_written, .arg = q};
        emb_exchange_stream(q->x, 200, "application/json", EMB_LENGTH_UNKNOWN, &source);
        return;
    }
    struct emb_buf reply;
    emb_buf_init(&reply, REPLY_BYTES);
    write_whole(q, &reply);
    emb_exchange_reply(q->x, 200, "application/json", &reply);
    request_free(q);
}

/* ---- Computing ---- */

/* Refuses a request one of whose inputs failed, unless a part will do and there is one. */
static bool refuse_failed(struct request *q)
{
    const struct emb_embed_inputs *in = &q->r.inputs;
    size_t failed = 0, first = in->count;
    for (size_t i = 0; i < in->count; i++) {
        if (emb_embed_inputs_status(in, i) != EMBELLAMA_OK && failed++ == 0) {
            first = i;
        }
    }
    if (failed == 0 || (q->terms.partial && failed < in->count)) {
        return false;
    }
    char name[32] = "input";
    if (in->count > 1) {
        snprintf(name, sizeof name, "input[%zu]", first);
    }
    emb_refuse_status(&q->r.refusal, name, emb_embed_inputs_status(in, first), NULL);
    if (q->r.refusal.http == 503) {
        q->r.refusal.retry_after_ms = emb_scheduler_retry_after_ms(emb_server_scheduler(q->server));
    }
    return true;
}

static void on_computed(struct emb_job *job)
{
    struct request *q = job->arg;
    struct emb_exchange_notes *notes = emb_exchange_notes(q->x);
    q->queued = false;
    notes->queue_ns = job->queue_ns;
    notes->compute_ns = job->compute_ns;
    emb_embed_inputs_store(&q->r.inputs);
    if (refuse_failed(q)) {
        refuse_and_free(q);
    } else {
        answer(q);
    }
}

static void refuse_submit(struct request *q, enum emb_submit why)
{
    struct emb_refusal *refusal = &q->r.refusal;
    switch (why) {
    case EMB_SUBMIT_QUEUED: return;
    case EMB_SUBMIT_TOO_LARGE:
        refusal->hopeless = true;
        emb_refuse(
            refusal, 413, "invalid_request_error", "input", "request_too_large",
            "This request has %zu inputs of %zu tokens in all: more than this server's queue ever holds. Split it.",
            q->r.inputs.misses, q->r.inputs.n_ids);
        return;
    case EMB_SUBMIT_SLOW:
        refusal->hopeless = true;
        emb_refuse(
            refusal, 504, "server_error", NULL, "timeout",
            "This request of %zu tokens takes longer than its %u ms at this server's speed. Split it, or give it "
            "more time.",
            q->r.inputs.n_ids, q->terms.timeout_ms);
        return;
    case EMB_SUBMIT_FULL:
        emb_refuse(refusal, 503, "server_error", NULL, "queue_full",
                   "The server is overloaded: its queue has no room for %zu more inputs. Please try again later.",
                   q->r.inputs.misses);
        break;
    case EMB_SUBMIT_LATE:
        emb_refuse(refusal, 503, "server_error", NULL, "overloaded",
                   "The server is overloaded: this request would not be answered within its %u ms. Please try again "
                   "later.",
                   q->terms.timeout_ms);
        break;
    case EMB_SUBMIT_BREAKER:
        emb_refuse(refusal, 503, "server_error", NULL, "breaker_open",
                   "The model cannot be run now: its workers keep failing. Please try again later.");
        break;
    }
    refusal->retry_after_ms = emb_scheduler_retry_after_ms(emb_server_scheduler(q->server));
}

static void submit(struct request *q)
{
    struct emb_embed_inputs *in = &q->r.inputs;
    q->job = (struct emb_job){
        .inputs = in->misses,
        .ids = in->ids,
        .counts = in->counts,
        .tasks = in->tasks,
        .places = in->places,
        .vectors = in->vectors,
        .statuses = in->statuses,
        .done = on_computed,
        .arg = q,
        .priority = q->terms.priority,
        .client = emb_exchange_client(q->x)->id,
        .deadline_ns = q->terms.timeout_ms > 0 ? q->arrived_ns + q->terms.timeout_ms * UINT64_C(1000000) : 0,
        .partial = q->terms.partial,
        .request_id = emb_exchange_request_id(q->x),
    };
    enum emb_submit result = emb_scheduler_submit(emb_server_scheduler(q->server), &q->job);
    q->queued = result == EMB_SUBMIT_QUEUED;
    if (!q->queued) {
        refuse_submit(q, result);
        refuse_and_free(q);
    }
}

/* ---- Reading ---- */

/* On any thread: from the body to the inputs, or a refusal. */
static void read_body(struct request *q)
{
    struct emb_json *json = NULL;
    uint64_t start = uv_hrtime();
    if (emb_json_read_body(&json, q->body, q->body_size, &q->r.refusal) != 0) {
        return;
    }
    if (q->r.dialect->read(&q->r, emb_json_root(json)) == 0) {
        emb_embed_inputs_prepare(&q->r.inputs, &q->r.refusal);
    }
    emb_json_free(json);
    q->tokenize_ns = uv_hrtime() - start;
}

/* Charges the client for the tokens; false where they are too many now. */
static bool charge(struct request *q)
{
    struct emb_charge_refusal why = {0};
    if (emb_admission_charge(q->x, q->r.inputs.tokens, &why)) {
        return true;
    }
    q->r.refusal.hopeless = why.hopeless;
    q->r.refusal.retry_after_ms = why.retry_after_ms;
    emb_refuse(&q->r.refusal, 429, "tokens", NULL, "rate_limit_exceeded", "%s", why.message);
    return false;
}

/* Counts the request's memory, which lives until the reply was read: a small body may ask for many vectors. False where the server
 * holds too much already. */
static bool hold(struct request *q)
{
    enum { RETRY_MS = 1000 };
    struct emb_refusal *refusal = &q->r.refusal;
    size_t bytes = emb_embed_inputs_held(&q->r.inputs) + q->r.state_bytes;
    if (emb_exchange_hold(q->x, bytes)) {
        return true;
    }
    if (bytes > emb_front_stats(emb_server_front(q->server)).held_limit) {
        refusal->hopeless = true;
        emb_refuse(refusal, 413, "invalid_request_error", "input", "request_too_large",
                   "This request needs more memory than this server ever gives to requests. Split it.");
        return false;
    }
    refusal->retry_after_ms = RETRY_MS;
    emb_refuse(refusal, 503, "server_error", NULL, "overloaded",
               "The server holds as many requests as it can. Please try again later.");
    return false;
}

/* On the loop, once the body was read. */
static void on_inputs(struct request *q)
{
    emb_free(q->copy);
    q->copy = NULL;
    struct emb_exchange_notes *notes = emb_exchange_notes(q->x);
    notes->tokenize_ns = q->tokenize_ns;
    if (q->r.refusal.http == 503) {
        q->r.refusal.retry_after_ms = emb_scheduler_retry_after_ms(emb_server_scheduler(q->server));
    }
    if (q->r.refusal.http != 0) {
        refuse_and_free(q);
        return;
    }
    notes->model = q->r.model_name;
    notes->inputs = q->r.inputs.count;
    notes->tokens = q->r.inputs.tokens;
    if (!hold(q) || !charge(q)) {
        refuse_and_free(q);
    } else if (q->r.inputs.misses == 0) {
        answer(q);
    } else {
        submit(q);
    }
}

static void on_read_work(uv_work_t *work)
{
    struct request *q = work->data;
    q->begun_ns = uv_hrtime();
    read_body(q);
    q->ended_ns = uv_hrtime();
}

static void on_read(uv_work_t *work, int status)
{
    struct request *q = work->data;
    if (status != 0 || !q->x) {
        request_free(q);
        return;
    }
    emb_metrics_hops(emb_server_metrics(q->server), q->given_ns, q->begun_ns, q->ended_ns, uv_hrtime());
    on_inputs(q);
}

static void on_gone(void *arg)
{
    struct request *q = arg;
    q->x = NULL;
    if (q->queued) {
        emb_scheduler_cancel(emb_server_scheduler(q->server), &q->job);
        request_free(q);
    } else {
        uv_cancel((uv_req_t *)&q->work);
    }
}

static void set_up_inputs(struct request *q)
{
    struct emb_embed_inputs *in = &q->r.inputs;
    const struct emb_server_options *options = emb_server_options(q->server);
    in->model = emb_server_model(q->server);
    in->task = &q->r.task;
    in->foreign = emb_server_vocabulary(q->server);
    in->limit = emb_served_limit(in->model, options);
    in->most = options->max_inputs;
    struct emb_cache *cache = emb_server_cache(q->server);
    if (cache && q->terms.write_cache) {
        in->cache = cache;
        in->client = emb_exchange_client(q->x)->id;
        in->epoch = emb_cache_epoch(cache);
        in->read_cache = q->terms.read_cache;
    }
    in->only_cached = emb_scheduler_full(emb_server_scheduler(q->server));
}

static struct request *request_new(struct emb_server *server, struct emb_exchange *x,
                                   const struct emb_embed_dialect *dialect, const struct emb_embed_terms *terms)
{
    struct request *q = emb_calloc(1, sizeof *q);
    if (!q) {
        return NULL;
    }
    const struct emb_server_options *options = emb_server_options(server);
    q->server = server;
    q->x = x;
    q->arrived_ns = uv_hrtime();
    q->terms = *terms;
    q->work.data = q;
    q->body = emb_exchange_body(x, &q->body_size);
    q->r.dialect = dialect;
    q->r.model_name = emb_server_model_name(server);
    q->r.options = options;
    set_up_inputs(q);
    q->r.dimensions = embellama_dim(q->r.inputs.model);
    q->normalize = emb_served_normalize(q->r.inputs.model, options);
    q->p = options->p;
    return q;
}

/* A large body is read beside the loop, from a copy. */
static void start_reading(struct request *q)
{
    if (q->body_size > LOOP_BODY_BYTES) {
        q->copy = emb_alloc(q->body_size + EMB_JSON_PADDING, 1);
        if (q->copy) {
            memcpy(q->copy, q->body, q->body_size + EMB_JSON_PADDING);
            q->body = q->copy;
            uv_loop_t *loop = emb_scheduler_loop(emb_server_scheduler(q->server));
            q->given_ns = uv_hrtime();
            if (uv_queue_work(loop, &q->work, on_read_work, on_read) == 0) {
                return;
            }
        }
    }
    read_body(q);
    on_inputs(q);
}

/* What can be refused before the body is looked at. */
static int check_early(struct emb_server *server, struct emb_exchange *x, struct emb_embed_terms *terms,
                       struct emb_refusal *refusal)
{
    if (emb_json_check_type(x, refusal) != 0) {
        return -1;
    }
    return emb_embed_terms_read(terms, x, emb_server_options(server)->request_timeout_ms, refusal);
}

void emb_embed_serve(struct emb_server *server, struct emb_exchange *x, const struct emb_embed_dialect *dialect)
{
    struct emb_refusal refusal = {0};
    struct emb_embed_terms terms;
    if (check_early(server, x, &terms, &refusal) != 0) {
        emb_refusal_answer(&refusal, x);
        return;
    }
    struct request *q = request_new(server, x, dialect, &terms);
    if (!q) {
        emb_refuse_nomem(&refusal);
        emb_refusal_answer(&refusal, x);
        return;
    }
    emb_exchange_on_gone(x, on_gone, q);
    start_reading(q);
}
