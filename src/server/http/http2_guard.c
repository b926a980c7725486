/* The framing of HTTP/2 is nine bytes: length, type, flags and stream (RFC 9113, section 4.1). */
#include "server/http/http2_guard.h"

#include <string.h>

#define PREFACE 24
#define TOKEN 1000
#define EARN_BYTES 1024

enum { DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, CONTINUATION = 9 };
enum { PROTOCOL_ERROR = 1, ENHANCE_YOUR_CALM = 11 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

/* ---- Buckets ---- */

static void bucket_init(struct emb_bucket *bucket, unsigned burst, unsigned per_s, uint64_t now)
{
    bucket->left = bucket->most = (uint64_t)burst * TOKEN;
    bucket->per_ms = per_s;
    bucket->filled_at = now;
}

static void bucket_add(struct emb_bucket *bucket, uint64_t amount)
{
    bucket->left = amount < bucket->most - bucket->left ? bucket->left + amount : bucket->most;
}

static bool bucket_take(struct emb_bucket *bucket, uint64_t now)
{
    uint64_t passed = now > bucket->filled_at ? now - bucket->filled_at : 0;
    passed = passed < 3600000 ? passed : 3600000;
    bucket_add(bucket, passed * bucket->per_ms);
    bucket->filled_at = now;
    if (bucket->left < TOKEN) {
        return false;
    }
    bucket->left -= TOKEN;
    return true;
}

/* ---- The guard ---- */

void emb_http2_guard_init(struct emb_http2_guard *g, const struct emb_http2_guard_limits *limits, uint64_t now)
{
    *g = (struct emb_http2_guard){.limits = *limits, .preface_left = PREFACE};
    bucket_init(&g->frames, limits->frames, limits->frames_per_s, now);
    bucket_init(&g->resets, limits->resets, limits->resets_per_s, now);
}

void emb_http2_guard_earn(struct emb_http2_guard *g, size_t bytes)
{
    g->bytes += bytes;
    bucket_add(&g->frames, g->bytes / EARN_BYTES * TOKEN);
    g->bytes %= EARN_BYTES;
}

static bool refuse(struct emb_http2_guard *g, const char *why)
{
    g->why = why;
    g->code = ENHANCE_YOUR_CALM;
    return false;
}

bool emb_http2_guard_reset(struct emb_http2_guard *g, uint64_t now)
{
    return bucket_take(&g->resets, now) || refuse(g, "too many streams were reset");
}

static bool judge_block(struct emb_http2_guard *g, bool first, uint32_t length, unsigned flags, uint64_t now)
{
    if (first) {
        g->head_since = now;
    }
    g->in_head = true;
    g->block = first ? length : g->block + length;
    g->continuations = first ? 0 : g->continuations + 1;
    g->block_ends = (flags & END_HEADERS) != 0;
    return (g->continuations <= g->limits.continuations && g->block <= g->limits.block) ||
           refuse(g, "a header block is too long");
}

unsigned emb_http2_guard_type(const struct emb_http2_guard *g)
{
    return g->head[3];
}

uint32_t emb_http2_guard_stream(const struct emb_http2_guard *g)
{
    return (uint32_t)(g->head[5] & 0x7F) << 24 | (uint32_t)g->head[6] << 16 | (uint32_t)g->head[7] << 8 | g->head[8];
}

static bool judge(struct emb_http2_guard *g, uint64_t now)
{
    uint32_t length = (uint32_t)g->head[0] << 16 | (uint32_t)g->head[1] << 8 | g->head[2];
    unsigned type = g->head[3], flags = g->head[4];
    g->payload_left = length;
    switch (type) {
    case HEADERS: return judge_block(g, true, length, flags, now);
    case CONTINUATION: return judge_block(g, false, length, flags, now);
    case RST_STREAM: return emb_http2_guard_reset(g, now);
    case PRIORITY:
        if (emb_http2_guard_stream(g) == 0) {
            refuse(g, "a priority of no stream"); /* nghttp2 does not look at priorities as we use it */
            g->code = PROTOCOL_ERROR;
            return false;
        }
        break;
    case DATA:
        if ((length > 0 && (flags & PADDED) == 0) || (flags & END_STREAM) != 0) {
            return true;
        }
        break;
    default: break;
    }
    return bucket_take(&g->frames, now) || refuse(g, "too many frames carried nothing");
}

/* Gathers the frame's head; false: it is whole, and refused. */
static bool take_head(struct emb_http2_guard *g, const char *data, size_t size, size_t *used, uint64_t now)
{
    size_t room = sizeof g->head - g->head_size;
    *used = size < room ? size : room;
    memcpy(g->head + g->head_size, data, *used);
    g->head_size += (unsigned)*used;
    g->head_seen = g->head_size == sizeof g->head;
    if (g->head_seen) {
        g->head_size = 0;
    }
    return !g->head_seen || judge(g, now);
}

bool emb_http2_guard_feed(struct emb_http2_guard *g, const char *data, size_t size, size_t *used, uint64_t now)
{
    bool well = true;
    g->head_seen = false;
    if (g->preface_left > 0) {
        *used = size < g->preface_left ? size : g->preface_left;
        g->preface_left -= (unsigned)*used;
    } else if (g->payload_left > 0) {
        *used = size < g->payload_left ? size : g->payload_left;
        g->payload_left -= (uint32_t)*used;
    } else {
        well = take_head(g, data, size, used, now);
    }
    if (g->block_ends && g->payload_left == 0) {
        g->in_head = g->block_ends = false;
    }
    return well;
}
