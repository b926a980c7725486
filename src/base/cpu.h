/* How much of the machine this process may use. */
#ifndef EMB_CPU_H
#define EMB_CPU_H

#include <stddef.h>

/* Threads worth running: processors of the affinity mask, no more than the cgroup's CPU quota (rounded up), at least 1. */
int emb_cpu_count(void);

/* The quota alone, of a cgroup v2 or v1 tree mounted at root ("/sys/fs/cgroup"), for the process whose /proc/self/cgroup is
 * the file proc_cgroup: in CPUs, or 0 where none is set. Apart so that a test can lay out such a tree. */
double emb_cpu_quota(const char *root, const char *proc_cgroup);

/* The memory limit alone, likewise: in bytes, or 0. */
double emb_memory_quota(const char *root, const char *proc_cgroup);

/* Bytes of memory that this process and its group may have: the machine's, or the limit; 0 where neither is known. */
size_t emb_memory_size(void);

#endif
