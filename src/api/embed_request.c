/* Requests for vectors, from body to reply. Owns their memory and their way between the loop, the thread pool of
 * the loop (large bodies and replies, so that the loop keeps answering) and the scheduler. Knows no dialect. */
#include "api/embed_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/body_json.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"
#include "server/exchange.h"

enum {
    /* Bodies up to this are read on the loop: some 50 microseconds of tokenising. */
    LOOP_BODY_BYTES = 8192,
    /* Replies of up to this many values are written on the loop: some 500 microseconds as decimals. */
    LOOP_REPLY_VALUES = 16384,
    /* JSON around a vector, and around all of them with the model's name in it. */
    VECTOR_FRAME_BYTES = 128,
    REPLY_FRAME_BYTES = 65536,
};

enum stage { READING, QUEUED, WRITING };

struct request {
    struct emb_embed_request r; /* first: read and write get it */
    struct emb_server *server;
    struct emb_exchange *x; /* NULL once the client is gone */
    enum stage stage;
    uv_work_t work;
    char *copy; /* of a large body, since the exchange's own may vanish with the client */
    const char *body;
    size_t body_size;
    embellama_normalize normalize; /* after a cut */
    float p;
    struct emb_job job;
    int *statuses;
    struct emb_buf reply;
};

static void request_free(struct request *q)
{
    emb_free(q->copy);
    emb_free(q->r.ids);
    emb_free(q->r.counts);
    emb_free(q->r.vectors);
    emb_free(q->statuses);
    emb_buf_deinit(&q->reply);
    emb_free(q);
}

/* ---- Refusals ---- */

static int refuse(struct emb_embed_request *r, int http, const char *type, const char *param, const char *code,
                  const char *format, va_list args)
{
    struct emb_refusal *refusal = &r->refusal;
    refusal->http = http;
    refusal->type = type;
    refusal->code = code;
    snprintf(refusal->param, sizeof refusal->param, "%s", param ? param : "");
    vsnprintf(refusal->message, sizeof refusal->message, format, args);
    return -1;
}

int emb_embed_refuse(struct emb_embed_request *r, int http, const char *type, const char *param, const char *code,
                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    refuse(r, http, type, param, code, format, args);
    va_end(args);
    return -1;
}

int emb_embed_invalid(struct emb_embed_request *r, const char *param, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    refuse(r, 400, "invalid_request_error", param, NULL, format, args);
    va_end(args);
    return -1;
}

/* The refusal for a status of the library's. */
static int refuse_status(struct emb_embed_request *r, const char *param, int status, const char *message)
{
    int http = embellama_status_http(status);
    const char *code = status == EMBELLAMA_E_NOT_FINITE ? "not_finite"
                       : status == EMBELLAMA_E_NOMEM    ? "out_of_memory"
                                                        : NULL;
    return emb_embed_refuse(r, http, http < 500 ? "invalid_request_error" : "server_error", param, code, "%s: %s",
                            param, message);
}

static int refuse_nomem(struct emb_embed_request *r)
{
    return emb_embed_refuse(r, 503, "server_error", NULL, "out_of_memory", "There is no memory for this request now");
}

const char *emb_embed_excerpt(const char *text, size_t text_size, char *out, size_t size)
{
    if (text_size < size) {
        memcpy(out, text, text_size);
        out[text_size] = '\0';
        return out;
    }
    size_t kept = emb_utf8_valid_prefix(text, size - 4);
    memcpy(out, text, kept);
    memcpy(out + kept, "...", 4);
    return out;
}

static void answer_refusal(struct emb_exchange *x, const struct emb_scheduler *scheduler,
                           const struct emb_refusal *refusal)
{
    if (refusal->http == 503) {
        char seconds[12];
        snprintf(seconds, sizeof seconds, "%u", (emb_scheduler_retry_after_ms(scheduler) + 999) / 1000);
        emb_exchange_add_header(x, "retry-after", seconds);
    }
    emb_exchange_notes(x)->error = refusal->code ? refusal->code : refusal->type;
    emb_exchange_error(x, refusal->http, refusal->type, refusal->param[0] ? refusal->param : NULL, refusal->code, "%s",
                       refusal->message);
}

/* ---- Inputs ---- */

/* Keeps the input of count tokens that lies behind the others in r->ids, of which only limit have to be there if
 * it is too long. */
static int keep(struct emb_embed_request *r, const char *name, size_t count)
{
    if (count > r->limit) {
        if (!r->truncate) {
            return emb_embed_invalid(r, name,
                                     "This model's maximum context length is %zu tokens, however you requested %zu "
                                     "tokens (%s). Please shorten it, "
                                     "or send \"truncate\": true to have it cut.",
                                     r->limit, count, name);
        }
        count = embellama_truncate_ids(r->model, r->ids + r->tokens, count, r->limit);
        r->truncated++;
    }
    if (!emb_grow(&r->counts, &r->counts_capacity, r->inputs + 1, sizeof *r->counts)) {
        return refuse_nomem(r);
    }
    r->counts[r->inputs++] = (uint32_t)count;
    r->tokens += count;
    return 0;
}

/* Room for n more ids. */
static bool make_room(struct emb_embed_request *r, size_t n)
{
    size_t need;
    return emb_add(r->tokens, n, &need) && emb_grow(&r->ids, &r->ids_capacity, need, sizeof *r->ids);
}

int emb_embed_add_text(struct emb_embed_request *r, const char *name, embellama_text text)
{
    embellama_error error = {0};
    size_t room = r->limit, count = 0;
    for (int tries = 0; tries < 2; tries++) {
        if (!make_room(r, room)) {
            return refuse_nomem(r);
        }
        int rc = embellama_tokenize(r->model, text, NULL, r->ids + r->tokens, NULL, room, &count, &error);
        if (rc != EMBELLAMA_OK) {
            return refuse_status(r, name, rc, error.message);
        }
        if (count <= room || !r->truncate) {
            break;
        }
        room = count;
    }
    return keep(r, name, count);
}

static int refuse_token(struct emb_embed_request *r, const char *name, size_t index, int64_t id)
{
    return emb_embed_invalid(
        r, name,
        "%s: token id %lld at position %zu is outside this model's vocabulary of %zu tokens. The client probably "
        "tokenised with "
        "another model's vocabulary: let it send text instead (LangChain: check_embedding_ctx_length=False).",
        name, (long long)id, index, embellama_model_get_info(r->model)->vocab_size);
}

/* Reads the JSON array into content[0..n). */
static int read_ids(struct emb_embed_request *r, const char *name, struct emb_json_value ids, int32_t *content)
{
    size_t i = 0;
    for (struct emb_json_iter it = emb_json_iterate(ids); emb_json_next(&it); i++) {
        int64_t id;
        if (!emb_json_int(it.value, &id)) {
            return emb_embed_invalid(r, name,
                                     "'$.%s' is invalid: it is a list of token ids, but its element %zu is %s.", name,
                                     i, emb_json_type_name(emb_json_type(it.value)));
        }
        if (id < 0 || id > INT32_MAX) {
            return refuse_token(r, name, i, id);
        }
        content[i] = (int32_t)id;
    }
    return 0;
}

static int complete(struct emb_embed_request *r, const char *name, embellama_ids content)
{
    embellama_error error = {0};
    size_t room = r->limit, count = 0;
    for (int tries = 0; tries < 2; tries++) {
        if (!make_room(r, room)) {
            return refuse_nomem(r);
        }
        int rc = embellama_complete_ids(r->model, content, r->ids + r->tokens, room, &count, &error);
        if (rc == EMBELLAMA_E_TOKEN_ID && error.offset < content.count) {
            return refuse_token(r, name, error.offset, content.ids[error.offset]);
        }
        if (rc != EMBELLAMA_OK) {
            return refuse_status(r, name, rc, error.message);
        }
        if (count <= room || !r->truncate) {
            break;
        }
        room = count;
    }
    return keep(r, name, count);
}

int emb_embed_add_ids(struct emb_embed_request *r, const char *name, struct emb_json_value ids)
{
    size_t n = 0;
    for (struct emb_json_iter it = emb_json_iterate(ids); emb_json_next(&it);) {
        n++;
    }
    if (n == 0) {
        return emb_embed_invalid(r, name, "'$.%s' is invalid: it is an empty list of token ids.", name);
    }
    int32_t *content = emb_alloc(n, sizeof *content);
    if (!content) {
        return refuse_nomem(r);
    }
    int rc = read_ids(r, name, ids, content);
    if (rc == 0) {
        rc = complete(r, name, (embellama_ids){.ids = content, .count = n});
    }
    emb_free(content);
    return rc;
}

const float *emb_embed_vector(const struct emb_embed_request *r, size_t i)
{
    return r->vectors + i * embellama_dim(r->model);
}

/* ---- Reading ---- */

static bool make_results(struct request *q)
{
    size_t values;
    if (!emb_mul(q->r.inputs, embellama_dim(q->r.model), &values)) {
        return false;
    }
    q->r.vectors = emb_alloc(values, sizeof *q->r.vectors);
    q->statuses = emb_calloc(q->r.inputs, sizeof *q->statuses);
    return q->r.vectors && q->statuses;
}

/* On any thread: from the body to the inputs, or a refusal. */
static void read_body(struct request *q)
{
    struct emb_json *json = NULL;
    embellama_error error = {0};
    int rc = emb_body_parse(&json, q->body, q->body_size, &error);
    if (rc == EMBELLAMA_E_NOMEM) {
        refuse_nomem(&q->r);
        return;
    }
    if (rc != EMBELLAMA_OK) {
        emb_embed_invalid(&q->r, NULL, "We could not parse the JSON body of your request. (HINT: %s.)", error.message);
        return;
    }
    struct emb_json_value root = emb_json_root(json);
    if (emb_json_type(root) != EMB_JSON_OBJECT) {
        emb_embed_invalid(&q->r, NULL, "The body of your request must be a JSON object, but it is %s.",
                          emb_json_type_name(emb_json_type(root)));
    } else if (q->r.dialect->read(&q->r, root) == 0 && !make_results(q)) {
        refuse_nomem(&q->r);
    }
    emb_json_free(json);
}

/* ---- Writing ---- */

/* On any thread. */
static void write_reply(struct request *q)
{
    struct emb_embed_request *r = &q->r;
    size_t dim = embellama_dim(r->model);
    if (r->dimensions < dim) {
        for (size_t i = 0; i < r->inputs; i++) {
            embellama_normalize_vector(r->vectors + i * dim, r->dimensions, q->normalize, q->p);
        }
    }
    emb_buf_init(&q->reply,
                 r->inputs * (r->dimensions * (EMB_FLOAT_CHARS + 1) + VECTOR_FRAME_BYTES) + REPLY_FRAME_BYTES);
    r->dialect->write(r, &q->reply);
}

static void send_reply(struct request *q)
{
    if (q->r.truncated > 0) {
        char count[24];
        snprintf(count, sizeof count, "%zu", q->r.truncated);
        emb_exchange_add_header(q->x, "x-embellama-truncated", count);
    }
    emb_exchange_reply(q->x, 200, "application/json", &q->reply);
    request_free(q);
}

static void on_write_work(uv_work_t *work)
{
    write_reply(work->data);
}

static void on_written(uv_work_t *work, int status)
{
    struct request *q = work->data;
    if (status != 0 || !q->x) {
        request_free(q);
        return;
    }
    send_reply(q);
}

static void start_writing(struct request *q)
{
    q->stage = WRITING;
    if (q->r.inputs * q->r.dimensions > LOOP_REPLY_VALUES &&
        uv_queue_work(emb_scheduler_loop(emb_server_scheduler(q->server)), &q->work, on_write_work, on_written) == 0) {
        return;
    }
    write_reply(q);
    send_reply(q);
}

/* ---- Between ---- */

static void refuse_and_free(struct request *q)
{
    answer_refusal(q->x, emb_server_scheduler(q->server), &q->r.refusal);
    request_free(q);
}

static void on_job_done(struct emb_job *job)
{
    struct request *q = job->arg;
    struct emb_exchange_notes *notes = emb_exchange_notes(q->x);
    notes->queue_ns = job->queue_ns;
    notes->compute_ns = job->compute_ns;
    for (size_t i = 0; i < job->inputs; i++) {
        if (job->statuses[i] != EMBELLAMA_OK) {
            char name[32] = "input";
            if (job->inputs > 1) {
                snprintf(name, sizeof name, "input[%zu]", i);
            }
            refuse_status(&q->r, name, job->statuses[i], embellama_status_message(job->statuses[i]));
            refuse_and_free(q);
            return;
        }
    }
    start_writing(q);
}

/* On the loop, once the body was read. */
static void start_queueing(struct request *q)
{
    struct emb_embed_request *r = &q->r;
    emb_free(q->copy);
    q->copy = NULL;
    if (r->refusal.http == 0) {
        struct emb_exchange_notes *notes = emb_exchange_notes(q->x);
        notes->inputs = r->inputs;
        notes->tokens = r->tokens;
        q->job = (struct emb_job){.inputs = r->inputs,
                                  .ids = r->ids,
                                  .counts = r->counts,
                                  .vectors = r->vectors,
                                  .statuses = q->statuses,
                                  .done = on_job_done,
                                  .arg = q};
        q->stage = QUEUED;
        if (emb_scheduler_submit(emb_server_scheduler(q->server), &q->job) == EMB_SUBMIT_QUEUED) {
            return;
        }
        emb_embed_refuse(r, 503, "server_error", NULL, "queue_full",
                         "The server is overloaded: its queue has no room for %zu more inputs. Please try again.",
                         r->inputs);
    }
    refuse_and_free(q);
}

static void on_read_work(uv_work_t *work)
{
    read_body(work->data);
}

static void on_read(uv_work_t *work, int status)
{
    struct request *q = work->data;
    if (status != 0 || !q->x) {
        request_free(q);
        return;
    }
    start_queueing(q);
}

static void on_gone(void *arg)
{
    struct request *q = arg;
    q->x = NULL;
    if (q->stage == QUEUED) {
        emb_scheduler_cancel(emb_server_scheduler(q->server), &q->job);
        request_free(q);
    } else {
        uv_cancel((uv_req_t *)&q->work);
    }
}

static struct request *request_new(struct emb_server *server, struct emb_exchange *x,
                                   const struct emb_embed_dialect *dialect)
{
    struct request *q = emb_calloc(1, sizeof *q);
    if (!q) {
        return NULL;
    }
    const struct emb_server_options *options = emb_server_options(server);
    q->server = server;
    q->x = x;
    q->work.data = q;
    q->body = emb_exchange_body(x, &q->body_size);
    q->r.dialect = dialect;
    q->r.model = emb_server_model(server);
    q->r.model_name = emb_server_model_name(server);
    const embellama_model_info *info = embellama_model_get_info(q->r.model);
    q->r.limit = info->context_length;
    if (options->max_length > 0 && options->max_length < q->r.limit) {
        q->r.limit = options->max_length;
    }
    q->r.dimensions = info->dim;
    q->normalize = options->normalize != EMBELLAMA_NORMALIZE_AUTO ? options->normalize : info->normalize;
    q->p = options->p;
    return q;
}

/* A large body is read beside the loop, from a copy. */
static void start_reading(struct request *q)
{
    q->stage = READING;
    if (q->body_size > LOOP_BODY_BYTES) {
        q->copy = emb_alloc(q->body_size + EMB_JSON_PADDING, 1);
        if (q->copy) {
            memcpy(q->copy, q->body, q->body_size + EMB_JSON_PADDING);
            q->body = q->copy;
            uv_loop_t *loop = emb_scheduler_loop(emb_server_scheduler(q->server));
            if (uv_queue_work(loop, &q->work, on_read_work, on_read) == 0) {
                return;
            }
        }
    }
    read_body(q);
    start_queueing(q);
}

/* What can be refused before the body is looked at. Returns true where it was. */
static bool refuse_early(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_embed_request r = {0};
    const char *content_type = emb_exchange_header(x, "content-type");
    if (emb_server_stopping(server)) {
        emb_embed_refuse(&r, 503, "server_error", NULL, "stopping",
                         "The server is stopping and takes no new requests.");
    } else if (!emb_body_is_json(content_type)) {
        char excerpt[80];
        emb_embed_refuse(&r, 415, "invalid_request_error", NULL, "unsupported_media_type",
                         "The body of your request must be JSON, but its Content-Type is '%s'. Send 'Content-Type: "
                         "application/json'.",
                         emb_embed_excerpt(content_type, strlen(content_type), excerpt, sizeof excerpt));
    } else if (emb_scheduler_full(emb_server_scheduler(server))) {
        emb_embed_refuse(&r, 503, "server_error", NULL, "queue_full",
                         "The server is overloaded: its queue is full. Please try again.");
    } else {
        return false;
    }
    answer_refusal(x, emb_server_scheduler(server), &r.refusal);
    return true;
}

void emb_embed_serve(struct emb_server *server, struct emb_exchange *x, const struct emb_embed_dialect *dialect)
{
    if (refuse_early(server, x)) {
        return;
    }
    struct request *q = request_new(server, x, dialect);
    if (!q) {
        emb_exchange_error(x, 503, "server_error", NULL, "out_of_memory", "There is no memory for this request now");
        return;
    }
    emb_exchange_on_gone(x, on_gone, q);
    start_reading(q);
}
