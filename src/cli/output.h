/* Vectors out, in order: JSON lines, a NumPy array or bare floats; and going on in a file that holds some already.
 *
 * After every write the file holds whole records and, for npy, a header that counts them, so that a run that is killed leaves
 * a file that can be read and gone on with. */
#ifndef EMB_CLI_OUTPUT_H
#define EMB_CLI_OUTPUT_H

#include "cli/input.h"
#include "cli/work.h"

struct emb_output;

/* Can these options be? Looks at the place of output without opening it. Returns 0, or E_INVALID with a sentence. */
int emb_output_check(const struct emb_cli_options *options, bool per_token, embellama_error *error);

/* Opens, or goes on: *kept texts are in it already, and its torn end is cut off. in is checked not to be the same file.
 * Errors: E_IO, E_FORMAT (not our file, or of other dimensions; it is left as it was), E_NOMEM. */
int emb_output_open(struct emb_output **out, const struct emb_cli_options *options, const struct emb_work *work,
                    const struct emb_input *in, uint64_t *kept, embellama_error *error);

/* Writes the first n items of work's last window. */
int emb_output_write(struct emb_output *out, const struct emb_work *work, size_t n, embellama_error *error);

/* Closes; reports what the system only says then. NULL is allowed. */
int emb_output_close(struct emb_output *out, embellama_error *error);

#endif
