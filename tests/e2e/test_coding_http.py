"""Content codings on the wire: bodies of requests, and replies to those who ask, whole and streamed."""
import gzip
import http.client
import json
import shutil
import socket
import subprocess
import zlib

import pytest

import places
import serving

FLOATS = {"model": "all-MiniLM-L6-v2", "encoding_format": "float"}
CODERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
DECODERS = {"gzip": gzip.decompress, "deflate": zlib.decompress}


def tool(name, *args):
    return lambda data: subprocess.run([name, *args], input=data, stdout=subprocess.PIPE, check=True).stdout


for name, program, fast in (("br", "brotli", "-1"), ("zstd", "zstd", "-1")):
    if shutil.which(program):
        CODERS[name] = tool(program, fast, "-c")
        DECODERS[name] = tool(program, "-dc")


@pytest.fixture(scope="module")
def server():
    serving.model_dir()
    with serving.Server("--max-body", "1000000") as s:
        yield s
        s.stop()


def ask(server, body, headers=None, method="POST", path="/v1/embeddings"):
    """(status, fields, bytes)"""
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    c.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
    r = c.getresponse()
    result = r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
    c.close()
    return result


def vectors(data):
    return [entry["embedding"] for entry in json.loads(data)["data"]]


@pytest.mark.parametrize("coding", sorted(CODERS))
@pytest.mark.parametrize("count", [1, 400])
def test_bodies(server, coding, count):
    body = json.dumps({**FLOATS, "input": [f"{i} " + "word " * 30 for i in range(count)]}).encode()
    coded = CODERS[coding](body)
    plain, fields, data = ask(server, body)
    status, _, got = ask(server, coded, {"Content-Encoding": coding})
    assert plain == status == 200 and vectors(got) == vectors(data)
    for cut in (coded[:-1], coded[:len(coded) // 2], coded + b"x", b"\0" * 20, b"{}" * 9000):
        status, _, got = ask(server, cut, {"Content-Encoding": coding})
        assert status == 400 and coding.replace("x-", "") in json.loads(got)["error"]["message"]


@pytest.mark.parametrize("coding", sorted(CODERS))
def test_bombs(server, coding):
    for size in (1_000_001, 300_000_000):
        status, _, got = ask(server, CODERS[coding](b" " * size), {"Content-Encoding": coding})
        assert status == 413 and json.loads(got)["error"]["code"] == "request_too_large"
    assert server.request("/health")[0] == 200


@pytest.mark.parametrize("coding", ["snappy", "gzip, gzip", "gzip, br", "*"])
def test_what_is_not_known(server, coding):
    status, fields, got = ask(server, b"x", {"Content-Encoding": coding})
    assert status == 415 and fields["accept-encoding"] == "gzip, deflate, br, zstd"
    assert json.loads(got)["error"]["code"] == "unsupported_content_encoding"


@pytest.mark.parametrize("coding", sorted(DECODERS))
@pytest.mark.parametrize("count", [2, 30, 600])
def test_replies(server, coding, count):
    body = {**FLOATS, "input": [f"text {i}" for i in range(count)]}
    _, plain, data = ask(server, body)
    status, fields, coded = ask(server, body, {"Accept-Encoding": coding})
    assert status == 200 and "content-encoding" not in plain
    assert fields["content-encoding"] == coding and fields["vary"] == plain["vary"] == "accept-encoding"
    assert vectors(DECODERS[coding](coded)) == vectors(data)
    assert len(coded) < 0.6 * len(data)


def test_who_does_not_ask(server):
    body = {**FLOATS, "input": ["a"] * 10}
    for accept in (None, "", "identity", "gzip;q=0", "*;q=0", "snappy", "identity, gzip;q=0.5"):
        status, fields, data = ask(server, body, {} if accept is None else {"Accept-Encoding": accept})
        assert status == 200 and "content-encoding" not in fields and len(vectors(data)) == 10


def test_what_does_not_pay(server):
    headers = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    for count in (50, 700):
        status, fields, data = ask(server, {**FLOATS, "encoding_format": "base64", "input": ["a"] * count}, headers)
        assert status == 200 and "content-encoding" not in fields and len(vectors(data)) == count
    assert "content-encoding" not in ask(server, None, headers, "GET", "/health")[1]
    status, fields, data = ask(server, None, headers, "HEAD", "/metrics")
    assert status == 200 and data == b"" and "content-encoding" not in fields
    status, fields, data = ask(server, None, headers, "GET", "/metrics")
    assert status == 200 and fields["content-encoding"] == "zstd"


def test_old_clients(server):
    """HTTP/1.0 knows no chunks: the end of the connection is the reply's."""
    body = json.dumps({**FLOATS, "input": ["a"] * 600}).encode()
    with socket.create_connection(("127.0.0.1", server.port), 60) as s:
        s.sendall(b"POST /v1/embeddings HTTP/1.0\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head, data = places.read_all(s).split(b"\r\n\r\n", 1)
    assert b"content-encoding: gzip" in head and b"chunked" not in head
    assert len(vectors(gzip.decompress(data))) == 600


def test_a_client_that_leaves_meanwhile(server):
    coded = gzip.compress(b" " * 900_000 + b"{}", 0)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), 60) as s:
            s.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                      b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded) + coded)
    assert server.request("/health")[0] == 200


def test_curl_over_both_protocols(server):
    for option in ("--http1.1", "--http2-prior-knowledge"):
        run = places.curl(option, "--compressed", "-H", "Content-Type: application/json", "-d",
                          json.dumps({**FLOATS, "input": ["a"] * 600}), f"{server.url}/v1/embeddings")
        assert len(vectors(run.stdout)) == 600


def test_turned_off():
    with serving.Server("--compression", "off") as s:
        status, fields, data = ask(s, {**FLOATS, "input": ["a"] * 10}, {"Accept-Encoding": "gzip"})
        assert status == 200 and "content-encoding" not in fields and "vary" not in fields and len(vectors(data)) == 10
        s.stop()
