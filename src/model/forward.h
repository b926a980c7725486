/* The encoder's forward pass over a ragged batch: texts concatenated, nothing padded, attention within each text. */
#ifndef EMB_FORWARD_H
#define EMB_FORWARD_H

#include <stdatomic.h>

#include "base/team.h"
#include "model/load.h"
#include "model/profile.h"

/* The scratch memory of one pass: up to tokens rows, for a team of members. One block, sized once; pages never used cost
 * nothing. */
struct emb_scratch {
    uint8_t *block;
    size_t tokens;       /* rows there is room for */
    size_t ffn_rows;     /* rows of the inner activations: fewer when a single thread works through them in blocks */
    float *x;            /* [tokens, hidden] residual stream; after a pass the last hidden states */
    void *a;             /* [tokens, hidden] input of the next matrix product in its type; x itself in f32 */
    float *a_scales;     /* [tokens] of a's rows, int8 */
    void *qkv;           /* [tokens, 3 * hidden] f32, or bf16 unless the products are f32 */
    void *heads;         /* [tokens, hidden] attention's output: a itself in bf16, else f32 */
    void *inner;         /* [ffn_rows, intermediate] in f32; bf16 in bf16 */
    void *inner_a;       /* [ffn_rows, intermediate] inner in the products' type: inner itself but in int8 */
    float *inner_scales; /* [ffn_rows] */
    float *rows;         /* [members, 2, hidden] for embedding rows */
    uint8_t *attention;  /* [members, attention_size] */
    size_t attention_size;
    struct emb_profile *profile;   /* NULL, or where a pass counts what its operations take; the caller's */
    const size_t *seconds;         /* NULL, or of each input of a pass where token type 1 begins; the caller's */
    _Atomic uint64_t *layers_done; /* NULL, or raised by one after each layer; the caller's */
};

/* Room for passes of up to tokens rows by members threads; for a single one (members 1) the inner activations are blocked. */
int emb_scratch_init(struct emb_scratch *scratch, const struct emb_model *model, size_t tokens, int members,
                     embellama_error *error);
void emb_scratch_deinit(struct emb_scratch *scratch);

/* Runs inputs[0..n), in all at most scratch->tokens ids, each valid and at most the context long. Leaves the hidden states of
 * the last layer in scratch->x, input after input. The team (NULL: just the caller) splits rows, columns and heads; scratch
 * must have been made for as many members. The same bits whatever the team and the other inputs. */
void emb_forward(const struct emb_model *model, struct emb_scratch *scratch, struct emb_team *team,
                 const embellama_ids *inputs, size_t n);

#endif
