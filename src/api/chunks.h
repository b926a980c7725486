/* Cutting a long text into chunks: where they begin and end, in tokens, bytes and characters. Pure functions: nothing is embedded or
 * parsed here. */
#ifndef EMB_CHUNKS_H
#define EMB_CHUNKS_H

#include "embellama/embellama.h"

enum emb_chunk_by {
    EMB_CHUNK_TOKEN,    /* as many tokens as fit */
    EMB_CHUNK_SENTENCE, /* as many whole sentences as fit; one that is too long alone is cut by tokens */
};

struct emb_chunk_options {
    enum emb_chunk_by by;
    size_t size; /* tokens of a chunk at most, special ones not counted; at least 1 */
    size_t
        overlap; /* tokens at most that a chunk has in common with the one before it; less than size. Of sentences whole ones */
    size_t limit; /* chunks at most; 0: any number */
};

struct emb_chunk {
    size_t first, last;          /* its tokens: [first, last) of those given */
    size_t begin, end;           /* its bytes of the text */
    size_t begin_char, end_char; /* the same in characters (code points) */
};

/* Zero it to begin. */
struct emb_chunks {
    struct emb_chunk *list; /* [count] */
    size_t count, room;
};
void emb_chunks_deinit(struct emb_chunks *chunks);

/* Cuts the text, whose tokens embellama_tokenize_spans gave. Chunks come in order and together hold every token that is not special
 * and every byte: white space between two goes to the one before it. A text without such tokens is one chunk. Takes time in
 * proportion to text, tokens and chunks. Errors: E_RANGE (size or overlap cannot be; more chunks than limit), E_NOMEM; there are then
 * no chunks. */
int emb_chunks_make(struct emb_chunks *out, embellama_text text, const embellama_token *tokens, size_t count,
                    const struct emb_chunk_options *options, embellama_error *error);

/* The first byte of the sentence behind the one that begins at byte at (< size) of the valid UTF-8 text; size where it is the last. A
 * sentence ends with a line, with . ? or ! where white space, a closing quote or bracket, or nothing follows, and with their
 * ideographic kin. Closing quotes, brackets and white space behind it are part of it. */
size_t emb_sentence_end(embellama_text text, size_t at);

#endif
