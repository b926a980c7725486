/* A loop's turns, by the time it does not wait in; and a timer's lateness.
 *
 * A turn is taken from hook to hook, less the time that libuv says it waited, since callbacks of sockets run in the phase
 * of waiting. */
#include "server/observe/lag.h"

enum { TIMER_MS = 250 };

static void on_prepare(uv_prepare_t *handle)
{
    struct emb_lag *lag = handle->data;
    uint64_t now = uv_hrtime(), waited = uv_metrics_idle_time(handle->loop);
    if (lag->turn_began > 0) {
        uint64_t whole = now - lag->turn_began, idle = waited - lag->waited_ns;
        uint64_t took = whole > idle ? whole - idle : 0;
        lag->busy_ns += took;
        emb_histogram_add(&lag->turns, (double)took / 1e9);
    }
    lag->turn_began = now;
    lag->waited_ns = waited;
}

/* The timer is started anew each time, so that one delay does not count for the next. */
static void on_timer(uv_timer_t *handle)
{
    struct emb_lag *lag = handle->data;
    uint64_t now = uv_hrtime();
    uint64_t late = now > lag->timer_due ? now - lag->timer_due : 0;
    emb_histogram_add(&lag->lag, (double)late / 1e9);
    uv_update_time(handle->loop);
    lag->timer_due = uv_hrtime() + (uint64_t)TIMER_MS * 1000000;
    uv_timer_start(handle, on_timer, TIMER_MS, 0);
}

void emb_lag_start(struct emb_lag *lag, uv_loop_t *loop)
{
    *lag = (struct emb_lag){0};
    emb_histogram_init_steps(&lag->turns, 0.00005, 2, 18);
    emb_histogram_init_steps(&lag->lag, 0.00005, 2, 18);
    uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    uv_prepare_init(loop, &lag->prepare);
    uv_timer_init(loop, &lag->timer);
    lag->prepare.data = lag->timer.data = lag;
    uv_prepare_start(&lag->prepare, on_prepare);
    uv_update_time(loop);
    lag->timer_due = uv_hrtime() + (uint64_t)TIMER_MS * 1000000;
    uv_timer_start(&lag->timer, on_timer, TIMER_MS, 0);
    uv_unref((uv_handle_t *)&lag->prepare);
    uv_unref((uv_handle_t *)&lag->timer);
}

void emb_lag_stop(struct emb_lag *lag)
{
    uv_close((uv_handle_t *)&lag->prepare, NULL);
    uv_close((uv_handle_t *)&lag->timer, NULL);
}

void emb_lag_write(const struct emb_lag *lag, struct emb_buf *out)
{
    emb_expo_family(out, "embellama_loop_turn_seconds", "histogram",
                    "Time from the event loop's waking until it waits again.");
    emb_expo_histogram(out, "embellama_loop_turn_seconds", "", &lag->turns);
    emb_expo_family(out, "embellama_loop_lag_seconds", "histogram", "How late the event loop's timer was.");
    emb_expo_histogram(out, "embellama_loop_lag_seconds", "", &lag->lag);
    emb_expo_family(out, "embellama_loop_busy_seconds_total", "counter", "Time the event loop did not wait.");
    emb_expo_value(out, "embellama_loop_busy_seconds_total", "", (double)lag->busy_ns / 1e9);
}
