/* logfmt lines on stderr. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_int threshold = EMB_LOG_INFO;
static const char *const names[] = {"error", "warn", "info", "debug"};

void emb_log_set_level(enum emb_log_level level)
{
    atomic_store(&threshold, (int)level);
}

int emb_log_enabled(enum emb_log_level level)
{
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

int emb_log_level_parse(const char *name, enum emb_log_level *out)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum emb_log_level)i;
            return 0;
        }
    }
    if (strcmp(name, "off") == 0) {
        *out = EMB_LOG_OFF;
        return 0;
    }
    return -1;
}

void emb_log(enum emb_log_level level, const char *event, const char *format, ...)
{
    char line[4096];
    if (!emb_log_enabled(level)) {
        return;
    }
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "time=%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line + used, sizeof line - used, ".%03ldZ level=%s event=%s ", now.tv_nsec / 1000000, names[level],
                     event);
    used += n > 0 ? (size_t)n : 0;
    va_list args;
    va_start(args, format);
    n = used < sizeof line ? vsnprintf(line + used, sizeof line - used, format, args) : 0;
    va_end(args);
    used += n > 0 ? (size_t)n : 0;
    if (used > sizeof line - 1) {
        used = sizeof line - 1;
    }
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written; /* a log that cannot be written has nowhere to say so */
}

const char *emb_log_quote(const char *text, char *out, unsigned size)
{
    unsigned used = 0;
    if (size < 3) {
        return "\"\"";
    }
    out[used++] = '"';
    for (; *text && used + 6 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[used++] = '\\';
            out[used++] = (char)c;
        } else if (c < 0x20 || c == 0x7F) {
            used += (unsigned)snprintf(out + used, size - used, "\\x%02x", c);
        } else {
            out[used++] = (char)c;
        }
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}
