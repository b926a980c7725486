/* The command line's own memory, which is what /proc/PID/cmdline and so ps read, is overwritten. */
#include "pool/title.h"

#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"

extern char **environ;

/* Argument strings and, behind them without a gap, those of the environment. */
static struct {
    char *start;
    size_t arguments; /* bytes of the arguments alone */
    size_t size;
    char **environment; /* where environ was moved to; setenv may move it on */
} room;

/* Copies strings[0..count) into one block; pointers, where not NULL, gets count of them and a NULL. */
static bool copy_strings(char *const *strings, size_t count, char **pointers)
{
    size_t bytes = 1;
    for (size_t i = 0; i < count; i++) {
        bytes += strlen(strings[i]) + 1;
    }
    char *at = emb_alloc(1, bytes);
    if (!at) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(strings[i]) + 1;
        memcpy(at, strings[i], size);
        pointers[i] = at;
        at += size;
    }
    return true;
}

void emb_title_begin(int argc, char **argv)
{
    size_t count = 0;
    if (argc < 1) {
        return;
    }
    while (environ && environ[count]) {
        count++;
    }
    char *start = argv[0], *end = start;
    for (int i = 0; i < argc && argv[i] == end; i++) {
        end += strlen(end) + 1;
    }
    size_t arguments = (size_t)(end - start);
    for (size_t i = 0; i < count && environ[i] == end; i++) {
        end += strlen(end) + 1;
    }
    char **moved = emb_calloc(count + 1, sizeof *moved);
    if (!moved || !copy_strings(environ, count, moved) || !copy_strings(argv, (size_t)argc, argv)) {
        return;
    }
    environ = room.environment = moved;
    room.start = start;
    room.arguments = arguments;
    room.size = (size_t)(end - start);
}

void emb_title_set(const char *title)
{
    prctl(PR_SET_NAME, "embellama");
    size_t length = strlen(title);
    if (room.size == 0) {
        return;
    }
    length = length < room.size ? length : room.size - 1;
    /* The kernel shows the whole of a command line whose place ends with a zero; otherwise all up to the first zero, also in the
     * environment's place. */
    memset(room.start, '\0', room.arguments);
    memcpy(room.start, title, length);
    room.start[length] = '\0';
}
