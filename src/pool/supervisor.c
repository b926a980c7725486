/* Starting, watching, restarting, stopping. */
#include "pool/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/memfd.h"
#include "base/status.h"
#include "pool/board.h"
#include "pool/control.h"
#include "pool/sockets.h"
#include "pool/title.h"
#include "pool/verdict.h"

#define MS 1000000u

enum {
    STOPPED_MS = 1000,     /* a stopped process is given so long to be continued */
    WORKERS_END_MS = 2000, /* workers, once told to */
    LOOKS = 4,             /* looks at a process's progress during the time that makes it stuck */
    STARTING_LOOKS = 40,   /* and of one that has not answered anything yet: large models take their time */
    FIRST_TRIES = 5,       /* starts that may fail before anything was ever answered */
};

struct child {
    enum emb_role role;
    int index;
    pid_t pid; /* 0: none */
    int control;
    struct emb_board_slot *slot;
    enum emb_ended ended;
    uint64_t stopped_at; /* 0: it is not stopped */
    uint64_t restart_at; /* 0: no restart is due */
    uint64_t look_at;    /* the next look at its progress */
    uint64_t progress;   /* at the last look */
    unsigned looks;      /* without progress, in a row */
    unsigned early;      /* ends before anything was answered */
    struct emb_backoff backoff;
};

struct supervisor {
    const struct emb_supervisor_options *options;
    struct emb_setup setup;
    struct emb_sockets sockets;
    int program, signals, link, weights, setup_fd, board_fd;
    struct emb_board *board;
    struct child *children; /* the front, then the workers; a single loader at first */
    size_t count;
    uint64_t memory_kills;
    char load_end[128]; /* how the loader ended */
    uint64_t now;
    bool was_ready;   /* the front has listened once */
    bool stopping;    /* the front drains */
    bool front_done;  /* and has ended; now the workers */
    uint64_t stop_by; /* the end of the present stage of stopping */
    bool over;
    int status; /* of the whole run */
    embellama_error *error;
};

static bool is_worker(const struct child *c)
{
    return c->role == EMB_ROLE_WORKER;
}

static void describe(const struct child *c, char out[32])
{
    if (is_worker(c)) {
        snprintf(out, 32, "worker %d", c->index);
    } else {
        snprintf(out, 32, "%s", c->role == EMB_ROLE_FRONT ? "front" : "loader");
    }
}

/* ---- Starting processes ---- */

static int start_child(struct supervisor *s, struct child *c, embellama_error *error)
{
    int fds[EMB_FD_LISTEN - EMB_FD_SETUP + EMB_LISTENERS_MAX], pair[2];
    char title[64];
    size_t count = 0;
    int rc = emb_control_pair(pair, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    fds[count++] = s->setup_fd;
    fds[count++] = pair[1];
    fds[count++] = s->weights;
    if (c->slot) {
        fds[count++] = s->board_fd;
        atomic_store(&c->slot->answered, 0);
        atomic_store(&c->slot->busy, 1);
    }
    if (c->role == EMB_ROLE_FRONT) {
        fds[count++] = s->link;
        for (size_t i = 0; i < s->sockets.count; i++) {
            fds[count++] = s->sockets.fds[i];
        }
    }
    if (is_worker(c)) {
        snprintf(title, sizeof title, EMB_TITLE_WORKER "%d", c->index);
    } else {
        snprintf(title, sizeof title, "%s", c->role == EMB_ROLE_FRONT ? EMB_TITLE_FRONT : EMB_TITLE_LOADER);
    }
    rc = emb_spawn(&c->pid, s->program, title, fds, count, error);
    close(pair[1]);
    if (rc != EMBELLAMA_OK) {
        close(pair[0]);
        return rc;
    }
    c->control = pair[0];
    c->ended = EMB_ENDED_ALONE;
    c->stopped_at = c->restart_at = 0;
    c->looks = 0;
    c->look_at = s->now + (uint64_t)s->options->stuck_ms * MS / LOOKS;
    emb_log(EMB_LOG_DEBUG, "started", "title=\"%s\" pid=%d", title, (int)c->pid);
    return EMBELLAMA_OK;
}

static void kill_child(struct child *c, enum emb_ended ended)
{
    if (c->pid > 0) {
        c->ended = ended;
        kill(c->pid, SIGKILL);
    }
}

static void kill_all(struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        kill_child(c, EMB_ENDED_ASKED);
        if (c->pid > 0) {
            while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) {
            }
            close(c->control);
            c->pid = 0;
        }
    }
}

/* The run is over: with E_IO and this message where that is not NULL. */
static void finish(struct supervisor *s, const char *message)
{
    if (s->over) {
        return;
    }
    s->over = true;
    if (message) {
        s->status = emb_fail(s->error, EMBELLAMA_E_IO, "%s", message);
    }
}

/* ---- Stopping ---- */

static void tell(const struct child *c, const struct emb_control *message)
{
    if (c->pid > 0) {
        emb_control_send(c->control, message);
    }
}

static void stop_workers(struct supervisor *s)
{
    struct emb_control message = {.kind = EMB_CONTROL_STOP};
    s->front_done = true;
    s->stop_by = s->now + (uint64_t)WORKERS_END_MS * MS;
    for (size_t i = 1; i < s->count; i++) {
        struct child *c = &s->children[i];
        c->restart_at = 0;
        if (c->pid > 0) {
            c->ended = EMB_ENDED_ASKED;
            tell(c, &message);
        }
    }
}

static void begin_stop(struct supervisor *s, const char *why)
{
    struct emb_control message = {.kind = EMB_CONTROL_STOP, .value = (int32_t)s->options->drain_ms};
    emb_log(EMB_LOG_INFO, "stopping", "reason=%s", why);
    s->stopping = true;
    s->stop_by = s->now + (uint64_t)s->options->drain_ms * MS;
    emb_sockets_close(&s->sockets); /* the front has them as well, and closes them when it sees fit */
    struct child *front = &s->children[0];
    if (front->role != EMB_ROLE_FRONT) {
        finish(s, NULL); /* still loading */
    } else if (front->pid == 0) {
        front->restart_at = 0;
        stop_workers(s);
    } else {
        front->ended = EMB_ENDED_ASKED;
        tell(front, &message);
    }
}

static void check_stop(struct supervisor *s)
{
    bool left = false;
    if (!s->stopping || s->over) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        left = left || s->children[i].pid > 0;
    }
    if (s->front_done && !left) {
        finish(s, NULL);
    } else if (s->now >= s->stop_by && s->front_done) {
        emb_log(EMB_LOG_WARN, "workers_killed", "reason=slow");
        finish(s, NULL);
    } else if (s->now >= s->stop_by) {
        finish(s, "stopped before all requests were answered: --drain-timeout was over");
    }
}

/* ---- Ends ---- */

static void tell_verdict(struct supervisor *s, const struct child *c, pid_t pid, const struct emb_verdict *v)
{
    struct emb_control message = {.kind = EMB_CONTROL_VERDICT, .worker = c->index, .pid = pid, .blamed = v->blamed};
    snprintf(message.text, sizeof message.text, "%s", v->reason);
    tell(&s->children[0], &message);
}

/* Plans the restart of one that ended, or gives up. */
static void plan_restart(struct supervisor *s, struct child *c, const struct emb_verdict *v)
{
    char name[32], message[256];
    bool useful = atomic_load(&c->slot->answered) > 0;
    c->early = useful ? 0 : c->early + 1;
    describe(c, name);
    if (!s->was_ready && c->early >= FIRST_TRIES) {
        snprintf(message, sizeof message, "%s cannot start: it %s", name, v->reason);
        finish(s, message);
        return;
    }
    unsigned delay = emb_backoff_delay(&c->backoff, s->now, useful);
    c->restart_at = s->now + (uint64_t)delay * MS;
    if (delay > 0) {
        emb_log(EMB_LOG_WARN, "restart_delayed", "process=\"%s\" ms=%u", name, delay);
    }
}

static void on_front_end(struct supervisor *s, struct child *c, const siginfo_t *info, const struct emb_verdict *v)
{
    if (s->stopping) {
        if (info->si_code != CLD_EXITED || info->si_status != 0) {
            s->status = emb_fail(s->error, EMBELLAMA_E_IO, "stopped before all requests were answered: the front %s",
                                 v->reason);
        }
        stop_workers(s);
        return;
    }
    plan_restart(s, c, v);
}

static void on_end(struct supervisor *s, struct child *c, const siginfo_t *info)
{
    char name[32], reason[256];
    uint64_t kills = emb_memory_kills("/sys/fs/cgroup", "/proc/self/cgroup");
    struct emb_verdict v = emb_verdict_of(info, c->ended, kills > s->memory_kills);
    pid_t pid = c->pid;
    s->memory_kills = kills;
    c->pid = 0;
    c->stopped_at = 0;
    describe(c, name);
    bool done = c->role == EMB_ROLE_LOADER && info->si_code == CLD_EXITED; /* and says itself how it went */
    if (c->ended != EMB_ENDED_ASKED && !done) {
        emb_log(EMB_LOG_WARN, "ended", "process=\"%s\" pid=%d reason=%s", name, (int)pid,
                emb_log_quote(v.reason, reason, sizeof reason));
    }
    if (c->role == EMB_ROLE_LOADER) {
        snprintf(s->load_end, sizeof s->load_end, "%s", v.reason);
        return; /* load() looks at the rest */
    }
    close(c->control);
    if (c->role == EMB_ROLE_FRONT) {
        on_front_end(s, c, info, &v);
        return;
    }
    tell_verdict(s, c, pid, &v);
    if (!s->front_done) {
        plan_restart(s, c, &v);
    }
}

/* Looks at what became of each process. */
static void reap(struct supervisor *s)
{
    for (size_t i = 0; i < s->count && !s->over; i++) {
        struct child *c = &s->children[i];
        siginfo_t info = {0};
        while (c->pid > 0 && !s->over &&
               waitid(P_PID, (id_t)c->pid, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG) == 0 && info.si_pid != 0) {
            if (info.si_code == CLD_STOPPED || info.si_code == CLD_TRAPPED) {
                c->stopped_at = s->now;
            } else if (info.si_code == CLD_CONTINUED) {
                c->stopped_at = 0;
            } else {
                on_end(s, c, &info);
            }
            info = (siginfo_t){0};
        }
    }
}

/* ---- Watching ---- */

/* Looks are counted, not time: where the supervisor itself did not run, nobody is blamed for the time. */
static void look_at_progress(struct supervisor *s, struct child *c)
{
    if (s->now < c->look_at || !c->slot) {
        return;
    }
    uint64_t progress = atomic_load_explicit(&c->slot->progress, memory_order_relaxed);
    bool busy = atomic_load_explicit(&c->slot->busy, memory_order_relaxed) != 0;
    c->looks = busy && progress == c->progress ? c->looks + 1 : 0;
    c->progress = progress;
    c->look_at = s->now + (uint64_t)s->options->stuck_ms * MS / LOOKS;
    if (c->looks > (atomic_load(&c->slot->answered) ? LOOKS : STARTING_LOOKS)) {
        kill_child(c, EMB_ENDED_STUCK);
    }
}

static void watch_children(struct supervisor *s)
{
    embellama_error error;
    for (size_t i = 0; i < s->count && !s->over; i++) {
        struct child *c = &s->children[i];
        if (c->pid > 0 && c->stopped_at && s->now >= c->stopped_at + (uint64_t)STOPPED_MS * MS) {
            kill_child(c, EMB_ENDED_STOPPED);
        } else if (c->pid > 0 && !c->stopped_at) {
            look_at_progress(s, c);
        } else if (c->pid == 0 && c->restart_at && s->now >= c->restart_at) {
            if (start_child(s, c, &error) != EMBELLAMA_OK) {
                char reason[512];
                emb_log(EMB_LOG_ERROR, "not_started", "reason=%s", emb_log_quote(error.message, reason, sizeof reason));
                c->restart_at = s->now + (uint64_t)emb_backoff_delay(&c->backoff, s->now, false) * MS;
            }
        }
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

/* Milliseconds until something is due, or -1. */
static int wait_ms(const struct supervisor *s)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (c->pid == 0) {
            due = earlier(due, c->restart_at);
        } else if (c->stopped_at) {
            due = earlier(due, c->stopped_at + (uint64_t)STOPPED_MS * MS);
        } else if (c->slot) {
            due = earlier(due, c->look_at);
        }
    }
    if (s->stopping) {
        due = earlier(due, s->stop_by);
    }
    if (due == UINT64_MAX) {
        return -1;
    }
    uint64_t now = emb_clock_ns();
    return due <= now ? 0 : (int)((due - now) / MS < 60000 ? (due - now) / MS + 1 : 60000);
}

/* ---- Events ---- */

static void spread_log_level(struct supervisor *s)
{
    struct emb_control message = {.kind = EMB_CONTROL_LOG, .value = (int32_t)emb_log_level()};
    s->setup.log_level = message.value;
    for (size_t i = 0; i < s->count; i++) {
        tell(&s->children[i], &message);
    }
}

static void heed_signals(struct supervisor *s)
{
    struct signalfd_siginfo got;
    while (!s->over && read(s->signals, &got, sizeof got) == (ssize_t)sizeof got) {
        switch ((int)got.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            if (s->stopping) {
                finish(s, "stopped by a second signal before all requests were answered");
            } else {
                begin_stop(s, (int)got.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
            }
            break;
        case SIGHUP: tell(&s->children[0], &(struct emb_control){.kind = EMB_CONTROL_RELOAD}); break;
        case SIGUSR1:
        case SIGUSR2:
            emb_log_step((int)got.ssi_signo == SIGUSR1 ? 1 : -1);
            spread_log_level(s);
            break;
        default: break; /* SIGCHLD: reap looks */
        }
    }
}

static void heed_front(struct supervisor *s)
{
    struct child *front = &s->children[0];
    struct emb_control message;
    while (front->pid > 0 && !s->over && emb_control_receive(front->control, &message) == EMB_CONTROL_MESSAGE) {
        if (message.kind == EMB_CONTROL_READY) {
            s->was_ready = true;
        } else if (message.kind == EMB_CONTROL_LOG) {
            emb_log_set_level((enum emb_log_level)message.value);
            spread_log_level(s);
        } else if (message.kind == EMB_CONTROL_DRAIN && !s->stopping) {
            begin_stop(s, "asked");
        } else if (message.kind == EMB_CONTROL_FAILED && !s->was_ready && !s->over) {
            s->over = true;
            s->status = emb_fail(s->error, message.value, "%s", message.text);
        }
    }
}

/* Waits for whatever comes next, and deals with it. */
static void turn(struct supervisor *s)
{
    struct child *front = &s->children[0];
    bool listens = front->role == EMB_ROLE_FRONT && front->pid > 0;
    struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN},
                           {.fd = listens ? front->control : -1, .events = POLLIN}};
    int n = poll(fds, 2, wait_ms(s));
    s->now = emb_clock_ns();
    if (n > 0 && fds[0].revents) {
        heed_signals(s);
    }
    if (n > 0 && listens && (fds[1].revents & POLLIN)) {
        heed_front(s);
    }
    if (!s->over) {
        reap(s);
        watch_children(s);
        check_stop(s);
    }
    if (n > 0 && listens && front->pid > 0 && (fds[1].revents & POLLHUP) && !(fds[1].revents & POLLIN)) {
        /* It closed its end but is not dead yet: its end comes as a signal. */
        struct timespec moment = {.tv_nsec = MS};
        nanosleep(&moment, NULL);
    }
}

/* ---- Loading ---- */

static int judge_load(struct supervisor *s, struct emb_loaded *loaded, embellama_error *error)
{
    struct emb_control message;
    const struct child *loader = &s->children[0];
    if (emb_control_receive(loader->control, &message) != EMB_CONTROL_MESSAGE) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "cannot load the model %.120s: the process that read it %s",
                        s->setup.model_path, s->load_end);
    }
    if (message.value != EMBELLAMA_OK) {
        return emb_fail(error, message.value, "%s", message.text);
    }
    if (!emb_memfd_sealed(s->weights)) {
        return emb_fail(error, EMBELLAMA_E_IO, "the model's memory is not sealed");
    }
    *loaded = (struct emb_loaded){message.context_length, message.recommended_length, message.dim};
    return EMBELLAMA_OK;
}

/* Has a loader fill s->weights. Sets s->over when it was asked to stop meanwhile. */
static int load(struct supervisor *s, struct emb_loaded *loaded, embellama_error *error)
{
    struct child *loader = s->children;
    int fd = -1;
    int rc = emb_memfd_new(&fd, "embellama-weights", error);
    if (rc == EMBELLAMA_OK && (s->weights = emb_fd_high(fd)) < 0) {
        rc = emb_fail(error, EMBELLAMA_E_IO, "too few file descriptors are allowed");
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_setup_write(&s->setup_fd, &s->setup, 0, NULL, error);
    }
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    *loader = (struct child){.role = EMB_ROLE_LOADER};
    s->count = 1;
    rc = start_child(s, loader, error);
    while (rc == EMBELLAMA_OK && loader->pid > 0 && !s->over) {
        turn(s);
    }
    bool loading = loader->pid > 0;
    if (loading) {
        kill_child(loader, EMB_ENDED_ASKED);
        while (waitpid(loader->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        loader->pid = 0;
    }
    if (rc == EMBELLAMA_OK && !s->over) {
        rc = judge_load(s, loaded, error);
    }
    if (loader->control >= 0) {
        close(loader->control);
    }
    close(s->setup_fd);
    s->setup_fd = -1;
    s->count = 0;
    return rc;
}

/* ---- The run ---- */

/* Signals become readable. SIGINT and SIGTERM are ignored besides, which blocked ones are not, so that processes are born ignoring
 * them. */
static int take_signals(struct supervisor *s, embellama_error *error)
{
    static const int taken[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        sigaddset(&set, taken[i]);
    }
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
        (s->signals = emb_fd_high(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC))) < 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot watch signals: %s", strerror(errno));
    }
    signal(SIGCHLD, SIG_DFL);
    for (size_t i = 1; i < sizeof taken / sizeof *taken; i++) {
        signal(taken[i], SIG_IGN);
    }
    signal(SIGPIPE, SIG_IGN);
    return EMBELLAMA_OK;
}

/* No core file of this process or any that it starts holds memory. The filter counts also where cores are piped to a program, which
 * the limit does not keep from it. */
static void forbid_core_dumps(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &limit);
    }
    int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, "0", 1) != 1) {
            emb_log(EMB_LOG_DEBUG, "coredump_filter", "errno=%d", errno);
        }
        close(fd);
    }
}

static int bind_sockets(struct supervisor *s, embellama_error *error)
{
    const struct emb_supervisor_options *o = s->options;
    int rc = o->port >= 0 ? emb_sockets_bind(&s->sockets, o->host, o->port, error) : EMBELLAMA_OK;
    return rc == EMBELLAMA_OK && o->unix_socket
               ? emb_sockets_bind_unix(&s->sockets, o->unix_socket, o->unix_mode, (int)o->backlog, error)
               : rc;
}

static int open_all(struct supervisor *s, embellama_error *error)
{
    int rc = emb_program_open(&s->program, error);
    if (rc == EMBELLAMA_OK) {
        rc = take_signals(s, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = bind_sockets(s, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_link_listen(&s->link, s->setup.link, s->setup.token, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_board_new(&s->board, &s->board_fd, error);
    }
    s->setup.listeners = (uint32_t)s->sockets.count;
    s->setup.port = s->sockets.port;
    return rc;
}

static int start_all(struct supervisor *s, embellama_error *error)
{
    int rc = emb_setup_write(&s->setup_fd, &s->setup, s->options->argc, s->options->argv, error);
    s->count = (size_t)s->setup.workers + 1;
    for (size_t i = 0; i < s->count; i++) {
        s->children[i] =
            i == 0 ? (struct child){.role = EMB_ROLE_FRONT, .slot = &s->board->front}
                   : (struct child){.role = EMB_ROLE_WORKER, .index = (int)i - 1, .slot = &s->board->workers[i - 1]};
    }
    for (size_t i = 0; rc == EMBELLAMA_OK && i < s->count; i++) {
        rc = start_child(s, &s->children[i], error);
    }
    return rc;
}

static void close_all(struct supervisor *s)
{
    const int fds[] = {s->program, s->signals, s->link, s->weights, s->setup_fd, s->board_fd};
    kill_all(s);
    emb_sockets_close(&s->sockets);
    emb_sockets_remove(&s->sockets);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    emb_free(s->children);
}

int emb_supervisor_run(const struct emb_supervisor_options *options, embellama_error *error)
{
    struct supervisor s = {.options = options,
                           .setup = options->setup,
                           .program = -1,
                           .signals = -1,
                           .link = -1,
                           .weights = -1,
                           .setup_fd = -1,
                           .board_fd = -1,
                           .error = error,
                           .now = emb_clock_ns()};
    struct emb_loaded loaded = {0};
    s.children = emb_calloc((size_t)s.setup.workers + 1, sizeof *s.children);
    if (!s.children) {
        return emb_fail_nomem(error);
    }
    emb_title_set(EMB_TITLE_SUPERVISOR);
    emb_log_set_process("supervisor");
    if (!options->core_dumps) {
        forbid_core_dumps();
    }
    s.memory_kills = emb_memory_kills("/sys/fs/cgroup", "/proc/self/cgroup");
    int rc = open_all(&s, error);
    if (rc == EMBELLAMA_OK) {
        rc = load(&s, &loaded, error);
    }
    if (rc == EMBELLAMA_OK && !s.over && options->loaded) {
        rc = options->loaded(options->arg, &loaded, &s.setup, error);
    }
    if (rc == EMBELLAMA_OK && !s.over) {
        rc = start_all(&s, error);
        while (rc == EMBELLAMA_OK && !s.over) {
            turn(&s);
        }
    }
    close_all(&s);
    return rc == EMBELLAMA_OK ? s.status : rc;
}
