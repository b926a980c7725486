/* Reads /proc/cpuinfo up to the end of the first processor. */
#include "base/cpu_name.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The value of a line "key : value" in place, without its end of line; NULL where it is another key's. */
static const char *value_of(char *line, const char *key)
{
    size_t size = strlen(key);
    if (strncmp(line, key, size) != 0) {
        return NULL;
    }
    const char *colon = line + size + strspn(line + size, " \t");
    if (*colon != ':') {
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    return colon + 1 + strspn(colon + 1, " \t");
}

const char *emb_cpu_name_from(const char *path, char *out, size_t size)
{
    char line[512], implementer[32] = "", part[32] = "";
    const char *value;
    snprintf(out, size, "unknown");
    FILE *f = fopen(path, "re");
    if (!f) {
        return out;
    }
    bool found = false;
    while (!found && fgets(line, sizeof line, f) && line[0] != '\n') {
        if ((value = value_of(line, "model name")) != NULL && *value) {
            snprintf(out, size, "%s", value);
            found = true;
        } else if ((value = value_of(line, "CPU implementer")) != NULL) {
            snprintf(implementer, sizeof implementer, "%.31s", value);
        } else if ((value = value_of(line, "CPU part")) != NULL) {
            snprintf(part, sizeof part, "%.31s", value);
        }
    }
    fclose(f);
    if (!found && implementer[0] && part[0]) {
        snprintf(out, size, "implementer %s part %s", implementer, part);
    }
    return out;
}

const char *emb_cpu_name(char *out, size_t size)
{
    return emb_cpu_name_from("/proc/cpuinfo", out, size);
}
