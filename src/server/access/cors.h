/* Which web pages may read replies (cross-origin resource sharing, as https://fetch.spec.whatwg.org says). */
#ifndef EMB_CORS_H
#define EMB_CORS_H

#include "embellama/embellama.h"

struct emb_cors;
struct emb_exchange;

/* origins: "*", or a list such as "https://a.example,http://localhost:3000". Errors: E_INVALID naming the entry,
 * E_NOMEM. */
int emb_cors_new(struct emb_cors **out, const char *origins, embellama_error *error);
void emb_cors_free(struct emb_cors *cors);

/* The value of Access-Control-Allow-Origin for a page of this origin, or NULL where it may not read. */
const char *emb_cors_allows(const struct emb_cors *cors, const char *origin);

/* Adds what each reply needs. */
void emb_cors_reply(const struct emb_cors *cors, struct emb_exchange *x);

/* True where x asks whether a request may be made (a preflight); then answers it. methods: what the path takes, "GET,
 * HEAD". */
bool emb_cors_preflight(const struct emb_cors *cors, struct emb_exchange *x, const char *methods);

#endif
