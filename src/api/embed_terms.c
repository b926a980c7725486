/* Terms of a request, from its headers. */
#include "api/embed_terms.h"

#include <string.h>
#include <strings.h>

static int read_priority(struct emb_embed_terms *terms, const struct emb_exchange *x, struct emb_refusal *refusal)
{
    static const char *const names[] = {
        [EMB_PRIORITY_HIGH] = "high", [EMB_PRIORITY_NORMAL] = "normal", [EMB_PRIORITY_LOW] = "low"};
    const char *value = emb_exchange_header(x, "x-priority");
    terms->priority = EMB_PRIORITY_NORMAL;
    if (!value) {
        return 0;
    }
    size_t p = 0, n = sizeof names / sizeof names[0];
    while (p < n && strcasecmp(value, names[p]) != 0) {
        p++;
    }
    if (p == n) {
        char excerpt[40];
        return emb_refuse_invalid(refusal, "x-priority", "x-priority must be high, normal or low, but it is '%s'.",
                                  emb_excerpt(value, strlen(value), excerpt, sizeof excerpt));
    }
    if ((emb_exchange_client(x)->priorities & 1u << p) == 0) {
        return emb_refuse(refusal, 403, "invalid_request_error", "x-priority", "priority_not_allowed",
                          "This key may not use x-priority: %s.", names[p]);
    }
    terms->priority = (enum emb_priority)p;
    return 0;
}

/* A whole number of milliseconds from 1 to a day. */
static int read_timeout(struct emb_embed_terms *terms, const struct emb_exchange *x, unsigned most,
                        struct emb_refusal *refusal)
{
    enum { DAY_MS = 86400000 };
    const char *value = emb_exchange_header(x, "x-request-timeout-ms");
    terms->timeout_ms = most;
    if (!value) {
        return 0;
    }
    unsigned ms = 0;
    size_t digits = strspn(value, "0123456789");
    for (size_t i = 0; i < digits && ms <= DAY_MS; i++) {
        ms = ms * 10 + (unsigned)(value[i] - '0');
    }
    if (digits == 0 || value[digits] != '\0' || ms == 0 || ms > DAY_MS) {
        return emb_refuse_invalid(refusal, "x-request-timeout-ms",
                                  "x-request-timeout-ms must be a whole number of milliseconds from 1 to %d.", DAY_MS);
    }
    if (most == 0 || ms < most) {
        terms->timeout_ms = ms;
    }
    return 0;
}

/* Whether a list of directives, "no-cache, max-age=0", has one. */
static bool has_directive(const char *list, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = list; *at != '\0';) {
        at += strspn(at, " \t,");
        size_t length = strcspn(at, " \t,");
        if (length == size && strncasecmp(at, name, size) == 0) {
            return true;
        }
        at += length;
    }
    return false;
}

int emb_embed_terms_read(struct emb_embed_terms *terms, const struct emb_exchange *x, unsigned timeout_ms,
                         struct emb_refusal *refusal)
{
    const char *partial = emb_exchange_header(x, "x-allow-partial");
    const char *cache = emb_exchange_header(x, "cache-control");
    bool no_store = cache && has_directive(cache, "no-store");
    terms->partial = partial && (strcasecmp(partial, "true") == 0 || strcmp(partial, "1") == 0);
    terms->write_cache = !no_store;
    terms->read_cache = !no_store && !(cache && has_directive(cache, "no-cache"));
    int rc = read_priority(terms, x, refusal);
    return rc == 0 ? read_timeout(terms, x, timeout_ms, refusal) : rc;
}
