/* Two sums that are halved together whenever they have grown enough. */
#include "server/schedule/pace.h"

/* Time after which what was measured counts half: some tens of batches. */
#define MEMORY_NS 2e9

void emb_pace_add(struct emb_pace *p, size_t tokens, uint64_t compute_ns)
{
    if (tokens == 0 || compute_ns == 0) {
        return;
    }
    p->tokens += (double)tokens;
    p->ns += (double)compute_ns;
    while (p->ns > MEMORY_NS) {
        p->tokens /= 2;
        p->ns /= 2;
    }
}

double emb_pace_tokens_per_ns(const struct emb_pace *p)
{
    return p->ns > 0 ? p->tokens / p->ns : 0;
}

uint64_t emb_pace_ns(const struct emb_pace *p, size_t tokens)
{
    return p->tokens > 0 ? (uint64_t)((double)tokens * (p->ns / p->tokens)) : 0;
}

size_t emb_pace_tokens(const struct emb_pace *p, uint64_t ns, size_t unknown)
{
    return p->ns > 0 ? (size_t)((double)ns * (p->tokens / p->ns)) : unknown;
}
