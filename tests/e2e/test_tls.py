"""TLS as clients meet it: versions, resumption, ALPN, certificates that change, and what is no TLS."""
import json
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest

import places
import serving

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
BODY = {"model": "all-MiniLM-L6-v2", "input": "Hello"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(folder):
    return places.make_certificate(folder)


@pytest.fixture(scope="module")
def server(pair):
    serving.model_dir()
    with places.Secure(*pair, "--header-timeout", "1") as s:
        yield s
        s.stop()


def talk(server, context=None, session=None):
    """(reply, the socket's version, ALPN, session)"""
    with server.open(context, session) as s:
        s.sendall(GET)
        reply = places.read_all(s)
        return reply, s.version(), s.selected_alpn_protocol(), s.session, s.session_reused


def test_the_same_vectors_as_without(server, pair):
    with serving.Server() as plain:
        expected = plain.request("/v1/embeddings", BODY)[1]["data"]
        plain.stop()
    status, reply = server.request("/v1/embeddings", BODY)
    assert status == 200 and reply["data"] == expected
    assert server.stdout[0].startswith("Embellama serves all-MiniLM-L6-v2 at https://127.0.0.1:")


@pytest.mark.parametrize("newest,name", [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_versions_and_resumption(server, newest, name):
    context = places.context_for(server.cert, newest=newest)
    reply, version, _, session, reused = talk(server, context)
    assert reply.startswith(b"HTTP/1.1 200 ") and version == name and not reused
    assert talk(server, context, session)[4]


def test_old_versions_are_refused(server):
    context = places.context_for(server.cert)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        talk(server, context)


def test_alpn(server):
    assert talk(server, places.context_for(server.cert, ["http/1.1"]))[2] == "http/1.1"
    assert talk(server, places.context_for(server.cert))[2] is None
    with pytest.raises(ssl.SSLError):
        talk(server, places.context_for(server.cert, ["spdy/3"]))
    with server.open(places.context_for(server.cert, ["h2", "http/1.1"])) as s:
        assert s.selected_alpn_protocol() == "h2"


def test_curl_over_both_protocols(server):
    for option, version in (("--http2", "2"), ("--http1.1", "1.1")):
        run = places.curl(option, "--cacert", server.cert, "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
                          f"https://localhost:{server.port}/health")
        assert run.stdout == f"{version} 200", run.stderr


def test_an_end_is_said(server):
    """close_notify, so that a reply that ends with the connection is not taken for one that was cut."""
    with server.open() as s:
        s.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert places.read_all(s).startswith(b"HTTP/1.1 200 ")  # raises SSLEOFError where the end was not said
    s = server.open()
    s.unwrap().close()


def test_plain_text_gets_a_clear_end(server):
    with socket.create_connection(("127.0.0.1", server.port), 20) as s:
        s.sendall(GET)
        reply = places.read_all(s)
    assert reply.startswith(b"HTTP/1.1 400 ") and b"speaks TLS" in reply and b"connection: close" in reply
    with socket.create_connection(("127.0.0.1", server.port), 20) as s:
        s.sendall(b"\x00\x01\x02\x03 neither\r\n")
        assert not places.read_all(s).startswith(b"HTTP")
    assert server.request("/health")[0] == 200


def test_half_a_handshake_ends(server):
    with socket.create_connection(("127.0.0.1", server.port), 20) as silent, \
            socket.create_connection(("127.0.0.1", server.port), 20) as partial:
        partial.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert places.read_all(silent) == b"" and places.read_all(partial) == b""


def test_no_renegotiation(server):
    """A client of TLS 1.2 that asks for it, as openssl's R command does, is refused or ends; the server stays."""
    run = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(0.3)
    out, _ = run.communicate(b"R\n", timeout=20)
    assert b"no renegotiation" in out, out[-500:]
    assert server.request("/health")[0] == 200


def test_a_long_reply_and_many_requests(server):
    texts = {"model": "all-MiniLM-L6-v2", "input": [f"text {i}" for i in range(300)]}
    status, reply = server.request("/v1/embeddings", texts)
    assert status == 200 and len(reply["data"]) == 300
    with server.open() as s:
        s.sendall(GET.replace(b"close", b"keep-alive") * 50 + GET)
        assert places.read_all(s).count(b"HTTP/1.1 200 ") == 51


def test_a_client_that_reads_slowly_gets_it_all(server):
    data = json.dumps({"model": "all-MiniLM-L6-v2", "input": ["a"] * 2048}).encode()
    with server.open() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        s.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(data) + data)
        time.sleep(1)
        reply = places.read_all(s)
    assert reply.startswith(b"HTTP/1.1 200 ") and reply.endswith(b"0\r\n\r\n") and len(reply) > 8 << 20


def test_clients_that_vanish(server):
    for cut in (1, 100, 250, 2000):
        with socket.create_connection(("127.0.0.1", server.port), 20) as s:
            out = ssl.MemoryBIO()
            client = places.context_for(server.cert).wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            s.sendall(out.read()[:cut])
    s = server.open()
    s.sendall(GET[:20])
    s.close()
    assert server.request("/health")[0] == 200


# ---- Certificates ----


def refused(*args):
    run = subprocess.run([serving.BINARY, "serve", "--port", "0", *args], capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    return run.stderr


def test_what_cannot_be_used_is_one_sentence(folder, pair):
    serving.model_dir()
    cert, key = pair
    other = places.make_certificate(folder, "other")
    broken = folder + "/broken.pem"
    with open(broken, "w") as f:
        f.write("-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")
    locked = folder + "/locked.key"
    subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked], check=True)
    assert "--tls-cert needs --tls-key" in refused("--tls-cert", cert)
    assert "--tls-key needs --tls-cert" in refused("--tls-key", key)
    assert f"cannot open the certificate {folder}/none" in refused("--tls-cert", folder + "/none", "--tls-key", key)
    assert f"the key {other[1]} is not the one of the certificate" in refused("--tls-cert", cert, "--tls-key", other[1])
    assert f"the certificate {broken} cannot be used: " in refused("--tls-cert", broken, "--tls-key", key)
    assert f"the key {locked} cannot be used: " in refused("--tls-cert", cert, "--tls-key", locked)


def served_name(server, cert):
    try:
        with server.open(places.context_for(cert)) as s:
            return dict(part[0] for part in s.getpeercert()["subject"])["commonName"]
    except ssl.SSLCertVerificationError:
        return "another"


def test_a_new_certificate_is_taken_up(folder):
    first, second = places.make_certificate(folder, kind="rsa"), places.make_certificate(folder, kind="ec")
    cert, key = folder + "/live.pem", folder + "/live.key"

    def put(path, source):
        with open(source) as f, open(path + ".new", "w") as g:
            g.write(f.read())
        os.rename(path + ".new", path)

    put(cert, first[0])
    put(key, first[1])
    with places.Secure(cert, key) as s:
        kept = s.open(places.context_for(first[0]))
        put(cert, second[0])
        places.wait_for_log(s, "event=certificate_kept")
        assert served_name(s, first[0]) == "localhost"
        put(key, second[1])
        places.wait_for_log(s, "event=certificate_reloaded")
        assert served_name(s, second[0]) == "localhost" and served_name(s, first[0]) == "another"
        put(key, first[1])
        put(cert, first[0])
        s.process.send_signal(signal.SIGHUP)
        places.wait_for_log(s, "event=certificate_reloaded", 2)
        assert served_name(s, first[0]) == "localhost"
        kept.sendall(GET)
        assert places.read_all(kept).startswith(b"HTTP/1.1 200 ")
        kept.close()
        os.kill(places.front_pid(s), signal.SIGKILL)
        for _ in range(200):
            try:
                assert s.request("/health")[0] == 200
                break
            except OSError:
                time.sleep(0.05)
        s.cert = first[0]
        s.stop()


def test_connections_count_before_they_agree(pair):
    with places.Secure(*pair, "--max-connections", "3", "--header-timeout", "30") as s:
        silent = [socket.create_connection(("127.0.0.1", s.port), 20) for _ in range(3)]
        time.sleep(0.2)
        with pytest.raises((ssl.SSLError, OSError)):
            s.open()
        for one in silent:
            one.close()
        for _ in range(100):
            try:
                assert s.request("/health")[0] == 200
                break
            except OSError:
                time.sleep(0.05)
        s.stop()
