/* Embeddings of parts of texts: `chunk`, a vector for each piece of a long text, and `late_chunking`, where pieces
 * are pooled out of one pass over the whole, so that each knows what stands around it (Günther et al. 2024, "Late
 * Chunking").
 *
 *   chunk alone              each piece is an input of its own, and its vector that of its text
 *   chunk and late_chunking  each input is one pass, its pieces are pooled from the rows of their tokens
 *   late_chunking alone      as Jina has it: the inputs, a space between, are one pass, and each is a piece */
#ifndef EMB_CHUNKED_H
#define EMB_CHUNKED_H

#include "api/embed_request.h"

/* Whether the body asks for any of it. */
bool emb_chunked_wanted(struct emb_json_value body);

/* Reads these members and the input; the other options were read before. Makes r's dialect its own, which replies as
 * OpenAI's does, with an entry a piece. Returns 0, or -1 with the refusal filled. */
int emb_chunked_read(struct emb_embed_request *r, struct emb_json_value body);

#endif
