/* Tokens with the places of the text they stand for: the way of tokenizer.c through the parts, over an aligned text (align.h).
 *
 * Apart from the plain way so that this need not carry places along. Gives the same ids. */
#include "tokenizer/tokenizer.h"

#include "base/mem.h"
#include "base/status.h"
#include "tokenizer/align.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer_impl.h"

/* What one call works with. */
struct pass {
    const struct emb_tokenizer *tokenizer;
    struct emb_spans *out;
    struct emb_aligned aligned;
    int32_t *ids; /* of a word */
    size_t *ends;
    size_t id_room, end_room;
};

void emb_spans_deinit(struct emb_spans *spans)
{
    emb_free(spans->tokens);
    *spans = (struct emb_spans){0};
}

static bool push(struct emb_spans *out, embellama_token token)
{
    if (!emb_grow(&out->tokens, &out->capacity, out->count + 1, sizeof *out->tokens)) {
        return false;
    }
    out->tokens[out->count++] = token;
    return true;
}

/* A token of bytes [begin, end) of the normalised text, begin < end. */
static bool push_aligned(struct pass *p, int32_t id, size_t begin, size_t end)
{
    const struct emb_place *places = p->aligned.places;
    return push(p->out, (embellama_token){id, false, places[begin].begin, places[end - 1].end});
}

static bool do_words(struct pass *p, const char *text, size_t size)
{
    const struct emb_wordpiece *model = &p->tokenizer->wordpiece;
    const char *at = text, *end = text + size, *word;
    size_t length;
    while (emb_pretokenize_next(&at, end, &word, &length)) {
        size_t room = emb_wordpiece_room(model, length), start = (size_t)(word - p->aligned.text), from = 0;
        if (!emb_grow(&p->ids, &p->id_room, room, sizeof *p->ids) ||
            !emb_grow(&p->ends, &p->end_room, room, sizeof *p->ends)) {
            return false;
        }
        size_t count = emb_wordpiece_encode_ends(model, word, length, p->ids, p->ends);
        for (size_t i = 0; i < count; i++) {
            if (!push_aligned(p, p->ids[i], start + from, start + p->ends[i])) {
                return false;
            }
            from = p->ends[i];
        }
    }
    return true;
}

/* A text without raw added tokens, beginning at byte base. */
static bool do_plain(struct pass *p, const char *text, size_t size, size_t base)
{
    const struct emb_tokenizer *t = p->tokenizer;
    bool ok = true;
    while (ok && size > 0) {
        size_t n = emb_tokenizer_stretch(t, text, size);
        ok = emb_align(&t->normalizer, text, n, base, &p->aligned);
        struct emb_split split;
        struct emb_split_iter it = emb_split_iterate(&t->normalized, p->aligned.text, ok ? p->aligned.size : 0);
        while (ok && emb_split_next(&it, &split)) {
            size_t at = (size_t)(split.text - p->aligned.text);
            ok = split.id < 0 ? do_words(p, split.text, split.size) : push_aligned(p, split.id, at, at + split.size);
        }
        text += n;
        base += n;
        size -= n;
    }
    return ok;
}

static bool do_text(struct pass *p, embellama_text text)
{
    struct emb_split split;
    struct emb_split_iter it = emb_split_iterate(&p->tokenizer->raw, text.bytes, text.size);
    bool ok = true;
    while (ok && emb_split_next(&it, &split)) {
        size_t at = (size_t)(split.text - text.bytes);
        ok = split.id < 0 ? do_plain(p, split.text, split.size, at)
                          : push(p->out, (embellama_token){split.id, false, at, at + split.size});
    }
    return ok;
}

int emb_tokenizer_encode_spans(const struct emb_tokenizer *t, embellama_text text, struct emb_spans *out,
                               embellama_error *error)
{
    struct pass pass = {.tokenizer = t, .out = out};
    out->count = 0;
    int status = emb_tokenizer_check_utf8(text, error);
    for (size_t i = 0; i < t->single.count && status == 0; i++) {
        struct emb_piece piece = t->single.pieces[i];
        bool ok =
            piece.kind == EMB_PIECE_TOKEN ? push(out, (embellama_token){piece.id, true, 0, 0}) : do_text(&pass, text);
        status = ok ? 0 : emb_fail_nomem(error);
    }
    if (status != 0) {
        out->count = 0;
    }
    emb_aligned_deinit(&pass.aligned);
    emb_free(pass.ids);
    emb_free(pass.ends);
    return status;
}
