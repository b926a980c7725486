/* Scores of pairs of texts: a cross-encoder's, or the cosine of an embedder's vectors.
 *
 * Used by a dialect's read (begin, add) and, once all is computed, by its finish or writers (score). */
#ifndef EMB_PAIRS_H
#define EMB_PAIRS_H

#include "api/embed_request.h"
#include "api/texts.h"

struct emb_pairs {
    bool cosine;
    bool raw;               /* logits instead of what the activation makes of them */
    size_t document_tokens; /* documents are cut to so many before all else; 0: not */
    size_t queries, documents;
};

/* Says how the request's pairs are scored, cosine where it asks for that. Returns 0, or -1 with the refusal filled
 * where the model cannot. */
int emb_pairs_begin(struct emb_pairs *pairs, struct emb_embed_request *r, bool cosine);

/* Adds the pairs of one query and each document, or of as many of both; in messages the names of their members. */
int emb_pairs_add(struct emb_pairs *pairs, struct emb_embed_request *r, const struct emb_texts *queries,
                  const char *query_name, const struct emb_texts *documents, const char *document_name);

/* Score of document i with its query; NaN where it failed. */
float emb_pairs_score(const struct emb_pairs *pairs, const struct emb_embed_request *r, size_t i);

#endif
