/* What the tokenizer's tests share: finding data, and comparing with lists of texts and the reference's ids. */
#ifndef TOKENIZER_SUPPORT_H
#define TOKENIZER_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tokenizer/tokenizer.h"

enum { SKIPPED = 77 };

/* "tests/tokenizer/data/" + name in fresh memory. */
char *data_path(const char *name);

/* The model directory and the folder of shared data with name behind it, in fresh memory, or NULL
 * where there is none. */
char *model_path(const char *name);
char *shared_path(const char *name);

/* Opens a tokenizer.json, failing the test with the message where that does not work. */
struct emb_tokenizer *open_json(const char *path);

/* Opens the tokenizer of a GGUF file likewise. */
struct emb_tokenizer *open_gguf(const char *path);

/* Runs every case of a list made by tools/golden/tokens.py whose "tokenizer" is name; fails with
 * the first that differs. Returns how many there were. */
size_t check_cases(const struct emb_tokenizer *tokenizer, const char *path, const char *name);

/* Runs every line {"text", "ids"} of a JSON lines file. Returns how many there were. */
size_t check_lines(const struct emb_tokenizer *tokenizer, const char *path);

/* Encodes a zero-ended text and expects exactly these ids. */
void expect_ids(const struct emb_tokenizer *tokenizer, const char *text, const int32_t *ids, size_t count);
#define EXPECT(tokenizer, text, ...)                                                                                   \
    expect_ids(tokenizer, text, (const int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

#endif
