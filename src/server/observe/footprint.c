/* One reading at a time, and those who wait for it. */
#include "server/observe/footprint.h"

static const uint64_t fresh_ns = 1000000000;

static void read_all(uv_work_t *work)
{
    struct emb_footprint_reading *r = &((struct emb_footprint *)work->data)->next;
    emb_process_memory(0, &r->front);
    r->open_files = emb_process_open_files();
    for (int i = 0; i < EMB_FOOTPRINT_WORKERS; i++) {
        if (r->pids[i] > 0) {
            emb_process_memory(r->pids[i], &r->workers[i]);
        }
    }
}

static void on_read(uv_work_t *work, int status)
{
    (void)status;
    struct emb_footprint *f = work->data;
    struct emb_footprint_waiter *waiter = f->waiters;
    f->last = f->next;
    f->read_at = uv_hrtime();
    f->busy = false;
    f->waiters = NULL;
    while (waiter) {
        struct emb_footprint_waiter *next = waiter->next;
        waiter->ready(waiter);
        waiter = next;
    }
}

bool emb_footprint_fresh(struct emb_footprint *f, uv_loop_t *loop, const int *pids, int workers,
                         struct emb_footprint_waiter *waiter)
{
    if (!f->busy && f->read_at > 0 && uv_hrtime() - f->read_at < fresh_ns) {
        return true;
    }
    if (!f->busy) {
        f->next = (struct emb_footprint_reading){0};
        for (int i = 0; i < workers && i < EMB_FOOTPRINT_WORKERS; i++) {
            f->next.pids[i] = pids[i];
        }
        f->work.data = f;
        if (uv_queue_work(loop, &f->work, read_all, on_read) != 0) {
            return true;
        }
        f->busy = true;
    }
    waiter->next = f->waiters;
    f->waiters = waiter;
    return false;
}
