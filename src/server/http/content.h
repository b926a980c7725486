/* Content codings of requests and replies: which, and where on the way the work is done. Private to exchange.c and reply.c. */
#ifndef EMB_CONTENT_H
#define EMB_CONTENT_H

#include <stdbool.h>

struct emb_exchange;
struct emb_route;

/* Decodes the request's body, where it is coded. True: x is answered, or will be by the route's handler once the body is decoded beside
 * the loop. False: the body is as handlers want it. */
bool emb_content_decode(struct emb_exchange *x, const struct emb_route *route);

/* Has a reply that is being answered coded, where the client asked for it and it pays: its body becomes a stream of pieces. */
void emb_content_encode(struct emb_exchange *x, const char *content_type);

#endif
