/* Options that several dialects have, under all the names that clients of this and other servers give them. What is
 * null or absent leaves things as they are. All return 0, or -1 with the refusal filled, and are to be called before
 * inputs are added. */
#ifndef EMB_EMBED_OPTIONS_H
#define EMB_EMBED_OPTIONS_H

#include "api/embed_request.h"
#include "api/members.h"

/* Whether and how too long inputs are shortened:
 *   truncate: true, false; "NONE", "START", "END"; "Yes", "No"; {"Limit": tokens}
 *   truncation: true, false
 *   truncate_prompt_tokens: so many tokens at most, -1 for as many as the model takes
 *   truncation_side, truncation_direction: "left", "right", which end is cut. */
int emb_options_truncate(struct emb_embed_inputs *in, struct emb_json_value body, struct emb_refusal *refusal);

/* dimensions, output_dimension: from 1 to the model's. */
int emb_options_dimensions(struct emb_embed_request *r, struct emb_json_value body);

/* normalize, normalized, use_activation: false for vectors as the model makes them. */
int emb_options_normalize(struct emb_embed_request *r, struct emb_json_value body);

/* prompt_name, input_type, task: which of the model's own prompts is put before each text; without any, its default
 * one. prompt_name must be one of them; of the others, those that mean queries or documents find the model's prompt
 * for that, whatever it calls it, and words that none fits have no effect. */
int emb_options_prompt(struct emb_embed_inputs *in, struct emb_json_value body, struct emb_refusal *refusal);

/* prompt_name alone; without it *prompt stays as it is. The prompt lives as long as the model. */
int emb_options_prompt_name(const embellama_model *model, struct emb_json_value body, embellama_text *prompt,
                            struct emb_refusal *refusal);

/* The model's prompt for queries or for documents, or an empty text. */
embellama_text emb_options_role_prompt(const embellama_model *model, bool query);

/* What vectors are written as: encoding_format (float, base64, int8 ...), output_dtype and embedding_type(s). */
int emb_options_form(struct emb_embed_request *r, struct emb_json_value body);

/* Changes form to what v, a string, names: a type, or base64. False where it names neither. */
bool emb_options_form_named(struct emb_vector_form *form, struct emb_json_value v);

#endif
