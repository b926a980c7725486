/* The names clients may use for the model that is served. */
#ifndef EMB_SERVED_MODEL_H
#define EMB_SERVED_MODEL_H

#include "api/refusal.h"
#include "base/json.h"
#include "embellama/embellama.h"

/* Whether text[0..size) names the model, served under that name. A name stands for it with or without its publisher. */
bool emb_served_model_is(const embellama_model *model, const char *served, const char *text, size_t size);

/* Checks the body's member "model". Returns 0, or -1 with the refusal filled: another model, no string, or absent
 * where it is required. */
int emb_served_model_check(const embellama_model *model, const char *served, struct emb_json_value body, bool required,
                           struct emb_refusal *refusal);

#endif
