/* The texts that a model wants before its inputs: "prompts" of config_sentence_transformers.json. */
#ifndef EMB_PROMPTS_H
#define EMB_PROMPTS_H

#include "embellama/embellama.h"

struct emb_prompt {
    char *name, *text;
};

/* Zeroed: none. */
struct emb_prompts {
    struct emb_prompt *list; /* [count], in the order of the file */
    size_t count, room;
    const struct emb_prompt *fallback; /* of default_prompt_name, or NULL */
};

/* Reads those of a Hugging Face directory whose metadata was found good; without the file there are none. Errors: E_FORMAT;
 * E_UNSUPPORTED where the model's pooling leaves prompts out; E_IO, E_NOMEM. On failure there are none. */
int emb_prompts_read(struct emb_prompts *prompts, const char *directory, embellama_error *error);
void emb_prompts_deinit(struct emb_prompts *prompts);

/* The prompt of that name, or NULL. */
const struct emb_prompt *emb_prompts_find(const struct emb_prompts *prompts, const char *name);

#endif
