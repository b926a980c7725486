/* A team of threads that work through numbered items together.
 *
 * The caller is member 0 and works too. Items are taken dynamically, one at a time, so that a thread the system preempts
 * stalls nobody. Waiting members spin briefly, then sleep: an idle team uses no CPU. */
#ifndef EMB_TEAM_H
#define EMB_TEAM_H

#include "base/numa.h"

struct emb_team;

/* item: 0 <= item < items. member: 0 <= member < size of the team, no two threads at once share one. */
typedef void (*emb_team_fn)(void *arg, size_t item, int member);

/* A team of size members (1..1024), size - 1 threads. Errors: E_NOMEM (also when the system gives no thread). */
int emb_team_new(struct emb_team **out, int size, embellama_error *error);

/* The same with members that stay at places[0..size), as far as the system lets them. Member 0 is whoever calls, and goes where it
 * likes. */
int emb_team_new_at(struct emb_team **out, int size, const struct emb_place *places, embellama_error *error);

/* Stops and joins the threads. NULL is allowed. No run may be under way. */
void emb_team_free(struct emb_team *team);

int emb_team_size(const struct emb_team *team);

/* Calls fn for every item and returns when all are done. One run at a time; fn may not run the same team. What items wrote is
 * visible to the caller afterwards, and to later runs. A NULL team runs everything in the caller. */
void emb_team_run(struct emb_team *team, emb_team_fn fn, void *arg, size_t items);

#endif
