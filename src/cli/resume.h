/* What an output file of an earlier, interrupted run holds. */
#ifndef EMB_CLI_RESUME_H
#define EMB_CLI_RESUME_H

#include <stdint.h>

#include "cli/options.h"

/* Complete records of the file fd, and the byte behind the last of them: what follows is torn. name is for messages.
 * Errors: E_FORMAT where the file cannot be a run's with vectors of dim values in this format, E_IO, E_NOMEM. */
int emb_resume_scan(int fd, const char *name, enum emb_cli_output_format format, size_t dim, uint64_t *records,
                    uint64_t *end, embellama_error *error);

#endif
