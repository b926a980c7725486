/* Copies of the packed block. The embedding tables stay where they are: they are read a row a token. */
#include "engine/replica.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"

/* Adds a sentence on node to the model's notice, the first time. */
static void note(struct emb_model *model, int node_id, int cause)
{
    size_t used = strlen(model->notice);
    if (!strstr(model->notice, "NUMA")) {
        snprintf(model->notice + used, sizeof model->notice - used,
                 "%sweights could not be bound to the memory of NUMA node %d: %s", used ? "; " : "", node_id,
                 strerror(cause));
    }
}

/* A copy made by a thread of the node, so that its pages are there even where they cannot be bound. */
static int copy_near(struct emb_model *copy, struct emb_model *model, const struct emb_topology *topology, int node,
                     embellama_error *error)
{
    struct emb_place place = emb_topology_place(topology, node, topology->count);
    int id = topology->nodes[node].id, refused = 0;
    cpu_set_t before;
    bool moved =
        sched_getaffinity(0, sizeof before, &before) == 0 && sched_setaffinity(0, sizeof place.cpus, &place.cpus) == 0;
    int rc = emb_weights_copy(&copy->weights, &model->weights, &model->spec, &model->source, model->gemm, id, &refused,
                              error);
    if (moved) {
        sched_setaffinity(0, sizeof before, &before);
    }
    if (rc == EMBELLAMA_OK && refused) {
        note(model, id, refused);
    }
    return rc;
}

int emb_replicas_new(struct emb_replicas *r, struct emb_model *model, embellama_error *error)
{
    *r = (struct emb_replicas){0};
    int rc = emb_topology_read(&r->topology, NULL, error);
    if (rc != EMBELLAMA_OK || r->topology.count < 2) {
        return rc;
    }
    r->models = emb_calloc((size_t)r->topology.count, sizeof *r->models);
    if (!r->models) {
        emb_replicas_deinit(r);
        return emb_fail_nomem(error);
    }
    int id = r->topology.nodes[0].id, refused = emb_memory_near(model->weights.block, model->weights.block_size, id);
    if (refused) {
        note(model, id, refused);
    }
    r->models[0] = *model;
    for (int k = 1; k < r->topology.count; k++) {
        r->models[k] = *model;
        r->models[k].weights = (struct emb_weights){0};
        rc = copy_near(&r->models[k], model, &r->topology, k, error);
        if (rc != EMBELLAMA_OK) {
            emb_replicas_deinit(r);
            return rc;
        }
    }
    return EMBELLAMA_OK;
}

void emb_replicas_deinit(struct emb_replicas *r)
{
    for (int k = 1; r->models && k < r->topology.count; k++) {
        emb_weights_free(&r->models[k].weights);
    }
    emb_free(r->models);
    emb_topology_deinit(&r->topology);
    *r = (struct emb_replicas){0};
}
