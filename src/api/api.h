/* The routes of every API dialect. */
#ifndef EMB_API_H
#define EMB_API_H

#include "server/server.h"

/* Ended by a NULL method. */
extern const struct emb_route emb_api_routes[];

#endif
