/* Looking at the files' stamps every few seconds, which also sees what is mounted, linked or renamed into place. */
#include "server/http/tls_watch.h"

#include "base/log.h"

enum { LOOK_MS = 2000, WARN_DAYS = 14 };

static void tell(const struct emb_tls_watch *watch, const char *event)
{
    int days = emb_tls_context_days(watch->context);
    emb_log(days < WARN_DAYS ? EMB_LOG_WARN : EMB_LOG_INFO, event, "days_left=%d", days);
}

void emb_tls_watch_reload(struct emb_tls_watch *watch)
{
    embellama_error error;
    char reason[512];
    if (!watch->context) {
        return;
    }
    if (emb_tls_context_reload(watch->context, &error) == EMBELLAMA_OK) {
        tell(watch, "certificate_reloaded");
    } else {
        emb_log(EMB_LOG_WARN, "certificate_kept", "reason=%s", emb_log_quote(error.message, reason, sizeof reason));
    }
}

static void on_look(uv_timer_t *timer)
{
    struct emb_tls_watch *watch = timer->data;
    if (emb_tls_context_changed(watch->context)) {
        emb_tls_watch_reload(watch);
    }
}

int emb_tls_watch_open(struct emb_tls_watch *watch, uv_loop_t *loop, const struct emb_tls_options *options,
                       embellama_error *error)
{
    *watch = (struct emb_tls_watch){0};
    if (!options->cert) {
        return EMBELLAMA_OK;
    }
    int rc = emb_tls_context_new(&watch->context, options, error);
    if (rc == EMBELLAMA_OK) {
        uv_timer_init(loop, &watch->timer);
        watch->timer.data = watch;
        watch->watching = true;
        uv_timer_start(&watch->timer, on_look, LOOK_MS, LOOK_MS);
        uv_unref((uv_handle_t *)&watch->timer);
        tell(watch, "certificate_loaded");
    }
    return rc;
}

void emb_tls_watch_stop(struct emb_tls_watch *watch)
{
    if (watch->watching) {
        watch->watching = false;
        uv_close((uv_handle_t *)&watch->timer, NULL);
    }
}

void emb_tls_watch_free(struct emb_tls_watch *watch)
{
    emb_tls_context_free(watch->context);
    watch->context = NULL;
}
