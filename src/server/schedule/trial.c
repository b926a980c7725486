/* Clients in a closed loop over a scheduler, on a loop of libuv of its own.
 *
 * Inputs complete batch by batch, so the rate is that of all completions after the first up to the last. */
#include "server/schedule/trial.h"

#include "base/mem.h"
#include "base/status.h"
#include "pool/threads.h"
#include "server/schedule/scheduler.h"

enum {
    BRIEF_CLIENTS = 4,
    COMPLETIONS_MIN = 4, /* moments at which something was ready, for a rate to mean something */
};

struct client {
    struct run *run;
    struct emb_job job;
    bool brief;
    size_t next; /* text to send */
    uint32_t count;
    int status;
    uint64_t sent_ns;
};

struct run {
    const struct emb_trial *trial;
    struct emb_trial_result *result;
    uv_loop_t loop;
    uv_timer_t timer;
    struct emb_scheduler *scheduler;
    struct client *clients;
    float *vectors; /* [clients, dim] */
    size_t n_clients;
    uint64_t measured_from_ns;
    uint64_t first_ms,
        last_ms;   /* completions since, by the loop's clock, which stands still while it delivers a batch */
    size_t tokens; /* completed after first_ms */
    size_t brief;  /* texts that were timed */
    int completions;
    int status;
};

static void send_next(struct client *c)
{
    struct run *run = c->run;
    const struct emb_trial *trial = run->trial;
    size_t n = c->brief ? trial->n_brief : trial->n_bulk;
    const embellama_ids *input = (c->brief ? trial->brief : trial->bulk) + c->next % n;
    c->next++;
    c->count = (uint32_t)input->count;
    c->job.ids = input->ids;
    c->sent_ns = uv_hrtime();
    if (emb_scheduler_submit(run->scheduler, &c->job) != EMB_SUBMIT_QUEUED) {
        run->status = EMBELLAMA_E_NOMEM;
    }
}

static void count(struct run *run, const struct client *c)
{
    uint64_t now_ms = uv_now(&run->loop);
    if (run->completions == 0) {
        run->first_ms = run->last_ms = now_ms;
        run->completions = 1;
    }
    run->completions += now_ms != run->last_ms;
    run->last_ms = now_ms;
    run->tokens += now_ms != run->first_ms ? c->count : 0;
}

static void on_done(struct emb_job *job)
{
    struct client *c = job->arg;
    struct run *run = c->run;
    struct emb_trial_result *result = run->result;
    uint64_t now = uv_hrtime();
    if (c->status != EMBELLAMA_OK) {
        run->status = c->status;
    }
    if (now >= run->measured_from_ns) {
        count(run, c);
        if (c->brief && !emb_grow(&result->ms, &result->capacity, result->n + 1, sizeof *result->ms)) {
            run->status = EMBELLAMA_E_NOMEM;
        } else if (c->brief) {
            run->brief++;
            result->ms[result->n++] = (double)(now - c->sent_ns) * 1e-6;
        }
    }
    if (run->status == EMBELLAMA_OK) {
        send_next(c);
    } else {
        uv_stop(&run->loop);
    }
}

static void on_time(uv_timer_t *timer)
{
    struct run *run = timer->data;
    size_t brief = run->trial->n_brief > 0 ? BRIEF_CLIENTS : 0;
    if (run->completions < COMPLETIONS_MIN || run->brief < brief) {
        uv_timer_start(timer, on_time, (uint64_t)(run->trial->seconds * 250) + 1, 0);
    } else {
        uv_stop(&run->loop);
    }
}

/* Enough inputs that behind the batches all workers hold there is always another. */
static size_t bulk_clients(const struct emb_trial *trial)
{
    size_t total = 0, budget = trial->batch_tokens;
    for (size_t i = 0; i < trial->n_bulk; i++) {
        total += trial->bulk[i].count;
    }
    if (total == 0) {
        return 0;
    }
    budget = budget ? budget : emb_scheduler_batch_tokens(trial->layout.threads);
    return (size_t)trial->layout.workers * (EMB_POOL_DEPTH + 1) * (budget * trial->n_bulk / total + 1);
}

static int make_clients(struct run *run, embellama_error *error)
{
    const struct emb_trial *trial = run->trial;
    size_t bulk = bulk_clients(trial), dim = embellama_dim(trial->model), values;
    run->n_clients = bulk + (trial->n_brief > 0 ? BRIEF_CLIENTS : 0);
    run->clients = emb_calloc(run->n_clients, sizeof *run->clients);
    run->vectors = emb_mul(run->n_clients, dim, &values) ? emb_alloc(values, sizeof *run->vectors) : NULL;
    if (!run->clients || !run->vectors) {
        return emb_fail_nomem(error);
    }
    for (size_t i = 0; i < run->n_clients; i++) {
        struct client *c = &run->clients[i];
        *c = (struct client){.run = run, .brief = i >= bulk, .next = i};
        c->job = (struct emb_job){.inputs = 1,
                                  .counts = &c->count,
                                  .vectors = run->vectors + i * dim,
                                  .statuses = &c->status,
                                  .done = on_done,
                                  .arg = c};
    }
    return EMBELLAMA_OK;
}

static void run_loop(struct run *run)
{
    uv_timer_init(&run->loop, &run->timer);
    run->timer.data = run;
    run->measured_from_ns = uv_hrtime() + (uint64_t)(run->trial->seconds * 0.25e9);
    uv_timer_start(&run->timer, on_time, (uint64_t)(run->trial->seconds * 1000) + 1, 0);
    for (size_t i = 0; i < run->n_clients; i++) {
        send_next(&run->clients[i]);
    }
    uv_run(&run->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&run->timer, NULL);
}

static int start(struct run *run, const struct emb_pool_engine *engine, size_t context, embellama_error *error)
{
    struct emb_scheduler_setup setup = {
        .batch_tokens = run->trial->batch_tokens, .context = context, .queue_size = SIZE_MAX, .queue_tokens = SIZE_MAX};
    int rc = emb_thread_pool_new(&setup.pool, &run->loop, engine, run->trial->layout, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_scheduler_new(&run->scheduler, &run->loop, &setup, error);
        if (rc != EMBELLAMA_OK) {
            emb_pool_free(setup.pool);
        }
    }
    return rc;
}

int emb_trial_run(const struct emb_trial *trial, struct emb_trial_result *result, embellama_error *error)
{
    struct run run = {.trial = trial, .result = result};
    const embellama_model_info *info = embellama_model_get_info(trial->model);
    struct emb_pool_recipe recipe = {
        .model = trial->model,
        .pooling = info->pooling == EMBELLAMA_POOLING_NONE ? EMBELLAMA_POOLING_MEAN : info->pooling,
        .shard_tokens = trial->shard_tokens,
    };
    struct emb_pool_engine engine = emb_pool_engine(&recipe);
    if (uv_loop_init(&run.loop) != 0) {
        return emb_fail_nomem(error);
    }
    int rc = make_clients(&run, error);
    if (rc == EMBELLAMA_OK) {
        rc = start(&run, &engine, info->context_length, error);
    }
    if (rc == EMBELLAMA_OK) {
        run_loop(&run);
        emb_scheduler_free(run.scheduler);
        rc = run.status == EMBELLAMA_OK ? EMBELLAMA_OK
                                        : emb_fail(error, run.status, "%s", embellama_status_message(run.status));
    }
    uv_run(&run.loop, UV_RUN_DEFAULT);
    uv_loop_close(&run.loop);
    double seconds = (double)(run.last_ms - run.first_ms) * 1e-3;
    result->tokens_per_s = seconds > 0 ? (double)run.tokens / seconds : 0;
    emb_free(run.clients);
    emb_free(run.vectors);
    return rc;
}
