/* Lists of texts in bodies: strings, or objects that hold them. */
#ifndef EMB_TEXTS_H
#define EMB_TEXTS_H

#include "api/refusal.h"
#include "base/buf.h"
#include "base/json.h"

struct emb_texts_item {
    embellama_text text;
    char *copy; /* what text points to, where it is not the document's */
};

struct emb_texts {
    /* Set before reading. */
    size_t most;                  /* texts a list may have */
    bool keep;                    /* they are wanted after the document is gone */
    bool single;                  /* one text stands for a list of one */
    struct emb_json_value fields; /* members of objects that make the text, one a line; {NULL}: "text" */

    struct emb_texts_item *items; /* [count] */
    size_t count, capacity;
    size_t bytes; /* of memory */
};

/* A zeroed one is allowed. */
void emb_texts_deinit(struct emb_texts *texts);

/* Reads the texts of v, which messages call name. Returns 0, or -1 with the refusal filled: no list of texts, an
 * empty one, too many. */
int emb_texts_read(struct emb_texts *texts, struct emb_json_value v, const char *name, struct emb_refusal *refusal);

/* Appends a text for a reply that repeats it, of at most EMB_TEXTS_SHOWN bytes. */
enum { EMB_TEXTS_SHOWN = 100 * 1024 };
void emb_texts_write(struct emb_buf *out, embellama_text text);

#endif
