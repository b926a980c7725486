/* What llama.cpp's dialect shares with the paths that others have too. */
#ifndef EMB_LLAMACPP_H
#define EMB_LLAMACPP_H

#include "server/http/router.h"

/* Its {"error": {"code", "message", "type"}}, code being the status. */
int emb_style_llamacpp(const struct emb_error *error, struct emb_buf *out);

#endif
