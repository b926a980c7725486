/* Bodies of errors, for the routes that clients of several services call (router.h). */
#ifndef EMB_ERROR_STYLES_H
#define EMB_ERROR_STYLES_H

#include "server/http/router.h"

/* {"error": {"message", "type", "param", "code"}, "message", "detail", "request_id"}: OpenAI's, Jina's and vLLM's
 * clients read `error`, Cohere's `message`, Voyage's `detail`. */
int emb_style_common(const struct emb_error *error, struct emb_buf *out);

/* Cohere's {"message", "id"}. */
int emb_style_cohere(const struct emb_error *error, struct emb_buf *out);

#endif
