/* Log lines on stderr: formatted by the caller's thread, written by it or by a thread of their own.
 *
 * That thread has two buffers: callers fill one while it writes the other, so that they wait for memory to be copied
 * and never for stderr. It gathers for some milliseconds what comes close together; warnings and errors it writes at
 * once. */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log_line.h"
#include "base/mem.h"

enum {
    BUFFER_BYTES = 1 << 18,
    RESERVE_BYTES = 1 << 15, /* of it, for warnings and errors */
    GATHER_MS = 10,
    ERROR_MS = 50,
    DIRECT_MS = 100,
    STOP_MS = 1000,
};

static atomic_int threshold = EMB_LOG_INFO;
static atomic_int line_format = EMB_LOG_LOGFMT;
static atomic_ullong dropped_ever;
static const char *process_name;
static const char *const names[] = {"error", "warn", "info", "debug"};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;  /* there is something to write */
    pthread_cond_t moved; /* something was written, or the thread ended */
    pthread_t thread;
    char *fill, *spare;
    size_t used;
    uint64_t appended, written; /* bytes ever */
    uint64_t dropped;           /* lines not yet told of */
    bool running, idle, urgent, stopping, ended;
    bool stuck; /* an error waited in vain and nothing was written since */
} writer = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

/* ---- Levels ---- */

void emb_log_set_level(enum emb_log_level level)
{
    atomic_store(&threshold, (int)level);
}

enum emb_log_level emb_log_level(void)
{
    return (enum emb_log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

int emb_log_enabled(enum emb_log_level level)
{
    return (int)level <= (int)emb_log_level();
}

enum emb_log_level emb_log_step(int by)
{
    int level = (int)emb_log_level() + by;
    level = level < EMB_LOG_OFF ? EMB_LOG_OFF : level > EMB_LOG_DEBUG ? EMB_LOG_DEBUG : level;
    atomic_store(&threshold, level);
    return (enum emb_log_level)level;
}

int emb_log_level_parse(const char *name, enum emb_log_level *out)
{
    for (int i = EMB_LOG_OFF; i <= EMB_LOG_DEBUG; i++) {
        if (strcmp(name, emb_log_level_name((enum emb_log_level)i)) == 0) {
            *out = (enum emb_log_level)i;
            return 0;
        }
    }
    return -1;
}

const char *emb_log_level_name(enum emb_log_level level)
{
    return level == EMB_LOG_OFF ? "off" : names[level];
}

void emb_log_set_format(enum emb_log_format format)
{
    atomic_store(&line_format, (int)format);
}

void emb_log_set_process(const char *name)
{
    process_name = name;
}

uint64_t emb_log_dropped(void)
{
    return atomic_load_explicit(&dropped_ever, memory_order_relaxed);
}

/* ---- A line's text ---- */

/* The second's text is kept: lines come many in one. */
static size_t write_time(char *out, size_t size, const struct timespec *now)
{
    static _Thread_local time_t second = -1;
    static _Thread_local char text[32];
    if (now->tv_sec != second) {
        struct tm utc;
        gmtime_r(&now->tv_sec, &utc);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
        second = now->tv_sec;
    }
    return (size_t)snprintf(out, size, "time=%s.%03ldZ", text, now->tv_nsec / 1000000);
}

/* Writes the line, with its end, to out[0..EMB_LOG_LINE_MAX) and returns its size. */
__attribute__((format(printf, 4, 0))) static size_t format_line(char *out, enum emb_log_level level, const char *event,
                                                                const char *format, va_list args)
{
    char text[EMB_LOG_LINE_MAX];
    struct timespec now;
    bool json = atomic_load_explicit(&line_format, memory_order_relaxed) == EMB_LOG_JSON;
    char *line = json ? text : out;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t used = write_time(line, EMB_LOG_LINE_MAX, &now);
    int n = snprintf(line + used, EMB_LOG_LINE_MAX - used, " level=%s%s%s event=%s ", emb_log_level_name(level),
                     process_name ? " process=" : "", process_name ? process_name : "", event);
    used += n > 0 ? (size_t)n : 0;
    n = used < EMB_LOG_LINE_MAX ? vsnprintf(line + used, EMB_LOG_LINE_MAX - used, format, args) : 0;
    used += n > 0 ? (size_t)n : 0;
    used = used < EMB_LOG_LINE_MAX ? used : EMB_LOG_LINE_MAX - 1;
    emb_log_line_clean(line, used);
    if (json) {
        used = emb_log_line_json(line, used, out);
    }
    out[used++] = '\n';
    return used;
}

__attribute__((format(printf, 4, 5))) static size_t make_line(char *out, enum emb_log_level level, const char *event,
                                                              const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t size = format_line(out, level, event, format, args);
    va_end(args);
    return size;
}

/* ---- Writing ---- */

/* Writes all of it. False when stderr takes nothing for wait_ms (negative: however long), or at all. */
static bool write_all(const char *data, size_t size, int wait_ms)
{
    while (size > 0) {
        struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
        int n = poll(&ready, 1, wait_ms);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
        ssize_t written = n > 0 ? write(STDERR_FILENO, data, size) : -1;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        } else if (written < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
    }
    return true;
}

/* Whole lines, as many as one write can take without another process's lines getting between. */
static void write_lines(const char *data, size_t size)
{
    struct stat info;
    bool file = fstat(STDERR_FILENO, &info) == 0 && S_ISREG(info.st_mode);
    while (size > 0) {
        size_t n = size;
        if (!file && n > EMB_LOG_LINE_MAX) {
            for (n = EMB_LOG_LINE_MAX; data[n - 1] != '\n'; n--) {
            }
        }
        if (!write_all(data, n, -1)) {
            return;
        }
        data += n;
        size -= n;
    }
}

static void drop_line(void)
{
    writer.dropped++;
    atomic_fetch_add_explicit(&dropped_ever, 1, memory_order_relaxed);
}

static size_t dropped_line(char *line, uint64_t count)
{
    return make_line(line, EMB_LOG_WARN, "log_dropped", "lines=%llu", (unsigned long long)count);
}

/* Without the thread. Called with the lock held. */
static void write_directly(const char *line, size_t size)
{
    char told[EMB_LOG_LINE_MAX];
    if (writer.dropped > 0 && write_all(told, dropped_line(told, writer.dropped), 0)) {
        writer.dropped = 0;
    }
    if (writer.dropped > 0 || !write_all(line, size, DIRECT_MS)) {
        drop_line();
    }
}

static struct timespec from_now(unsigned ms)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    at.tv_sec += ms / 1000 + (unsigned)(at.tv_nsec / 1000000000);
    at.tv_nsec %= 1000000000;
    return at;
}

/* Called with the lock held. True when all that was appended up to now was written soon. */
static bool wait_written(void)
{
    struct timespec until = from_now(ERROR_MS);
    uint64_t mine = writer.appended;
    writer.urgent = true;
    pthread_cond_signal(&writer.wake);
    while (writer.written < mine && pthread_cond_timedwait(&writer.moved, &writer.lock, &until) == 0) {
    }
    return writer.written >= mine;
}

static void append(enum emb_log_level level, const char *line, size_t size)
{
    bool urgent = level <= EMB_LOG_WARN;
    if (size > (size_t)(urgent ? BUFFER_BYTES : BUFFER_BYTES - RESERVE_BYTES) - writer.used) {
        drop_line();
        return;
    }
    memcpy(writer.fill + writer.used, line, size);
    writer.used += size;
    writer.appended += size;
    writer.urgent |= urgent;
    if (writer.idle || urgent || writer.used > BUFFER_BYTES / 2) {
        pthread_cond_signal(&writer.wake);
    }
    if (level == EMB_LOG_ERROR && !writer.stuck) {
        writer.stuck = !wait_written();
    }
}

/* Writes what callers left. Called with the lock held, which is let go meanwhile. */
static void write_round(void)
{
    char told[EMB_LOG_LINE_MAX];
    char *full = writer.fill;
    size_t size = writer.used;
    uint64_t dropped = writer.dropped;
    writer.fill = writer.spare;
    writer.spare = full;
    writer.used = 0;
    writer.dropped = 0;
    writer.urgent = false;
    pthread_mutex_unlock(&writer.lock);
    write_lines(full, size);
    if (dropped > 0) {
        write_lines(told, dropped_line(told, dropped));
    }
    pthread_mutex_lock(&writer.lock);
    writer.written += size;
    writer.stuck = false;
    pthread_cond_broadcast(&writer.moved);
}

static void *run(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&writer.lock);
    while (writer.used > 0 || !writer.stopping) {
        if (writer.used == 0) {
            writer.idle = true;
            pthread_cond_wait(&writer.wake, &writer.lock);
            writer.idle = false;
            continue;
        }
        if (!writer.urgent && !writer.stopping && writer.used <= BUFFER_BYTES / 2) {
            struct timespec until = from_now(GATHER_MS);
            pthread_cond_timedwait(&writer.wake, &writer.lock, &until);
        }
        write_round();
    }
    writer.ended = true;
    pthread_cond_broadcast(&writer.moved);
    pthread_mutex_unlock(&writer.lock);
    return NULL;
}

/* Signals are the other threads' business. */
static bool start_thread(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&writer.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !failed;
}

void emb_log_start(void)
{
    static bool at_exit;
    pthread_mutex_lock(&writer.lock);
    if (!writer.running) {
        writer.fill = emb_alloc(BUFFER_BYTES, 1);
        writer.spare = emb_alloc(BUFFER_BYTES, 1);
        writer.stopping = writer.ended = false;
        writer.running = writer.fill && writer.spare && start_thread();
        if (!writer.running) {
            emb_free(writer.fill);
            emb_free(writer.spare);
        } else if (!at_exit) {
            at_exit = atexit(emb_log_stop) == 0;
        }
    }
    pthread_mutex_unlock(&writer.lock);
}

void emb_log_stop(void)
{
    pthread_mutex_lock(&writer.lock);
    if (writer.running) {
        struct timespec until = from_now(STOP_MS);
        writer.stopping = true;
        pthread_cond_signal(&writer.wake);
        while (!writer.ended && pthread_cond_timedwait(&writer.moved, &writer.lock, &until) == 0) {
        }
    }
    /* A thread that cannot write keeps its buffers, and lines go on being dropped rather than waited for. */
    bool ended = writer.running && writer.ended;
    if (ended) {
        writer.running = false;
        emb_free(writer.fill);
        emb_free(writer.spare);
    }
    pthread_mutex_unlock(&writer.lock);
    if (ended) {
        pthread_join(writer.thread, NULL);
    }
}

void emb_log(enum emb_log_level level, const char *event, const char *format, ...)
{
    char line[EMB_LOG_LINE_MAX];
    if (!emb_log_enabled(level)) {
        return;
    }
    va_list args;
    va_start(args, format);
    size_t size = format_line(line, level, event, format, args);
    va_end(args);
    pthread_mutex_lock(&writer.lock);
    if (writer.running) {
        append(level, line, size);
    } else {
        write_directly(line, size);
    }
    pthread_mutex_unlock(&writer.lock);
}
