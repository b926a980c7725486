/* In this order: cross-origin headers, which also refusals need; the preflight, which carries no key; the key; the
 * right to the route; the rate. Health and other public routes are never limited, so that monitoring works under load,
 * and neither are admin routes. */
#include "server/access/admission.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "server/http/connection.h"
#include "server/access/cors.h"
#include "server/siphash.h"

enum { BURST_S = 60 }; /* limits are told by the minute */

#define BY_ADDRESS ((uint64_t)1 << 63) /* in ids: the rest is a hash */

struct emb_access {
    struct emb_auth *auth;
    struct emb_limits *limits;
    struct emb_cors *cors; /* or NULL */
    struct emb_client anonymous;
    struct emb_siphash_key address_key;
    bool metrics_public;
    struct emb_access_stats stats;
};

/* ---- Life ---- */

int emb_access_new(struct emb_access **out, const struct emb_access_options *options, embellama_error *error)
{
    *out = NULL;
    struct emb_access *access = emb_calloc(1, sizeof *access);
    if (!access || !(access->limits = emb_limits_new())) {
        emb_access_free(access);
        return emb_fail_nomem(error);
    }
    access->metrics_public = options->metrics_public;
    access->address_key = emb_siphash_random_key();
    access->anonymous = (struct emb_client){.name = "anonymous",
                                            .priorities = EMB_PRIORITIES_ALL,
                                            .requests_per_s = options->requests_per_minute / 60,
                                            .tokens_per_s = options->tokens_per_minute / 60,
                                            .burst_s = BURST_S};
    struct emb_auth_options keys = {
        .keys = options->keys, .key_file = options->key_file, .defaults = access->anonymous};
    int rc = emb_auth_new(&access->auth, &keys, error);
    if (rc == EMBELLAMA_OK && options->cors_origins) {
        rc = emb_cors_new(&access->cors, options->cors_origins, error);
    }
    if (rc != EMBELLAMA_OK) {
        emb_access_free(access);
        return rc;
    }
    access->stats.keys = emb_auth_count(access->auth);
    *out = access;
    return EMBELLAMA_OK;
}

void emb_access_free(struct emb_access *access)
{
    if (access) {
        emb_auth_free(access->auth);
        emb_limits_free(access->limits);
        emb_cors_free(access->cors);
        emb_free(access);
    }
}

struct emb_access_stats emb_access_stats(const struct emb_access *access)
{
    struct emb_access_stats stats = access->stats;
    stats.clients = emb_limits_count(access->limits);
    return stats;
}

/* ---- Addresses ---- */

static bool is_unix(const char *peer)
{
    return strncmp(peer, EMB_PEER_UNIX, strlen(EMB_PEER_UNIX)) == 0;
}

/* The address in "1.2.3.4:5" or "[::1]:5" as 16 bytes, of version 4 in its mapped form; of "unix:1000" one that stands for the user.
 * False where it is none. */
static bool address_of(const char *peer, unsigned char out[16])
{
    char text[INET6_ADDRSTRLEN];
    bool six = peer[0] == '[';
    size_t size = strcspn(peer + six, six ? "]" : ":");
    static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    unsigned user;
    if (is_unix(peer)) {
        user = (unsigned)strtoul(peer + strlen(EMB_PEER_UNIX), NULL, 10);
        memset(out, 0xFF, 16); /* a multicast address, which no peer has */
        memcpy(out + 4, &user, sizeof user);
        return true;
    }
    if (size >= sizeof text) {
        return false;
    }
    memcpy(text, peer + six, size);
    text[size] = '\0';
    if (six) {
        return inet_pton(AF_INET6, text, out) == 1;
    }
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, out + 12) == 1;
}

static bool is_mapped(const unsigned char address[16])
{
    struct in6_addr in;
    memcpy(&in, address, sizeof in);
    return IN6_IS_ADDR_V4MAPPED(&in);
}

static bool is_loopback(const unsigned char address[16])
{
    struct in6_addr in;
    memcpy(&in, address, sizeof in);
    return IN6_IS_ADDR_LOOPBACK(&in) || (is_mapped(address) && address[12] == 127);
}

/* One id for an address of version 4, or for the 64 bits of version 6 that one subscriber has all addresses of. */
static uint64_t id_of(const struct emb_access *access, const unsigned char address[16])
{
    return emb_siphash_of(access->address_key, address, is_mapped(address) ? 16 : 8).low | BY_ADDRESS;
}

void emb_admission_identify(struct emb_exchange *x)
{
    static const struct emb_client nobody = {
        .name = "anonymous", .id = BY_ADDRESS, .admin = true, .priorities = EMB_PRIORITIES_ALL};
    const struct emb_access *access = x->front->options.access;
    unsigned char address[16] = {0};
    x->client = access ? access->anonymous : nobody;
    if (access) {
        address_of(x->peer, address);
        x->client.id = id_of(access, address);
    }
}

/* ---- Admin routes without keys ---- */

static bool starts_with(const char *text, const char *start)
{
    return strncasecmp(text, start, strlen(start)) == 0;
}

/* Whether a Host or an origin's host names this machine for itself, whatever a name server says. */
static bool names_loopback(const char *host)
{
    return starts_with(host, "127.") || starts_with(host, "[::1]") || strcasecmp(host, "localhost") == 0 ||
           starts_with(host, "localhost:");
}

static bool is_origin_of(const char *origin, const char *host)
{
    size_t scheme = starts_with(origin, "https://") ? strlen("https://") : strlen("http://");
    return (starts_with(origin, "http://") || starts_with(origin, "https://")) &&
           strcasecmp(origin + scheme, host) == 0;
}

/* A process of this machine that speaks for itself: not a proxy that passes on what comes from elsewhere, and not a web
 * page that makes a browser ask (neither one of another origin, nor one whose name was made to point here). */
static bool is_local(const struct emb_exchange *x)
{
    static const char *const proxied[] = {"forwarded", "x-forwarded-for", "x-real-ip", "via"};
    unsigned char address[16];
    bool local = is_unix(x->peer);
    if (!local && (!address_of(x->peer, address) || !is_loopback(address))) {
        return false;
    }
    for (size_t i = 0; i < sizeof proxied / sizeof *proxied; i++) {
        if (emb_exchange_header(x, proxied[i])) {
            return false;
        }
    }
    const char *host = emb_exchange_header(x, "host");
    const char *origin = emb_exchange_header(x, "origin");
    const char *site = emb_exchange_header(x, "sec-fetch-site");
    if (host && !local && !names_loopback(host)) {
        return false;
    }
    if (origin && (!host || local || !is_origin_of(origin, host))) {
        return false;
    }
    return !site || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
}

/* ---- Keys ---- */

/* The client whose key x carries, or NULL; *carried: it carries one. */
static const struct emb_client *client_of(const struct emb_exchange *x, bool *carried)
{
    const struct emb_auth *auth = x->front->options.access->auth;
    const char *authorization = emb_exchange_header(x, "authorization");
    const char *const keys[] = {authorization ? emb_auth_bearer(authorization) : NULL,
                                emb_exchange_header(x, "x-api-key"), emb_exchange_header(x, "api-key")};
    const struct emb_client *client = NULL;
    *carried = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !client; i++) {
        if (keys[i] && keys[i][0] != '\0') {
            *carried = true;
            client = emb_auth_find(auth, keys[i], strlen(keys[i]));
        }
    }
    return client;
}

static void refuse_key(struct emb_exchange *x, bool carried)
{
    x->front->options.access->stats.unauthorized++;
    emb_exchange_add_header(x, "www-authenticate",
                            carried ? "Bearer realm=\"embellama\", error=\"invalid_token\""
                                    : "Bearer realm=\"embellama\"");
    if (carried) {
        emb_exchange_error(x, 401, "invalid_request_error", NULL, "invalid_api_key", "Incorrect API key provided.");
        return;
    }
    emb_exchange_notes(x)->error = "missing_api_key";
    emb_exchange_error(x, 401, "invalid_request_error", NULL, NULL,
                       "You didn't provide an API key. You need to provide your API key in an Authorization header "
                       "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).");
}

static void refuse_admin(struct emb_exchange *x, bool keyed)
{
    x->front->options.access->stats.forbidden++;
    emb_exchange_error(x, 403, "invalid_request_error", NULL, "admin_required",
                       keyed
                           ? "This needs an API key of the role admin (--api-key-file)."
                           : "Without API keys this is only for programs on the server's own machine. Configure a key "
                             "of the role admin (--api-key-file) to use it from elsewhere.");
}

/* ---- Rates ---- */

static void add_number(struct emb_exchange *x, const char *name, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.0f", floor(value));
    emb_exchange_add_header(x, name, text);
}

static bool charge(struct emb_exchange *x, enum emb_limit kind, double amount, struct emb_limit_state *state)
{
    static const char *const names[][3] = {
        {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
        {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
    };
    struct emb_access *access = x->front->options.access;
    bool enough = emb_limits_charge(access->limits, &x->client, kind, amount, uv_hrtime(), state);
    if (state->limit > 0) {
        char reset[EMB_LIMITS_TIME];
        emb_limits_format(state->reset_ms, reset);
        add_number(x, names[kind][0], state->limit);
        add_number(x, names[kind][1], state->remaining);
        emb_exchange_add_header(x, names[kind][2], reset);
    }
    return enough;
}

/* Headers hold it in 32 bits; clients give up long before. */
static unsigned retry_ms(const struct emb_limit_state *state)
{
    return state->retry_after_ms < INT32_MAX ? (unsigned)state->retry_after_ms : INT32_MAX;
}

static bool pass_rate(struct emb_exchange *x)
{
    struct emb_limit_state state;
    if (charge(x, EMB_LIMIT_REQUESTS, 1, &state)) {
        return true;
    }
    char wait[EMB_LIMITS_TIME], text[16];
    x->front->options.access->stats.over_requests++;
    emb_limits_format(state.retry_after_ms, wait);
    snprintf(text, sizeof text, "%u", (retry_ms(&state) + 999) / 1000);
    emb_exchange_add_header(x, "retry-after", text);
    snprintf(text, sizeof text, "%u", retry_ms(&state));
    emb_exchange_add_header(x, "retry-after-ms", text);
    emb_exchange_error(x, 429, "requests", NULL, "rate_limit_exceeded",
                       "Rate limit reached on requests: Limit %.0f, Remaining 0. Please try again in %s.",
                       floor(state.limit), wait);
    return false;
}

bool emb_admission_charge(struct emb_exchange *x, size_t tokens, struct emb_charge_refusal *refusal)
{
    struct emb_access *access = x->front->options.access;
    struct emb_limit_state state;
    *refusal = (struct emb_charge_refusal){0};
    if (!access || charge(x, EMB_LIMIT_TOKENS, (double)tokens, &state)) {
        return true;
    }
    access->stats.over_tokens++;
    refusal->hopeless = state.hopeless;
    refusal->retry_after_ms = retry_ms(&state);
    if (state.hopeless) {
        snprintf(refusal->message, sizeof refusal->message,
                 "Request too large on tokens: Limit %.0f, Requested %zu. Please send fewer or shorter inputs.",
                 floor(state.limit), tokens);
        return false;
    }
    char wait[EMB_LIMITS_TIME];
    emb_limits_format(state.retry_after_ms, wait);
    snprintf(refusal->message, sizeof refusal->message,
             "Rate limit reached on tokens: Limit %.0f, Remaining %.0f, Requested %zu. Please try again in %s.",
             floor(state.limit), floor(state.remaining), tokens, wait);
    return false;
}

/* ---- The steps ---- */

bool emb_admission_greet(struct emb_exchange *x, const char *methods)
{
    struct emb_access *access = x->front->options.access;
    if (!access || !access->cors) {
        return false;
    }
    emb_cors_reply(access->cors, x);
    if (!emb_cors_preflight(access->cors, x, methods)) {
        return false;
    }
    access->stats.preflights++;
    return true;
}

bool emb_admission_pass(struct emb_exchange *x, const struct emb_route *route)
{
    const struct emb_access *access = x->front->options.access;
    if (!access) {
        return true;
    }
    bool public =
        (route->flags & EMB_ROUTE_PUBLIC) != 0 || ((route->flags & EMB_ROUTE_METRICS) != 0 && access->metrics_public);
    bool admin = (route->flags & EMB_ROUTE_ADMIN) != 0;
    bool keyed = emb_auth_count(access->auth) > 0;
    if (keyed) {
        bool carried;
        const struct emb_client *client = client_of(x, &carried);
        if (!client && !public) {
            refuse_key(x, carried);
            return false;
        }
        x->client = client ? *client : x->client;
    } else if (admin) {
        x->client.admin = is_local(x);
    }
    if (admin && !x->client.admin) {
        refuse_admin(x, keyed);
        return false;
    }
    return public || admin || pass_rate(x);
}
