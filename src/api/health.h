/* The state of the server as JSON. */
#ifndef EMB_HEALTH_H
#define EMB_HEALTH_H

#include "base/buf.h"
#include "server/server.h"

/* Appends the members of an object, without its braces: status, model, workers, queue. False when the server is not
 * ready for requests. */
bool emb_health_write(struct emb_server *server, struct emb_buf *out);

#endif
