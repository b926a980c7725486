/* TLS as bytes in and bytes out, and over sockets: in whatever pieces the bytes come, with what is no TLS, and when memory runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/tempdir.h"
#include "base/log.h"
#include "base/mem.h"
#include "front_fixture.h"
#include "server/http/tls.h"

static char cert[300], key[300], other_key[300];
static SSL_CTX *client_context;

/* ---- Certificates ---- */

static void write_key(const char *path, EVP_PKEY *pkey)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

static void write_cert(const char *path, EVP_PKEY *pkey, long days)
{
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), days * 86400 + 3600);
    X509_set_pubkey(x, pkey);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"a", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, pkey, EVP_sha256()) > 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    X509_free(x);
}

static void put_pair(long days)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    write_key(key, pkey);
    write_cert(cert, pkey, days);
    EVP_PKEY_free(pkey);
}

static struct emb_tls_context *context_new(bool http2)
{
    struct emb_tls_context *context = NULL;
    struct emb_tls_options options = {.cert = cert, .key = key, .http2 = http2};
    assert_int_equal(emb_tls_context_new(&context, &options, NULL), 0);
    return context;
}

static void test_contexts(void **state)
{
    (void)state;
    embellama_error error;
    struct emb_tls_context *context = context_new(false), *none;
    struct emb_tls_options wrong = {.cert = cert, .key = other_key};
    assert_int_equal(emb_tls_context_new(&none, &wrong, &error), EMBELLAMA_E_INVALID);
    assert_non_null(strstr(error.message, "is not the one of the certificate"));
    assert_null(none);
    wrong.key = "/nonexistent/key";
    assert_int_equal(emb_tls_context_new(&none, &wrong, &error), EMBELLAMA_E_IO);
    wrong = (struct emb_tls_options){.cert = key, .key = key};
    assert_int_equal(emb_tls_context_new(&none, &wrong, &error), EMBELLAMA_E_FORMAT);
    assert_int_equal(emb_tls_context_days(context), 90);
    assert_false(emb_tls_context_changed(context));
    put_pair(3);
    assert_false(emb_tls_context_changed(context)); /* not yet settled */
    assert_true(emb_tls_context_changed(context));
    assert_int_equal(emb_tls_context_reload(context, &error), 0);
    assert_int_equal(emb_tls_context_days(context), 3);
    assert_false(emb_tls_context_changed(context));
    assert_int_equal(unlink(key), 0);
    emb_tls_context_changed(context);
    assert_true(emb_tls_context_changed(context));
    assert_int_equal(emb_tls_context_reload(context, &error), EMBELLAMA_E_IO);
    assert_int_equal(emb_tls_context_days(context), 3);
    assert_false(emb_tls_context_changed(context)); /* told once */
    emb_tls_context_free(context);
    put_pair(90);
}

/* ---- A client in memory ---- */

struct pair {
    SSL *client;
    BIO *to_client, *from_client;
    struct emb_tls *server;
    enum emb_tls_event event;
    char got[65536 + EMB_TLS_RECORD];
    size_t got_size;
    long allowed; /* allocations of the server; negative: all */
};

static void pair_begin(struct pair *p, const struct emb_tls_context *context, long allowed)
{
    memset(p, 0, sizeof *p);
    p->allowed = allowed;
    p->client = SSL_new(client_context);
    p->to_client = BIO_new(BIO_s_mem());
    p->from_client = BIO_new(BIO_s_mem());
    SSL_set_bio(p->client, p->to_client, p->from_client);
    SSL_set_connect_state(p->client);
    emb_mem_fail_after(p->allowed);
    p->server = emb_tls_new(context);
    emb_mem_fail_after(-1);
}

static void pair_end(struct pair *p)
{
    SSL_free(p->client);
    emb_tls_free(p->server);
}

/* What each has to say to the other, in pieces of the client's of size step. */
static void pass(struct pair *p, size_t step)
{
    char data[4096];
    struct emb_buf *out = emb_tls_out(p->server);
    for (int n; p->event == EMB_TLS_OK && (n = BIO_read(p->from_client, data, (int)step)) > 0;) {
        size_t got = 0;
        emb_mem_fail_after(p->allowed);
        p->event = emb_tls_receive(p->server, data, (size_t)n, p->got + p->got_size, &got);
        emb_mem_fail_after(-1);
        p->allowed = p->allowed > 0 ? p->allowed - 1 : p->allowed;
        p->got_size += got;
    }
    if (out->size > 0) {
        BIO_write(p->to_client, out->data, (int)out->size);
        emb_buf_clear(out);
    }
}

static bool shake(struct pair *p, size_t step)
{
    for (int turn = 0; turn < 20 && p->event == EMB_TLS_OK; turn++) {
        int done = SSL_do_handshake(p->client);
        pass(p, step);
        if (done == 1 && emb_tls_established(p->server)) {
            return true;
        }
    }
    return false;
}

static void test_in_pieces(void **state)
{
    (void)state;
    struct emb_tls_context *context = context_new(true);
    for (size_t step = 1; step <= 4096; step = step * 3 + 1) {
        static struct pair p;
        char reply[32];
        pair_begin(&p, context, -1);
        assert_true(shake(&p, step));
        assert_true(emb_tls_http2(p.server));
        assert_string_equal(emb_tls_version(p.server), "TLSv1.3");
        assert_int_equal(SSL_write(p.client, "hello", 5), 5);
        pass(&p, step);
        assert_int_equal(p.got_size, 5);
        assert_memory_equal(p.got, "hello", 5);
        assert_true(emb_tls_send(p.server, "and back", 8));
        pass(&p, step);
        assert_int_equal(SSL_read(p.client, reply, sizeof reply), 8);
        assert_memory_equal(reply, "and back", 8);
        SSL_shutdown(p.client);
        pass(&p, step);
        assert_int_equal(p.event, EMB_TLS_ENDED);
        emb_tls_end(p.server);
        p.event = EMB_TLS_OK;
        pass(&p, step);
        assert_int_equal(SSL_read(p.client, reply, sizeof reply), 0);
        assert_int_equal(SSL_get_error(p.client, 0), SSL_ERROR_ZERO_RETURN);
        pair_end(&p);
    }
    emb_tls_context_free(context);
}

static void test_no_tls(void **state)
{
    (void)state;
    struct emb_tls_context *context = context_new(false);
    static const char *const plain[] = {"GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "\r\n"};
    static const char *const broken[] = {"\x16\x03\x01\x00\x05hello", "\x80\x2e\x01\x00\x02", "\x17\x03\x03\x00\x01x",
                                         "\x15\x03\x03\x00\x02\x02\x28"};
    static char got[64 + EMB_TLS_RECORD];
    size_t size;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct emb_tls *tls = emb_tls_new(context);
        assert_int_equal(emb_tls_receive(tls, plain[i], strlen(plain[i]), got, &size), EMB_TLS_PLAIN);
        emb_tls_free(tls);
    }
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct emb_tls *tls = emb_tls_new(context);
        size_t length = i == 0 ? 10 : i == 1 ? 5 : i == 2 ? 6 : 7;
        enum emb_tls_event event = emb_tls_receive(tls, broken[i], length, got, &size);
        assert_true(event == EMB_TLS_FAILED || (i == 1 && event == EMB_TLS_OK));
        assert_int_equal(size, 0);
        assert_false(emb_tls_established(tls));
        assert_non_null(emb_tls_reason(tls));
        emb_tls_end(tls);
        emb_tls_free(tls);
    }
    emb_tls_context_free(context);
}

/* Each allocation of the server's fails in turn: the connection fails, nothing else. */
static void test_no_memory(void **state)
{
    (void)state;
    struct emb_tls_context *context = context_new(false);
    int failed = 0;
    for (long n = 0;; n += 1 + n / 20) {
        static struct pair p;
        pair_begin(&p, context, n);
        bool ok = p.server && shake(&p, 4096);
        if (ok) {
            emb_mem_fail_after(n);
            ok = emb_tls_send(p.server, "hello", 5);
            emb_mem_fail_after(-1);
        }
        pair_end(&p);
        failed += !ok;
        if (ok) {
            break;
        }
        assert_true(n < 1000000);
    }
    assert_true(failed > 3);
    static struct pair p;
    pair_begin(&p, context, -1);
    assert_true(shake(&p, 4096));
    pair_end(&p);
    emb_tls_context_free(context);
}

/* ---- Over sockets ---- */

/* A request and its reply; the reply's bytes, 0 where something failed on either side. */
static size_t ask(const struct fixture *f, const char *path)
{
    static char in[65536];
    char request[128];
    size_t got = 0;
    int fd = client_open(f), n;
    SSL *ssl = SSL_new(client_context);
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path);
    static const unsigned char http1[] = "\x08http/1.1";
    if (ssl && SSL_set_fd(ssl, fd) == 1 && SSL_set_alpn_protos(ssl, http1, sizeof http1 - 1) == 0 &&
        SSL_connect(ssl) == 1 && SSL_write(ssl, request, size) == size) {
        while ((n = SSL_read(ssl, in, sizeof in)) > 0) {
            got += (size_t)n;
        }
        got = SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN ? got : 0;
    }
    SSL_free(ssl);
    close(fd);
    return got;
}

static void test_large_replies(void **state)
{
    (void)state;
    struct fixture f;
    struct emb_front_limits limits = emb_front_limits_default();
    fixture_tls = context_new(false);
    fixture_start(&f, &limits);
    assert_true(ask(&f, "/big") > BIG_BYTES);
    assert_true(ask(&f, "/stream/unknown") > BIG_BYTES);
    assert_true(ask(&f, "/stream/known") > BIG_BYTES);
    assert_int_equal(ask(&f, "/stream/less"), 0); /* cut short: no goodbye */
    int fd = client_open(&f);
    client_puts(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    struct reply r = client_reply(fd, false);
    assert_int_equal(r.status, 400);
    assert_non_null(strstr(r.body, "TLS"));
    assert_true(client_ended(fd));
    reply_free(&r);
    close(fd);
    fixture_join(&f);
    emb_tls_context_free(fixture_tls);
    fixture_tls = NULL;
}

/* Either side's allocations fail, as both are in this process: the front stays, and nothing is left behind. */
static void test_front_without_memory(void **state)
{
    (void)state;
    struct fixture f;
    struct emb_front_limits limits = emb_front_limits_default();
    fixture_tls = context_new(false);
    fixture_start(&f, &limits);
    assert_true(ask(&f, "/stream/small") > SMALL_BYTES);
    for (long n = 0; n < 3000; n += 1 + n / 12) {
        emb_mem_fail_after(n);
        ask(&f, n % 3 == 0 ? "/big" : "/stream/known");
        emb_mem_fail_after(-1);
        assert_true(ask(&f, "/stream/small") > SMALL_BYTES);
    }
    fixture_join(&f);
    emb_tls_context_free(fixture_tls);
    fixture_tls = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts),      cmocka_unit_test(test_in_pieces),
        cmocka_unit_test(test_no_tls),        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_large_replies), cmocka_unit_test(test_front_without_memory),
    };
    static const unsigned char protocols[] = "\x02h2\x08http/1.1";
    if (!emb_tls_use_memory()) {
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    emb_log_set_level(EMB_LOG_OFF);
    snprintf(cert, sizeof cert, "%s", tempdir_path("cert.pem"));
    snprintf(key, sizeof key, "%s", tempdir_path("key.pem"));
    snprintf(other_key, sizeof other_key, "%s", tempdir_path("other.pem"));
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    write_key(other_key, pkey);
    EVP_PKEY_free(pkey);
    put_pair(90);
    client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_alpn_protos(client_context, protocols, sizeof protocols - 1);
    int failed = cmocka_run_group_tests_name("tls", tests, NULL, NULL);
    SSL_CTX_free(client_context);
    return failed;
}
