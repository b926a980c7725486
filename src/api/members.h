/* Members of a JSON body, typed, with the refusal for one that has another type. null counts as absent everywhere.
 *
 * A key may be a path, "chunk.size": its last part is the member's name, and messages give the whole.
 *
 * Each reader returns 0 and leaves *out untouched where the member is absent, and returns -1 with the refusal filled
 * where it is not what it must be. */
#ifndef EMB_MEMBERS_H
#define EMB_MEMBERS_H

#include "api/refusal.h"
#include "base/json.h"

/* A member that is given; false where it is absent or null. */
bool emb_member(struct emb_json_value body, const char *key, struct emb_json_value *out);

/* "an array": the type of v, for messages. */
const char *emb_member_type(struct emb_json_value v);

/* text[0..size) is word; the second whatever the case of ASCII letters. */
bool emb_text_is(const char *text, size_t size, const char *word);
bool emb_text_is_nocase(const char *text, size_t size, const char *word);

int emb_member_bool(struct emb_json_value body, const char *key, bool *out, struct emb_refusal *refusal);

/* From least to most. */
int emb_member_int(struct emb_json_value body, const char *key, int64_t least, int64_t most, int64_t *out,
                   struct emb_refusal *refusal);

/* The string lives as long as the document. */
int emb_member_text(struct emb_json_value body, const char *key, embellama_text *out, struct emb_refusal *refusal);

/* One of the words, which end with NULL; *out is its place. */
int emb_member_word(struct emb_json_value body, const char *key, const char *const *words, size_t *out,
                    struct emb_refusal *refusal);

#endif
