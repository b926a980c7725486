/* Chunks of inputs. Where pieces begin and end is chunks.h's matter; here they become inputs, or rows of one that
 * are pooled. */
#include "api/chunked.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/chunks.h"
#include "api/dialects.h"
#include "api/members.h"
#include "api/served_model.h"
#include "api/texts.h"
#include "api/token_list.h"
#include "base/mem.h"

/* One entry of the reply. */
struct piece {
    size_t text;            /* index of the text in the request */
    size_t row, end_row;    /* its rows of the pass, of late chunking */
    struct emb_chunk chunk; /* its place in the text */
};

struct chunked {
    bool late, joined;
    bool normalize;
    struct emb_chunk_options options;
    struct piece *pieces; /* [count] */
    size_t count, capacity;
    float *vector; /* [dimensions], of late chunking: the piece that is written */
};

static void free_chunked(void *arg)
{
    struct chunked *k = arg;
    emb_free(k->pieces);
    emb_free(k->vector);
    emb_free(k);
}

/* ---- Options ---- */

bool emb_chunked_wanted(struct emb_json_value body)
{
    struct emb_json_value v;
    bool late = true; /* what is no boolean is refused when options are read */
    return emb_member(body, "chunk", &v) ||
           (emb_member(body, "late_chunking", &v) && (!emb_json_bool(v, &late) || late));
}

/* Tokens of content that an input may have behind the prompt. */
static int room_for_content(struct emb_embed_request *r, int64_t *room)
{
    size_t taken = 0;
    embellama_error error = {0};
    int rc = embellama_tokenize(r->inputs.model, r->inputs.prompt, NULL, NULL, NULL, 0, &taken, &error);
    if (rc != EMBELLAMA_OK) {
        return emb_refuse_status(&r->refusal, "prompt_name", rc, error.message);
    }
    *room = taken < r->inputs.limit ? (int64_t)(r->inputs.limit - taken) : 1;
    return 0;
}

static int read_chunk(struct emb_embed_request *r, struct chunked *k, struct emb_json_value v)
{
    static const char *const ways[] = {[EMB_CHUNK_TOKEN] = "token", [EMB_CHUNK_SENTENCE] = "sentence", NULL};
    int64_t most = 1, size, overlap = 0;
    size_t way = EMB_CHUNK_TOKEN;
    if (emb_json_type(v) != EMB_JSON_OBJECT) {
        return emb_refuse_invalid(&r->refusal, "chunk",
                                  "'$.chunk' is invalid: it must be an object {\"size\", \"overlap\", \"by\"}, but it "
                                  "is %s.",
                                  emb_member_type(v));
    }
    if (room_for_content(r, &most) != 0) {
        return -1;
    }
    size = most;
    if (emb_member_int(v, "chunk.size", 1, most, &size, &r->refusal) != 0 ||
        emb_member_int(v, "chunk.overlap", 0, size - 1, &overlap, &r->refusal) != 0 ||
        emb_member_word(v, "chunk.by", ways, &way, &r->refusal) != 0) {
        return -1;
    }
    k->options = (struct emb_chunk_options){
        .by = (enum emb_chunk_by)way, .size = (size_t)size, .overlap = (size_t)overlap, .limit = r->inputs.most};
    return 0;
}

static int read_options(struct emb_embed_request *r, struct chunked *k, struct emb_json_value body)
{
    struct emb_json_value v;
    bool chunk = emb_member(body, "chunk", &v);
    if (emb_member_bool(body, "late_chunking", &k->late, &r->refusal) != 0 || (chunk && read_chunk(r, k, v) != 0)) {
        return -1;
    }
    k->joined = !chunk;
    k->normalize = r->task == EMB_TASK_EMBED;
    if (!k->late) {
        r->inputs.truncate = true; /* a piece may have a token more alone than where it stands */
        return 0;
    }
    if (r->inputs.truncate && r->inputs.truncate_left) {
        return emb_refuse_invalid(&r->refusal, "truncate",
                                  "'$.truncate' is invalid: late chunking cuts texts at their end only.");
    }
    r->task = EMB_TASK_TOKENS;
    return 0;
}

/* ---- Pieces ---- */

static struct piece *add_piece(struct emb_embed_request *r, struct chunked *k)
{
    if (k->count == r->inputs.most) {
        emb_refuse_invalid(&r->refusal, "input", "'$.input' is invalid: it comes to more than %zu chunks.",
                           r->inputs.most);
        return NULL;
    }
    if (!emb_grow(&k->pieces, &k->capacity, k->count + 1, sizeof *k->pieces)) {
        emb_refuse_nomem(&r->refusal);
        return NULL;
    }
    struct piece *piece = &k->pieces[k->count++];
    *piece = (struct piece){0};
    return piece;
}

static int refuse_chunks(struct emb_embed_request *r, const char *name, int rc, const embellama_error *error)
{
    return rc == EMBELLAMA_E_NOMEM
               ? emb_refuse_nomem(&r->refusal)
               : emb_refuse_invalid(&r->refusal, name, "'$.%s' is invalid: %s.", name, error->message);
}

/* Each piece of the text as an input. */
static int add_pieces(struct emb_embed_request *r, struct chunked *k, const char *name, size_t index,
                      embellama_text text)
{
    embellama_token *tokens;
    struct emb_chunks chunks = {0};
    embellama_error error = {0};
    size_t count;
    int rc = emb_token_list(&tokens, &count, r->inputs.model, text, name, &r->refusal);
    if (rc == 0) {
        int status = emb_chunks_make(&chunks, text, tokens, count, &k->options, &error);
        rc = status == EMBELLAMA_OK ? 0 : refuse_chunks(r, name, status, &error);
    }
    emb_free(tokens);
    for (size_t i = 0; rc == 0 && i < chunks.count; i++) {
        const struct emb_chunk *c = &chunks.list[i];
        struct piece *piece = add_piece(r, k);
        rc = piece ? emb_embed_inputs_add_text(&r->inputs, name,
                                               (embellama_text){text.bytes + c->begin, c->end - c->begin}, &r->refusal)
                   : -1;
        if (piece) {
            *piece = (struct piece){.text = index, .chunk = *c};
        }
    }
    emb_chunks_deinit(&chunks);
    return rc;
}

/* ---- Late ones ---- */

/* A pass: prompt and text together, their tokens, and which of these are the text's own. */
struct pass {
    char *whole;
    embellama_token *tokens;
    size_t first, end; /* tokens of the text that are computed, their places counted from its first byte */
};

static void pass_deinit(struct pass *pass)
{
    emb_free(pass->whole);
    emb_free(pass->tokens);
}

/* Finds the text's tokens among all, of which the limit allows some. */
static void find_content(struct pass *pass, size_t count, size_t prompt, size_t limit)
{
    size_t closing = 0;
    while (closing < count && pass->tokens[count - 1 - closing].special) {
        closing++;
    }
    pass->end = count <= limit ? count - closing : limit > closing ? limit - closing : 0;
    while (pass->first < pass->end && (pass->tokens[pass->first].special || pass->tokens[pass->first].begin < prompt)) {
        pass->first++;
    }
    for (size_t i = pass->first; i < pass->end; i++) {
        if (!pass->tokens[i].special) {
            pass->tokens[i].begin -= prompt;
            pass->tokens[i].end -= prompt;
        }
    }
}

static int make_pass(struct emb_embed_request *r, const char *name, embellama_text text, struct pass *pass)
{
    size_t prompt = r->inputs.prompt.size, size, count;
    *pass = (struct pass){0};
    if (!emb_add(prompt, text.size, &size) || !(pass->whole = emb_alloc(size > 0 ? size : 1, 1))) {
        return emb_refuse_nomem(&r->refusal);
    }
    if (prompt > 0) {
        memcpy(pass->whole, r->inputs.prompt.bytes, prompt);
    }
    if (text.size > 0) {
        memcpy(pass->whole + prompt, text.bytes, text.size);
    }
    if (emb_token_list(&pass->tokens, &count, r->inputs.model, (embellama_text){pass->whole, size}, name,
                       &r->refusal) != 0 ||
        emb_embed_inputs_add_text(&r->inputs, name, text, &r->refusal) != 0) {
        return -1;
    }
    find_content(pass, count, prompt, r->inputs.limit);
    return 0;
}

/* The pieces of one text, pooled from its own pass. */
static int add_late(struct emb_embed_request *r, struct chunked *k, const char *name, size_t index, embellama_text text)
{
    struct pass pass;
    struct emb_chunks chunks = {0};
    embellama_error error = {0};
    int rc = make_pass(r, name, text, &pass);
    if (rc == 0) {
        size_t count = pass.end - pass.first;
        if (r->inputs.items[r->inputs.count - 1].truncated && count > 0) {
            text.size = pass.tokens[pass.end - 1].end;
        }
        int status = emb_chunks_make(&chunks, text, pass.tokens + pass.first, count, &k->options, &error);
        rc = status == EMBELLAMA_OK ? 0 : refuse_chunks(r, name, status, &error);
    }
    for (size_t i = 0; rc == 0 && i < chunks.count; i++) {
        const struct emb_chunk *c = &chunks.list[i];
        struct piece *piece = add_piece(r, k);
        rc = piece ? 0 : -1;
        if (piece) {
            *piece = (struct piece){
                .text = index, .row = pass.first + c->first, .end_row = pass.first + c->last, .chunk = *c};
        }
    }
    emb_chunks_deinit(&chunks);
    pass_deinit(&pass);
    return rc;
}

/* All texts as one, a space between; *out is the caller's. */
static bool join(const struct emb_texts *texts, char **out, size_t *size)
{
    *size = texts->count - 1;
    for (size_t i = 0; i < texts->count; i++) {
        if (!emb_add(*size, texts->items[i].text.size, size)) {
            return false;
        }
    }
    char *to = *out = emb_alloc(*size > 0 ? *size : 1, 1);
    for (size_t i = 0; to && i < texts->count; i++) {
        if (i > 0) {
            *to++ = ' ';
        }
        memcpy(to, texts->items[i].text.bytes, texts->items[i].text.size);
        to += texts->items[i].text.size;
    }
    return to != NULL;
}

/* Each text is a piece of the pass over all of them. */
static int split_pass(struct emb_embed_request *r, struct chunked *k, const struct emb_texts *texts,
                      const struct pass *pass)
{
    size_t begin = 0, at = pass->first;
    for (size_t i = 0; i < texts->count; i++) {
        size_t end = begin + texts->items[i].text.size;
        struct piece *piece = add_piece(r, k);
        if (!piece) {
            return -1;
        }
        piece->text = i;
        piece->row = at;
        while (at < pass->end && (pass->tokens[at].special || pass->tokens[at].begin < end)) {
            at++;
        }
        piece->end_row = at;
        if (piece->row == at) {
            char name[32];
            snprintf(name, sizeof name, "input[%zu]", i);
            return emb_refuse_invalid(&r->refusal, name,
                                      "'$.%s' is invalid: late chunking needs a text of at least one token.", name);
        }
        begin = end + 1;
    }
    return 0;
}

static int add_joined(struct emb_embed_request *r, struct chunked *k, const struct emb_texts *texts)
{
    char *text = NULL;
    size_t size;
    struct pass pass = {0};
    r->inputs.truncate = false;
    if (!join(texts, &text, &size)) {
        emb_free(text);
        return emb_refuse_nomem(&r->refusal);
    }
    int rc = make_pass(r, "input", (embellama_text){text, size}, &pass);
    if (rc == 0) {
        rc = split_pass(r, k, texts, &pass);
    }
    pass_deinit(&pass);
    emb_free(text);
    return rc;
}

/* ---- Reading ---- */

static int add_texts(struct emb_embed_request *r, struct chunked *k, const struct emb_texts *texts)
{
    char name[32];
    if (k->joined) {
        return add_joined(r, k, texts);
    }
    for (size_t i = 0; i < texts->count; i++) {
        snprintf(name, sizeof name, "input[%zu]", i);
        const char *called = texts->count == 1 ? "input" : name;
        int rc = k->late ? add_late(r, k, called, i, texts->items[i].text)
                         : add_pieces(r, k, called, i, texts->items[i].text);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static const struct emb_embed_dialect dialect;

int emb_chunked_read(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    struct chunked *k = emb_calloc(1, sizeof *k);
    if (!k) {
        return emb_refuse_nomem(&r->refusal);
    }
    r->state = k;
    r->free_state = free_chunked;
    r->dialect = &dialect;
    if (!emb_member(body, "input", &v)) {
        return emb_refuse_invalid(&r->refusal, "input", "you must provide an input parameter");
    }
    if (read_options(r, k, body) != 0) {
        return -1;
    }
    struct emb_texts texts = {.most = r->inputs.most, .single = true};
    int rc = emb_texts_read(&texts, v, "input", &r->refusal);
    if (rc == 0) {
        rc = add_texts(r, k, &texts);
    }
    emb_texts_deinit(&texts);
    if (rc != 0) {
        return rc;
    }
    r->state_bytes = k->capacity * sizeof *k->pieces;
    k->vector = emb_alloc(r->dimensions, sizeof *k->vector);
    return k->vector ? 0 : emb_refuse_nomem(&r->refusal);
}

/* ---- Pooling ---- */

/* The rows' first n values as one vector, as the model pools a text's tokens. */
static void pool(float *out, const float *rows, size_t count, size_t dim, size_t n, embellama_pooling pooling)
{
    if (pooling == EMBELLAMA_POOLING_LAST) {
        rows += (count - 1) * dim;
    }
    memcpy(out, rows, n * sizeof *out);
    if (pooling == EMBELLAMA_POOLING_CLS || pooling == EMBELLAMA_POOLING_LAST) {
        return;
    }
    bool max = pooling == EMBELLAMA_POOLING_MAX;
    for (size_t i = 1; i < count; i++) {
        const float *row = rows + i * dim;
        for (size_t j = 0; j < n; j++) {
            out[j] = !max ? out[j] + row[j] : row[j] > out[j] ? row[j] : out[j];
        }
    }
    float by = max ? 1 : pooling == EMBELLAMA_POOLING_MEAN_SQRT_LEN ? sqrtf((float)count) : (float)count;
    for (size_t j = 0; j < n; j++) {
        out[j] /= by;
    }
}

/* The vector of a piece out of its pass's n values; NULL where it lies beyond them. It is made only when it is written, as there may be many of many rows. */
static const float *pool_piece(const struct emb_embed_request *r, const struct piece *piece, const float *rows,
                               size_t n)
{
    const struct chunked *k = r->state;
    size_t dim = embellama_dim(r->inputs.model), row = piece->row, end = piece->end_row;
    if (row == end) { /* a text without tokens of its own: what stands around it */
        row = 0;
        end = n / dim;
    }
    if (end * dim > n) {
        return NULL;
    }
    pool(k->vector, rows + row * dim, end - row, dim, r->dimensions, emb_served_pooling(r->inputs.model, r->options));
    if (k->normalize) {
        embellama_normalize_vector(k->vector, r->dimensions, emb_served_normalize(r->inputs.model, r->options),
                                   r->options->p);
    }
    return k->vector;
}

/* ---- The reply ---- */

static size_t entries(const struct emb_embed_request *r)
{
    const struct chunked *k = r->state;
    return k->count;
}

static void begin_pieces(const struct emb_embed_request *r, struct emb_buf *out)
{
    emb_openai_dialect.begin(r, out);
}

static void write_piece(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    const struct chunked *k = r->state;
    const struct piece *piece = &k->pieces[i];
    size_t n;
    const float *vector = emb_embed_values(r, !k->late ? i : k->joined ? 0 : piece->text, &n);
    if (vector && k->late) {
        vector = pool_piece(r, piece, vector, n);
    }
    emb_buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i == 0 ? "" : ",", i);
    emb_vector_write(out, vector, r->dimensions, r->form);
    if (!k->joined) {
        const struct emb_chunk *c = &piece->chunk;
        emb_buf_printf(out, ",\"chunk\":{\"input\":%zu,\"start\":%zu,\"end\":%zu,\"start_byte\":%zu,\"end_byte\":%zu}",
                       piece->text, c->begin_char, c->end_char, c->begin, c->end);
    }
    emb_buf_puts(out, "}");
}

static void end_pieces(const struct emb_embed_request *r, struct emb_buf *out)
{
    emb_openai_dialect.end(r, out);
}

static const struct emb_embed_dialect dialect = {
    .entries = entries, .begin = begin_pieces, .input = write_piece, .end = end_pieces};
