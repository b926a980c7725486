/* Lines gather in one buffer while libuv's threads write another. */
#include "server/schedule/dead_letter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"

enum { PENDING_BYTES = 1 << 20, LINE_BYTES = 1 << 19 };

struct emb_dead_letter {
    uv_loop_t *loop;
    uv_work_t work;
    char *path, *old_path;
    bool with_ids;
    bool writing, closed;
    struct emb_buf pending;
    struct emb_buf written; /* the other threads', while writing */
    int failure;            /* errno of the last write, or 0 */
};

/* A file that is no file must not make us wait. */
static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
}

static void destroy(struct emb_dead_letter *letter)
{
    emb_buf_deinit(&letter->pending);
    emb_buf_deinit(&letter->written);
    emb_free(letter->path);
    emb_free(letter->old_path);
    emb_free(letter);
}

int emb_dead_letter_open(struct emb_dead_letter **out, uv_loop_t *loop, const char *path, bool with_ids,
                         embellama_error *error)
{
    struct emb_dead_letter *letter = emb_calloc(1, sizeof *letter);
    if (!letter) {
        return emb_fail_nomem(error);
    }
    size_t size = strlen(path);
    letter->loop = loop;
    letter->work.data = letter;
    letter->with_ids = with_ids;
    letter->path = emb_strdup(path);
    letter->old_path = emb_alloc(size + 3, 1);
    emb_buf_init(&letter->pending, PENDING_BYTES);
    emb_buf_init(&letter->written, PENDING_BYTES);
    if (!letter->path || !letter->old_path) {
        destroy(letter);
        return emb_fail_nomem(error);
    }
    memcpy(letter->old_path, path, size);
    memcpy(letter->old_path + size, ".1", 3);
    int fd = open_file(path);
    if (fd < 0) {
        int rc = emb_fail(error, EMBELLAMA_E_IO, "cannot write the dead-letter file %.150s: %s", path, strerror(errno));
        destroy(letter);
        return rc;
    }
    close(fd);
    *out = letter;
    return EMBELLAMA_OK;
}

/* ---- Beside the loop ---- */

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int append(const struct emb_dead_letter *letter)
{
    int fd = open_file(letter->path);
    struct stat st;
    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        (uint64_t)st.st_size + letter->written.size > EMB_DEAD_LETTER_BYTES) {
        close(fd);
        if (rename(letter->path, letter->old_path) != 0 || (fd = open_file(letter->path)) < 0) {
            return errno;
        }
    }
    int failure = write_all(fd, letter->written.data, letter->written.size);
    close(fd);
    return failure;
}

static void on_work(uv_work_t *work)
{
    struct emb_dead_letter *letter = work->data;
    letter->failure = append(letter);
}

/* ---- On the loop ---- */

static void start_writing(struct emb_dead_letter *letter);

static void on_written(uv_work_t *work, int status)
{
    struct emb_dead_letter *letter = work->data;
    letter->writing = false;
    emb_buf_clear(&letter->written);
    if (status != 0 || letter->failure != 0) {
        char path[512];
        emb_log(EMB_LOG_ERROR, "dead_letter_failed", "path=%s reason=\"%s\"",
                emb_log_quote(letter->path, path, sizeof path), strerror(letter->failure));
    }
    start_writing(letter);
}

static void start_writing(struct emb_dead_letter *letter)
{
    if (letter->writing) {
        return;
    }
    if (letter->pending.size > 0) {
        struct emb_buf other = letter->written;
        letter->written = letter->pending;
        letter->pending = other;
        letter->writing = uv_queue_work(letter->loop, &letter->work, on_work, on_written) == 0;
    }
    if (letter->closed && !letter->writing) {
        destroy(letter);
    }
}

static void write_time(struct emb_buf *out)
{
    struct timespec now;
    struct tm tm;
    char text[32] = "";
    clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &tm)) {
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    }
    emb_buf_printf(out, "{\"time\":\"%s.%03ldZ\"", text, now.tv_nsec / 1000000);
}

static const char *task_name(uint32_t kind)
{
    static const char *const names[EMB_TASK_KINDS] = {"embed", "raw", "tokens", "score"};
    return kind < EMB_TASK_KINDS ? names[kind] : "unknown";
}

static void write_line(const struct emb_dead_letter *letter, const struct emb_dead_letter_record *record,
                       struct emb_buf *out)
{
    write_time(out);
    emb_buf_puts(out, ",\"model\":");
    emb_json_write_cstring(out, record->model);
    emb_buf_puts(out, ",\"request_id\":");
    emb_json_write_cstring(out, record->request_id);
    emb_buf_printf(out,
                   ",\"input\":%zu,\"hash\":\"%016" PRIx64 "%016" PRIx64 "\",\"tokens\":%zu,\"reason\":", record->input,
                   record->hash.high, record->hash.low, record->count);
    emb_json_write_cstring(out, record->reason);
    if (record->task.kind != EMB_TASK_EMBED) {
        emb_buf_printf(out, ",\"task\":\"%s\"", task_name(record->task.kind));
    }
    if (record->task.kind == EMB_TASK_SCORE) {
        emb_buf_printf(out, ",\"second\":%" PRIu32, record->task.second);
    }
    if (letter->with_ids) {
        emb_buf_puts(out, ",\"ids\":[");
        for (size_t i = 0; i < record->count; i++) {
            emb_buf_printf(out, i > 0 ? ",%" PRId32 : "%" PRId32, record->ids[i]);
        }
        emb_buf_puts(out, "]");
    }
    emb_buf_puts(out, "}\n");
}

void emb_dead_letter_write(struct emb_dead_letter *letter, const struct emb_dead_letter_record *record)
{
    struct emb_buf line;
    emb_buf_init(&line, LINE_BYTES);
    write_line(letter, record, &line);
    if (line.failed || line.size + letter->pending.size > PENDING_BYTES) {
        emb_log(EMB_LOG_ERROR, "dead_letter_dropped", "tokens=%zu", record->count);
    } else {
        emb_buf_append(&letter->pending, line.data, line.size);
        if (letter->pending.failed) {
            emb_log(EMB_LOG_ERROR, "dead_letter_dropped", "tokens=%zu", record->count);
            emb_buf_clear(&letter->pending);
        }
    }
    emb_buf_deinit(&line);
    start_writing(letter);
}

void emb_dead_letter_close(struct emb_dead_letter *letter)
{
    if (letter) {
        letter->closed = true;
        start_writing(letter);
    }
}
