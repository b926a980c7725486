/* Memory of the server's processes, read on a thread of the loop's pool, since it takes milliseconds. On the loop's
 * thread only. */
#ifndef EMB_FOOTPRINT_H
#define EMB_FOOTPRINT_H

#include <uv.h>

#include "base/process.h"

enum { EMB_FOOTPRINT_WORKERS = 64 };

struct emb_footprint_reading {
    int pids[EMB_FOOTPRINT_WORKERS]; /* 0: none */
    struct emb_process_memory front, workers[EMB_FOOTPRINT_WORKERS];
    unsigned open_files;
};

struct emb_footprint_waiter {
    void (*ready)(struct emb_footprint_waiter *waiter);
    struct emb_footprint_waiter *next;
};

/* Starts zeroed. */
struct emb_footprint {
    struct emb_footprint_reading last; /* all zeros before the first */
    struct emb_footprint_reading next; /* the thread's while busy */
    uint64_t read_at;                  /* uv_hrtime */
    uv_work_t work;
    bool busy;
    struct emb_footprint_waiter *waiters;
};

/* True when last is less than a second old. Else it is read, of this process and of the workers' pids, and ready
 * called when that is done, from the loop; waiter is kept until then. Many may wait for one reading. Where no thread
 * can be had, true. */
bool emb_footprint_fresh(struct emb_footprint *footprint, uv_loop_t *loop, const int *pids, int workers,
                         struct emb_footprint_waiter *waiter);

#endif
