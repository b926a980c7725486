/* NUMA: which processors of this process are near which memory, and putting threads and memory there.
 *
 * Only Linux's sysfs and system calls; nothing of what is computed. */
#ifndef EMB_NUMA_H
#define EMB_NUMA_H

#include <sched.h>

#include "embellama/embellama.h"

enum { EMB_NODES_MAX = 64, EMB_NODE_UNKNOWN = -1 };

struct emb_processor {
    size_t cpu; /* the system's number */
    int core;   /* counted in its node, from 0 */
    int rank;   /* among the processors of its core that this process may use: 0 for the first, then hyper-threads */
};

/* A node with processors of its own. */
struct emb_node {
    int id;                           /* the system's number, or EMB_NODE_UNKNOWN */
    struct emb_processor *processors; /* [count] by rank, then core */
    int count, cores;
};

struct emb_topology {
    struct emb_node nodes[EMB_NODES_MAX];
    int count; /* of nodes, at least 1; 0: nothing is known, and nothing can be placed */
};

/* The nodes as the folder root describes them, like /sys/devices/system/node, as far as the calling thread's affinity mask allows:
 * nodes that are offline, have only memory, or none of our processors are left out. NULL is that folder, or the one that the
 * environment variable EMBELLAMA_SYSFS_NODES names, which is for tests. Where the folder cannot be understood, or has more nodes than
 * EMB_NODES_MAX, all processors are one node of unknown number. Errors: E_NOMEM. */
int emb_topology_read(struct emb_topology *topology, const char *root, embellama_error *error);
void emb_topology_deinit(struct emb_topology *topology); /* a zeroed one is allowed */

/* Where a part of the work belongs: node is an index into the topology's, or EMB_NODE_UNKNOWN where it spans several. */
struct emb_place {
    int node;
    cpu_set_t cpus;
};

/* Places for count threads that work together: on the first processor of each core, node after node, so that few threads stay on few
 * nodes; then on the cores' second ones, and so on; then all over again. places[0..count) come by node. pin: each has one processor;
 * else all of its node's. Needs a topology that knows something. */
void emb_topology_seat(const struct emb_topology *topology, bool pin, int count, struct emb_place *places);

/* The place of the worker-th of workers processes: nodes get workers in proportion to their processors; those of one node share its
 * cores, each having its own as long as there are enough. With fewer workers than nodes, a worker has several whole ones. */
struct emb_place emb_topology_place(const struct emb_topology *topology, int worker, int workers);

/* Moves the calling thread, and what it starts later, to the place: its processors, and its new memory near them where it is one
 * node. Errors: E_UNSUPPORTED when the system refused either; the other is done all the same. */
int emb_place_enter(const struct emb_place *place, const struct emb_topology *topology, embellama_error *error);

/* Asks that the pages of size bytes from start, which begins one, be on the node of that number, or elsewhere once that is full; those
 * that are there already and only this process uses are moved. Returns 0, or the errno with which the system refused. */
int emb_memory_near(void *start, size_t size, int node_id);

#endif
