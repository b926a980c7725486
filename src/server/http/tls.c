/* OpenSSL over two ends of memory: what came, as the caller has it, and a buffer of what is to be sent. */
#include "server/http/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "base/status.h"

enum {
    OUT_MAX = 1 << 20,        /* more than one step of the transport, and than any handshake */
    SESSION_BYTES = 20 << 10, /* what OpenSSL takes for a connection, as measured */
};

static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
                              "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct stamps {
    struct stamp cert, key;
};

struct emb_tls_context {
    char *cert, *key;
    bool http2;
    SSL_CTX *ssl;
    BIO_METHOD *method;
    struct stamps read, seen; /* of the files last read; when last looked at */
    int days;
};

struct emb_tls {
    SSL *ssl;
    const char *in; /* during a call of receive */
    size_t in_size;
    struct emb_buf out;
    bool begun;
    const char *reason;
};

/* ---- Memory ---- */

static void *take_memory(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return emb_alloc(size, 1);
}

static void *change_memory(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (size == 0) {
        emb_free(p);
        return NULL;
    }
    return p ? emb_realloc(p, size, 1) : emb_alloc(size, 1);
}

static void free_memory(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    emb_free(p);
}

bool emb_tls_use_memory(void)
{
    return CRYPTO_set_mem_functions(take_memory, change_memory, free_memory) == 1;
}

/* ---- The two ends ---- */

static int end_read(BIO *bio, char *to, int size)
{
    struct emb_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->in_size == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = size > 0 && (size_t)size < tls->in_size ? (size_t)size : tls->in_size;
    memcpy(to, tls->in, n);
    tls->in += n;
    tls->in_size -= n;
    return (int)n;
}

static int end_write(BIO *bio, const char *from, int size)
{
    struct emb_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    emb_buf_append(&tls->out, from, size > 0 ? (size_t)size : 0);
    return tls->out.failed ? -1 : size;
}

static long end_control(BIO *bio, int command, long number, void *p)
{
    (void)bio;
    (void)number;
    (void)p;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *make_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "emb_tls");
    if (method) {
        BIO_meth_set_read(method, end_read);
        BIO_meth_set_write(method, end_write);
        BIO_meth_set_ctrl(method, end_control);
    }
    return method;
}

/* ---- Certificate and key ---- */

static struct stamp stamp_of(const char *path)
{
    struct stat s;
    struct stamp stamp;
    memset(&stamp, 0, sizeof stamp); /* stamps are compared as bytes */
    if (stat(path, &s) == 0) {
        stamp.device = s.st_dev;
        stamp.inode = s.st_ino;
        stamp.size = s.st_size;
        stamp.modified = s.st_mtim;
        stamp.changed = s.st_ctim;
    }
    return stamp;
}

static struct stamps look(const struct emb_tls_context *c)
{
    return (struct stamps){.cert = stamp_of(c->cert), .key = stamp_of(c->key)};
}

static bool same(const struct stamps *a, const struct stamps *b)
{
    return memcmp(&a->cert, &b->cert, sizeof a->cert) == 0 && memcmp(&a->key, &b->key, sizeof a->key) == 0;
}

static const char *reason_of(unsigned long code)
{
    const char *text = ERR_reason_error_string(code);
    return text ? text : "unknown reason";
}

/* What OpenSSL has against a file, as one sentence. */
static int fail_file(embellama_error *error, const char *what, const char *path)
{
    unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
        return emb_fail_nomem(error);
    }
    return emb_fail(error, EMBELLAMA_E_FORMAT, "the %s %.150s cannot be used: %s", what, path, reason_of(code));
}

static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

static int check_readable(const char *what, const char *path, embellama_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return emb_fail(error, EMBELLAMA_E_IO, "cannot open the %s %.150s: %s", what, path, strerror(errno));
    }
    fclose(file);
    return EMBELLAMA_OK;
}

static int load_pair(SSL_CTX *ssl, const struct emb_tls_context *c, embellama_error *error)
{
    int rc = check_readable("certificate", c->cert, error);
    if (rc == EMBELLAMA_OK) {
        rc = check_readable("key", c->key, error);
    }
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ssl, no_password);
    if (SSL_CTX_use_certificate_chain_file(ssl, c->cert) != 1) {
        return fail_file(error, "certificate", c->cert);
    }
    if (SSL_CTX_use_PrivateKey_file(ssl, c->key, SSL_FILETYPE_PEM) != 1 &&
        ERR_GET_LIB(ERR_peek_last_error()) != ERR_LIB_X509) {
        return fail_file(error, "key", c->key);
    }
    if (SSL_CTX_check_private_key(ssl) != 1) { /* also where one is of RSA and the other is not */
        ERR_clear_error();
        return emb_fail(error, EMBELLAMA_E_INVALID, "the key %.150s is not the one of the certificate %.150s", c->key,
                        c->cert);
    }
    return EMBELLAMA_OK;
}

static int days_left(SSL_CTX *ssl)
{
    int days = 0, seconds = 0;
    const X509 *cert = SSL_CTX_get0_certificate(ssl);
    if (cert && ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) == 1) {
        return days < 0 || seconds < 0 ? days - (days == 0) : days;
    }
    return 0;
}

/* ---- Agreements ---- */

static bool offered(const unsigned char *list, unsigned size, const char *name, const unsigned char **at)
{
    size_t length = strlen(name);
    for (unsigned i = 0; i < size && i + 1 + list[i] <= size; i += 1u + list[i]) {
        if (list[i] == length && memcmp(list + i + 1, name, length) == 0) {
            *at = list + i + 1;
            return true;
        }
    }
    return false;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *list,
                           unsigned size, void *arg)
{
    static const char *const names[] = {"h2", "http/1.1", "http/1.0"};
    (void)ssl;
    for (size_t i = arg ? 0 : 1; i < sizeof names / sizeof *names; i++) {
        if (offered(list, size, names[i], out)) {
            *out_size = (unsigned char)strlen(names[i]);
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_up(SSL_CTX *ssl, bool http2)
{
    static const unsigned char name[] = "embellama";
    static char yes;
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ssl, name, sizeof name - 1);
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, http2 ? &yes : NULL);
}

/* ---- Contexts ---- */

int emb_tls_context_reload(struct emb_tls_context *c, embellama_error *error)
{
    struct stamps now = look(c);
    c->read = c->seen = now; /* also where it fails: it is told once */
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (!ssl || SSL_CTX_set_cipher_list(ssl, ciphers) != 1) {
        SSL_CTX_free(ssl);
        ERR_clear_error();
        return emb_fail_nomem(error);
    }
    set_up(ssl, c->http2);
    int rc = load_pair(ssl, c, error);
    if (rc != EMBELLAMA_OK) {
        SSL_CTX_free(ssl);
        return rc;
    }
    SSL_CTX_free(c->ssl);
    c->ssl = ssl;
    c->days = days_left(ssl);
    return EMBELLAMA_OK;
}

int emb_tls_context_new(struct emb_tls_context **out, const struct emb_tls_options *options, embellama_error *error)
{
    struct emb_tls_context *c = emb_calloc(1, sizeof *c);
    *out = NULL;
    if (!c) {
        return emb_fail_nomem(error);
    }
    c->http2 = options->http2;
    c->cert = emb_strdup(options->cert);
    c->key = emb_strdup(options->key);
    c->method = make_method();
    int rc = c->cert && c->key && c->method ? emb_tls_context_reload(c, error) : emb_fail_nomem(error);
    if (rc != EMBELLAMA_OK) {
        emb_tls_context_free(c);
        return rc;
    }
    *out = c;
    return EMBELLAMA_OK;
}

void emb_tls_context_free(struct emb_tls_context *c)
{
    if (c) {
        SSL_CTX_free(c->ssl);
        BIO_meth_free(c->method);
        emb_free(c->cert);
        emb_free(c->key);
        emb_free(c);
    }
}

bool emb_tls_context_changed(struct emb_tls_context *c)
{
    struct stamps now = look(c);
    bool settled = same(&now, &c->seen);
    c->seen = now;
    return settled && !same(&now, &c->read);
}

int emb_tls_context_days(const struct emb_tls_context *c)
{
    return c->days;
}

/* ---- Connections ---- */

struct emb_tls *emb_tls_new(const struct emb_tls_context *context)
{
    struct emb_tls *tls = emb_calloc(1, sizeof *tls);
    BIO *bio = tls ? BIO_new(context->method) : NULL;
    if (!bio || !(tls->ssl = SSL_new(context->ssl))) {
        BIO_free(bio);
        emb_free(tls);
        ERR_clear_error();
        return NULL;
    }
    emb_buf_init(&tls->out, OUT_MAX);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void emb_tls_free(struct emb_tls *tls)
{
    if (tls) {
        SSL_free(tls->ssl);
        emb_buf_deinit(&tls->out);
        emb_free(tls);
    }
}

/* Sets the reason, and leaves nothing behind for the next connection. */
static enum emb_tls_event failed(struct emb_tls *tls)
{
    unsigned long code = ERR_peek_last_error();
    tls->reason = code ? reason_of(code) : "connection broken";
    ERR_clear_error();
    return EMB_TLS_FAILED;
}

/* No TLS record, nor the old form of a first one, begins with a letter or a line's end. */
static bool looks_plain(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '\r' || c == '\n';
}

enum emb_tls_event emb_tls_receive(struct emb_tls *tls, const char *data, size_t size, char *plain, size_t *got)
{
    *got = 0;
    if (!tls->begun && size > 0 && looks_plain(data[0])) {
        return EMB_TLS_PLAIN;
    }
    tls->begun = tls->begun || size > 0;
    tls->in = data;
    tls->in_size = size;
    for (size_t room = size + EMB_TLS_RECORD;;) {
        size_t n = 0;
        ERR_clear_error();
        if (SSL_read_ex(tls->ssl, plain + *got, room - *got, &n) == 1) {
            *got += n;
            continue;
        }
        switch (SSL_get_error(tls->ssl, 0)) {
        case SSL_ERROR_WANT_READ: return tls->in_size == 0 && !tls->out.failed ? EMB_TLS_OK : failed(tls);
        case SSL_ERROR_ZERO_RETURN: return EMB_TLS_ENDED;
        default: return failed(tls);
        }
    }
}

bool emb_tls_send(struct emb_tls *tls, const char *data, size_t size)
{
    size_t n = 0;
    ERR_clear_error();
    if (size > 0 && (SSL_write_ex(tls->ssl, data, size, &n) != 1 || n != size)) {
        failed(tls);
        return false;
    }
    return !tls->out.failed;
}

void emb_tls_end(struct emb_tls *tls)
{
    ERR_clear_error();
    if (SSL_is_init_finished(tls->ssl)) {
        SSL_shutdown(tls->ssl);
        ERR_clear_error();
    }
}

struct emb_buf *emb_tls_out(struct emb_tls *tls)
{
    return &tls->out;
}

bool emb_tls_established(const struct emb_tls *tls)
{
    return SSL_is_init_finished(tls->ssl) == 1;
}

bool emb_tls_http2(const struct emb_tls *tls)
{
    const unsigned char *name;
    unsigned size;
    SSL_get0_alpn_selected(tls->ssl, &name, &size);
    return size == 2 && memcmp(name, "h2", 2) == 0;
}

bool emb_tls_resumed(const struct emb_tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

const char *emb_tls_version(const struct emb_tls *tls)
{
    return SSL_get_version(tls->ssl);
}

const char *emb_tls_reason(const struct emb_tls *tls)
{
    return tls->reason ? tls->reason : "none";
}

size_t emb_tls_held(const struct emb_tls *tls)
{
    return sizeof *tls + SESSION_BYTES + tls->out.capacity;
}
