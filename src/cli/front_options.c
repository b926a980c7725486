/* Options into limits, rights and the cache's size. */
#include "cli/front_options.h"

#define MEGABYTE ((size_t)1 << 20)
#define BODIES 4 /* of the largest kind that must fit into what is held at once */

static unsigned milliseconds(int64_t seconds)
{
    return (unsigned)seconds * 1000;
}

struct emb_front_limits emb_cli_front_limits(const struct emb_cli_options *options)
{
    struct emb_front_limits limits = emb_front_limits_default();
    size_t body = (size_t)options->max_body;
    limits.backlog = (unsigned)options->backlog;
    limits.connections = (size_t)options->max_connections;
    limits.http1.body = body;
    limits.http1.head = (size_t)options->max_header;
    limits.head_ms = milliseconds(options->header_timeout);
    limits.body_ms = milliseconds(options->body_timeout);
    limits.write_ms = milliseconds(options->write_timeout);
    limits.idle_ms = milliseconds(options->idle_timeout);
    limits.stop_accept_ms = milliseconds(options->drain_delay);
    limits.half_close = options->allow_half_close;
    limits.compress = options->compression != 0;
    if (limits.http1.target > limits.http1.head) {
        limits.http1.target = limits.http1.head;
    }
    if (limits.held < body * BODIES) {
        limits.held = body * BODIES;
    }
    if (limits.unanswered < body * 2) {
        limits.unanswered = body * 2;
    }
    return limits;
}

struct emb_access_options emb_cli_access(const struct emb_cli_options *options)
{
    return (struct emb_access_options){.keys = options->api_key,
                                       .key_file = options->api_key_file,
                                       .requests_per_minute = (double)options->rate_limit_requests,
                                       .tokens_per_minute = (double)options->rate_limit_tokens,
                                       .cors_origins = options->cors_origins,
                                       .metrics_public = options->metrics_public};
}

struct emb_cache_options emb_cli_cache(const struct emb_cli_options *options)
{
    bool automatic = options->cache_size == EMB_CLI_CACHE_AUTO;
    return (struct emb_cache_options){.bytes = automatic ? emb_cache_default_bytes()
                                                         : (size_t)options->cache_size * MEGABYTE,
                                      .ttl_s = (unsigned)options->cache_ttl,
                                      .by_client = options->cache_scope == EMB_CLI_CACHE_KEY};
}
