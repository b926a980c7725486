/* Routes: what a table of them says, and which of them a method and a path mean.
 *
 * A path is split at its slashes first and each segment percent-decoded after, so that "%2F" is part of a name. Segments are
 * compared exactly, case and a trailing slash included: "/health/" is not "/health". */
#ifndef EMB_ROUTER_H
#define EMB_ROUTER_H

struct emb_exchange; /* server/http/exchange.h */
struct emb_server;   /* whatever the front was given for its handlers */

typedef void (*emb_handler)(struct emb_server *server, struct emb_exchange *exchange);

/* What a route needs of a client where API keys are configured: any key, unless one of these. */
enum emb_route_flags {
    EMB_ROUTE_PUBLIC = 1,  /* nothing, and it is not counted against a rate */
    EMB_ROUTE_ADMIN = 2,   /* a key of the role admin; without keys, to be asked from this machine */
    EMB_ROUTE_METRICS = 4, /* public where --metrics-public says so */
};

/* One method of one path. A path segment "{name}" matches any one segment (exchange.h gives its decoded value). A GET route
 * answers HEAD too. Wrong method on a known path: 405 with Allow; unknown path: 404; both in the envelope of exchange.h. A trailing slash is
 * part of the path: "/health/" is unknown. */
struct emb_route {
    const char *method; /* "GET", "POST" */
    const char *path;   /* "/v1/models/{id}" */
    emb_handler handler;
    unsigned flags; /* enum emb_route_flags */
};

struct emb_route_match {
    const struct emb_route *route; /* NULL unless OK */
    char *segment;                 /* decoded "{name}" or NULL; emb_free */
    char allow[64];                /* methods of the path, for Allow: WRONG_METHOD and OPTIONS */
};

enum emb_route_result {
    EMB_ROUTE_OK,
    EMB_ROUTE_OPTIONS, /* OPTIONS on a known path that has no route for it */
    EMB_ROUTE_WRONG_METHOD,
    EMB_ROUTE_UNKNOWN,
    EMB_ROUTE_MALFORMED, /* broken percent-encoding, or an encoded zero */
    EMB_ROUTE_NOMEM,
};

/* routes ends with a NULL method. */
enum emb_route_result emb_route_find(struct emb_route_match *match, const struct emb_route *routes, const char *method,
                                     const char *path);

#endif
