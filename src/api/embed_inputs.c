/* The inputs of a request. Owns their memory. Knows neither HTTP nor the queue.
 *
 * What is computed of an input is one task of all inputs. Vectors are cached, rows of tokens and scores are not: the first are too
 * many, the second too seldom asked for twice. */
#include "api/embed_inputs.h"

#include <string.h>

#include "base/mem.h"

void emb_embed_inputs_deinit(struct emb_embed_inputs *in)
{
    emb_free(in->items);
    emb_free(in->ids);
    emb_free(in->counts);
    emb_free(in->tasks);
    emb_free(in->places);
    emb_free(in->vectors);
    emb_free(in->statuses);
    emb_free(in->hits);
    emb_free(in->texts);
}

static enum emb_task_kind task_of(const struct emb_embed_inputs *in)
{
    return in->task ? *in->task : EMB_TASK_EMBED;
}

/* A model that has labels scores texts and does nothing else. */
static int check_task(const struct emb_embed_inputs *in, struct emb_refusal *refusal)
{
    size_t labels = embellama_model_get_info(in->model)->labels;
    if (task_of(in) == EMB_TASK_SCORE ? labels > 0 : labels == 0) {
        return 0;
    }
    return emb_refuse(refusal, 400, "invalid_request_error", "model", "not_supported", "%s",
                      labels > 0 ? "This model scores texts and pairs of texts: it makes no vectors."
                                 : "This model makes vectors of texts: it gives no scores.");
}

/* ---- The cache ---- */

/* Kinds of keys. A text that was cut is of a kind of its own, since without leave to cut it the same text is refused, and so is each
 * side and each length. Ids are looked up as they are after the cut. */
enum { TEXT, TEXT_CUT, TEXT_CUT_LEFT, IDS, KEY_KINDS };

static uint32_t kind_of(const struct emb_embed_inputs *in, bool text, bool cut)
{
    uint32_t kind = !text ? IDS : !cut ? TEXT : in->truncate_left ? TEXT_CUT_LEFT : TEXT_CUT;
    kind += task_of(in) == EMB_TASK_RAW ? KEY_KINDS : 0;
    return kind + (text && cut ? (uint32_t)in->limit * 2 * KEY_KINDS : 0);
}

/* Only vectors of inputs are kept. */
static bool cacheable(const struct emb_embed_inputs *in)
{
    return in->cache && (task_of(in) == EMB_TASK_EMBED || task_of(in) == EMB_TASK_RAW);
}

static struct emb_cache_key make_key(const struct emb_embed_inputs *in, uint32_t kind, const void *data, size_t size)
{
    return (struct emb_cache_key){.client = in->client, .kind = kind, .data = data, .size = size};
}

/* What has more tokens than now are allowed is not what is looked for. */
static bool look_up(const struct emb_embed_inputs *in, uint32_t kind, const void *data, size_t size, float *vector,
                    uint32_t *tokens)
{
    struct emb_cache_key key = make_key(in, kind, data, size);
    return emb_cache_get(in->cache, &key, vector, embellama_dim(in->model), tokens) && *tokens <= in->limit;
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
    if (!cacheable(in) || !in->read_cache) {
        return 0;
    }
    struct emb_embed_input *item = append(in);
    if (!item || !emb_mul(in->n_hits + 1, dim, &values) ||
        !emb_grow(&in->hits, &in->hits_capacity, values, sizeof *in->hits)) {
        return -1;
    }
    float *vector = in->hits + in->n_hits * dim;
    bool whole = look_up(in, kind_of(in, text, false), key, size, vector, &item->tokens);
    bool cut = !whole && text && in->truncate && look_up(in, kind_of(in, true, true), key, size, vector, &item->tokens);
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
    for (size_t i = 0; cacheable(in) && i < in->count; i++) {
        const struct emb_embed_input *item = &in->items[i];
        if (item->cached || emb_embed_inputs_status(in, i) != EMBELLAMA_OK) {
            continue;
        }
        const void *data = item->text ? (const void *)(in->texts + item->key) : in->ids + item->key;
        struct emb_cache_key key = make_key(in, item->kind, data, item->key_size);
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

static int refuse_long(const struct emb_embed_inputs *in, const char *name, size_t count, struct emb_refusal *refusal)
{
    return emb_refuse_invalid(refusal, name,
                              "This model's maximum context length is %zu tokens, however you requested %zu "
                              "tokens (%s). Please shorten it, "
                              "or send \"truncate\": true to have it cut.",
                              in->limit, count, name);
}

/* A task for each miss, where they are not the usual one. */
static bool remember_task(struct emb_embed_inputs *in, uint32_t second)
{
    if (task_of(in) == EMB_TASK_EMBED) {
        return true;
    }
    if (!emb_grow(&in->tasks, &in->tasks_capacity, in->misses + 1, sizeof *in->tasks)) {
        return false;
    }
    in->tasks[in->misses] = (struct emb_task){.kind = task_of(in), .second = second};
    return true;
}

/* Keeps the input of count tokens that lies behind the others in ids and is not too long, or was cut. text: for its key. */
static int keep(struct emb_embed_inputs *in, size_t count, uint32_t second, bool truncated, const embellama_text *text,
                struct emb_refusal *refusal)
{
    if (task_of(in) == EMB_TASK_TOKENS && count > EMB_POOL_VALUES_MAX / embellama_dim(in->model)) {
        return emb_refuse(refusal, 413, "invalid_request_error", "input", "request_too_large",
                          "An input of %zu tokens has too many for a vector each.", count);
    }
    struct emb_embed_input *item = append(in);
    if (!item || !emb_grow(&in->counts, &in->counts_capacity, in->misses + 1, sizeof *in->counts) ||
        !remember_task(in, second) || (text && cacheable(in) && !remember_text(in, item, *text))) {
        return emb_refuse_nomem(refusal);
    }
    item->tokens = (uint32_t)count;
    item->truncated = truncated;
    item->text = text != NULL;
    item->kind = kind_of(in, item->text, truncated);
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

/* keep for one text of count tokens, of which only limit have to be there where it is refused. */
static int keep_single(struct emb_embed_inputs *in, const char *name, size_t count, const embellama_text *text,
                       struct emb_refusal *refusal)
{
    bool truncated = count > in->limit;
    if (truncated && !in->truncate) {
        return refuse_long(in, name, count, refusal);
    }
    if (truncated) {
        int32_t *ids = in->ids + in->n_ids;
        count = in->truncate_left ? embellama_truncate_ids_left(in->model, ids, count, in->limit)
                                  : embellama_truncate_ids(in->model, ids, count, in->limit);
    }
    return keep(in, count, task_of(in) == EMB_TASK_SCORE ? (uint32_t)count : 0, truncated, text, refusal);
}

/* Tokenises and keeps a text, looked up before. */
static int add_whole_text(struct emb_embed_inputs *in, const char *name, embellama_text text,
                          struct emb_refusal *refusal)
{
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
    return keep_single(in, name, count, &text, refusal);
}

int emb_embed_inputs_add_text(struct emb_embed_inputs *in, const char *name, embellama_text text,
                              struct emb_refusal *refusal)
{
    size_t size;
    if (check_task(in, refusal) != 0) {
        return -1;
    }
    if (in->prompt.size == 0) {
        return add_whole_text(in, name, text, refusal);
    }
    char *whole = emb_add(in->prompt.size, text.size, &size) ? emb_alloc(size, 1) : NULL;
    if (!whole) {
        return emb_refuse_nomem(refusal);
    }
    memcpy(whole, in->prompt.bytes, in->prompt.size);
    if (text.size > 0) {
        memcpy(whole + in->prompt.size, text.bytes, text.size);
    }
    int rc = add_whole_text(in, name, (embellama_text){.bytes = whole, .size = size}, refusal);
    emb_free(whole);
    return rc;
}

/* ---- Pairs ---- */

/* Where the second text begins by the token types; count where it has none. */
static size_t find_second(const int32_t *types, size_t count)
{
    size_t i = 0;
    while (i < count && types[i] == 0) {
        i++;
    }
    return i;
}

/* The ids of a pair behind the others, all of them, however many. */
static int tokenize_pair(struct emb_embed_inputs *in, const char *name, embellama_text query, embellama_text document,
                         size_t *count, size_t *second, struct emb_refusal *refusal)
{
    embellama_error error = {0};
    size_t room = in->limit;
    int rc = EMBELLAMA_OK;
    for (int tries = 0; tries < 2; tries++) {
        int32_t *types = emb_alloc(room, sizeof *types);
        bool made = types && make_room(in, room);
        if (made) {
            rc = embellama_tokenize(in->model, query, &document, in->ids + in->n_ids, types, room, count, &error);
            *second = rc == EMBELLAMA_OK && *count <= room ? find_second(types, *count) : 0;
        }
        emb_free(types);
        if (!made) {
            return emb_refuse_nomem(refusal);
        }
        if (rc != EMBELLAMA_OK || *count <= room || !in->truncate) {
            break;
        }
        room = *count;
    }
    return rc == EMBELLAMA_OK ? 0 : emb_refuse_status(refusal, name, rc, error.message);
}

int emb_embed_inputs_add_pair(struct emb_embed_inputs *in, const char *name, embellama_text query,
                              embellama_text document, struct emb_refusal *refusal)
{
    size_t count, second;
    if (check_task(in, refusal) != 0) {
        return -1;
    }
    if (in->only_cached) {
        return emb_refuse_full(refusal);
    }
    if (tokenize_pair(in, name, query, document, &count, &second, refusal) != 0) {
        return -1;
    }
    bool truncated = count > in->limit;
    if (truncated && !in->truncate) {
        return refuse_long(in, name, count, refusal);
    }
    if (truncated) {
        count = embellama_truncate_pair(in->model, in->ids + in->n_ids, count, &second, in->limit);
    }
    return keep(in, count, (uint32_t)second, truncated, &document, refusal);
}

/* ---- Token ids ---- */

static int refuse_token(const struct emb_embed_inputs *in, const char *name, size_t index, int64_t id,
                        struct emb_refusal *refusal)
{
    if (in->foreign) {
        return emb_refuse_invalid(
            refusal, name,
            "%s: token id %lld at position %zu is none of the vocabulary of %zu ids that this server reads clients' "
            "ids by "
            "(--token-ids). The client tokenised with another one: let it send text instead (LangChain: "
            "check_embedding_ctx_length=False).",
            name, (long long)id, index, embellama_vocabulary_size(in->foreign));
    }
    return emb_refuse_invalid(
        refusal, name,
        "%s: token id %lld at position %zu is outside this model's vocabulary of %zu tokens. The client probably "
        "tokenised with another model's vocabulary: let it send text instead (LangChain: "
        "check_embedding_ctx_length=False), or start this server with that vocabulary (--token-ids).",
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
    return keep_single(in, name, count, NULL, refusal);
}

/* The text that the ids stand for in the client's vocabulary. */
static int add_foreign(struct emb_embed_inputs *in, const char *name, embellama_ids content,
                       struct emb_refusal *refusal)
{
    embellama_error error = {0};
    size_t room = 0, size = 0;
    char *text = NULL;
    int rc = embellama_vocabulary_decode(in->foreign, content, NULL, 0, &size, &error);
    if (rc == EMBELLAMA_OK) {
        room = size;
        text = emb_alloc(room > 0 ? room : 1, 1);
        rc = text ? embellama_vocabulary_decode(in->foreign, content, text, room, &size, &error) : EMBELLAMA_E_NOMEM;
    }
    if (rc == EMBELLAMA_OK) {
        rc = emb_embed_inputs_add_text(in, name, (embellama_text){.bytes = text, .size = size}, refusal);
    } else if (rc == EMBELLAMA_E_TOKEN_ID && error.offset < content.count) {
        rc = refuse_token(in, name, error.offset, content.ids[error.offset], refusal);
    } else {
        rc = rc == EMBELLAMA_E_NOMEM ? emb_refuse_nomem(refusal) : emb_refuse_status(refusal, name, rc, error.message);
    }
    emb_free(text);
    return rc;
}

int emb_embed_inputs_add_ids(struct emb_embed_inputs *in, const char *name, struct emb_json_value ids,
                             struct emb_refusal *refusal)
{
    size_t n = emb_json_size(ids);
    if (check_task(in, refusal) != 0) {
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
    if (rc == 0 && in->foreign) {
        rc = add_foreign(in, name, (embellama_ids){.ids = content, .count = n}, refusal);
    } else if (rc == 0) {
        rc = complete(in, name, (embellama_ids){.ids = content, .count = n}, refusal);
    }
    emb_free(content);
    return rc;
}

/* ---- Results ---- */

/* Most values that so many tokens can get do not wrap. */
static bool count_values(struct emb_embed_inputs *in)
{
    const embellama_model_info *info = embellama_model_get_info(in->model);
    size_t most = info->dim > info->labels ? info->dim : info->labels, product;
    if (!emb_mul(in->n_ids, most, &product)) {
        return false;
    }
    in->values = emb_task_values_of(in->tasks, in->counts, in->misses, info->dim, info->labels);
    in->places = in->tasks ? emb_alloc(in->misses, sizeof *in->places) : NULL;
    size_t place = 0;
    for (size_t i = 0; in->places && i < in->misses; i++) {
        in->places[i] = place;
        place += emb_task_values(&in->tasks[i], in->counts[i], info->dim, info->labels);
    }
    return !in->tasks || in->places;
}

int emb_embed_inputs_prepare(struct emb_embed_inputs *in, struct emb_refusal *refusal)
{
    if (!count_values(in)) {
        return emb_refuse_nomem(refusal);
    }
    in->vectors = emb_alloc(in->values, sizeof *in->vectors);
    in->statuses = emb_calloc(in->misses, sizeof *in->statuses);
    return in->vectors && in->statuses ? 0 : emb_refuse_nomem(refusal);
}

/* What is counted was allocated: no sum of it is too large. */
size_t emb_embed_inputs_held(const struct emb_embed_inputs *in)
{
    size_t tasks = in->tasks_capacity * sizeof *in->tasks + (in->places ? in->misses * sizeof *in->places : 0);
    return in->capacity * sizeof *in->items + in->ids_capacity * sizeof *in->ids +
           in->counts_capacity * sizeof *in->counts + tasks + in->values * sizeof *in->vectors +
           in->misses * sizeof *in->statuses + in->hits_capacity * sizeof *in->hits + in->texts_capacity;
}

float *emb_embed_inputs_vector(const struct emb_embed_inputs *in, size_t i)
{
    const struct emb_embed_input *item = &in->items[i];
    size_t even = item->row * embellama_dim(in->model);
    return item->cached ? in->hits + even : in->vectors + (in->places ? in->places[item->row] : even);
}

int emb_embed_inputs_status(const struct emb_embed_inputs *in, size_t i)
{
    const struct emb_embed_input *item = &in->items[i];
    return item->cached ? EMBELLAMA_OK : in->statuses[item->row];
}
