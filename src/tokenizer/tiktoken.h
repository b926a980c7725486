/* Vocabularies of tiktoken, for decoding alone: ids that a client made with another model's vocabulary become text again.
 *
 * The functions are the public ones (embellama_vocabulary_*); here is the part that reads bytes instead of a file. */
#ifndef EMB_TIKTOKEN_H
#define EMB_TIKTOKEN_H

#include "embellama/embellama.h"

enum {
    EMB_TIKTOKEN_MAX_BYTES = 64 << 20,      /* of a file */
    EMB_TIKTOKEN_MAX_ID = (1 << 21) - 1,    /* an id costs 8 bytes, also one that no line names */
    EMB_TIKTOKEN_MAX_TOKEN_BYTES = 1 << 10, /* so that few ids do not become much text */
};

/* Reads what a .tiktoken file holds; text may be freed afterwards. Errors as embellama_vocabulary_open. */
int emb_tiktoken_parse(embellama_vocabulary **out, const char *text, size_t size, embellama_error *error);

#endif
