/* The dead-letter file: inputs that ended workers, one JSON object a line, for people and `embellama dead-letter`.
 *
 * Only its owner may read it. It is bounded: where a line would make it too large, the file moves to PATH.1 (replacing
 * what is there) and a new one begins. Written beside the loop; lines that come faster than the disk takes them are
 * dropped and counted in the log. */
#ifndef EMB_DEAD_LETTER_H
#define EMB_DEAD_LETTER_H

#include <uv.h>

#include "embellama/embellama.h"
#include "pool/pool.h"
#include "server/siphash.h"

#define EMB_DEAD_LETTER_BYTES (4u << 20) /* of the file */

struct emb_dead_letter;

struct emb_dead_letter_record {
    const char *model;
    const char *request_id;  /* or NULL */
    size_t input;            /* its place in the request */
    struct emb_siphash hash; /* the same for the same input until the server ends */
    struct emb_task task;
    const int32_t *ids;
    size_t count;
    const char *reason;
};

/* Tries the file at once. with_ids: also records the token ids, from which the text can be read. Errors: E_IO, E_NOMEM.
 */
int emb_dead_letter_open(struct emb_dead_letter **out, uv_loop_t *loop, const char *path, bool with_ids,
                         embellama_error *error);

/* What it is given is copied. */
void emb_dead_letter_write(struct emb_dead_letter *letter, const struct emb_dead_letter_record *record);

/* Writes what is left first: the loop must run until then. NULL is allowed. */
void emb_dead_letter_close(struct emb_dead_letter *letter);

#endif
