/* Affinity mask, and what the cgroup allows. See cgroups(7) and the kernel's cgroup-v2 document (cpu.max: "$MAX $PERIOD",
 * memory.max). */
#include "base/cpu.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "embellama/embellama.h"

/* Reads up to two numbers of a one-line file; "max" counts as none. Returns how many were read. */
static int read_numbers(const char *path, double out[2])
{
    FILE *f = fopen(path, "re");
    char line[128] = "";
    int n = 0;
    if (!f) {
        return 0;
    }
    if (fgets(line, sizeof line, f)) {
        char *at = line;
        while (n < 2) {
            char *end;
            double value = strtod(at, &end);
            if (end == at) {
                break;
            }
            out[n++] = value;
            at = end;
        }
    }
    fclose(f);
    return n;
}

static double smaller(double a, double b)
{
    return a <= 0 ? b : b <= 0 || a < b ? a : b;
}

/* Quota of one group's folder, by either version's files. */
static double group_quota(const char *folder)
{
    char path[PATH_MAX];
    double v2[2], quota[2], period[2];
    if (snprintf(path, sizeof path, "%s/cpu.max", folder) < (int)sizeof path && read_numbers(path, v2) == 2 &&
        v2[1] > 0) {
        return v2[0] / v2[1];
    }
    if (snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder) >= (int)sizeof path ||
        read_numbers(path, quota) < 1 || quota[0] <= 0) {
        return 0;
    }
    if (snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder) >= (int)sizeof path ||
        read_numbers(path, period) < 1 || period[0] <= 0) {
        return 0;
    }
    return quota[0] / period[0];
}

/* Bytes that one group's processes may have, by either version's files; version 1 writes a huge number for no limit. */
static double group_memory(const char *folder)
{
    static const char *const files[] = {"memory.max", "memory.limit_in_bytes"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        double bytes[2];
        if (snprintf(path, sizeof path, "%s/%s", folder, files[i]) < (int)sizeof path &&
            read_numbers(path, bytes) > 0) {
            return bytes[0] < 0x1p60 ? bytes[0] : 0;
        }
    }
    return 0;
}

/* What is read of a group, and the version 1 controllers whose folders have it. */
struct allowance {
    double (*of_group)(const char *folder);
    const char *names[2]; /* as in proc_cgroup, and as folders of root */
};

static const struct allowance cpu_allowance = {group_quota, {"cpu", "cpu,cpuacct"}};
static const struct allowance memory_allowance = {group_memory, {"memory", NULL}};

/* The smallest of the group root/controller/group and all its parents. */
static double branch_least(const struct allowance *a, const char *root, const char *controller, const char *group)
{
    char folder[PATH_MAX];
    const char *slash_or_none = controller[0] ? "/" : "";
    int base = snprintf(folder, sizeof folder, "%s%s%s", root, slash_or_none, controller);
    int length = snprintf(folder, sizeof folder, "%s%s%s%s", root, slash_or_none, controller, group);
    if (base < 0 || length < 0 || length >= (int)sizeof folder) {
        return 0;
    }
    double least = 0;
    for (;;) {
        least = smaller(least, a->of_group(folder));
        char *slash = strrchr(folder, '/');
        if (!slash || slash - folder < base) {
            break;
        }
        *slash = '\0';
    }
    return smaller(least, a->of_group(folder));
}

static bool named(const struct allowance *a, const char *controllers)
{
    return strcmp(controllers, a->names[0]) == 0 || (a->names[1] && strcmp(controllers, a->names[1]) == 0);
}

static double least_allowed(const struct allowance *a, const char *root, const char *proc_cgroup)
{
    FILE *f = fopen(proc_cgroup, "re");
    char line[PATH_MAX + 64];
    double least = 0;
    if (!f) {
        return 0;
    }
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) {
            continue;
        }
        *group++ = '\0';
        controllers++;
        if (*controllers == '\0') {
            least = smaller(least, branch_least(a, root, "", group));
        } else if (named(a, controllers)) {
            for (int i = 0; i < 2 && a->names[i]; i++) {
                least = smaller(least, branch_least(a, root, a->names[i], group));
            }
        }
    }
    fclose(f);
    return least;
}

double emb_cpu_quota(const char *root, const char *proc_cgroup)
{
    return least_allowed(&cpu_allowance, root, proc_cgroup);
}

double emb_memory_quota(const char *root, const char *proc_cgroup)
{
    return least_allowed(&memory_allowance, root, proc_cgroup);
}

size_t emb_memory_size(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    double machine = pages > 0 && page > 0 ? (double)pages * (double)page : 0;
    double least = smaller(machine, emb_memory_quota("/sys/fs/cgroup", "/proc/self/cgroup"));
    return least < (double)(SIZE_MAX / 2) ? (size_t)least : SIZE_MAX / 2;
}

int emb_cpu_count(void)
{
    cpu_set_t set;
    int n = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        n = CPU_COUNT(&set);
    } else {
        long online = sysconf(_SC_NPROCESSORS_ONLN); /* more processors than a cpu_set_t holds */
        n = online > 0 && online < INT_MAX ? (int)online : 1;
    }
    double quota = emb_cpu_quota("/sys/fs/cgroup", "/proc/self/cgroup");
    if (quota > 0 && ceil(quota) < n) {
        n = (int)ceil(quota);
    }
    return n > 0 ? n : 1;
}

int embellama_cpu_count(void)
{
    return emb_cpu_count();
}
