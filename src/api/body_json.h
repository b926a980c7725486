/* A request's body as JSON, and in words why it is none. */
#ifndef EMB_BODY_JSON_H
#define EMB_BODY_JSON_H

#include "base/json.h"

/* True for a Content-Type that says JSON, with or without parameters, and for none (NULL). */
bool emb_body_is_json(const char *content_type);

/* emb_json_parse, with errors that say what a client can mend: an empty body, bytes that are not UTF-8 and a lone
 * surrogate are named with their place. Returns 0, E_FORMAT or E_NOMEM. */
int emb_body_parse(struct emb_json **out, const char *body, size_t size, embellama_error *error);

#endif
