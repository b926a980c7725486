/* Texts in: from the command line, or line by line from a file of any size, a window at a time. */
#ifndef EMB_CLI_INPUT_H
#define EMB_CLI_INPUT_H

#include "base/buf.h"
#include "cli/options.h"

/* Bytes of one line at most. */
#define EMB_INPUT_LINE_MAX ((size_t)16 << 20)

/* Some consecutive texts. They live until the window is filled again. */
struct emb_window {
    embellama_text *texts;
    uint64_t *places; /* line, or number of the argument, from 1 */
    size_t n;
    size_t capacity; /* private from here on */
    struct emb_buf bytes;
};

struct emb_input;

/* Opens what options name: their arguments, or --input. Errors: E_NOT_FOUND, E_IO, E_NOMEM. */
int emb_input_open(struct emb_input **out, const struct emb_cli_options *options, embellama_error *error);
void emb_input_close(struct emb_input *in);

void emb_window_init(struct emb_window *window);
void emb_window_deinit(struct emb_window *window);

/* Fills the window with at most max_texts texts, stopping once it holds max_bytes; n = 0 is the end. On an error the window
 * holds the good texts before it, and the message names the place. A signal that stops the command (cli.h) ends it too. */
int emb_input_fill(struct emb_input *in, struct emb_window *window, size_t max_texts, size_t max_bytes,
                   embellama_error *error);

/* "FILE:LINE" or "argument N". Returns out. */
const char *emb_input_place(const struct emb_input *in, uint64_t place, char *out, size_t size);

/* How far it is, in bytes or arguments; and of how much, 0 where that cannot be known. */
uint64_t emb_input_done(const struct emb_input *in);
uint64_t emb_input_total(const struct emb_input *in);

/* True where fd is open on the very file that is read. */
bool emb_input_is_file(const struct emb_input *in, int fd);

#endif
