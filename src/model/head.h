/* The classification head of a cross-encoder: what files say of it, and from the first token's state to scores. */
#ifndef EMB_HEAD_H
#define EMB_HEAD_H

#include "model/source.h"
#include "model/spec.h"
#include "model/weights.h"

/* Fill spec->head, labels 0 where the files are not a cross-encoder's. A directory is one's where config.json's architectures name the
 * family's classifier and sentence-transformers' modules do not pool; a GGUF file where its pooling type is rank. Errors: E_FORMAT (no
 * labels, or absurdly many, or a lack of token types), E_UNSUPPORTED (an activation function we do not have), E_NOMEM. */
int emb_head_from_directory(struct emb_spec *spec, const char *directory, embellama_error *error);
int emb_head_from_gguf(struct emb_spec *spec, const struct emb_source *source, embellama_error *error);

/* The names of spec->head.labels labels, zero-ended, in one allocation that is the caller's: of the GGUF file that is open in source,
 * else of the directory. *out is NULL where there are none. Errors: E_FORMAT, E_NOMEM. */
int emb_head_read_labels(char ***out, const struct emb_spec *spec, const char *directory,
                         const struct emb_source *source, embellama_error *error);

/* logits[labels] of a text whose first token's last hidden state is state[hidden]; pooled has room for hidden values. In f32, and the
 * same bits whatever the CPU tier. */
void emb_head_logits(const struct emb_head *head, const struct emb_spec *spec, const float *state, float *pooled,
                     float *logits);

/* Makes scores of one text's logits, in place. */
void emb_head_activate(const struct emb_head_spec *head, float *logits);

#endif
