/* How the build for tests goes wrong on purpose (pool/hook.h), as the environment says:
 *
 *     EMB_TEST_POISON="101 7592 102=segv"   a worker that meets an input of exactly these ids: segv, abort, exit, spin, stop
 *     EMB_TEST_LOADER=segv                  the loader: segv, stop, spin
 *
 * No process of the real command has any of this. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/hook.h"

enum { IDS_MAX = 64 };

static void go_wrong(const char *how)
{
    if (strcmp(how, "segv") == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would make an exit of it */
        raise(SIGSEGV);
    } else if (strcmp(how, "abort") == 0) {
        abort();
    } else if (strcmp(how, "exit") == 0) {
        _exit(7);
    } else if (strcmp(how, "stop") == 0) {
        raise(SIGSTOP);
    } else if (strcmp(how, "spin") == 0) {
        for (volatile int forever = 1; forever;) {
        }
    }
}

/* Ids of "101 7592 102=segv"; *how becomes what follows. */
static size_t parse(const char *text, int32_t ids[IDS_MAX], const char **how)
{
    size_t count = 0;
    char *end;
    while (count < IDS_MAX) {
        long id = strtol(text, &end, 10);
        if (end == text) {
            break;
        }
        ids[count++] = (int32_t)id;
        text = end;
    }
    *how = *text == '=' ? text + 1 : "";
    return count;
}

void emb_hook_batch(const struct emb_pool_batch *batch)
{
    const char *text = getenv("EMB_TEST_POISON"), *how;
    int32_t poison[IDS_MAX];
    const int32_t *ids = batch->ids;
    if (!text) {
        return;
    }
    size_t count = parse(text, poison, &how);
    for (size_t i = 0; i < batch->inputs; i++) {
        if (batch->counts[i] == count && memcmp(ids, poison, count * sizeof *ids) == 0) {
            go_wrong(how);
        }
        ids += batch->counts[i];
    }
}

void emb_hook_load(void)
{
    const char *how = getenv("EMB_TEST_LOADER");
    if (how) {
        go_wrong(how);
    }
}
