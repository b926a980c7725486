/* Which route a method and a path mean.
 *
 * A path is split at its slashes first and each segment percent-decoded after, so that "%2F" is part of a name. Segments are
 * compared exactly, case and a trailing slash included: "/health/" is not "/health". */
#ifndef EMB_ROUTER_H
#define EMB_ROUTER_H

#include "server/server.h"

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
