/* Text to token ids, exactly as Hugging Face's tokenizers does it.
 *
 * A tokenizer is const once made and safe from many threads. It is built from a tokenizer.json or from a GGUF file's
 * vocabulary. Algorithms it does not know are refused on opening (E_UNSUPPORTED), never approximated. */
#ifndef EMB_TOKENIZER_H
#define EMB_TOKENIZER_H

#include "base/buf.h"
#include "embellama/embellama.h"
#include "format/gguf.h"

struct emb_tokenizer;

/* Reads a tokenizer.json. Its own truncation and padding settings are ignored: these are the caller's business. */
int emb_tokenizer_from_json(struct emb_tokenizer **out, const char *path, embellama_error *error);

/* Takes the vocabulary out of a GGUF file (copied: the file may be closed afterwards). */
int emb_tokenizer_from_gguf(struct emb_tokenizer **out, const struct emb_gguf *gguf, embellama_error *error);

void emb_tokenizer_free(struct emb_tokenizer *tokenizer); /* NULL is allowed */

size_t emb_tokenizer_vocab_size(const struct emb_tokenizer *tokenizer); /* largest id + 1 */

/* The token's text as the Hugging Face vocabulary writes it ("##ing", whichever way the file wrote it), zero-ended, or NULL. */
const char *emb_tokenizer_token(const struct emb_tokenizer *tokenizer, int32_t id);

/* Whether the vocabulary marks the id as special; false for an id outside it. */
bool emb_tokenizer_special(const struct emb_tokenizer *tokenizer, int32_t id);

/* A growable list of ids and their token type ids, reused from call to call. Zero it to begin. */
struct emb_tokens {
    int32_t *ids;
    int32_t *types;
    size_t count;
    size_t capacity;
};
void emb_tokens_deinit(struct emb_tokens *tokens);

/* Makes room for capacity ids in all. False when out of memory: nothing changed. */
bool emb_tokens_reserve(struct emb_tokens *tokens, size_t capacity);

/* Ids of a text, or of the pair (text, pair) where pair is not NULL, special tokens included, into out (replacing what it
 * held). Never truncated. Errors: E_UTF8 (offset of the first bad byte), E_NOMEM. */
int emb_tokenizer_encode(const struct emb_tokenizer *tokenizer, embellama_text text, const embellama_text *pair,
                         struct emb_tokens *out, embellama_error *error);

/* A growable list of tokens with their places. Zero it to begin. */
struct emb_spans {
    embellama_token *tokens;
    size_t count;
    size_t capacity;
};
void emb_spans_deinit(struct emb_spans *spans);

/* The same tokens of a single text with their places, those of tokenizers' offsets (in bytes). */
int emb_tokenizer_encode_spans(const struct emb_tokenizer *tokenizer, embellama_text text, struct emb_spans *out,
                               embellama_error *error);

/* Appends the text of ids, as tokenizers' decode gives it. Errors: E_UNSUPPORTED (a decoder we do not know), E_NOMEM. */
int emb_tokenizer_decode(const struct emb_tokenizer *tokenizer, embellama_ids ids, bool skip_special,
                         struct emb_buf *out, embellama_error *error);

/* Special tokens put before and behind a single input; the arrays belong to the tokenizer. */
void emb_tokenizer_frame(const struct emb_tokenizer *tokenizer, embellama_ids *prefix, embellama_ids *suffix);

/* How many special tokens a pair has before its first text, between the two, and behind the second. */
struct emb_pair_frame {
    size_t before, between, after;
};
struct emb_pair_frame emb_tokenizer_pair_frame(const struct emb_tokenizer *tokenizer);

#endif
