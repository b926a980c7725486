/* For whoever runs the server: its state, its log level, its end. */
#include "api/handlers.h"

#include <stdio.h>

#include "api/health.h"
#include "api/json_request.h"
#include "base/log.h"
#include "server/http/exchange.h"
#include "server/http/listen.h"

enum { REPLY_BYTES = 1 << 18 };

/* The request's body, an object; false: it was answered. *out is the caller's. */
static bool read_body(struct emb_exchange *x, struct emb_json **out)
{
    size_t size;
    struct emb_refusal refusal = {0};
    const char *body = emb_exchange_body(x, &size);
    if (emb_json_check_type(x, &refusal) == 0 && emb_json_read_body(out, body, size, &refusal) == 0) {
        return true;
    }
    emb_refusal_answer(&refusal, x);
    return false;
}

void emb_api_admin_log_level(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_json *json;
    const char *name = "";
    size_t size = 0;
    enum emb_log_level level, before = emb_log_level();
    if (!read_body(x, &json)) {
        return;
    }
    bool given = emb_json_get_string(emb_json_root(json), "level", &name, &size);
    bool known = given && emb_log_level_parse(name, &level) == 0;
    emb_json_free(json);
    if (!known) {
        emb_exchange_error(x, 400, "invalid_request_error", "level", NULL,
                           "'level' must be one of error, warn, info, debug, off");
        return;
    }
    emb_server_set_log_level(server, level);
    emb_log(EMB_LOG_WARN, "log_level", "level=%s before=%s id=\"%s\"", emb_log_level_name(level),
            emb_log_level_name(before), emb_exchange_request_id(x));
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"level\":\"%s\",\"before\":\"%s\"}\n", emb_log_level_name(level),
                   emb_log_level_name(before));
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_api_admin_drain(struct emb_server *server, struct emb_exchange *x)
{
    char why[192];
    struct emb_buf out;
    snprintf(why, sizeof why, "asked_by=\"%s\"", emb_exchange_request_id(x));
    emb_server_drain(server, why);
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, "{\"status\":\"draining\"}\n");
    emb_exchange_reply(x, 202, "application/json", &out);
}

static void write_front(struct emb_buf *out, const struct emb_server *server)
{
    struct emb_front_stats s = emb_front_stats(emb_server_front(server));
    emb_buf_printf(out, ",\"connections\":{\"open\":%zu,\"limit\":%zu,\"taken\":%llu,\"refused\":%llu}", s.connections,
                   s.connections_limit, (unsigned long long)s.accepted, (unsigned long long)s.refused);
    emb_buf_printf(out, ",\"requests_held\":%zu,\"bytes_held\":%zu,\"bytes_held_limit\":%zu", s.exchanges, s.held,
                   s.held_limit);
}

static void write_model(struct emb_buf *out, const struct emb_server *server)
{
    const embellama_model_info *info = embellama_model_get_info(emb_server_model(server));
    emb_buf_printf(out, ",\"precision\":\"%s\",\"cpu\":\"%s\",\"dimensions\":%zu,\"context_length\":%zu",
                   embellama_precision_name(info->precision), info->cpu_tier, info->dim, info->context_length);
}

void emb_api_admin_status(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, "{");
    emb_health_write(server, &out);
    write_model(&out, server);
    write_front(&out, server);
    emb_buf_printf(&out, ",\"log\":{\"level\":\"%s\",\"dropped\":%llu}}\n", emb_log_level_name(emb_log_level()),
                   (unsigned long long)emb_log_dropped());
    emb_exchange_reply(x, 200, "application/json", &out);
}
