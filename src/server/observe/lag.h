/* How long a loop keeps its events waiting.
 *
 * A turn is the time from the loop's waking until it waits again: what an event that comes meanwhile may have to wait.
 * Lag is how late a timer is, which also sees a loop that is not given a core. Neither keeps the loop alive. */
#ifndef EMB_LAG_H
#define EMB_LAG_H

#include <uv.h>

#include "server/observe/exposition.h"

struct emb_lag {
    uv_prepare_t prepare;
    uv_timer_t timer;
    uint64_t turn_began; /* uv_hrtime; 0: none has yet */
    uint64_t waited_ns;  /* by the loop, until then */
    uint64_t timer_due;
    uint64_t busy_ns;                /* of all turns */
    struct emb_histogram turns, lag; /* seconds */
};

/* Before the loop runs. The memory is the caller's until the loop has closed the handles, after emb_lag_stop. */
void emb_lag_start(struct emb_lag *lag, uv_loop_t *loop);
void emb_lag_stop(struct emb_lag *lag);

/* Appends its families. */
void emb_lag_write(const struct emb_lag *lag, struct emb_buf *out);

#endif
