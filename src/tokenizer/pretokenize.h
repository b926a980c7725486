/* Cutting a normalised text into words, as BertPreTokenizer does: at white space, and around each punctuation mark. */
#ifndef EMB_PRETOKENIZE_H
#define EMB_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

/* Takes the next word off the valid UTF-8 text [*at, end) and moves *at behind it; false when there is none. */
bool emb_pretokenize_next(const char **at, const char *end, const char **word, size_t *size);

#endif
