/* Ids to text, as tokenizers' decode: the WordPiece decoder, or tokens joined by spaces where a file names no decoder. */
#include "tokenizer/tokenizer.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "tokenizer/tokenizer_impl.h"

/* What cleanup replaces in each token, in this order. No replacement is longer. */
static const struct {
    const char *from, *to;
} cleanups[] = {
    {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
    {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

bool emb_decoder_set_wordpiece(struct emb_decoder *d, const char *prefix, size_t size, bool cleanup)
{
    d->kind = EMB_DECODER_WORDPIECE;
    d->prefix = emb_strndup(prefix, size);
    d->prefix_size = d->prefix ? strlen(d->prefix) : 0;
    d->cleanup = cleanup;
    return d->prefix;
}

/* Replaces every from in text[0..size) and returns the new size. */
static size_t replace(char *text, size_t size, const char *from, const char *to)
{
    size_t from_size = strlen(from), to_size = strlen(to), out = 0;
    for (size_t at = 0; at < size;) {
        if (size - at >= from_size && memcmp(text + at, from, from_size) == 0) {
            memcpy(text + out, to, to_size);
            out += to_size;
            at += from_size;
        } else {
            text[out++] = text[at++];
        }
    }
    return out;
}

static void append_token(const struct emb_decoder *d, const char *token, bool first, struct emb_buf *out)
{
    size_t start = out->size;
    if (d->kind == EMB_DECODER_WORDPIECE && !first && strncmp(token, d->prefix, d->prefix_size) == 0) {
        token += d->prefix_size;
    } else if (!first) {
        emb_buf_puts(out, " ");
    }
    emb_buf_puts(out, token);
    if (!d->cleanup || out->failed) {
        return;
    }
    char *text = out->data + start;
    size_t size = out->size - start;
    for (size_t i = 0; i < sizeof cleanups / sizeof cleanups[0]; i++) {
        size = replace(text, size, cleanups[i].from, cleanups[i].to);
    }
    out->size = start + size;
    out->data[out->size] = '\0';
}

int emb_tokenizer_decode(const struct emb_tokenizer *t, embellama_ids ids, bool skip_special, struct emb_buf *out,
                         embellama_error *error)
{
    bool first = true;
    if (t->decoder.kind == EMB_DECODER_OTHER) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED,
                        "the model's tokenizer.json has a decoder that is not WordPiece: token ids do not become text");
    }
    for (size_t i = 0; i < ids.count; i++) {
        const char *token = emb_tokenizer_token(t, ids.ids[i]);
        if (token && !(skip_special && t->vocab.special[ids.ids[i]])) {
            append_token(&t->decoder, token, first, out);
            first = false;
        }
    }
    return out->failed ? emb_fail_nomem(error) : 0;
}
