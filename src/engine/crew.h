/* The threads of a context: a team of its own on each NUMA node, one team where nodes are not told apart. */
#ifndef EMB_CREW_H
#define EMB_CREW_H

#include "base/team.h"

struct emb_crew;

/* threads threads (1..1024), the caller among them, on the topology's nodes; few threads may leave nodes out. A topology of one node
 * places nothing unless pin is set: then each thread stays on a processor. NULL: nothing is placed. Errors: E_INVALID, E_NOMEM. */
int emb_crew_new(struct emb_crew **out, int threads, const struct emb_topology *topology, bool pin,
                 embellama_error *error);
void emb_crew_free(struct emb_crew *crew); /* NULL is allowed */

int emb_crew_nodes(const struct emb_crew *crew);               /* nodes with threads: the topology's first ones */
int emb_crew_node_of(const struct emb_crew *crew, int member); /* of a member 0 <= member < threads */
struct emb_team *emb_crew_team(const struct emb_crew *crew, int node); /* of one node */

/* Calls fn for every item, on all threads; member is one of all. One run at a time. */
void emb_crew_run(struct emb_crew *crew, emb_team_fn fn, void *arg, size_t items);

/* Calls fn for every item, on one thread a node: its member is the node, and it may run that node's team. */
void emb_crew_lead(struct emb_crew *crew, emb_team_fn fn, void *arg, size_t items);

/* Around all runs of a call: the calling thread joins those on the first node, and goes back to where it was. */
struct emb_crew_guest {
    cpu_set_t before;
    bool moved;
};
struct emb_crew_guest emb_crew_join(const struct emb_crew *crew);
void emb_crew_part(const struct emb_crew_guest *guest);

#endif
