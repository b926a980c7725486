/* Refusals: wording and answering. Which request is refused, and why, is decided elsewhere. */
#include "api/refusal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static void fill(struct emb_refusal *refusal, int http, const char *type, const char *param, const char *code,
                 const char *format, va_list args)
{
    refusal->http = http;
    refusal->type = type;
    refusal->code = code;
    snprintf(refusal->param, sizeof refusal->param, "%s", param ? param : "");
    vsnprintf(refusal->message, sizeof refusal->message, format, args);
}

int emb_refuse(struct emb_refusal *refusal, int http, const char *type, const char *param, const char *code,
               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(refusal, http, type, param, code, format, args);
    va_end(args);
    return -1;
}

int emb_refuse_invalid(struct emb_refusal *refusal, const char *param, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(refusal, 400, "invalid_request_error", param, NULL, format, args);
    va_end(args);
    return -1;
}

const char *emb_refusal_code(int status)
{
    switch (status) {
    case EMBELLAMA_E_NOT_FINITE: return "not_finite";
    case EMBELLAMA_E_NOMEM: return "out_of_memory";
    case EMBELLAMA_E_DEADLINE: return "timeout";
    case EMBELLAMA_E_CRASHED: return "input_crashed";
    default: return NULL;
    }
}

int emb_refuse_status(struct emb_refusal *refusal, const char *param, int status, const char *message)
{
    int http = embellama_status_http(status);
    refusal->hopeless = status == EMBELLAMA_E_NOT_FINITE || status == EMBELLAMA_E_CRASHED;
    return emb_refuse(refusal, http, http < 500 ? "invalid_request_error" : "server_error", param,
                      emb_refusal_code(status), "%s: %s", param, message ? message : embellama_status_message(status));
}

int emb_refuse_nomem(struct emb_refusal *refusal)
{
    return emb_refuse(refusal, 503, "server_error", NULL, "out_of_memory", "There is no memory for this request now");
}

int emb_refuse_full(struct emb_refusal *refusal)
{
    return emb_refuse(refusal, 503, "server_error", NULL, "queue_full",
                      "The server is overloaded: its queue is full. Please try again later.");
}

const char *emb_excerpt(const char *text, size_t text_size, char *out, size_t size)
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

void emb_refusal_answer(const struct emb_refusal *refusal, struct emb_exchange *x)
{
    if (refusal->retry_after_ms > 0) {
        char text[16];
        snprintf(text, sizeof text, "%u", (refusal->retry_after_ms + 999) / 1000);
        emb_exchange_add_header(x, "retry-after", text);
        snprintf(text, sizeof text, "%u", refusal->retry_after_ms);
        emb_exchange_add_header(x, "retry-after-ms", text);
    }
    if (refusal->hopeless) {
        emb_exchange_add_header(x, "x-should-retry", "false");
    }
    emb_exchange_notes(x)->error = refusal->code ? refusal->code : refusal->type;
    emb_exchange_error(x, refusal->http, refusal->type, refusal->param[0] ? refusal->param : NULL, refusal->code, "%s",
                       refusal->message);
}
