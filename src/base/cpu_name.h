/* What the CPU calls itself. */
#ifndef EMB_CPU_NAME_H
#define EMB_CPU_NAME_H

#include <stddef.h>

/* Writes the first processor's model to out[0..size), zero-ended: "AMD EPYC 9654 96-Core Processor", or on ARM its implementer
 * and part numbers; "unknown" where the system tells neither. Returns out. */
const char *emb_cpu_name(char *out, size_t size);

/* The same from a file that is laid out as /proc/cpuinfo. */
const char *emb_cpu_name_from(const char *path, char *out, size_t size);

#endif
