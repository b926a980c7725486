#include "tempdir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[512];
static char path[1024];

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    _exit(1);
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(name);
}

static void remove_all(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *tempdir(void)
{
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/embellama-test-XXXXXX", base && *base ? base : P_tmpdir);
        if (!mkdtemp(folder)) {
            die(folder);
        }
        atexit(remove_all);
    }
    return folder;
}

const char *tempdir_path(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", tempdir(), name);
    return path;
}

const char *tempdir_write(const char *name, const void *data, size_t size)
{
    tempdir_path(name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            die(path);
        }
        *slash = '/';
    }
    unlink(path); /* some file systems write a file out at once when it is cut to nothing and filled again */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) {
        die(path);
    }
    return path;
}

void tempdir_remove(const char *name)
{
    if (unlink(tempdir_path(name)) != 0 && errno != ENOENT) {
        die(path);
    }
}
