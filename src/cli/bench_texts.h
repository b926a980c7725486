/* The texts that bench and tune run on: made of a list of words by a fixed seed, or an input file's. */
#ifndef EMB_BENCH_TEXTS_H
#define EMB_BENCH_TEXTS_H

#include "base/buf.h"
#include "cli/options.h"

struct emb_bench_texts {
    char name[16];
    embellama_text *texts; /* [n] */
    embellama_ids *ids;    /* [n] the same as tokens, cut to the model's context */
    size_t n;
    size_t tokens;        /* of all */
    struct emb_buf bytes; /* private from here on */
    int32_t *all_ids;
    size_t text_capacity, id_capacity, ids_capacity;
};

/* n texts of around tokens tokens (a quarter more or less), special tokens included, at most the model's context. The same
 * for the same model, name and numbers, always. */
int emb_bench_texts_make(struct emb_bench_texts *out, const embellama_model *model, const char *name, size_t n,
                         size_t tokens, embellama_error *error);

/* The texts of --input, the first ones of a large file. Errors: those of reading, and E_INVALID for no text. */
int emb_bench_texts_read(struct emb_bench_texts *out, const embellama_model *model,
                         const struct emb_cli_options *options, embellama_error *error);

/* A zeroed one is allowed. */
void emb_bench_texts_free(struct emb_bench_texts *texts);

#endif
