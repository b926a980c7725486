/* Inputs as most dialects give them: one text, one list of token ids, or a list of either. */
#ifndef EMB_EMBED_LIST_H
#define EMB_EMBED_LIST_H

#include "api/embed_request.h"

/* Adds what v, the body's member of that name, holds. Returns 0, or -1 with the refusal filled; an empty list is refused. */
int emb_embed_list(struct emb_embed_request *r, const char *member, struct emb_json_value v);

/* Adds the strings of a list and takes nothing else; messages count them from 0. */
int emb_embed_list_strings(struct emb_embed_request *r, const char *member, struct emb_json_value list);

/* One more input, a text or a list of token ids. */
int emb_embed_list_add(struct emb_embed_request *r, const char *name, struct emb_json_value v);

/* Refuses a member that must not be empty, with the code "empty_input". */
int emb_embed_list_empty(struct emb_embed_request *r, const char *member);

/* Checks that a list of n has no more inputs than a request may hold. */
int emb_embed_list_check(struct emb_embed_request *r, const char *member, size_t n);

/* Characters of UTF-8. */
size_t emb_characters(embellama_text text);

#endif
