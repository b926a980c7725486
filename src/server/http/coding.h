/* Content codings: gzip, deflate, br and zstd, in and out. Knows nothing of sockets.
 *
 * Sources: RFC 9110 (12.5.3, 8.4), RFC 1950 to 1952, RFC 7932, RFC 8878. */
#ifndef EMB_CODING_H
#define EMB_CODING_H

#include "base/buf.h"

enum emb_coding {
    EMB_CODING_IDENTITY,
    EMB_CODING_GZIP,
    EMB_CODING_DEFLATE,
    EMB_CODING_BR,
    EMB_CODING_ZSTD,
    EMB_CODING_COUNT,
};

/* What this server understands, for Accept-Encoding in replies. */
#define EMB_CODINGS "gzip, deflate, br, zstd"

/* "gzip" ... */
const char *emb_coding_name(enum emb_coding coding);

/* The coding that a Content-Encoding header names; NULL is identity. False where it is unknown, or more than one. */
bool emb_coding_parse(const char *header, enum emb_coding *coding);

/* The best coding for a reply that an Accept-Encoding header allows, by its q-values and, of equal ones, by speed. NULL, or nothing but
 * what is unknown: identity, also where the header forbids that. */
enum emb_coding emb_coding_choose(const char *header);

enum emb_decode { EMB_DECODED, EMB_DECODE_BROKEN, EMB_DECODE_TOO_LARGE, EMB_DECODE_NOMEM };

/* Decodes the whole of data into out (empty), which never holds more than most bytes, nor the decoder more than some MB beside it. Data
 * behind the end of the coded content is an error, as is its absence. */
enum emb_decode emb_decode(enum emb_coding coding, const char *data, size_t size, size_t most, struct emb_buf *out);

/* A reply being coded. NULL: out of memory, or identity. */
struct emb_encoder *emb_encoder_new(enum emb_coding coding);
void emb_encoder_free(struct emb_encoder *encoder);

/* Codes data and appends what is ready to out; last: all of it. False: it failed. */
bool emb_encode(struct emb_encoder *encoder, const char *data, size_t size, bool last, struct emb_buf *out);

/* About the memory that an encoder takes. */
size_t emb_encoder_held(enum emb_coding coding);

/* Whether JSON like this gets enough smaller: decimals and words do, base64 does not. */
bool emb_coding_pays(const char *data, size_t size);

#endif
