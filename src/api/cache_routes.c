/* What the cache holds, emptying it, and filling it ahead of time. The replies have the members of the Rust server of this name as
 * well as our own, and so have its routes of a cache of prefixes, of which there is none here. */
#include "api/handlers.h"

#include <inttypes.h>

#include "api/embed_list.h"
#include "api/embed_options.h"
#include "api/served_model.h"
#include "base/log.h"
#include "server/http/exchange.h"

enum { REPLY_BYTES = 4096, WARM_TEXTS = 1000 };

static double hit_ratio(const struct emb_cache_stats *s)
{
    uint64_t asked = s->hits + s->misses;
    return asked > 0 ? (double)s->hits / (double)asked : 0.0;
}

/* An object as the Rust server has it. */
static void write_their_stats(struct emb_buf *out, const struct emb_cache_stats *s)
{
    emb_buf_printf(out,
                   "{\"hits\":%" PRIu64 ",\"misses\":%" PRIu64 ",\"evictions\":%" PRIu64
                   ",\"memory_bytes\":%zu,\"entry_count\":%zu,\"hit_rate\":%.4f}",
                   s->hits, s->misses, s->evictions, s->bytes, s->entries, hit_ratio(s));
}

void emb_api_cache_stats(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_cache_stats s = emb_cache_stats(emb_server_cache(server));
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"enabled\":%s,\"entries\":%zu,\"bytes\":%zu,\"max_bytes\":%zu",
                   s.budget > 0 ? "true" : "false", s.entries, s.bytes, s.budget);
    emb_buf_printf(&out, ",\"hits\":%" PRIu64 ",\"misses\":%" PRIu64 ",\"hit_ratio\":%.4f", s.hits, s.misses,
                   hit_ratio(&s));
    emb_buf_printf(&out,
                   ",\"stored\":%" PRIu64 ",\"evictions\":%" PRIu64 ",\"expired\":%" PRIu64 ",\"clears\":%" PRIu64,
                   s.stored, s.evictions, s.expired, s.clears);
    emb_buf_puts(&out, ",\"stats\":");
    write_their_stats(&out, &s);
    double used = s.budget > 0 ? 100.0 * (double)s.bytes / (double)s.budget : 0.0;
    emb_buf_printf(&out, ",\"memory\":{\"total_bytes\":%zu,\"available_bytes\":%zu,\"usage_percentage\":%.2f}}\n",
                   s.budget, s.budget > s.bytes ? s.budget - s.bytes : 0, used);
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_api_cache_clear(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_cache *cache = emb_server_cache(server);
    struct emb_cache_stats before = emb_cache_stats(cache);
    struct emb_buf out;
    emb_cache_clear(cache);
    emb_log(EMB_LOG_INFO, "cache_cleared", "entries=%zu id=%s", before.entries, emb_exchange_request_id(x));
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"status\":\"ok\",\"entries\":%zu,\"previous_stats\":", before.entries);
    write_their_stats(&out, &before);
    emb_buf_puts(&out, "}\n");
    emb_exchange_reply(x, 200, "application/json", &out);
}

/* ---- POST /cache/warm: texts are computed as /v1/embeddings would, and kept ---- */

static int read_warm(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value texts;
    if (emb_served_model_check(r->inputs.model, r->model_name, body, false, &r->refusal) != 0 ||
        emb_options_truncate(&r->inputs, body, &r->refusal) != 0 ||
        emb_options_prompt(&r->inputs, body, &r->refusal) != 0) {
        return -1;
    }
    if (!r->inputs.cache || emb_cache_stats(r->inputs.cache).budget == 0) {
        return emb_refuse(&r->refusal, 400, "invalid_request_error", NULL, "cache_off",
                          "There is no cache to fill: the server keeps none (--cache-size), or this request's "
                          "cache-control rules it out.");
    }
    if (!emb_member(body, "texts", &texts) || emb_json_type(texts) != EMB_JSON_ARRAY) {
        return emb_refuse_invalid(&r->refusal, "texts", "you must provide texts, a list of strings");
    }
    if (emb_json_size(texts) > WARM_TEXTS) {
        return emb_refuse_invalid(&r->refusal, "texts", "'$.texts' is invalid: it may hold %d texts, but it holds %zu.",
                                  WARM_TEXTS, emb_json_size(texts));
    }
    return emb_embed_list_strings(r, "texts", texts);
}

static void begin_warm(const struct emb_embed_request *r, struct emb_buf *out)
{
    size_t cached = 0, failed = 0;
    for (size_t i = 0; i < r->inputs.count; i++) {
        cached += r->inputs.items[i].cached;
        failed += emb_embed_inputs_status(&r->inputs, i) != EMBELLAMA_OK;
    }
    emb_buf_printf(out, "{\"status\":\"completed\",\"texts_processed\":%zu,\"already_cached\":%zu",
                   r->inputs.count - failed, cached);
}

static size_t no_entries(const struct emb_embed_request *r)
{
    (void)r;
    return 0;
}

static void no_entry(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    (void)r;
    (void)i;
    (void)out;
}

static void end_warm(const struct emb_embed_request *r, struct emb_buf *out)
{
    emb_embed_write_errors(r, out);
    emb_buf_puts(out, "}\n");
}

void emb_api_cache_warm(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect dialect = {
        .read = read_warm, .entries = no_entries, .begin = begin_warm, .input = no_entry, .end = end_warm};
    emb_embed_serve(server, x, &dialect);
}

/* ---- /v1/embeddings/prefix ----
 *
 * What a decoder computes of a prefix can be kept for the texts that go on from it. In an encoder each token's state depends on all
 * tokens, those behind it included, so that nothing of a prefix can be used again: there is nothing to register, to list or to clear. */

static void reply(struct emb_exchange *x, const char *body)
{
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_puts(&out, body);
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_api_prefix_add(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    emb_exchange_add_header(x, "x-should-retry", "false");
    emb_exchange_error(
        x, 501, "not_supported_error", NULL, "not_supported",
        "Prefixes are not kept: in an encoder each token's state depends on the whole text, so that nothing "
        "of a prefix can be used again. Whole texts are kept by themselves (see /cache/stats).");
}

void emb_api_prefix_list(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    reply(x, "{\"prefixes\":[],\"total_count\":0}\n");
}

void emb_api_prefix_clear(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    reply(x, "{\"status\":\"ok\",\"previous_stats\":{\"hits\":0,\"misses\":0,\"evictions\":0,\"memory_bytes\":0,"
             "\"entry_count\":0,\"hit_rate\":0.0}}\n");
}

void emb_api_prefix_stats(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    reply(x, "{\"enabled\":false,\"session_count\":0,\"total_hits\":0,\"total_misses\":0,\"total_evictions\":0,"
             "\"memory_usage_bytes\":0,\"hit_rate\":0.0}\n");
}
