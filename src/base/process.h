/* What a process uses, from /proc. */
#ifndef EMB_PROCESS_H
#define EMB_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct emb_process_memory {
    uint64_t resident;     /* bytes of its memory that are there */
    uint64_t proportional; /* the same, shared pages divided among those that have them */
};

/* Of the process pid, 0 for this one, which may take milliseconds for large ones. False, and zeros, where it cannot be
 * read. */
bool emb_process_memory(int pid, struct emb_process_memory *out);

/* Of this process. */
double emb_process_cpu_seconds(void);
unsigned emb_process_open_files(void);
uint64_t emb_process_file_limit(void);

#endif
