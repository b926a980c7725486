/* Why a process ended, and how soon another takes its place. */
#ifndef EMB_VERDICT_H
#define EMB_VERDICT_H

#include <signal.h>

#include "embellama/embellama.h"

/* How the supervisor had a hand in it. */
enum emb_ended {
    EMB_ENDED_ALONE,   /* not at all */
    EMB_ENDED_STUCK,   /* killed: busy without progress */
    EMB_ENDED_STOPPED, /* killed: somebody had stopped it */
    EMB_ENDED_ASKED,   /* told to stop */
};

struct emb_verdict {
    bool blamed; /* what it worked on may be the reason */
    char reason[128];
};

/* info is of waitid, of a process that ended; out_of_memory: the kernel killed for memory in its group meanwhile. SIGKILL comes from
 * outside and blames nobody, unless it was for memory; everything else that ends a process alone does. */
struct emb_verdict emb_verdict_of(const siginfo_t *info, enum emb_ended ended, bool out_of_memory);

/* Processes killed for memory so far in the control group of the file proc_cgroup ("/proc/self/cgroup"), of a tree mounted at root
 * ("/sys/fs/cgroup"), version 2 or 1; 0 where that is not told. */
uint64_t emb_memory_kills(const char *root, const char *proc_cgroup);

/* The latest ends of one process. */
struct emb_backoff {
    uint64_t ends[5]; /* newest first; 0: none */
    unsigned early;   /* in a row before they had done anything */
};

/* Milliseconds from an end at now_ns until the next start. useful: it had answered a batch. Nothing for one that was useful, unless
 * five ended within ten seconds; else 250, twice that, and so on up to 8,000. */
unsigned emb_backoff_delay(struct emb_backoff *backoff, uint64_t now_ns, bool useful);

#endif
