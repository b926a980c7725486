/* Status codes by name, and errors with a message. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

struct status_row {
    int value;
    int http;
    const char *name;
    const char *message;
};

static const struct status_row rows[] = {
#define ROW(name, value, http, message) {value, http, #name, message},
    EMBELLAMA_STATUS_MAP(ROW)
#undef ROW
};

static const struct status_row *find(int status)
{
    static const struct status_row unknown = {0, 500, "E_UNKNOWN", "unknown error"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].value == status) {
            return &rows[i];
        }
    }
    return &unknown;
}

const char *embellama_status_name(int status)
{
    return find(status)->name;
}

const char *embellama_status_message(int status)
{
    return find(status)->message;
}

int embellama_status_http(int status)
{
    return find(status)->http;
}

static int fill(embellama_error *error, int code, uint64_t offset, const char *format, va_list args)
{
    if (error) {
        error->code = code;
        error->offset = offset;
        vsnprintf(error->message, sizeof error->message, format, args);
    }
    return code;
}

int emb_fail(embellama_error *error, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(error, code, 0, format, args);
    va_end(args);
    return code;
}

int emb_fail_at(embellama_error *error, int code, uint64_t offset, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(error, code, offset, format, args);
    va_end(args);
    return code;
}

int emb_fail_nomem(embellama_error *error)
{
    return emb_fail(error, EMBELLAMA_E_NOMEM, "out of memory");
}
