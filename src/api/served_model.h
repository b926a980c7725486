/* The model that is served: the names clients may use for it, and what it does by the server's options. */
#ifndef EMB_SERVED_MODEL_H
#define EMB_SERVED_MODEL_H

#include "api/refusal.h"
#include "base/json.h"
#include "embellama/embellama.h"
#include "server/server.h"

/* Whether text[0..size) names the model, served under that name. A name stands for it with or without its publisher. */
bool emb_served_model_is(const embellama_model *model, const char *served, const char *text, size_t size);

/* Checks the body's member "model". Returns 0, or -1 with the refusal filled: another model, no string, or absent
 * where it is required. */
int emb_served_model_check(const embellama_model *model, const char *served, struct emb_json_value body, bool required,
                           struct emb_refusal *refusal);

/* Tokens an input may have. */
size_t emb_served_limit(const embellama_model *model, const struct emb_server_options *options);

/* How vectors are made: never AUTO. */
embellama_pooling emb_served_pooling(const embellama_model *model, const struct emb_server_options *options);
embellama_normalize emb_served_normalize(const embellama_model *model, const struct emb_server_options *options);

#endif
