/* States by comparing times; there is no timer here. */
#include "server/schedule/breaker.h"

enum emb_breaker_state emb_breaker_state(const struct emb_breaker *b, uint64_t now_ns)
{
    return !b->tripped ? EMB_BREAKER_CLOSED : now_ns < b->until_ns ? EMB_BREAKER_OPEN : EMB_BREAKER_HALF_OPEN;
}

bool emb_breaker_allows(const struct emb_breaker *b, uint64_t now_ns)
{
    return !b->tripped || (now_ns >= b->until_ns && !b->probing);
}

void emb_breaker_sent(struct emb_breaker *b)
{
    b->probing = b->tripped;
}

void emb_breaker_succeeded(struct emb_breaker *b)
{
    b->failures = 0;
    b->tripped = b->probing = false;
    b->open_ns = 0;
}

void emb_breaker_failed(struct emb_breaker *b, uint64_t now_ns)
{
    b->failures++;
    if (b->tripped ? !b->probing : b->failures < EMB_BREAKER_FAILURES) {
        return;
    }
    b->probing = false;
    b->open_ns = b->open_ns == 0 ? EMB_BREAKER_OPEN_NS : b->open_ns * 2;
    if (b->open_ns > EMB_BREAKER_OPEN_MAX_NS) {
        b->open_ns = EMB_BREAKER_OPEN_MAX_NS;
    }
    b->tripped = true;
    b->until_ns = now_ns + b->open_ns;
    b->opened++;
}

void emb_breaker_unknown(struct emb_breaker *b)
{
    b->probing = false;
}
