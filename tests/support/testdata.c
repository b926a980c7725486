/* Paths of test data. */
#include "testdata.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *next_buffer(void)
{
    static char buffers[4][PATH_MAX];
    static unsigned next;
    return buffers[next++ % 4];
}

static const char *existing(char *path, int length)
{
    return length > 0 && length < PATH_MAX && access(path, R_OK) == 0 ? path : NULL;
}

const char *emb_test_model(void)
{
    static char path[PATH_MAX];
    const char *given = getenv("EMBELLAMA_TEST_MODEL"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (given && *given) {
        return existing(path, snprintf(path, sizeof path, "%s", given));
    }
    if (cache && *cache) {
        return existing(path, snprintf(path, sizeof path, "%s/embellama/models/all-MiniLM-L6-v2", cache));
    }
    return existing(path, snprintf(path, sizeof path, "%s/.cache/embellama/models/all-MiniLM-L6-v2", home ? home : ""));
}

const char *emb_test_shared(const char *relative)
{
    const char *given = getenv("EMBELLAMA_SHARED");
    char *path = next_buffer();
    return given && *given ? existing(path, snprintf(path, PATH_MAX, "%s/%s", given, relative))
                           : existing(path, snprintf(path, PATH_MAX, "%s/../shared/%s", EMB_SOURCE_DIR, relative));
}

const char *emb_test_source(const char *relative)
{
    char *path = next_buffer();
    snprintf(path, PATH_MAX, "%s/%s", EMB_SOURCE_DIR, relative);
    return path;
}
