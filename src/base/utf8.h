/* UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef EMB_UTF8_H
#define EMB_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the valid prefix of s[0..size): equal to size where all of it is valid. */
size_t emb_utf8_valid_prefix(const char *s, size_t size);

/* Decodes one code point of valid UTF-8 at s and sets *length to its bytes (1 to 4). */
uint32_t emb_utf8_decode(const char *s, size_t *length);

/* Writes a code point (not a surrogate, <= U+10FFFF) to out[0..4) and returns its bytes. */
size_t emb_utf8_encode(uint32_t code_point, char *out);

#endif
