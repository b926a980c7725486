/* Text of log lines. Private to log.c. */
#ifndef EMB_LOG_LINE_H
#define EMB_LOG_LINE_H

#include <stddef.h>

/* Bytes of a line, its end included: a pipe takes so many as one. */
#define EMB_LOG_LINE_MAX 4096

/* Replaces in line[0..size) what must not be there: control characters by blanks, bytes that are not UTF-8 by question
 * marks. */
void emb_log_line_clean(char *line, size_t size);

/* Writes the logfmt line[0..size) as a JSON object to out[0..EMB_LOG_LINE_MAX), without a line end, and returns its
 * size. What does not fit is left out, pair by pair, and "cut":true says so. */
size_t emb_log_line_json(const char *line, size_t size, char *out);

#endif
