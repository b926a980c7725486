/* The inside of a tokenizer: what the loaders of tokenizer.json and GGUF files fill in. */
#ifndef EMB_TOKENIZER_IMPL_H
#define EMB_TOKENIZER_IMPL_H

#include "tokenizer/added.h"
#include "tokenizer/normalize.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/wordpiece.h"

enum {
    EMB_TOKENIZER_MAX_ID = (1 << 24) - 1,
    EMB_TOKENIZER_MAX_PIECES = 64, /* of a template */
};

/* Text of each id. */
struct emb_vocab {
    char *text; /* zero-ended strings; text[0] belongs to none */
    size_t text_size, text_room;
    uint32_t *offsets; /* into text, by id; 0: no such token */
    bool *special;     /* by id */
    size_t room, special_room;
    size_t size; /* largest id + 1 */
};

/* One element of a template: a special token, or the place of the first or second text. */
struct emb_piece {
    enum { EMB_PIECE_TOKEN, EMB_PIECE_FIRST, EMB_PIECE_SECOND } kind;
    int32_t id; /* of a token */
    int32_t type;
};

struct emb_template {
    struct emb_piece pieces[EMB_TOKENIZER_MAX_PIECES];
    size_t count;
};

/* How ids become text again. */
struct emb_decoder {
    enum { EMB_DECODER_SPACES, EMB_DECODER_WORDPIECE, EMB_DECODER_OTHER } kind;
    char *prefix; /* of WORDPIECE: what marks a token that goes on with the word before it */
    size_t prefix_size;
    bool cleanup; /* no space before punctuation and contractions */
};

struct emb_tokenizer {
    struct emb_normalizer normalizer;
    struct emb_wordpiece wordpiece;
    struct emb_vocab vocab;
    struct emb_added_set raw;        /* tokens looked for in the text as it is */
    struct emb_added_set normalized; /* and in the normalised text */
    struct emb_template single, pair;
    struct emb_decoder decoder;
    int32_t frame[EMB_TOKENIZER_MAX_PIECES]; /* the single template's tokens: prefix, then suffix */
    size_t prefix_count, suffix_count;
};

/* Gives id (0 to EMB_TOKENIZER_MAX_ID) this text, replacing an earlier one. False when out of memory. */
bool emb_vocab_set(struct emb_vocab *vocab, int32_t id, const char *text, size_t size);

/* Marks an id of the vocabulary as special. */
void emb_vocab_set_special(struct emb_vocab *vocab, int32_t id);

/* Adds a token of the model's vocabulary. Errors: E_FORMAT (id out of range, vocabulary too large), E_NOMEM. */
int emb_tokenizer_add_word(struct emb_tokenizer *tokenizer, const char *text, size_t size, int64_t id,
                           embellama_error *error);

/* Adds a token to look for in the text, in its normalised form where normalized is set; the
 * normaliser must be ready. Errors: E_UNSUPPORTED (content too long or nothing left of it),
 * E_NOMEM. */
int emb_tokenizer_add_token(struct emb_tokenizer *tokenizer, const char *content, size_t size, bool normalized,
                            struct emb_added_token token, embellama_error *error);

/* Appends to a template. False when it is full. */
bool emb_template_push(struct emb_template *template, struct emb_piece piece);

/* Checks both templates and makes the frame. To be called last. Errors: E_FORMAT (an id outside the
 * vocabulary), E_UNSUPPORTED (a text missing from a template or there twice). */
int emb_tokenizer_finish(struct emb_tokenizer *tokenizer, embellama_error *error);

/* The WordPiece decoder. False when out of memory. */
bool emb_decoder_set_wordpiece(struct emb_decoder *decoder, const char *prefix, size_t size, bool cleanup);

/* How much of text[0..size) to normalise at once: all of it, or some KiB up to and with a space, which ends words and runs of marks
 * alike; more where there is no space for long. */
enum { EMB_STRETCH = 2048 };
size_t emb_tokenizer_long_stretch(const struct emb_tokenizer *tokenizer, const char *text, size_t size);
static inline size_t emb_tokenizer_stretch(const struct emb_tokenizer *tokenizer, const char *text, size_t size)
{
    return size <= EMB_STRETCH ? size : emb_tokenizer_long_stretch(tokenizer, text, size);
}

/* E_UTF8 at the first bad byte, or 0. */
int emb_tokenizer_check_utf8(embellama_text text, embellama_error *error);

/* For messages: text[0..size) cut to fit out and with control characters as '?'. Returns out. */
enum { EMB_QUOTE_BYTES = 64 };
const char *emb_tokenizer_quote(const char *text, size_t size, char out[EMB_QUOTE_BYTES]);

#endif
