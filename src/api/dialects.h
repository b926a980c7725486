/* Dialects that others hand a body to, where one path serves several. In its read, a dialect sets the request's to one of these and
 * calls that one's read. */
#ifndef EMB_DIALECTS_H
#define EMB_DIALECTS_H

#include "api/embed_request.h"

extern const struct emb_embed_dialect emb_openai_dialect; /* openai.c */
extern const struct emb_embed_dialect emb_rerank_dialect; /* rerank.c */

#endif
