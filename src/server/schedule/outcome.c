/* What became of a batch: its values go to who waits for them; or it was lost with its worker, and then its inputs are
 * tried again, those under suspicion each alone.
 *
 * A worker that died by itself makes each input of its batch a suspect, also where there was just one: a death may have
 * other reasons. A suspect is tried alone once. If it ends the worker again, it is the culprit: answered with
 * E_CRASHED, kept out for a while, and put on record. Otherwise it is answered as if nothing had been. */
#include "server/schedule/scheduler_state.h"

#include <string.h>

#include "base/log.h"

enum {
    /* An input whose worker was ended from outside so many times is given up. */
    MOST_LOSSES = 16,
};

void emb_outcome_settle(struct emb_scheduler *s, struct emb_queue_unit *unit, int status, const float *values,
                        uint64_t started_ns, uint64_t now_ns)
{
    void *owner;
    size_t input;
    while (emb_queue_pop(s->queue, unit, &owner, &input)) {
        struct emb_job *job = owner;
        size_t n;
        float *to = emb_scheduler_values(s, job, input, &n);
        if (values) {
            memcpy(to, values, n * sizeof *to);
        } else {
            memset(to, 0, n * sizeof *to);
        }
        job->statuses[input] = status;
        s->crashed += status == EMBELLAMA_E_CRASHED;
        uint64_t waited = started_ns > job->submitted_ns ? started_ns - job->submitted_ns : 0;
        emb_histogram_add(&s->queue_s, (double)waited * 1e-9);
        if (job->finished == 0 || waited < job->queue_ns) {
            job->queue_ns = waited;
        }
        if (++job->finished == job->inputs) {
            job->compute_ns = now_ns - job->submitted_ns - job->queue_ns;
            emb_scheduler_finish(s, job);
        }
    }
}

/* The batch is the scheduler's again. */
static void take_back(struct emb_scheduler *s, struct emb_batch *batch, uint64_t now_ns)
{
    struct emb_worker *w = &s->workers[batch->worker];
    int at = w->batches[0] == batch ? 0 : 1;
    for (int i = at; i + 1 < w->held; i++) {
        w->batches[i] = w->batches[i + 1];
    }
    w->held--;
    w->began_ns = now_ns;
    s->running -= batch->plain.inputs;
    s->running_tokens -= batch->tokens;
    batch->busy = false;
}

/* Not one input has its values, and that is no client's fault. */
static bool failed_whole(const struct emb_pool_batch *plain)
{
    for (size_t i = 0; i < plain->inputs; i++) {
        if (embellama_status_http(plain->statuses[i]) < 500) {
            return false;
        }
    }
    return true;
}

static double seconds_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-9 : 0;
}

/* The pace is what the loop sees, the way there and back included: that is what the queue drains at. */
void emb_outcome_done(struct emb_scheduler *s, struct emb_batch *batch, uint64_t now_ns)
{
    const struct emb_pool_batch *plain = &batch->plain;
    uint64_t whole_ns = now_ns - s->workers[batch->worker].began_ns;
    take_back(s, batch, now_ns);
    emb_pace_add(&s->pace, batch->tokens, whole_ns > plain->compute_ns ? whole_ns : plain->compute_ns);
    emb_histogram_add(&s->batch_inputs, (double)plain->inputs);
    emb_histogram_add(&s->batch_tokens, (double)batch->tokens);
    emb_histogram_add(&s->compute_s, (double)plain->compute_ns * 1e-9);
    emb_histogram_add(&s->to_worker_s, seconds_between(batch->sent_ns, plain->started_ns));
    emb_histogram_add(&s->from_worker_s, seconds_between(plain->started_ns + plain->compute_ns, now_ns));
    s->computed_batches++;
    s->computed_tokens += batch->tokens;
    if (failed_whole(plain)) {
        emb_breaker_failed(&s->breaker, now_ns);
    } else {
        emb_breaker_succeeded(&s->breaker);
    }
    const float *values = plain->vectors;
    for (size_t i = 0; i < plain->inputs; i++) {
        size_t n = emb_task_values(&batch->units[i]->task, plain->counts[i], s->dim, s->labels);
        emb_outcome_settle(s, batch->units[i], plain->statuses[i], values, plain->started_ns, now_ns);
        values += n;
    }
}

static void convict(struct emb_scheduler *s, const struct emb_batch *batch, const char *reason, uint64_t now_ns)
{
    struct emb_queue_unit *unit = batch->units[0];
    struct emb_dead_letter_record record = {.model = s->model,
                                            .hash = unit->hash,
                                            .task = unit->task,
                                            .ids = batch->plain.ids,
                                            .count = unit->count,
                                            .reason = reason};
    const struct emb_job *job = emb_queue_first_owner(unit, &record.input);
    record.request_id = job ? job->request_id : NULL;
    char quoted[256], id[128];
    emb_log(EMB_LOG_ERROR, "input_crashed", "request_id=%s input=%zu tokens=%u reason=%s",
            emb_log_quote(record.request_id ? record.request_id : "", id, sizeof id), record.input, unit->count,
            emb_log_quote(reason, quoted, sizeof quoted));
    emb_quarantine_add(&s->quarantine, unit->hash, now_ns);
    if (s->dead_letter) {
        emb_dead_letter_write(s->dead_letter, &record);
    }
    emb_outcome_settle(s, unit, EMBELLAMA_E_CRASHED, NULL, now_ns, now_ns);
}

void emb_outcome_lost(struct emb_scheduler *s, struct emb_batch *batch, enum emb_pool_loss loss, const char *reason,
                      uint64_t now_ns)
{
    take_back(s, batch, now_ns);
    s->workers[batch->worker].dying = true;
    if (loss == EMB_POOL_SUSPECT) {
        s->workers[batch->worker].blamed = true;
        emb_breaker_unknown(&s->breaker);
        if (batch->alone) {
            convict(s, batch, reason, now_ns);
            return;
        }
    }
    for (size_t i = 0; i < batch->plain.inputs; i++) {
        struct emb_queue_unit *unit = batch->units[i];
        unit->suspect |= loss == EMB_POOL_SUSPECT;
        unit->losses += loss == EMB_POOL_BLAMELESS;
        if (unit->losses < MOST_LOSSES) {
            emb_queue_give_back(s->queue, unit);
            s->retried++;
        } else {
            emb_outcome_settle(s, unit, EMBELLAMA_E_CRASHED, NULL, now_ns, now_ns);
        }
    }
}
