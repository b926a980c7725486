/* TLS of a server, bytes in and bytes out. Knows nothing of sockets: what is to be sent is gathered for whoever has one.
 *
 * OpenSSL with TLS 1.2 and 1.3, forward secrecy only, tickets but no session store, no renegotiation, no early data. */
#ifndef EMB_TLS_H
#define EMB_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "embellama/embellama.h"

struct emb_tls_context; /* certificate and key, for any number of connections */
struct emb_tls;         /* one connection */

struct emb_tls_options {
    const char *cert; /* PEM file: the certificate, then those that vouch for it */
    const char *key;  /* PEM file, without a password */
    bool http2;       /* offer h2 before http/1.1 */
};

/* Has OpenSSL take its memory from base/mem.h, so that tests can make it fail. First thing in a process; false: too late. */
bool emb_tls_use_memory(void);

/* Errors: E_IO, E_FORMAT, E_INVALID (the pair does not match), each one sentence with the file's name; E_NOMEM. */
int emb_tls_context_new(struct emb_tls_context **out, const struct emb_tls_options *options, embellama_error *error);
void emb_tls_context_free(struct emb_tls_context *context);

/* Whether the files are other ones than those last read, and have been the same for two calls, so that a pair is not read while only half
 * of it was replaced. */
bool emb_tls_context_changed(struct emb_tls_context *context);

/* Reads the files again, for connections made from now on. Errors as above; what was there is kept then. */
int emb_tls_context_reload(struct emb_tls_context *context, embellama_error *error);

/* Days until the certificate ends, negative where it has. */
int emb_tls_context_days(const struct emb_tls_context *context);

/* NULL: out of memory. It may outlive the context. */
struct emb_tls *emb_tls_new(const struct emb_tls_context *context);
void emb_tls_free(struct emb_tls *tls);

enum emb_tls_event {
    EMB_TLS_OK,
    EMB_TLS_ENDED,  /* the other side said that it will send no more */
    EMB_TLS_FAILED, /* send what is there, if anything, and close */
    EMB_TLS_PLAIN,  /* the first bytes are not TLS; nothing was used of them */
};

#define EMB_TLS_RECORD 17408 /* more than a record takes, framing included */

/* Takes all of data and puts the bytes that it carries into plain, which has room for size + EMB_TLS_RECORD; *got says how many. */
enum emb_tls_event emb_tls_receive(struct emb_tls *tls, const char *data, size_t size, char *plain, size_t *got);

/* Appends records that carry data to what is to be sent. Only once established. False: it failed, close. */
bool emb_tls_send(struct emb_tls *tls, const char *data, size_t size);

/* Says to the other side that nothing more comes. */
void emb_tls_end(struct emb_tls *tls);

/* What is to be sent; the caller takes it out. */
struct emb_buf *emb_tls_out(struct emb_tls *tls);

bool emb_tls_established(const struct emb_tls *tls);

/* Both sides agreed on h2. Once established. */
bool emb_tls_http2(const struct emb_tls *tls);

/* Resumed from a ticket. */
bool emb_tls_resumed(const struct emb_tls *tls);

/* "TLSv1.3", and why it failed, for logs. */
const char *emb_tls_version(const struct emb_tls *tls);
const char *emb_tls_reason(const struct emb_tls *tls);

/* About the memory it takes. */
size_t emb_tls_held(const struct emb_tls *tls);

#endif
