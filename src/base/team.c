/* The team. A run is announced by raising the epoch; members take items from one counter that carries the epoch in its upper
 * half, so that a member late from an earlier run can never take an item of a later one. */
#include "base/team.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/status.h"

/* Pauses before sleeping: some ten microseconds, the length of the serial gaps inside one forward pass. */
enum { SPIN = 2000 };

struct member {
    struct emb_team *team;
    pthread_t thread;
    int index;
    cpu_set_t cpus; /* to stay on; none: where the system likes */
};

struct emb_team {
    int size;
    struct member *members; /* size; 0 is the caller and has no thread */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_cond_t done;
    int sleepers;       /* members waiting on wake, under lock */
    bool caller_sleeps; /* the caller waits on done, under lock */

    /* The current run, written before the epoch is raised. A late member may read these while a later run writes them (hence
     * atomic); it then takes no item, since next carries another epoch from before the first of them changes: whoever reads a
     * new one (acquire) also sees that. */
    _Atomic(emb_team_fn) fn;
    _Atomic(void *) arg;
    _Atomic size_t items;
    _Atomic uint32_t epoch;             /* odd values ask members to stop */
    _Alignas(64) _Atomic uint64_t next; /* epoch << 32 | next item */
    _Alignas(64) _Atomic size_t finished;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes items of the run epoch until none is left. */
static void work(struct emb_team *team, uint32_t epoch, int member)
{
    emb_team_fn fn = atomic_load_explicit(&team->fn, memory_order_acquire);
    void *arg = atomic_load_explicit(&team->arg, memory_order_acquire);
    size_t items = atomic_load_explicit(&team->items, memory_order_acquire);
    size_t did = 0;
    uint64_t next = atomic_load_explicit(&team->next, memory_order_acquire);
    for (;;) {
        if ((uint32_t)(next >> 32) != epoch || (uint32_t)next >= items) {
            break;
        }
        if (!atomic_compare_exchange_weak_explicit(&team->next, &next, next + 1, memory_order_acq_rel,
                                                   memory_order_acquire)) {
            continue;
        }
        fn(arg, (uint32_t)next, member);
        did++;
        next = atomic_load_explicit(&team->next, memory_order_acquire);
    }
    if (did > 0 && atomic_fetch_add_explicit(&team->finished, did, memory_order_acq_rel) + did == items &&
        member != 0) {
        pthread_mutex_lock(&team->lock);
        if (team->caller_sleeps) {
            pthread_cond_signal(&team->done);
        }
        pthread_mutex_unlock(&team->lock);
    }
}

/* Waits until the epoch differs from seen and returns it. */
static uint32_t await_epoch(struct emb_team *team, uint32_t seen)
{
    uint32_t epoch;
    for (int i = 0; i < SPIN; i++) {
        epoch = atomic_load_explicit(&team->epoch, memory_order_acquire);
        if (epoch != seen) {
            return epoch;
        }
        pause_briefly();
    }
    pthread_mutex_lock(&team->lock);
    team->sleepers++;
    while ((epoch = atomic_load_explicit(&team->epoch, memory_order_acquire)) == seen) {
        pthread_cond_wait(&team->wake, &team->lock);
    }
    team->sleepers--;
    pthread_mutex_unlock(&team->lock);
    return epoch;
}

static void raise_epoch(struct emb_team *team, uint32_t epoch)
{
    pthread_mutex_lock(&team->lock);
    atomic_store_explicit(&team->epoch, epoch, memory_order_release);
    if (team->sleepers > 0) {
        pthread_cond_broadcast(&team->wake);
    }
    pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *arg)
{
    struct member *self = arg;
    uint32_t seen = 0;
    if (CPU_COUNT(&self->cpus) > 0) {
        sched_setaffinity(0, sizeof self->cpus, &self->cpus);
    }
    for (;;) {
        seen = await_epoch(self->team, seen);
        if (seen & 1) {
            return NULL;
        }
        work(self->team, seen, self->index);
    }
}

/* Starts the threads of members 1.. with all signals blocked: signals are for the caller's threads. */
static int start_threads(struct emb_team *team, const struct emb_place *places)
{
    sigset_t all, before;
    int started = 1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < team->size) {
        struct member *m = &team->members[started];
        *m = (struct member){.team = team, .index = started};
        if (places) {
            m->cpus = places[started].cpus;
        }
        if (pthread_create(&m->thread, NULL, member_main, m) != 0) {
            break;
        }
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

int emb_team_new(struct emb_team **out, int size, embellama_error *error)
{
    return emb_team_new_at(out, size, NULL, error);
}

int emb_team_new_at(struct emb_team **out, int size, const struct emb_place *places, embellama_error *error)
{
    if (size < 1 || size > 1024) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%d threads: must be 1 to 1024", size);
    }
    struct emb_team *team = emb_alloc_aligned(_Alignof(struct emb_team), sizeof *team);
    if (!team) {
        return emb_fail_nomem(error);
    }
    *team = (struct emb_team){.size = size};
    team->members = emb_calloc((size_t)size, sizeof *team->members);
    if (!team->members) {
        emb_free(team);
        return emb_fail_nomem(error);
    }
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    pthread_cond_init(&team->done, NULL);
    int started = start_threads(team, places);
    if (started < size) {
        team->size = started;
        emb_team_free(team);
        return emb_fail(error, EMBELLAMA_E_NOMEM, "the system gave %d of %d threads", started, size);
    }
    *out = team;
    return EMBELLAMA_OK;
}

void emb_team_free(struct emb_team *team)
{
    if (!team) {
        return;
    }
    raise_epoch(team, atomic_load(&team->epoch) | 1);
    for (int i = 1; i < team->size; i++) {
        pthread_join(team->members[i].thread, NULL);
    }
    pthread_cond_destroy(&team->done);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
    emb_free(team->members);
    emb_free(team);
}

int emb_team_size(const struct emb_team *team)
{
    return team ? team->size : 1;
}

/* The caller has run out of items: waits for those that others still work on. */
static void await_finish(struct emb_team *team, size_t items)
{
    for (int i = 0; i < SPIN; i++) {
        if (atomic_load_explicit(&team->finished, memory_order_acquire) == items) {
            return;
        }
        pause_briefly();
    }
    pthread_mutex_lock(&team->lock);
    team->caller_sleeps = true;
    while (atomic_load_explicit(&team->finished, memory_order_acquire) != items) {
        pthread_cond_wait(&team->done, &team->lock);
    }
    team->caller_sleeps = false;
    pthread_mutex_unlock(&team->lock);
}

void emb_team_run(struct emb_team *team, emb_team_fn fn, void *arg, size_t items)
{
    if (!team || team->size == 1 || items <= 1) {
        for (size_t i = 0; i < items; i++) {
            fn(arg, i, 0);
        }
        return;
    }
    uint32_t epoch = atomic_load_explicit(&team->epoch, memory_order_relaxed) + 2;
    atomic_store_explicit(&team->next, (uint64_t)epoch << 32 | UINT32_MAX, memory_order_relaxed);
    atomic_store_explicit(&team->fn, fn, memory_order_release);
    atomic_store_explicit(&team->arg, arg, memory_order_release);
    atomic_store_explicit(&team->items, items, memory_order_release);
    atomic_store_explicit(&team->finished, 0, memory_order_relaxed);
    atomic_store_explicit(&team->next, (uint64_t)epoch << 32, memory_order_release);
    raise_epoch(team, epoch);
    work(team, epoch, 0);
    await_finish(team, items);
}
