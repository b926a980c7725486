/* What text-embeddings-inference's dialect shares with the routes that others have too. */
#ifndef EMB_TEI_H
#define EMB_TEI_H

#include "server/http/router.h"

/* Its {"error", "error_type"}. */
int emb_style_tei(const struct emb_error *error, struct emb_buf *out);

#endif
