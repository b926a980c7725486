/* Tokens of texts and texts of tokens, for requests that need no queue. Functions return 0, or -1 with the refusal filled. */
#ifndef EMB_TOKEN_LIST_H
#define EMB_TOKEN_LIST_H

#include "api/refusal.h"
#include "base/buf.h"
#include "base/json.h"

/* The tokens of a text, special ones included. *tokens is the caller's (emb_free). In messages the text is name. */
int emb_token_list(embellama_token **tokens, size_t *count, const embellama_model *model, embellama_text text,
                   const char *name, struct emb_refusal *refusal);

/* The text of v, a JSON array of token ids, appended as a JSON string. */
int emb_token_text(struct emb_buf *out, const embellama_model *model, struct emb_json_value v, bool skip_special,
                   const char *name, struct emb_refusal *refusal);

#endif
