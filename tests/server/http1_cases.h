/* Hostile and odd HTTP/1 input, and what must become of it. Used against the parser alone and through sockets. */
#ifndef EMB_HTTP1_CASES_H
#define EMB_HTTP1_CASES_H

#include <stddef.h>

struct http1_case {
    const char *name;
    const char *bytes;
    size_t size;
    int requests; /* whole requests that come out before the end or the refusal */
    int refused;  /* status of the refusal that follows them, or 0 */
};

#define CASE(name, bytes, requests, refused)                                                                           \
    {                                                                                                                  \
        name, bytes, sizeof(bytes) - 1, requests, refused                                                              \
    }
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static const struct http1_case http1_cases[] = {
    /* plain */
    CASE("get", GET "\r\n", 1, 0),
    CASE("post with length", POST "Content-Length: 5\r\n\r\nhello", 1, 0),
    CASE("post without length", POST "\r\n", 1, 0),
    CASE("zero length", POST "Content-Length: 0\r\n\r\n", 1, 0),
    CASE("leading zeros in length", POST "Content-Length: 0005\r\n\r\nhello", 1, 0),
    CASE("chunked", CHUNKED "5\r\nhello\r\n0\r\n\r\n", 1, 0),
    CASE("chunked coding in capitals", POST "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 1, 0),
    CASE("empty chunked", CHUNKED "0\r\n\r\n", 1, 0),
    CASE("chunk extension", CHUNKED "5;a=b\r\nhello\r\n0\r\n\r\n", 1, 0),
    CASE("quoted chunk extension", CHUNKED "5;a=\"b\"\r\nhello\r\n0\r\n\r\n", 1, 0),
    CASE("trailer", CHUNKED "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", 1, 0),
    CASE("pipelined", GET "\r\n" GET "\r\n" POST "Content-Length: 1\r\n\r\nx" GET "\r\n", 4, 0),
    CASE("pipelined after chunks and trailers", CHUNKED "1\r\na\r\n0\r\nX: y\r\n\r\n" GET "\r\n", 2, 0),
    CASE("empty lines before requests", "\r\n\r\n" GET "\r\n\r\n" GET "\r\n", 2, 0),
    CASE("http 1.0 without host", "GET / HTTP/1.0\r\n\r\n", 1, 0),
    CASE("header without value", GET "X:\r\nY: \t\r\n\r\n", 1, 0),
    CASE("tab in a header", GET "X: a\tb\r\n\r\n", 1, 0),
    CASE("bytes above ascii in a header", GET "X: \xC3\xA9\xFF\r\n\r\n", 1, 0),
    CASE("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 1, 0),
    CASE("ipv6 host", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 1, 0),
    CASE("query", "GET /a?b=c%20d?e HTTP/1.1\r\nHost: a\r\n\r\n", 1, 0),
    CASE("expect", POST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", 1, 0),
    CASE("expect without body", POST "Expect: 100-Continue\r\n\r\n", 1, 0),
    CASE("upgrade without body", GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" GET "\r\n", 2, 0),
    CASE("upgrade with body",
         POST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAE\r\nContent-Length: 5\r\n\r\n"
              "hello" GET "\r\n",
         2, 0),
    CASE("upgrade with chunks",
         POST "Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 1, 0),
    CASE("unfinished head", GET "X: a\r\n", 0, 0),
    CASE("unfinished body", POST "Content-Length: 5\r\n\r\nhell", 0, 0),

    /* lengths that disagree */
    CASE("two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 0, 400),
    CASE("two equal lengths", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 0, 400),
    CASE("list of lengths", POST "Content-Length: 5, 5\r\n\r\nhello", 0, 400),
    CASE("length with sign", POST "Content-Length: +5\r\n\r\nhello", 0, 400),
    CASE("negative length", POST "Content-Length: -5\r\n\r\nhello", 0, 400),
    CASE("hexadecimal length", POST "Content-Length: 0x5\r\n\r\nhello", 0, 400),
    CASE("length with a space inside", POST "Content-Length: 5 5\r\n\r\nhello", 0, 400),
    CASE("empty length", POST "Content-Length:\r\n\r\n", 0, 400),
    CASE("length beyond 64 bits", POST "Content-Length: 18446744073709551617\r\n\r\nx", 0, 400),
    CASE("length of 64 bits", POST "Content-Length: 18446744073709551615\r\n\r\nx", 0, 413),
    CASE("length beyond the limit", POST "Content-Length: 10485761\r\n\r\n", 0, 413),
    CASE("length and coding", POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400),
    CASE("coding and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 0, 400),
    CASE("two codings", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 501),
    CASE("unknown coding", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 0, 501),
    CASE("chunked not last", POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 0, 501),
    CASE("chunked last of two", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, 501),
    CASE("identity", POST "Transfer-Encoding: identity\r\n\r\n", 0, 501),
    CASE("quoted coding", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 0, 501),
    CASE("coding with vertical tab", POST "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n", 0, 400),
    CASE("chunked on http 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400),

    /* lines */
    CASE("bare LF", "GET / HTTP/1.1\nHost: a\n\n", 0, 400),
    CASE("bare LF in headers", GET "X: a\nY: b\r\n\r\n", 0, 400),
    CASE("bare CR in a header", GET "X: a\rY: b\r\n\r\n", 0, 400),
    CASE("bare CR hides a coding", POST "X: \rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400),
    CASE("CR CR LF", GET "X: a\r\r\n\r\n", 0, 400),
    CASE("folded header", GET "X: a\r\n b\r\n\r\n", 0, 400),
    CASE("folded with tab", GET "X: a\r\n\tb\r\n\r\n", 0, 400),
    CASE("space before first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 0, 400),
    CASE("space before colon", POST "Content-Length : 5\r\n\r\nhello", 0, 400),
    CASE("header without colon", GET "X\r\n\r\n", 0, 400),
    CASE("header without name", GET ": a\r\n\r\n", 0, 400),
    CASE("header name with a bracket", GET "X(a): b\r\n\r\n", 0, 400),
    CASE("zero in a header", GET "X: a\0b\r\n\r\n", 0, 400),
    CASE("zero in a name", GET "X\0Y: b\r\n\r\n", 0, 400),
    CASE("delete in a header", GET "X: a\x7F\r\n\r\n", 0, 400),
    CASE("many empty lines", "\r\n\r\n\r\n\r\n\r\n\r\n" GET "\r\n", 0, 400),
    CASE("tls hello", "\x16\x03\x01\x02\x00\x01\x00", 0, 400),

    /* request line */
    CASE("no version", "GET /\r\n\r\n", 0, 400),
    CASE("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 0, 400),
    CASE("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 0, 505),
    CASE("version 0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 0, 505),
    CASE("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 0, 505),
    CASE("version in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("nearly the http 2 preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 0, 505),
    CASE("rtsp", "DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n", 0, 400),
    CASE("get by rtsp", "GET / RTSP/1.0\r\nHost: a\r\n\r\n", 0, 400),
    CASE("ice", "SOURCE / ICE/1.0\r\nHost: a\r\n\r\n", 0, 400),
    CASE("connect", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("connect to a path", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", 0, 501),
    CASE("unknown method", "FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 501),
    CASE("method in small letters", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 501),
    CASE("method with a bracket", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("absolute target", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 1, 0),
    CASE("absolute target of nothing", "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1, 0),
    CASE("asterisk of GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("bytes above ascii in the target", "GET /\xC3\xA9 HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),

    /* host and expectations */
    CASE("no host", "GET / HTTP/1.1\r\n\r\n", 0, 400),
    CASE("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 0, 400),
    CASE("two hosts on http 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 0, 400),
    CASE("host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 0, 400),
    CASE("host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, 400),
    CASE("host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 0, 400),
    CASE("unknown expectation", POST "Content-Length: 5\r\nExpect: 200-ok\r\n\r\nhello", 0, 417),
    CASE("expects and is too large", POST "Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n", 0, 413),

    /* chunks */
    CASE("chunk size 0x5", CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 0, 400),
    CASE("chunk size with sign", CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 0, 400),
    CASE("chunk size with space before", CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 0, 400),
    CASE("chunk size beyond 64 bits", CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", 0, 400),
    CASE("chunk size of 64 bits", CHUNKED "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", 0, 413),
    CASE("chunk beyond the limit", CHUNKED "a00001\r\nhello", 0, 413),
    CASE("chunks together beyond the limit", CHUNKED "1\r\na\r\na00000\r\n", 0, 413),
    CASE("empty chunk size", CHUNKED "\r\nhello\r\n0\r\n\r\n", 0, 400),
    CASE("chunk longer than said", CHUNKED "5\r\nhelloXX0\r\n\r\n", 0, 400),
    CASE("LF after chunk size", CHUNKED "5\nhello\r\n0\r\n\r\n", 0, 400),
    CASE("LF after chunk", CHUNKED "5\r\nhello\n0\r\n\r\n", 0, 400),
    CASE("LF in chunk extension", CHUNKED "5;a=\n\r\nhello\r\n0\r\n\r\n", 0, 400),
    CASE("CR in chunk extension", CHUNKED "5;a\rb\r\nhello\r\n0\r\n\r\n", 0, 400),
    CASE("length in a trailer", CHUNKED "0\r\nContent-Length: 5\r\n\r\n", 0, 400),
    CASE("coding in a trailer", CHUNKED "0\r\ntransfer-encoding: chunked\r\n\r\n", 0, 400),
    CASE("host in a trailer", CHUNKED "0\r\nHOST: b\r\n\r\n", 0, 400),
    CASE("folded trailer", CHUNKED "0\r\nX: a\r\n b\r\n\r\n", 0, 400),
    CASE("LF in trailers", CHUNKED "0\r\nX: a\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400),
    CASE("trailer without colon", CHUNKED "0\r\nX\r\n\r\n", 0, 400),
    CASE("space before a trailer's colon", CHUNKED "0\r\nX : a\r\n\r\n", 0, 400),

    /* a good request, then a bad one: the first is answered, the second refused, nothing after it is read */
    CASE("good, bad, good", GET "\r\nGET / HTTP/1.1\r\n\r\n" GET "\r\n", 1, 400),
    CASE("garbage behind a body", POST "Content-Length: 1\r\n\r\nx\x01" GET "\r\n", 1, 400),
};

#define HTTP1_CASES (sizeof http1_cases / sizeof *http1_cases)

#endif
