/* A walk over the table: there are few routes. */
#include "server/http/router.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The decoded character at *s, which moves past it; -1 where the encoding is broken or means a zero. */
static int decode(const char **s)
{
    const char *at = *s;
    if (*at != '%') {
        (*s)++;
        return (unsigned char)*at;
    }
    int high = hex(at[1]);
    int low = high < 0 ? -1 : hex(at[2]);
    *s += 3;
    return low < 0 || high * 16 + low == 0 ? -1 : high * 16 + low;
}

static bool well_formed(const char *path)
{
    while (*path) {
        if (decode(&path) < 0) {
            return false;
        }
    }
    return true;
}

static const char *segment_end(const char *s)
{
    return s + strcspn(s, "/");
}

static bool segment_equals(const char *encoded, const char *end, const char *literal, const char *literal_end)
{
    while (encoded < end && literal < literal_end) {
        if (decode(&encoded) != (unsigned char)*literal++) {
            return false;
        }
    }
    return encoded == end && literal == literal_end;
}

/* On a match of a pattern with a "{name}", *name and *name_end are its encoded value. */
static bool matches(const char *pattern, const char *path, const char **name, const char **name_end)
{
    *name = NULL;
    while (*pattern == '/' && *path == '/') {
        const char *pattern_end = segment_end(++pattern);
        const char *path_end = segment_end(++path);
        if (*pattern == '{') {
            if (path == path_end) {
                return false;
            }
            *name = path;
            *name_end = path_end;
        } else if (!segment_equals(path, path_end, pattern, pattern_end)) {
            return false;
        }
        pattern = pattern_end;
        path = path_end;
    }
    return *pattern == '\0' && *path == '\0';
}

static char *decode_segment(const char *s, const char *end)
{
    char *out = emb_alloc((size_t)(end - s) + 1, 1);
    size_t n = 0;
    if (out) {
        while (s < end) {
            out[n++] = (char)decode(&s);
        }
        out[n] = '\0';
    }
    return out;
}

static void allow(struct emb_route_match *match, const char *method)
{
    size_t used = strlen(match->allow);
    if (!strstr(match->allow, method)) {
        snprintf(match->allow + used, sizeof match->allow - used, "%s%s", used ? ", " : "", method);
    }
    if (strcmp(method, "GET") == 0) {
        allow(match, "HEAD");
    }
}

enum emb_route_result emb_route_find(struct emb_route_match *match, const struct emb_route *routes, const char *method,
                                     const char *path)
{
    bool head = strcmp(method, "HEAD") == 0;
    *match = (struct emb_route_match){0};
    if (!well_formed(path)) {
        return EMB_ROUTE_MALFORMED;
    }
    for (const struct emb_route *route = routes; route->method; route++) {
        const char *name, *name_end = NULL;
        if (!matches(route->path, path, &name, &name_end)) {
            continue;
        }
        if (strcmp(route->method, method) != 0 && !(head && strcmp(route->method, "GET") == 0)) {
            allow(match, route->method);
            match->style = route->style;
            continue;
        }
        match->route = route;
        match->style = route->style;
        match->segment = name ? decode_segment(name, name_end) : NULL;
        return name && !match->segment ? EMB_ROUTE_NOMEM : EMB_ROUTE_OK;
    }
    if (match->allow[0] == '\0') {
        return EMB_ROUTE_UNKNOWN;
    }
    allow(match, "OPTIONS");
    return strcmp(method, "OPTIONS") == 0 ? EMB_ROUTE_OPTIONS : EMB_ROUTE_WRONG_METHOD;
}
