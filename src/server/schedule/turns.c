/* Two lists and a balance between them. */
#include "server/schedule/turns.h"

enum { NEWCOMERS_SHARE = 4 };

static void append(struct emb_turns *turns, struct emb_turn *turn, bool old)
{
    turn->old = old;
    turn->next = NULL;
    turn->previous = turns->last[old];
    *(turn->previous ? &turn->previous->next : &turns->first[old]) = turn;
    turns->last[old] = turn;
}

static void take_out(struct emb_turns *turns, struct emb_turn *turn)
{
    *(turn->previous ? &turn->previous->next : &turns->first[turn->old]) = turn->next;
    *(turn->next ? &turn->next->previous : &turns->last[turn->old]) = turn->previous;
}

void emb_turns_join(struct emb_turns *turns, struct emb_turn *turn)
{
    turn->credit = EMB_TURN_QUANTUM;
    append(turns, turn, false);
    turns->count++;
}

void emb_turns_leave(struct emb_turns *turns, struct emb_turn *turn)
{
    take_out(turns, turn);
    turns->count--;
}

void emb_turns_put_last(struct emb_turns *turns, struct emb_turn *turn)
{
    take_out(turns, turn);
    append(turns, turn, true);
}

struct emb_turn *emb_turns_next(struct emb_turns *turns)
{
    struct emb_turn *turn = turns->first[1];
    if (turns->first[0] && (!turn || turns->owed < NEWCOMERS_SHARE * EMB_TURN_QUANTUM)) {
        return turns->first[0];
    }
    while (turn && turn->credit <= 0) {
        turn->credit += EMB_TURN_QUANTUM;
        emb_turns_put_last(turns, turn);
        turn = turns->first[1];
    }
    return turn;
}

void emb_turns_charge(struct emb_turns *turns, struct emb_turn *turn, uint32_t tokens)
{
    turn->credit -= tokens;
    if (turn->old) {
        turns->owed -= (int64_t)tokens * NEWCOMERS_SHARE;
        turns->owed = turns->owed > 0 ? turns->owed : 0;
    } else if (turns->first[1]) {
        turns->owed += tokens;
    }
    if (turn->credit <= 0 || !turn->old) {
        take_out(turns, turn);
        append(turns, turn, turn->old || turn->credit <= 0);
    }
}
