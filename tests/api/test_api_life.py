"""Start and end of a server: options that cannot be, stopping under load, being killed."""
import concurrent.futures as cf
import os
import signal
import socket
import subprocess
import time

import pytest
import requests

from conftest import BINARY, MODEL, NAME, PATIENCE, floats, until


def serve(*flags):
    env = {k: v for k, v in os.environ.items() if not k.startswith("EMBELLAMA_")}
    return subprocess.run([BINARY, "serve", *flags], capture_output=True, text=True, env=env, timeout=PATIENCE)


def test_starts_that_fail(start):
    server = start()
    for flags, says in ((("--model-path", MODEL, "--port", str(server.port)), "in use"),
                        (("--model-path", "/nonexistent/model"), "/nonexistent/model"),
                        (("--model-path", MODEL, "--host", "no.such.host.invalid"), "no.such.host.invalid"),
                        (("--model-path", MODEL, "--pooling", "none"), "none")):
        done = serve(*flags)
        assert done.returncode not in (0, -signal.SIGABRT, -signal.SIGSEGV)
        assert says in done.stderr, done.stderr


def test_names_and_options(start):
    server = start("--model-name", "acme/my model", "--pooling", "cls", "--max-length", "16", "--normalize", "none")
    (model,) = requests.get(server.url + "/v1/models", timeout=PATIENCE).json()["data"]
    assert model["id"] == "acme/my model"
    assert (model["pooling"], model["normalize"], model["context_length"]) == ("cls", "none", 16)
    assert requests.get(server.url + "/v1/models/acme%2Fmy%20model", timeout=PATIENCE).json() == model
    for name in ("acme/my model", "my model"):
        assert server.post({"model": name, "input": "a"}).json()["model"] == "acme/my model"
    assert server.post({"model": "my model", "input": "word " * 14}).status_code == 200
    reply = server.post({"model": "my model", "input": "word " * 15})
    assert reply.status_code == 400 and "16 tokens" in reply.json()["error"]["message"]
    full = server.post({"model": "my model", "input": "hello"}).json()["data"][0]["embedding"]
    cut = server.post({"model": "my model", "input": "hello", "dimensions": 10}).json()["data"][0]["embedding"]
    assert cut == full[:10], "without normalisation a cut is only a cut"
    assert abs(sum(v * v for v in full) - 1) > 0.01


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_graceful_stop_under_load(start, number):
    """What the server holds is answered, right; what comes later is refused or finds nobody; the exit code is 0."""
    server = start()
    want = server.embed("word " * 12 + "7").tobytes()

    def client(i):
        results = []
        for n in range(1000):
            try:
                others = [f"text {k} of request {n} by {i} " + "word " * 40 for k in range(60)]
                reply = server.post({"model": NAME, "input": ["word " * 12 + "7", *others], "encoding_format": "base64"})
            except requests.ConnectionError:
                return results, "refused"
            if reply.status_code == 503:
                return results, "refused"
            results.append(reply.status_code == 200 and len(reply.json()["data"]) == 61
                           and floats(reply.json()["data"][0]["embedding"]).tobytes() == want)
        return results, "never stopped"

    with cf.ThreadPoolExecutor(12) as pool:
        clients = [pool.submit(client, i) for i in range(12)]
        assert until(lambda: server.health()["queue"]["waiting"] > 0)
        time.sleep(0.3)
        server.process.send_signal(number)
        outcomes = [c.result() for c in clients]
    assert server.wait() == 0, server.logged()[-2000:]
    assert all(how == "refused" for _, how in outcomes)
    assert all(all(results) for results, _ in outcomes)
    assert sum(len(results) for results, _ in outcomes) >= 12
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_request_in_flight_is_answered(start):
    server = start()
    with cf.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.embed, ["word " * 60 + str(i) for i in range(200)])
        assert until(lambda: server.health()["queue"]["waiting"] > 0)
        server.terminate()
        assert len(slow.result()) == 200
    assert server.wait() == 0


def test_killed_server_leaves_nothing(start):
    """The first process killed: what the front holds is answered, then all are gone and the port is free."""
    server = start()
    group = server.process.pid
    with cf.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.post, {"model": NAME, "input": [f"{i} " + "word " * 300 for i in range(100)]})
        assert until(lambda: server.health()["queue"]["running"] > 0)
        server.process.kill()
        assert server.wait() == -signal.SIGKILL
        assert slow.result().status_code == 200

    def gone():
        try:
            os.killpg(group, 0)
            return False
        except ProcessLookupError:
            return True

    assert until(gone, 10)
    again = start("--port", str(server.port))
    assert again.port == server.port and again.embed("x").shape == (1, 384)


def test_pipelined_and_kept_connection(start):
    """Two requests written at once are answered in order on one connection."""
    server = start()
    body = b'{"model":"%s","input":"a"}' % NAME.encode()
    one = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    two = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    s = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    s.sendall(one + one + two)
    got = b""
    while chunk := s.recv(65536):
        got += chunk
    s.close()
    assert got.count(b"HTTP/1.1 200") == 3
    assert got.index(b'"object":"list"') < got.index(b'"status":"ok"')
