/* The handlers that routes.def names. Each is in its dialect's file, emb_tei_embed in tei.c, those of no dialect (emb_api_...) in the one
 * that is named after what they are about. */
#ifndef EMB_HANDLERS_H
#define EMB_HANDLERS_H

#include "server/server.h"

#define ROUTE(method, path, handler, flags, style) void handler(struct emb_server *server, struct emb_exchange *x);

#include "api/routes.def"
#undef ROUTE

#endif
