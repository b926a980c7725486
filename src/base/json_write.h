/* JSON out: strings. Numbers are json.h's and printf's; braces and commas are the caller's. */
#ifndef EMB_JSON_WRITE_H
#define EMB_JSON_WRITE_H

#include "base/buf.h"

/* Appends text[0..size) as a JSON string, quotes included: quotes, backslashes and control characters escaped, and each byte
 * that is not part of valid UTF-8 written as U+FFFD, so that the outcome is always valid JSON. */
void emb_json_write_string(struct emb_buf *buf, const char *text, size_t size);

/* The same for a zero-ended string; NULL is written as null. */
void emb_json_write_cstring(struct emb_buf *buf, const char *text);

#endif
