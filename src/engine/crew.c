/* Teams led by a team: its members, one a node, are member 0 of their node's. */
#include "engine/crew.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/status.h"

struct emb_crew {
    int threads, nodes;
    struct emb_team *leaders; /* NULL with one node */
    struct emb_team **teams;  /* [nodes] */
    int *first;               /* [nodes + 1] member that is member 0 of each team; then threads */
    cpu_set_t caller;         /* of member 0; none: where the system likes */
};

/* ---- Making ---- */

/* Teams for places, which come by node. */
static int new_teams(struct emb_crew *crew, const struct emb_place *places, embellama_error *error)
{
    struct emb_place *leaders = emb_calloc((size_t)crew->nodes, sizeof *leaders);
    int rc = leaders ? EMBELLAMA_OK : emb_fail_nomem(error);
    for (int k = 0; rc == EMBELLAMA_OK && k < crew->nodes; k++) {
        leaders[k] = places[crew->first[k]];
        rc = emb_team_new_at(&crew->teams[k], crew->first[k + 1] - crew->first[k], places + crew->first[k], error);
    }
    if (rc == EMBELLAMA_OK && crew->nodes > 1) {
        rc = emb_team_new_at(&crew->leaders, crew->nodes, leaders, error);
    }
    emb_free(leaders);
    return rc;
}

static int alloc_nodes(struct emb_crew *crew, int nodes, embellama_error *error)
{
    crew->teams = emb_calloc((size_t)nodes, sizeof *crew->teams);
    crew->first = emb_calloc((size_t)nodes + 1, sizeof *crew->first);
    if (!crew->teams || !crew->first) {
        return emb_fail_nomem(error);
    }
    crew->nodes = nodes;
    crew->first[nodes] = crew->threads;
    return EMBELLAMA_OK;
}

static int place_threads(struct emb_crew *crew, const struct emb_topology *topology, bool pin, embellama_error *error)
{
    struct emb_place *places = emb_calloc((size_t)crew->threads, sizeof *places);
    if (!places) {
        return emb_fail_nomem(error);
    }
    emb_topology_seat(topology, pin, crew->threads, places);
    int rc = alloc_nodes(crew, places[crew->threads - 1].node + 1, error);
    if (rc == EMBELLAMA_OK) {
        for (int i = 1; i < crew->threads; i++) {
            if (places[i].node != places[i - 1].node) {
                crew->first[places[i].node] = i;
            }
        }
        crew->caller = places[0].cpus;
        rc = new_teams(crew, places, error);
    }
    emb_free(places);
    return rc;
}

int emb_crew_new(struct emb_crew **out, int threads, const struct emb_topology *topology, bool pin,
                 embellama_error *error)
{
    if (threads < 1 || threads > 1024) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%d threads: must be 1 to 1024", threads);
    }
    struct emb_crew *crew = emb_calloc(1, sizeof *crew);
    if (!crew) {
        return emb_fail_nomem(error);
    }
    crew->threads = threads;
    int rc;
    if (topology && (topology->count > 1 || (pin && topology->count == 1))) {
        rc = place_threads(crew, topology, pin, error);
    } else {
        rc = alloc_nodes(crew, 1, error);
        if (rc == EMBELLAMA_OK) {
            rc = emb_team_new(&crew->teams[0], threads, error);
        }
    }
    if (rc != EMBELLAMA_OK) {
        emb_crew_free(crew);
        return rc;
    }
    *out = crew;
    return EMBELLAMA_OK;
}

void emb_crew_free(struct emb_crew *crew)
{
    if (!crew) {
        return;
    }
    emb_team_free(crew->leaders);
    for (int k = 0; k < crew->nodes; k++) {
        emb_team_free(crew->teams[k]);
    }
    emb_free(crew->teams);
    emb_free(crew->first);
    emb_free(crew);
}

int emb_crew_nodes(const struct emb_crew *crew)
{
    return crew->nodes;
}

int emb_crew_node_of(const struct emb_crew *crew, int member)
{
    int node = 0;
    while (member >= crew->first[node + 1]) {
        node++;
    }
    return node;
}

struct emb_team *emb_crew_team(const struct emb_crew *crew, int node)
{
    return crew->teams[node];
}

/* ---- Running ---- */

struct run {
    struct emb_crew *crew;
    emb_team_fn fn;
    void *arg;
    size_t items;
    _Atomic size_t next;
};

struct node_run {
    struct run *run;
    int first;
};

/* Takes items until none is left. The team's own items only see to it that each of its members does so. */
static void take_items(void *arg, size_t item, int member)
{
    const struct node_run *node = arg;
    struct run *run = node->run;
    size_t at;
    (void)item;
    while ((at = atomic_fetch_add_explicit(&run->next, 1, memory_order_relaxed)) < run->items) {
        run->fn(run->arg, at, node->first + member);
    }
}

static void take_items_on_node(void *arg, size_t item, int member)
{
    struct run *run = arg;
    struct emb_team *team = run->crew->teams[member];
    struct node_run node = {run, run->crew->first[member]};
    (void)item;
    emb_team_run(team, take_items, &node, (size_t)emb_team_size(team));
}

void emb_crew_run(struct emb_crew *crew, emb_team_fn fn, void *arg, size_t items)
{
    if (crew->nodes == 1) {
        emb_team_run(crew->teams[0], fn, arg, items);
    } else {
        struct run run = {.crew = crew, .fn = fn, .arg = arg, .items = items};
        emb_team_run(crew->leaders, take_items_on_node, &run, (size_t)crew->nodes);
    }
}

void emb_crew_lead(struct emb_crew *crew, emb_team_fn fn, void *arg, size_t items)
{
    emb_team_run(crew->leaders, fn, arg, items);
}

/* ---- The caller ---- */

struct emb_crew_guest emb_crew_join(const struct emb_crew *crew)
{
    struct emb_crew_guest guest = {.moved = false};
    if (CPU_COUNT(&crew->caller) > 0 && sched_getaffinity(0, sizeof guest.before, &guest.before) == 0) {
        guest.moved = sched_setaffinity(0, sizeof crew->caller, &crew->caller) == 0;
    }
    return guest;
}

void emb_crew_part(const struct emb_crew_guest *guest)
{
    if (guest->moved) {
        sched_setaffinity(0, sizeof guest->before, &guest->before);
    }
}
