/* Routes: what a table of them says, and which of them a method and a path mean.
 *
 * A path is split at its slashes first and each segment percent-decoded after, so that "%2F" is part of a name. Segments are
 * compared exactly, case and a trailing slash included: "/health/" is not "/health". */
#ifndef EMB_ROUTER_H
#define EMB_ROUTER_H

#include "base/buf.h"

struct emb_exchange; /* server/http/exchange.h */
struct emb_server;   /* whatever the front was given for its handlers */

typedef void (*emb_handler)(struct emb_server *server, struct emb_exchange *exchange);

/* A request that is not answered as asked, and why, in OpenAI's terms. Strings live as long as the call that gets it. */
struct emb_error {
    int status;
    const char *type;    /* "invalid_request_error", "server_error", "tokens" ... */
    const char *param;   /* the member at fault, or NULL */
    const char *code;    /* "model_not_found" ..., or NULL */
    const char *message; /* UTF-8 */
    const char *request_id;
};

/* How a dialect tells of an error: appends the JSON body to out and returns the HTTP status that its clients expect. */
typedef int (*emb_error_style)(const struct emb_error *error, struct emb_buf *out);

/* What a route needs of a client where API keys are configured: any key, unless one of these. */
enum emb_route_flags {
    EMB_ROUTE_PUBLIC = 1,  /* nothing, and it is not counted against a rate */
    EMB_ROUTE_ADMIN = 2,   /* a key of the role admin; without keys, to be asked from this machine */
    EMB_ROUTE_METRICS = 4, /* public where --metrics-public says so */
};

/* One method of one path. A path segment "{name}" matches any one segment (exchange.h gives its decoded value). A GET route
 * answers HEAD too. Wrong method on a known path: 405 with Allow; unknown path: 404. A trailing slash is part of the path: "/health/" is
 * unknown. All that goes wrong on a route, also before its handler is called, is told in the route's style. */
struct emb_route {
    const char *method; /* "GET", "POST" */
    const char *path;   /* "/v1/models/{id}" */
    emb_handler handler;
    unsigned flags;        /* enum emb_route_flags */
    emb_error_style style; /* NULL: OpenAI's envelope (exchange.h) */
};

struct emb_route_match {
    const struct emb_route *route; /* NULL unless OK */
    emb_error_style style;         /* of the path's routes: OK, OPTIONS and WRONG_METHOD */
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
