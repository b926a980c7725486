/* The inputs of one request: their token ids, or the vectors the cache has for them; and afterwards what was computed.
 *
 * Used from one thread at a time. */
#ifndef EMB_EMBED_INPUTS_H
#define EMB_EMBED_INPUTS_H

#include "api/refusal.h"
#include "base/json.h"
#include "embellama/embellama.h"
#include "pool/pool.h"
#include "server/cache.h"

struct embellama_vocabulary;

struct emb_embed_input {
    uint32_t tokens;
    bool truncated;  /* tokens were cut off */
    bool cached;     /* its vector came from the cache */
    bool text;       /* given as text, not as token ids */
    size_t row;      /* in hits where it is cached, else among the misses */
    size_t key;      /* for the cache: place of its text in texts, or of its ids in ids */
    size_t key_size; /* bytes */
    uint32_t kind;   /* of its key */
};

struct emb_embed_inputs {
    /* Set before any is added. */
    const embellama_model *model;
    size_t limit;          /* tokens an input may have */
    size_t most;           /* inputs a request may have */
    bool truncate;         /* shorten what is too long instead of refusing it */
    bool truncate_left;    /* ... at its beginning, not its end */
    embellama_text prompt; /* put before each text (not before token ids, nor in pairs); stays the caller's */
    const struct embellama_vocabulary *foreign; /* whose ids clients send: they are decoded to text by it; or NULL */
    const enum emb_task_kind *task;             /* what is to be computed of each input; NULL: EMBED */
    struct emb_cache *cache;                    /* NULL: neither look there nor keep */
    uint64_t client;                            /* whose entries of the cache are seen */
    uint64_t epoch;                             /* of the cache */
    bool read_cache;                            /* whether it is looked into; it is written to either way */
    bool only_cached;                           /* refuse what the cache lacks, as the queue is full */

    struct emb_embed_input *items; /* [count] */
    size_t count, capacity;
    size_t tokens;    /* of all */
    size_t truncated; /* inputs that were */

    /* What is to be computed, one input after the other. */
    int32_t *ids;
    size_t n_ids, ids_capacity;
    uint32_t *counts;       /* [misses] tokens of each */
    struct emb_task *tasks; /* [misses]; NULL where all are EMBED */
    size_t misses, counts_capacity, tasks_capacity;
    float *vectors; /* [values], each one's values behind the other's, made by emb_embed_inputs_prepare */
    size_t *places; /* [misses] where each one's begin, likewise; NULL where tasks is */
    int *statuses;  /* [misses], likewise; 0 at first */
    size_t values;

    float *hits; /* [count - misses, dim] */
    size_t n_hits, hits_capacity;
    char *texts; /* of those to be cached */
    size_t texts_size, texts_capacity;
};

/* A zeroed one is allowed. */
void emb_embed_inputs_deinit(struct emb_embed_inputs *in);

/* name is what the message and param call the input: "input", "input[3]". All return 0, or -1 with the refusal filled. */
int emb_embed_inputs_add_text(struct emb_embed_inputs *in, const char *name, embellama_text text,
                              struct emb_refusal *refusal);

/* The input is a JSON array of token ids; special tokens are put around them unless they are there. */
int emb_embed_inputs_add_ids(struct emb_embed_inputs *in, const char *name, struct emb_json_value ids,
                             struct emb_refusal *refusal);

/* A pair of texts to be scored together, tokenised as one (SCORE only). Where it is too long and may be cut, the longer text loses
 * its end first. */
int emb_embed_inputs_add_pair(struct emb_embed_inputs *in, const char *name, embellama_text query,
                              embellama_text document, struct emb_refusal *refusal);

/* Makes room for results, once all are added. */
int emb_embed_inputs_prepare(struct emb_embed_inputs *in, struct emb_refusal *refusal);

/* Bytes of memory that all of it takes. */
size_t emb_embed_inputs_held(const struct emb_embed_inputs *in);

/* Keeps the vectors that were computed. */
void emb_embed_inputs_store(const struct emb_embed_inputs *in);

/* Values of input i (emb_task_values), and its status. */
float *emb_embed_inputs_vector(const struct emb_embed_inputs *in, size_t i);
int emb_embed_inputs_status(const struct emb_embed_inputs *in, size_t i);

#endif
