/* From a text's hidden states to its vector. */
#ifndef EMB_POOLING_H
#define EMB_POOLING_H

#include "embellama/embellama.h"

/* Pools states [tokens, hidden] (tokens >= 1) to out [hidden]; pooling is neither AUTO nor NONE. The definitions are
 * sentence-transformers' (models/Pooling.py); every token of the text counts, special ones too. */
void emb_pool_states(const float *states, size_t tokens, size_t hidden, embellama_pooling pooling, float *out);

/* True where all of v[0..dim) are finite. */
bool emb_all_finite(const float *v, size_t dim);

#endif
