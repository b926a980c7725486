/* GET /cache/stats: what the cache holds and how often it helped. POST /cache/clear: forgets everything. */
#include "api/handlers.h"

#include <inttypes.h>

#include "base/log.h"
#include "server/http/exchange.h"

enum { REPLY_BYTES = 4096 };

void emb_api_cache_stats(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_cache_stats s = emb_cache_stats(emb_server_cache(server));
    uint64_t asked = s.hits + s.misses;
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"enabled\":%s,\"entries\":%zu,\"bytes\":%zu,\"max_bytes\":%zu",
                   s.budget > 0 ? "true" : "false", s.entries, s.bytes, s.budget);
    emb_buf_printf(&out, ",\"hits\":%" PRIu64 ",\"misses\":%" PRIu64 ",\"hit_ratio\":%.4f", s.hits, s.misses,
                   asked > 0 ? (double)s.hits / (double)asked : 0.0);
    emb_buf_printf(
        &out, ",\"stored\":%" PRIu64 ",\"evictions\":%" PRIu64 ",\"expired\":%" PRIu64 ",\"clears\":%" PRIu64 "}\n",
        s.stored, s.evictions, s.expired, s.clears);
    emb_exchange_reply(x, 200, "application/json", &out);
}

void emb_api_cache_clear(struct emb_server *server, struct emb_exchange *x)
{
    struct emb_cache *cache = emb_server_cache(server);
    size_t entries = emb_cache_stats(cache).entries;
    struct emb_buf out;
    emb_cache_clear(cache);
    emb_log(EMB_LOG_INFO, "cache_cleared", "entries=%zu id=%s", entries, emb_exchange_request_id(x));
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"status\":\"ok\",\"entries\":%zu}\n", entries);
    emb_exchange_reply(x, 200, "application/json", &out);
}
