/* Origins are compared whole and in lower case, as browsers send them. Credentials in the browser's sense (cookies) are
 * never allowed: keys come in headers that pages set themselves. */
#include "server/access/cors.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "server/http/exchange.h"

enum { REQUESTED_HEADERS_MAX = 1024 };

static const char max_age[] = "7200"; /* seconds; browsers take no more */

struct emb_cors {
    bool any;
    char *origins; /* each ended by a zero, an empty one behind the last */
};

/* ---- The list ---- */

/* "scheme://host" or "scheme://host:port" in lower case, as a browser writes it. */
static bool is_origin(const char *text)
{
    size_t scheme = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
    if (scheme == 0 || strncmp(text + scheme, "://", 3) != 0) {
        return false;
    }
    const char *host = text + scheme + 3;
    size_t size = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-._:[]");
    return size > 0 && host[size] == '\0';
}

int emb_cors_new(struct emb_cors **out, const char *origins, embellama_error *error)
{
    *out = NULL;
    struct emb_cors *cors = emb_calloc(1, sizeof *cors);
    size_t size = strlen(origins);
    if (!cors || !(cors->origins = emb_calloc(size + 2, 1))) {
        emb_free(cors);
        return emb_fail_nomem(error);
    }
    cors->any = strcmp(origins, "*") == 0;
    char *to = cors->origins;
    const char *at = origins;
    int rc = EMBELLAMA_OK;
    do {
        size_t length = strcspn(at, ",");
        for (size_t i = 0; i < length; i++) {
            to[i] = (char)tolower((unsigned char)at[i]);
        }
        to[length] = '\0';
        if (!cors->any && !is_origin(to)) {
            rc = emb_fail(error, EMBELLAMA_E_INVALID,
                          "'%.100s' is not an origin such as https://example.org or http://localhost:3000, nor is the "
                          "whole list *",
                          to);
        }
        to += length + 1;
        at += length + (at[length] == ',');
    } while (rc == EMBELLAMA_OK && *at);
    if (rc != EMBELLAMA_OK) {
        emb_cors_free(cors);
        return rc;
    }
    *out = cors;
    return EMBELLAMA_OK;
}

void emb_cors_free(struct emb_cors *cors)
{
    if (cors) {
        emb_free(cors->origins);
        emb_free(cors);
    }
}

const char *emb_cors_allows(const struct emb_cors *cors, const char *origin)
{
    if (cors->any) {
        return "*";
    }
    for (const char *at = cors->origins; *at; at += strlen(at) + 1) {
        if (strcasecmp(at, origin) == 0) {
            return at;
        }
    }
    return NULL;
}

/* ---- Replies ---- */

void emb_cors_reply(const struct emb_cors *cors, struct emb_exchange *x)
{
    const char *origin = emb_exchange_header(x, "origin");
    const char *allowed = origin ? emb_cors_allows(cors, origin) : NULL;
    if (!cors->any) {
        emb_exchange_add_header(x, "vary", "origin");
    }
    if (allowed) {
        emb_exchange_add_header(x, "access-control-allow-origin", allowed);
        emb_exchange_add_header(x, "access-control-expose-headers", "*");
    }
}

static bool is_header_list(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size <= REQUESTED_HEADERS_MAX &&
           text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_, ")] == '\0';
}

bool emb_cors_preflight(const struct emb_cors *cors, struct emb_exchange *x, const char *methods)
{
    const char *origin = emb_exchange_header(x, "origin");
    if (strcmp(emb_exchange_method(x), "OPTIONS") != 0 || !origin ||
        !emb_exchange_header(x, "access-control-request-method") || methods[0] == '\0') {
        return false;
    }
    if (emb_cors_allows(cors, origin)) {
        const char *headers = emb_exchange_header(x, "access-control-request-headers");
        emb_exchange_add_header(x, "access-control-allow-methods", methods);
        /* "*" would not cover Authorization. */
        if (headers && is_header_list(headers)) {
            emb_exchange_add_header(x, "access-control-allow-headers", headers);
        }
        emb_exchange_add_header(x, "access-control-max-age", max_age);
    }
    emb_exchange_reply(x, 204, NULL, NULL);
    return true;
}
