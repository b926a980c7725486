/* Nodes from sysfs (Documentation/ABI/stable/sysfs-devices-node), placement by sched_setaffinity, set_mempolicy and mbind. */
#include "base/numa.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"

enum {
    NODE_NUMBERS = 1024, /* of the kernel's largest configuration */
    LIST_BYTES = 16384,
};

/* ---- Lists of numbers ---- */

/* Adds the numbers of "0-3,8" below CPU_SETSIZE to *set; those beyond are ignored. False when it is no such list. */
static bool parse_list(const char *text, cpu_set_t *set)
{
    const char *at = text;
    while (*at && *at != '\n') {
        char *end;
        if (*at < '0' || *at > '9') {
            return false;
        }
        unsigned long first = strtoul(at, &end, 10), last = first;
        if (*end == '-') {
            at = end + 1;
            if (*at < '0' || *at > '9') {
                return false;
            }
            last = strtoul(at, &end, 10);
        }
        if (last < first || (*end != ',' && *end != '\n' && *end != '\0')) {
            return false;
        }
        for (unsigned long i = first; i <= last && i < CPU_SETSIZE; i++) {
            CPU_SET(i, set);
        }
        at = *end == ',' ? end + 1 : end;
    }
    return true;
}

/* The list in a one-line file; false where there is none. An empty line is an empty list. */
static bool read_list(const char *path, cpu_set_t *set)
{
    char *line = emb_alloc(LIST_BYTES, 1);
    FILE *f = line ? fopen(path, "re") : NULL;
    CPU_ZERO(set);
    bool good = f && fgets(line, LIST_BYTES, f) && strlen(line) < LIST_BYTES - 1 && parse_list(line, set);
    if (f) {
        fclose(f);
    }
    emb_free(line);
    return good;
}

/* ---- Reading nodes ---- */

static int by_rank(const void *a, const void *b)
{
    const struct emb_processor *x = a, *y = b;
    return x->rank != y->rank ? x->rank - y->rank : x->core - y->core;
}

/* The processors that share a core with cpu, as far as they are in all: cpu alone where sysfs does not tell. */
static cpu_set_t siblings(const char *node_folder, size_t cpu, const cpu_set_t *all)
{
    char path[PATH_MAX];
    cpu_set_t set;
    if (!node_folder ||
        snprintf(path, sizeof path, "%s/cpu%zu/topology/thread_siblings_list", node_folder, cpu) >= (int)sizeof path ||
        !read_list(path, &set)) {
        CPU_ZERO(&set);
    }
    CPU_AND(&set, &set, all);
    CPU_SET(cpu, &set);
    return set;
}

/* Makes a node of the processors in set, which is not empty. */
static bool fill_node(struct emb_node *node, int id, const char *folder, const cpu_set_t *set)
{
    cpu_set_t left = *set;
    *node = (struct emb_node){.id = id, .processors = emb_calloc((size_t)CPU_COUNT(set), sizeof *node->processors)};
    if (!node->processors) {
        return false;
    }
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &left)) {
            continue;
        }
        cpu_set_t core = siblings(folder, cpu, &left);
        int rank = 0;
        for (size_t i = cpu; i < CPU_SETSIZE; i++) {
            if (CPU_ISSET(i, &core)) {
                node->processors[node->count++] = (struct emb_processor){i, node->cores, rank++};
                CPU_CLR(i, &left);
            }
        }
        node->cores++;
    }
    qsort(node->processors, (size_t)node->count, sizeof *node->processors, by_rank);
    return true;
}

/* Takes the processors of the folder's nodes out of *left, a node at a time. False when the folder cannot be used. */
static bool read_nodes(struct emb_topology *t, const char *root, cpu_set_t *left, bool *nomem)
{
    char path[PATH_MAX];
    cpu_set_t online, cpus;
    if (snprintf(path, sizeof path, "%s/online", root) >= (int)sizeof path || !read_list(path, &online)) {
        return false;
    }
    for (int id = 0; id < NODE_NUMBERS; id++) {
        if (!CPU_ISSET((size_t)id, &online)) {
            continue;
        }
        if (snprintf(path, sizeof path, "%s/node%d/cpulist", root, id) >= (int)sizeof path || !read_list(path, &cpus)) {
            return false;
        }
        CPU_AND(&cpus, &cpus, left);
        if (CPU_COUNT(&cpus) == 0) {
            continue;
        }
        if (t->count == EMB_NODES_MAX) {
            return false;
        }
        path[strlen(path) - strlen("/cpulist")] = '\0';
        if (!fill_node(&t->nodes[t->count], id, path, &cpus)) {
            *nomem = true;
            return false;
        }
        t->count++;
        CPU_XOR(left, left, &cpus);
    }
    return CPU_COUNT(left) == 0; /* else it leaves out processors that we run on */
}

int emb_topology_read(struct emb_topology *t, const char *root, embellama_error *error)
{
    cpu_set_t all, left;
    bool nomem = false;
    *t = (struct emb_topology){0};
    if (sched_getaffinity(0, sizeof all, &all) != 0) { /* more processors than a cpu_set_t holds */
        return EMBELLAMA_OK;
    }
    if (!root) {
        const char *named = getenv("EMBELLAMA_SYSFS_NODES");
        root = named && *named ? named : "/sys/devices/system/node";
    }
    left = all;
    if (!read_nodes(t, root, &left, &nomem)) {
        emb_topology_deinit(t);
        nomem = nomem || !fill_node(&t->nodes[0], EMB_NODE_UNKNOWN, NULL, &all);
        t->count = nomem ? 0 : 1;
    }
    return nomem ? emb_fail_nomem(error) : EMBELLAMA_OK;
}

void emb_topology_deinit(struct emb_topology *t)
{
    for (int i = 0; i < t->count; i++) {
        emb_free(t->nodes[i].processors);
    }
    *t = (struct emb_topology){0};
}

/* ---- Placing ---- */

static void add_processors(const struct emb_node *node, int first_core, int last_core, cpu_set_t *set)
{
    for (int i = 0; i < node->count; i++) {
        if (node->processors[i].core >= first_core && node->processors[i].core < last_core) {
            CPU_SET(node->processors[i].cpu, set);
        }
    }
}

/* How many of the first count processors, in the order of emb_topology_seat, each node has. */
static void share_seats(const struct emb_topology *t, int count, int *seats)
{
    memset(seats, 0, EMB_NODES_MAX * sizeof *seats);
    for (int rank = 0; count > 0; rank++) {
        bool any = false;
        for (int k = 0; k < t->count && count > 0; k++) {
            int here = 0;
            for (int i = 0; i < t->nodes[k].count; i++) {
                here += t->nodes[k].processors[i].rank == rank;
            }
            any = any || here > 0;
            here = here < count ? here : count;
            seats[k] += here;
            count -= here;
        }
        if (!any) {
            return;
        }
    }
}

void emb_topology_seat(const struct emb_topology *t, bool pin, int count, struct emb_place *places)
{
    int seats[EMB_NODES_MAX], total = 0;
    for (int k = 0; k < t->count; k++) {
        total += t->nodes[k].count;
    }
    /* Whole rounds of all processors first, so that places come by node whatever the count. */
    int rounds = total > 0 ? count / total : 0, at = 0;
    share_seats(t, total > 0 ? count % total : 0, seats);
    for (int k = 0; k < t->count; k++) {
        const struct emb_node *node = &t->nodes[k];
        int here = seats[k] + rounds * node->count, next = 0;
        for (int i = 0; i < here; i++) {
            struct emb_place *place = &places[at++];
            place->node = k;
            CPU_ZERO(&place->cpus);
            if (pin) {
                CPU_SET(node->processors[next].cpu, &place->cpus);
                next = next + 1 < node->count ? next + 1 : 0;
            } else {
                add_processors(node, 0, node->cores, &place->cpus);
            }
        }
    }
}

/* The node of the worker-th worker, which of that node's it is, and of how many. Each goes to the node with the most processors left
 * a worker (d'Hondt's rule). */
static int choose_node(const struct emb_topology *t, int worker, int workers, int *index, int *of)
{
    int taken[EMB_NODES_MAX] = {0}, mine = 0;
    for (int w = 0; w < workers; w++) {
        int best = 0;
        for (int k = 1; k < t->count; k++) {
            if ((int64_t)t->nodes[k].count * (taken[best] + 1) > (int64_t)t->nodes[best].count * (taken[k] + 1)) {
                best = k;
            }
        }
        if (w == worker) {
            mine = best;
            *index = taken[best];
        }
        taken[best]++;
    }
    *of = taken[mine];
    return mine;
}

struct emb_place emb_topology_place(const struct emb_topology *t, int worker, int workers)
{
    struct emb_place place = {.node = EMB_NODE_UNKNOWN};
    CPU_ZERO(&place.cpus);
    if (workers < t->count) {
        int first = worker * t->count / workers, last = (worker + 1) * t->count / workers;
        place.node = last - first == 1 ? first : EMB_NODE_UNKNOWN;
        for (int k = first; k < last; k++) {
            add_processors(&t->nodes[k], 0, t->nodes[k].cores, &place.cpus);
        }
    } else if (t->count > 0) {
        int index = 0, of;
        place.node = choose_node(t, worker, workers, &index, &of);
        const struct emb_node *node = &t->nodes[place.node];
        const int cores = node->cores;
        assert(cores > 0 && of > 0);
        int first = of <= cores ? index * cores / of : index % cores;
        int last = of <= cores ? (index + 1) * cores / of : first + 1;
        add_processors(node, first, last, &place.cpus);
    }
    return place;
}

/* ---- Moving ---- */

/* Nodes as the kernel takes them: a bit each. The number of bits it is told is one more than it reads. */
struct node_mask {
    unsigned long bits[NODE_NUMBERS / (8 * sizeof(unsigned long))];
};

static struct node_mask mask_of(int id)
{
    const unsigned width = 8 * sizeof(unsigned long);
    struct node_mask mask = {{0}};
    mask.bits[(unsigned)id / width] = 1UL << ((unsigned)id % width);
    return mask;
}

int emb_place_enter(const struct emb_place *place, const struct emb_topology *t, embellama_error *error)
{
    int rc = EMBELLAMA_OK;
    int id = place->node >= 0 && place->node < t->count ? t->nodes[place->node].id : EMB_NODE_UNKNOWN;
    if (CPU_COUNT(&place->cpus) > 0 && sched_setaffinity(0, sizeof place->cpus, &place->cpus) != 0) {
        rc = emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "cannot stay on the chosen processors: %s", strerror(errno));
    }
    if (id >= 0) {
        struct node_mask mask = mask_of(id);
        if (syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask.bits, NODE_NUMBERS + 1) != 0) {
            rc = emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "cannot prefer the memory of NUMA node %d: %s", id,
                          strerror(errno));
        }
    }
    return rc;
}

int emb_memory_near(void *start, size_t size, int node_id)
{
    if (node_id < 0 || node_id >= NODE_NUMBERS) {
        return EINVAL;
    }
    struct node_mask mask = mask_of(node_id);
    return syscall(SYS_mbind, start, size, MPOL_PREFERRED, mask.bits, NODE_NUMBERS + 1, MPOL_MF_MOVE) == 0 ? 0 : errno;
}
