/* Affinity mask and cgroup quota. See cgroups(7) and the kernel's cgroup-v2 document (cpu.max: "$MAX $PERIOD"). */
#include "base/cpu.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
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

/* The smallest quota of the group root/controller/group and all its parents. */
static double branch_quota(const char *root, const char *controller, const char *group)
{
    char folder[PATH_MAX];
    int base = snprintf(folder, sizeof folder, "%s%s", root, controller);
    int length = snprintf(folder, sizeof folder, "%s%s%s", root, controller, group);
    if (base < 0 || length < 0 || length >= (int)sizeof folder) {
        return 0;
    }
    double least = 0;
    for (;;) {
        least = smaller(least, group_quota(folder));
        char *slash = strrchr(folder, '/');
        if (!slash || slash - folder < base) {
            break;
        }
        *slash = '\0';
    }
    return smaller(least, group_quota(folder));
}

double emb_cpu_quota(const char *root, const char *proc_cgroup)
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
            least = smaller(least, branch_quota(root, "", group));
        } else if (strcmp(controllers, "cpu") == 0 || strcmp(controllers, "cpu,cpuacct") == 0) {
            least = smaller(least, branch_quota(root, "/cpu", group));
            least = smaller(least, branch_quota(root, "/cpu,cpuacct", group));
        }
    }
    fclose(f);
    return least;
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
