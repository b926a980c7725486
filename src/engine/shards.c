/* The plan: the longest text first, each to the thread with least to do (LPT, Graham 1969); then what sticks out at the end goes to
 * all threads together. Costs are in tokens that know nothing of each other. */
#include "engine/shards.h"

#include <string.h>

#include "base/mem.h"

enum {
    /* Below so many tokens a thread, weights cost more than tokens: all work together. */
    SHARE_LEAST = 64,
    /* What few tokens cost a team at least, for the same reason. */
    JOINT_LEAST = 64,
    /* A joint shard is not made smaller than this to give each node one. */
    NODE_TOKENS = 128,
    /* Attention makes a text of 4 * hidden tokens twice as dear a token. */
    ATTENTION = 4,
};

struct emb_shards_list {
    size_t cost;
    size_t last; /* its last input: a place among the keys, + 1; 0: it is empty */
    size_t inputs, tokens;
    size_t cursor, end; /* places of the order that are not yet in shards */
};

void emb_shards_deinit(struct emb_shards *plan)
{
    emb_free(plan->order);
    emb_free(plan->shards);
    emb_free(plan->keys);
    emb_free(plan->before);
    emb_free(plan->lists);
    *plan = (struct emb_shards){0};
}

static bool make_room(struct emb_shards *plan, size_t n, size_t threads)
{
    return emb_grow(&plan->order, &plan->order_capacity, n, sizeof *plan->order) &&
           emb_grow(&plan->shards, &plan->shards_capacity, n, sizeof *plan->shards) &&
           emb_grow(&plan->keys, &plan->keys_capacity, n, sizeof *plan->keys) &&
           emb_grow(&plan->before, &plan->before_capacity, n, sizeof *plan->before) &&
           emb_grow(&plan->lists, &plan->lists_capacity, threads + 1, sizeof *plan->lists);
}

/* ---- The longest first ---- */

/* Tokens above, so that keys order by them; below, what makes the first of equals the greater. */
static uint64_t make_key(size_t tokens, size_t input)
{
    return (uint64_t)tokens << 32 | (UINT32_MAX - (uint32_t)input);
}

static size_t key_tokens(uint64_t key)
{
    return (size_t)(key >> 32);
}

static size_t key_input(uint64_t key)
{
    return UINT32_MAX - (uint32_t)key;
}

static void sift_down(uint64_t *keys, size_t root, size_t n)
{
    uint64_t key = keys[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        child += child + 1 < n && keys[child + 1] < keys[child];
        if (keys[child] >= key) {
            break;
        }
        keys[root] = keys[child];
    }
    keys[root] = key;
}

/* Heapsort, which needs no memory. */
static void sort_falling(uint64_t *keys, size_t n)
{
    for (size_t root = n / 2; root-- > 0;) {
        sift_down(keys, root, n);
    }
    for (size_t left = n; left-- > 1;) {
        uint64_t least = keys[0];
        keys[0] = keys[left];
        keys[left] = least;
        sift_down(keys, 0, left);
    }
}

/* ---- Sharing out ---- */

static size_t cost_of(size_t tokens, size_t hidden)
{
    return tokens + tokens * tokens / (ATTENTION * hidden);
}

static void append(struct emb_shards *plan, struct emb_shards_list *list, size_t place, size_t hidden)
{
    size_t tokens = key_tokens(plan->keys[place]);
    plan->before[place] = list->last;
    list->last = place + 1;
    list->inputs++;
    list->tokens += tokens;
    list->cost += cost_of(tokens, hidden);
}

static size_t last_cost(const struct emb_shards *plan, const struct emb_shards_list *list, size_t hidden)
{
    return cost_of(key_tokens(plan->keys[list->last - 1]), hidden);
}

static size_t remove_last(struct emb_shards *plan, struct emb_shards_list *list, size_t hidden)
{
    size_t place = list->last - 1;
    list->cost -= last_cost(plan, list, hidden);
    list->tokens -= key_tokens(plan->keys[place]);
    list->inputs--;
    list->last = plan->before[place];
    return place;
}

static struct emb_shards_list *least_busy(struct emb_shards_list *lists, size_t threads)
{
    struct emb_shards_list *least = lists;
    for (size_t i = 1; i < threads; i++) {
        least = lists[i].cost < least->cost ? &lists[i] : least;
    }
    return least;
}

/* How long the threads take together: four fifths as fast as each alone. */
static size_t joint_time(size_t cost, size_t threads)
{
    return cost == 0 ? 0 : (cost > JOINT_LEAST ? cost : JOINT_LEAST) * 5 / (4 * threads);
}

static size_t peak_of(const struct emb_shards_list *lists, size_t threads)
{
    size_t peak = 0;
    for (size_t i = 0; i < threads; i++) {
        peak = lists[i].cost > peak ? lists[i].cost : peak;
    }
    return peak;
}

/* Leaves the last texts of the busiest threads to all for as long as that shortens the whole. */
static void even_out(struct emb_shards *plan, const struct emb_shards_terms *terms)
{
    struct emb_shards_list *lists = plan->lists, *joint = &lists[terms->threads];
    for (;;) {
        size_t peak = peak_of(lists, terms->threads), busy = peak - peak / 16, lower = 0, cost = joint->cost;
        for (size_t i = 0; i < terms->threads; i++) {
            size_t last = lists[i].last && lists[i].cost >= busy ? last_cost(plan, &lists[i], terms->hidden) : 0;
            cost += last;
            lower = lists[i].cost - last > lower ? lists[i].cost - last : lower;
        }
        if (lower + joint_time(cost, terms->threads) >= peak + joint_time(joint->cost, terms->threads)) {
            return;
        }
        for (size_t i = 0; i < terms->threads; i++) {
            if (lists[i].last && lists[i].cost >= busy) {
                append(plan, joint, remove_last(plan, &lists[i], terms->hidden), terms->hidden);
            }
        }
    }
}

static void share_out(struct emb_shards *plan, size_t n, size_t total, const struct emb_shards_terms *terms)
{
    memset(plan->lists, 0, (terms->threads + 1) * sizeof *plan->lists);
    bool little = terms->threads > 1 && total / terms->threads < SHARE_LEAST;
    for (size_t place = 0; place < n; place++) {
        struct emb_shards_list *list = little ? &plan->lists[terms->threads] : least_busy(plan->lists, terms->threads);
        append(plan, list, place, terms->hidden);
    }
    if (terms->threads > 1 && !little) {
        even_out(plan, terms);
    }
}

/* ---- Shards ---- */

/* Gives each list its stretch of the order. */
static void arrange(struct emb_shards *plan, size_t threads)
{
    size_t start = 0;
    for (size_t i = 0; i <= threads; i++) {
        struct emb_shards_list *list = &plan->lists[i];
        size_t at = list->end = start + list->inputs;
        list->cursor = start;
        for (size_t place = list->last; place > 0; place = plan->before[place - 1]) {
            plan->order[--at] = key_input(plan->keys[place - 1]);
        }
        start = list->end;
    }
}

/* Cuts the list's next shard, so that the rest makes shards of the same size. */
static void cut(struct emb_shards *plan, struct emb_shards_list *list, const embellama_ids *inputs, size_t target,
                size_t most)
{
    size_t left = (list->tokens + target - 1) / target, share = (list->tokens + left - 1) / left;
    struct emb_shard *shard = &plan->shards[plan->count++];
    *shard = (struct emb_shard){.begin = list->cursor, .end = list->cursor};
    while (list->cursor < list->end) {
        size_t tokens = inputs[plan->order[list->cursor]].count;
        if (shard->tokens > 0 && (shard->tokens + tokens / 2 > share || shard->tokens + tokens > most)) {
            break;
        }
        shard->tokens += tokens;
        list->tokens -= tokens;
        shard->end = ++list->cursor;
    }
}

/* The threads' shards in turns, so that taking them in order comes to what was planned, and a thread that is held up leaves others
 * its last ones. */
static void cut_all(struct emb_shards *plan, const embellama_ids *inputs, const struct emb_shards_terms *terms)
{
    plan->count = 0;
    for (bool any = true; any;) {
        any = false;
        for (size_t i = 0; i < terms->threads; i++) {
            if (plan->lists[i].cursor < plan->lists[i].end) {
                cut(plan, &plan->lists[i], inputs, terms->tokens, terms->most);
                any = true;
            }
        }
    }
    plan->alone = plan->count;
    struct emb_shards_list *joint = &plan->lists[terms->threads];
    size_t share = (joint->tokens + terms->nodes - 1) / terms->nodes;
    share = share < NODE_TOKENS ? NODE_TOKENS : share;
    while (joint->cursor < joint->end) {
        cut(plan, joint, inputs, terms->nodes == 1 || share > terms->most ? terms->most : share, terms->most);
    }
}

bool emb_shards_plan(struct emb_shards *plan, const embellama_ids *inputs, size_t n,
                     const struct emb_shards_terms *terms)
{
    size_t total = 0;
    if (n > UINT32_MAX || !make_room(plan, n, terms->threads)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        plan->keys[i] = make_key(inputs[i].count, i);
        total += inputs[i].count;
    }
    sort_falling(plan->keys, n);
    share_out(plan, n, total, terms);
    arrange(plan, terms->threads);
    cut_all(plan, inputs, terms);
    return true;
}
