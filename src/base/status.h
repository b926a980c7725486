/* Filling an embellama_error, and the names of status codes. */
#ifndef EMB_STATUS_H
#define EMB_STATUS_H

#include "embellama/embellama.h"

/* Fills error (may be NULL) and returns code, so that a failure is one line: return emb_fail(error, EMBELLAMA_E_IO, ...).
 * A message that does not fit is cut. Bytes outside printable ASCII and UTF-8 are the caller's to avoid. */
__attribute__((format(printf, 3, 4))) int emb_fail(embellama_error *error, int code, const char *format, ...);

/* The same, with where it happened. */
__attribute__((format(printf, 4, 5))) int emb_fail_at(embellama_error *error, int code, uint64_t offset,
                                                      const char *format, ...);

/* Out of memory, with the usual sentence. */
int emb_fail_nomem(embellama_error *error);

#endif
