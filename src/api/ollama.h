/* What Ollama's dialect shares with lists of models in others'. */
#ifndef EMB_OLLAMA_H
#define EMB_OLLAMA_H

#include "embellama/embellama.h"
#include "server/http/router.h"

/* Its {"error": "..."}. */
int emb_style_ollama(const struct emb_error *error, struct emb_buf *out);

/* Its "details" of a model, an object. */
void emb_ollama_write_details(struct emb_buf *out, const embellama_model_info *info);

#endif
