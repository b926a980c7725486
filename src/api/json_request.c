/* POSTs of JSON with a reply at once. Owns the request between the loop and a thread of the loop's pool. */
#include "api/json_request.h"

#include <string.h>
#include <uv.h>

#include "api/body_json.h"
#include "base/mem.h"
#include "server/http/exchange.h"
#include "server/schedule/scheduler.h"

enum {
    /* Bodies up to this are read on the loop. */
    LOOP_BODY_BYTES = 8192,
    /* Most bytes of a reply. */
    REPLY_BYTES = 64 << 20,
    RETRY_MS = 1000,
};

struct request {
    struct emb_json_request q;
    struct emb_server *server;
    struct emb_exchange *x; /* NULL once the client is gone */
    emb_json_answer answer;
    uv_work_t work;
    char *copy; /* of a long body, since the exchange's own may vanish with the client */
    const char *body;
    size_t body_size;
    uint64_t given_ns, begun_ns, ended_ns;
};

/* ---- Steps ---- */

int emb_json_check_type(const struct emb_exchange *x, struct emb_refusal *refusal)
{
    const char *content_type = emb_exchange_header(x, "content-type");
    char excerpt[80];
    if (emb_body_is_json(content_type)) {
        return 0;
    }
    return emb_refuse(refusal, 415, "invalid_request_error", NULL, "unsupported_media_type",
                      "The body of your request must be JSON, but its Content-Type is '%s'. Send 'Content-Type: "
                      "application/json'.",
                      emb_excerpt(content_type, strlen(content_type), excerpt, sizeof excerpt));
}

int emb_json_read_body(struct emb_json **out, const char *body, size_t size, struct emb_refusal *refusal)
{
    embellama_error error = {0};
    int rc = emb_body_parse(out, body, size, &error);
    if (rc == EMBELLAMA_E_NOMEM) {
        return emb_refuse_nomem(refusal);
    }
    if (rc != EMBELLAMA_OK) {
        return emb_refuse(refusal, 400, "invalid_request_error", NULL, NULL,
                          "We could not parse the JSON body of your request. (HINT: %s.)", error.message);
    }
    enum emb_json_type type = emb_json_type(emb_json_root(*out));
    if (type != EMB_JSON_OBJECT) {
        emb_json_free(*out);
        *out = NULL;
        return emb_refuse_invalid(refusal, NULL, "The body of your request must be a JSON object, but it is %s.",
                                  emb_json_type_name(type));
    }
    return 0;
}

/* ---- The request ---- */

static void request_free(struct request *r)
{
    emb_buf_deinit(&r->q.reply);
    emb_free(r->copy);
    emb_free(r);
}

/* On any thread. */
static void read_body(struct request *r)
{
    struct emb_json *json = NULL;
    struct emb_json_request *q = &r->q;
    if (emb_json_read_body(&json, r->body, r->body_size, &q->refusal) != 0) {
        return;
    }
    if (r->answer(q, emb_json_root(json)) == 0 && q->reply.failed) {
        emb_refuse(&q->refusal, 413, "invalid_request_error", NULL, "request_too_large",
                   "The reply to this request would be larger than %d MiB. Split it.", REPLY_BYTES >> 20);
        q->refusal.hopeless = true;
    }
    emb_json_free(json);
}

/* On the loop, once the reply is there. */
static void finish(struct request *r)
{
    struct emb_json_request *q = &r->q;
    if (q->refusal.http == 0 && r->copy && !emb_exchange_hold(r->x, q->reply.capacity)) {
        q->refusal.retry_after_ms = RETRY_MS;
        emb_refuse(&q->refusal, 503, "server_error", NULL, "overloaded",
                   "The server holds as many requests as it can. Please try again later.");
    }
    if (q->refusal.http != 0) {
        emb_refusal_answer(&q->refusal, r->x);
    } else {
        emb_exchange_notes(r->x)->model = q->model_name;
        emb_exchange_reply(r->x, q->status, q->content_type, &q->reply);
    }
    request_free(r);
}

static void on_read_work(uv_work_t *work)
{
    struct request *r = work->data;
    r->begun_ns = uv_hrtime();
    read_body(r);
    r->ended_ns = uv_hrtime();
}

static void on_read(uv_work_t *work, int status)
{
    struct request *r = work->data;
    if (status != 0 || !r->x) {
        request_free(r);
        return;
    }
    emb_metrics_hops(emb_server_metrics(r->server), r->given_ns, r->begun_ns, r->ended_ns, uv_hrtime());
    finish(r);
}

static void on_gone(void *arg)
{
    struct request *r = arg;
    r->x = NULL;
    uv_cancel((uv_req_t *)&r->work);
}

/* False where the body is to be read on the loop. */
static bool read_beside(struct request *r)
{
    if (r->body_size <= LOOP_BODY_BYTES) {
        return false;
    }
    r->copy = emb_alloc(r->body_size + EMB_JSON_PADDING, 1);
    if (!r->copy) {
        return false;
    }
    memcpy(r->copy, r->body, r->body_size + EMB_JSON_PADDING);
    r->body = r->copy;
    r->given_ns = uv_hrtime();
    if (uv_queue_work(emb_scheduler_loop(emb_server_scheduler(r->server)), &r->work, on_read_work, on_read) != 0) {
        return false;
    }
    emb_exchange_on_gone(r->x, on_gone, r);
    return true;
}

void emb_json_serve(struct emb_server *server, struct emb_exchange *x, emb_json_answer answer)
{
    struct emb_refusal refusal = {0};
    struct request *r = NULL;
    if (emb_json_check_type(x, &refusal) == 0) {
        r = emb_calloc(1, sizeof *r);
        if (!r) {
            emb_refuse_nomem(&refusal);
        }
    }
    if (!r) {
        emb_refusal_answer(&refusal, x);
        return;
    }
    r->q = (struct emb_json_request){.model = emb_server_model(server),
                                     .model_name = emb_server_model_name(server),
                                     .options = emb_server_options(server),
                                     .status = 200,
                                     .content_type = "application/json"};
    emb_buf_init(&r->q.reply, REPLY_BYTES);
    r->server = server;
    r->x = x;
    r->answer = answer;
    r->work.data = r;
    r->body = emb_exchange_body(x, &r->body_size);
    if (!read_beside(r)) {
        read_body(r);
        finish(r);
    }
}
