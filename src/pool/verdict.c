/* Verdicts, the kernel's count of kills for memory, and the waiting before a restart. */
#include "pool/verdict.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define BURST_NS 10000000000u

enum { FIRST_DELAY_MS = 250, LAST_DELAY_MS = 8000, BURST = 5 };

struct emb_verdict emb_verdict_of(const siginfo_t *info, enum emb_ended ended, bool out_of_memory)
{
    struct emb_verdict v = {.blamed = true};
    bool by_signal = info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED;
    if (ended == EMB_ENDED_STUCK) {
        snprintf(v.reason, sizeof v.reason, "made no progress and was killed");
    } else if (ended == EMB_ENDED_STOPPED) {
        v.blamed = false;
        snprintf(v.reason, sizeof v.reason, "was stopped from outside and killed");
    } else if (by_signal && info->si_status == SIGKILL) {
        v.blamed = out_of_memory;
        snprintf(v.reason, sizeof v.reason,
                 out_of_memory ? "was killed by the kernel for memory" : "was killed by SIGKILL");
    } else if (by_signal) {
        const char *name = sigabbrev_np(info->si_status);
        snprintf(v.reason, sizeof v.reason, "died of SIG%s", name ? name : "?");
    } else {
        snprintf(v.reason, sizeof v.reason, "exited with %d", info->si_status);
    }
    if (ended == EMB_ENDED_ASKED) {
        v.blamed = false;
    }
    return v;
}

/* ---- Memory ---- */

/* The number behind key in a file of "key number" lines; false where there is none. */
static bool read_counter(const char *path, const char *key, uint64_t *out)
{
    FILE *f = fopen(path, "re");
    char line[128];
    size_t length = strlen(key);
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            *out = strtoull(line + length, NULL, 10);
            found = true;
        }
    }
    if (f) {
        fclose(f);
    }
    return found;
}

/* Whether comma-separated controllers has memory in it. */
static bool has_memory(const char *controllers)
{
    for (const char *at = controllers; *at;) {
        size_t length = strcspn(at, ",");
        if (length == 6 && memcmp(at, "memory", 6) == 0) {
            return true;
        }
        at += length + (at[length] == ',');
    }
    return false;
}

uint64_t emb_memory_kills(const char *root, const char *proc_cgroup)
{
    FILE *f = fopen(proc_cgroup, "re");
    char line[PATH_MAX + 64], path[2 * PATH_MAX];
    uint64_t kills = 0;
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) {
            continue;
        }
        *group++ = '\0';
        controllers++;
        /* In a container the group named may lie above what is mounted: root itself is then the group. */
        for (int whole = 1; whole >= 0 && !found; whole--) {
            const char *below = whole ? group : "";
            if (*controllers == '\0') {
                snprintf(path, sizeof path, "%s%s/memory.events", root, below);
            } else if (has_memory(controllers)) {
                snprintf(path, sizeof path, "%s/memory%s/memory.oom_control", root, below);
            } else {
                break;
            }
            found = read_counter(path, "oom_kill", &kills);
        }
    }
    if (f) {
        fclose(f);
    }
    return kills;
}

/* ---- Waiting ---- */

unsigned emb_backoff_delay(struct emb_backoff *b, uint64_t now_ns, bool useful)
{
    memmove(b->ends + 1, b->ends, (BURST - 1) * sizeof *b->ends);
    b->ends[0] = now_ns;
    bool burst = b->ends[BURST - 1] != 0 && now_ns - b->ends[BURST - 1] < BURST_NS;
    if (useful && !burst) {
        b->early = 0;
        return 0;
    }
    unsigned delay = FIRST_DELAY_MS;
    for (unsigned i = 0; i < b->early && delay < LAST_DELAY_MS; i++) {
        delay *= 2;
    }
    b->early++;
    return delay < LAST_DELAY_MS ? delay : LAST_DELAY_MS;
}
