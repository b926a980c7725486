/* A process's use of memory, time and descriptors. */
#include "base/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The number of KiB behind name, "Rss:", at a line's start. */
static bool read_field(const char *text, const char *name, uint64_t *bytes)
{
    const char *at = strstr(text, name);
    if (!at || (at != text && at[-1] != '\n')) {
        return false;
    }
    *bytes = strtoull(at + strlen(name), NULL, 10) * 1024;
    return true;
}

bool emb_process_memory(int pid, struct emb_process_memory *out)
{
    char path[64] = "/proc/self/smaps_rollup", text[4096];
    *out = (struct emb_process_memory){0};
    if (pid > 0) {
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    }
    FILE *f = fopen(path, "re");
    if (!f) {
        return false;
    }
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return read_field(text, "Rss:", &out->resident) && read_field(text, "Pss:", &out->proportional);
}

double emb_process_cpu_seconds(void)
{
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) != 0) {
        return 0;
    }
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

unsigned emb_process_open_files(void)
{
    unsigned n = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) {
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        n += entry->d_name[0] != '.';
    }
    closedir(folder);
    return n - 1; /* the folder's own */
}

uint64_t emb_process_file_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}
