/* The inputs of a request. Owns their memory. Knows neither HTTP nor the queue. */
#include "api/embed_inputs.h"

#include <string.h>

#include "base/mem.h"

void emb_embed_inputs_deinit(struct emb_embed_inputs *in)
{
    emb_free(in->items);
    emb_free(in->ids);
    emb_free(in->counts);
    emb_free(in->vectors);
    emb_free(in->statuses);
    emb_free(in->hits);
    emb_free(in->texts);
}

static int refuse_task(const char *name, struct emb_refusal *refusal)
{
    return emb_refuse(refusal, 422, "invalid_request_error", name, "not_supported",
                      "This server makes vectors of texts and nothing else.");
}

static int check_task(const struct emb_embed_inputs *in, const char *name, struct emb_refusal *refusal)
{
    return in->task && *in->task != EMB_TASK_EMBED ? refuse_task(name, refusal) : 0;
}

/* ---- The cache ---- */

/* A text that was cut is of a kind of its own, since without leave to cut it the same text is refused. Ids are looked up as they
 * are after the cut. */
enum kind { TEXT, TEXT_CUT, IDS };

static struct emb_cache_key make_key(const struct emb_embed_inputs *in, enum kind kind, const void *data, size_t size)
{
    return (struct emb_cache_key){.client = in->client, .kind = kind, .data = data, .size = size};
}

static bool look_up(const struct emb_embed_inputs *in, enum kind kind, const void *data, size_t size, float *vector,
                    uint32_t *tokens)
{
    struct emb_cache_key key = make_key(in, kind, data, size);
    return emb_cache_get(in->cache, &key, vector, embellama_dim(in->model), tokens);
}

static struct emb_embed_input *append(struct emb_embed_inputs *in)
{
    if (!emb_grow(&in->items, &in->capacity, in->count + 1, sizeof *in->items)) {
        return NULL;
    }
    struct emb_embed_input *item = &in->items[in->count];
    *item = (struct emb_embed_input){0};
    return item;
}

/* Adds the input if the cache has it; 1 where it has, 0 where not, -1 where memory is out. */
static int add_cached(struct emb_embed_inputs *in, bool text, const void *key, size_t size)
{
    size_t dim = embellama_dim(in->model), values;
    if (!in->cache || !in->read_cache) {
        return 0;
    }
    struct emb_embed_input *item = append(in);
    if (!item || !emb_mul(in->n_hits + 1, dim, &values) ||
        !emb_grow(&in->hits, &in->hits_capacity, values, sizeof *in->hits)) {
        return -1;
    }
    float *vector = in->hits + in->n_hits * dim;
    bool whole = look_up(in, text ? TEXT : IDS, key, size, vector, &item->tokens);
    bool cut = !whole && text && in->truncate && look_up(in, TEXT_CUT, key, size, vector, &item->tokens);
    if (!whole && !cut) {
        return 0;
    }
    item->cached = true;
    item->text = text;
    item->truncated = cut;
    item->row = in->n_hits++;
    in->count++;
    in->tokens += item->tokens;
    in->truncated += cut;
    return 1;
}

static bool remember_text(struct emb_embed_inputs *in, struct emb_embed_input *item, embellama_text text)
{
    size_t need;
    if (!emb_add(in->texts_size, text.size, &need) ||
        !emb_grow(&in->texts, &in->texts_capacity, need > 0 ? need : 1, 1)) {
        return false;
    }
    item->key = in->texts_size;
    item->key_size = text.size;
    if (text.size > 0) {
        memcpy(in->texts + in->texts_size, text.bytes, text.size);
    }
    in->texts_size = need;
    return true;
}

void emb_embed_inputs_store(const struct emb_embed_inputs *in)
{
    for (size_t i = 0; in->cache && i < in->count; i++) {
        const struct emb_embed_input *item = &in->items[i];
        if (item->cached || emb_embed_inputs_status(in, i) != EMBELLAMA_OK) {
            continue;
        }
        struct emb_cache_key key =
            item->text ? make_key(in, item->truncated ? TEXT_CUT : TEXT, in->texts + item->key, item->key_size)
                       : make_key(in, IDS, in->ids + item->key, item->key_size);
        emb_cache_put(in->cache, &key, emb_embed_inputs_vector(in, i), embellama_dim(in->model), item->tokens,
                      in->epoch);
    }
}

/* Looks an input up: 0 where it is to be computed, 1 where it was added, -1 with the refusal filled. */
static int try_cache(struct emb_embed_inputs *in, bool text, const void *key, size_t size, struct emb_refusal *refusal)
{
    int cached = add_cached(in, text, key, size);
    if (cached < 0) {
        return emb_refuse_nomem(refusal);
    }
    if (cached == 0 && in->only_cached) {
        return emb_refuse_full(refusal);
    }
    return cached;
}

/* ---- What is to be computed ---- */

/* Room for n more ids. */
static bool make_room(struct emb_embed_inputs *in, size_t n)
{
    size_t need;
    return emb_add(in->n_ids, n, &need) && emb_grow(&in->ids, &in->ids_capacity, need, sizeof *in->ids);
}

/* Keeps the input of count tokens that lies behind the others in ids, of which only limit have to be there if
 * it is too long. */
static int keep(struct emb_embed_inputs *in, const char *name, size_t count, const embellama_text *text,
                struct emb_refusal *refusal)
{
    bool truncated = count > in->limit;
    if (truncated) {
        if (!in->truncate) {
            return emb_refuse_invalid(refusal, name,
                                      "This model's maximum context length is %zu tokens, however you requested %zu "
                                      "tokens (%s). Please shorten it, "
                                      "or send \"truncate\": true to have it cut.",
                                      in->limit, count, name);
        }
        count = embellama_truncate_ids(in->model, in->ids + in->n_ids, count, in->limit);
    }
    struct emb_embed_input *item = append(in);
    if (!item || !emb_grow(&in->counts, &in->counts_capacity, in->misses + 1, sizeof *in->counts) ||
        (text && in->cache && !remember_text(in, item, *text))) {
        return emb_refuse_nomem(refusal);
    }
    item->tokens = (uint32_t)count;
    item->truncated = truncated;
    item->text = text != NULL;
    item->row = in->misses;
    if (!text) {
        item->key = in->n_ids;
        item->key_size = count * sizeof *in->ids;
    }
    in->counts[in->misses++] = (uint32_t)count;
    in->count++;
    in->n_ids += count;
    in->tokens += count;
    in->truncated += truncated;
    return 0;
}

int emb_embed_inputs_add_text(struct emb_embed_inputs *in, const char *name, embellama_text text,
                              struct emb_refusal *refusal)
{
    if (check_task(in, name, refusal) != 0) {
        return -1;
    }
    int cached = try_cache(in, true, text.bytes, text.size, refusal);
    if (cached != 0) {
        return cached > 0 ? 0 : -1;
    }
    embellama_error error = {0};
    size_t room = in->limit, count = 0;
    for (int tries = 0; tries < 2; tries++) {
        if (!make_room(in, room)) {
            return emb_refuse_nomem(refusal);
        }
        int rc = embellama_tokenize(in->model, text, NULL, in->ids + in->n_ids, NULL, room, &count, &error);
        if (rc != EMBELLAMA_OK) {
            return emb_refuse_status(refusal, name, rc, error.message);
        }
        if (count <= room || !in->truncate) {
            break;
        }
        room = count;
    }
    return keep(in, name, count, &text, refusal);
}

static int refuse_token(const struct emb_embed_inputs *in, const char *name, size_t index, int64_t id,
                        struct emb_refusal *refusal)
{
    return emb_refuse_invalid(
        refusal, name,
        "%s: token id %lld at position %zu is outside this model's vocabulary of %zu tokens. The client probably "
        "tokenised with "
        "another model's vocabulary: let it send text instead (LangChain: check_embedding_ctx_length=False).",
        name, (long long)id, index, embellama_model_get_info(in->model)->vocab_size);
}

/* Reads the JSON array into content[0..n). */
static int read_ids(const struct emb_embed_inputs *in, const char *name, struct emb_json_value ids, int32_t *content,
                    struct emb_refusal *refusal)
{
    size_t i = 0;
    for (struct emb_json_iter it = emb_json_iterate(ids); emb_json_next(&it); i++) {
        int64_t id;
        if (!emb_json_int(it.value, &id)) {
            return emb_refuse_invalid(refusal, name,
                                      "'$.%s' is invalid: it is a list of token ids, but its element %zu is %s.", name,
                                      i, emb_json_type_name(emb_json_type(it.value)));
        }
        if (id < 0 || id > INT32_MAX) {
            return refuse_token(in, name, i, id, refusal);
        }
        content[i] = (int32_t)id;
    }
    return 0;
}

static int complete(struct emb_embed_inputs *in, const char *name, embellama_ids content, struct emb_refusal *refusal)
{
    embellama_error error = {0};
    size_t room = in->limit, count = 0;
    for (int tries = 0; tries < 2; tries++) {
        if (!make_room(in, room)) {
            return emb_refuse_nomem(refusal);
        }
        int rc = embellama_complete_ids(in->model, content, in->ids + in->n_ids, room, &count, &error);
        if (rc == EMBELLAMA_E_TOKEN_ID && error.offset < content.count) {
            return refuse_token(in, name, error.offset, content.ids[error.offset], refusal);
        }
        if (rc != EMBELLAMA_OK) {
            return emb_refuse_status(refusal, name, rc, error.message);
        }
        if (count <= room || !in->truncate) {
            break;
        }
        room = count;
    }
    int cached = count <= in->limit ? try_cache(in, false, in->ids + in->n_ids, count * sizeof *in->ids, refusal) : 0;
    if (cached != 0) {
        return cached > 0 ? 0 : -1;
    }
    return keep(in, name, count, NULL, refusal);
}

int emb_embed_inputs_add_ids(struct emb_embed_inputs *in, const char *name, struct emb_json_value ids,
                             struct emb_refusal *refusal)
{
    size_t n = emb_json_size(ids);
    if (check_task(in, name, refusal) != 0) {
        return -1;
    }
    if (n == 0) {
        return emb_refuse_invalid(refusal, name, "'$.%s' is invalid: it is an empty list of token ids.", name);
    }
    int32_t *content = emb_alloc(n, sizeof *content);
    if (!content) {
        return emb_refuse_nomem(refusal);
    }
    int rc = read_ids(in, name, ids, content, refusal);
    if (rc == 0) {
        rc = complete(in, name, (embellama_ids){.ids = content, .count = n}, refusal);
    }
    emb_free(content);
    return rc;
}

int emb_embed_inputs_add_pair(struct emb_embed_inputs *in, const char *name, embellama_text query,
                              embellama_text document, struct emb_refusal *refusal)
{
    (void)in;
    (void)query;
    (void)document;
    return refuse_task(name, refusal);
}

/* ---- Results ---- */

int emb_embed_inputs_prepare(struct emb_embed_inputs *in, struct emb_refusal *refusal)
{
    size_t values;
    if (!emb_mul(in->misses, embellama_dim(in->model), &values)) {
        return emb_refuse_nomem(refusal);
    }
    in->vectors = emb_alloc(values, sizeof *in->vectors);
    in->statuses = emb_calloc(in->misses, sizeof *in->statuses);
    return in->vectors && in->statuses ? 0 : emb_refuse_nomem(refusal);
}

/* What is counted was allocated: no sum of it is too large. */
size_t emb_embed_inputs_held(const struct emb_embed_inputs *in)
{
    size_t vectors = in->misses * embellama_dim(in->model);
    return in->capacity * sizeof *in->items + in->ids_capacity * sizeof *in->ids +
           in->counts_capacity * sizeof *in->counts + vectors * sizeof *in->vectors +
           in->misses * sizeof *in->statuses + in->hits_capacity * sizeof *in->hits + in->texts_capacity;
}

float *emb_embed_inputs_vector(const struct emb_embed_inputs *in, size_t i)
{
    const struct emb_embed_input *item = &in->items[i];
    return (item->cached ? in->hits : in->vectors) + item->row * embellama_dim(in->model);
}

int emb_embed_inputs_status(const struct emb_embed_inputs *in, size_t i)
{
    const struct emb_embed_input *item = &in->items[i];
    return item->cached ? EMBELLAMA_OK : in->statuses[item->row];
}
