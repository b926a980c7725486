/* Whose turn it is among equals, by tokens: newcomers first, an input each in the order they came; who has had a
 * quantum joins the old ones, which take turns of a quantum each (the scheme of FQ-CoDel, RFC 8290, over deficit round
 * robin). While old ones wait, newcomers get at most four tokens for one of theirs, so that neither starves. */
#ifndef EMB_TURNS_H
#define EMB_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EMB_TURN_QUANTUM = 512 }; /* tokens: a long text's */

/* A member: lies first in its owner's struct. */
struct emb_turn {
    struct emb_turn *next, *previous;
    int64_t credit; /* tokens left of its quantum */
    bool old;
};

/* Zeroed: empty. */
struct emb_turns {
    struct emb_turn *first[2], *last[2]; /* newcomers, old ones */
    size_t count;
    int64_t owed; /* tokens that newcomers had while old ones waited, less four for each that these had */
};

/* As a newcomer. */
void emb_turns_join(struct emb_turns *turns, struct emb_turn *turn);
void emb_turns_leave(struct emb_turns *turns, struct emb_turn *turn);

/* Who is next, NULL: nobody. The same until someone is charged, joins or leaves. */
struct emb_turn *emb_turns_next(struct emb_turns *turns);

/* The one whose turn it was got so many tokens. */
void emb_turns_charge(struct emb_turns *turns, struct emb_turn *turn, uint32_t tokens);

/* It stays, behind all old ones. */
void emb_turns_put_last(struct emb_turns *turns, struct emb_turn *turn);

#endif
