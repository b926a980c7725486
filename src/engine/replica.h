/* A model's weights on each NUMA node of the process. */
#ifndef EMB_REPLICA_H
#define EMB_REPLICA_H

#include "base/numa.h"
#include "model/load.h"

struct emb_replicas {
    struct emb_topology topology; /* count 0: no nodes are told apart */
    struct emb_model *models; /* [topology.count], or NULL: the model itself for all. Each is it but for its weights */
};

/* Finds the nodes, keeps the model's weights for the first and copies them for each other one. What the system refuses is noted in
 * model->notice, and changes no vector. On failure *replicas is empty. Errors: E_NOMEM. */
int emb_replicas_new(struct emb_replicas *replicas, struct emb_model *model, embellama_error *error);
void emb_replicas_deinit(struct emb_replicas *replicas); /* before the model is unloaded; a zeroed one is allowed */

#endif
