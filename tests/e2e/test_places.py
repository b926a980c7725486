"""Where the server listens: Unix sockets, IPv6, how many may wait, and that small replies are not held back."""
import json
import os
import signal
import socket
import stat
import subprocess
import time

import pytest

import places
import serving

GET = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module", autouse=True)
def model():
    serving.model_dir()


def refused(*args):
    run = subprocess.run([serving.BINARY, "serve", *args], capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    return run.stderr


def ready_line(server):
    for _ in range(200):
        if server.stdout:
            return server.stdout[0]
        time.sleep(0.02)
    return ""


def test_only_a_unix_socket(tmp_path):
    path = str(tmp_path / "s")
    with places.Local(path) as s:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert s.request("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": "a"})[0] == 200
        assert f"--unix-socket {path}" in ready_line(s)
        listening = subprocess.run(["cat", f"/proc/{places.front_pid(s)}/net/tcp"], capture_output=True, text=True).stdout
        assert f":{s.port:04X} " not in listening
        assert f"the Unix socket {path}: Address already in use" in refused("--port", "off", "--unix-socket", path)
        assert s.request("/health")[0] == 200
        s.stop()
    assert not os.path.exists(path)


def test_a_stale_socket_is_replaced_and_other_files_are_not(tmp_path):
    path, file = str(tmp_path / "s"), str(tmp_path / "file")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    with places.Local(path, "--unix-socket-mode", "660") as s:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        os.kill(s.process.pid, signal.SIGKILL)  # leaves its file behind
        s.process.wait()
    assert os.path.exists(path)
    for _ in range(200):  # its front ends by itself
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
        except ConnectionRefusedError:
            break
        time.sleep(0.05)
    with places.Local(path) as s:
        s.stop()
    with open(file, "w") as f:
        f.write("mine")
    assert "Address already in use" in refused("--port", "off", "--unix-socket", file)
    with open(file) as f:
        assert f.read() == "mine"


def test_wrong_options(tmp_path):
    assert "--port off needs --unix-socket" in refused("--port", "off")
    assert "--unix-socket-mode must be octal" in refused("--unix-socket", str(tmp_path / "s"), "--unix-socket-mode", "rw")
    assert "the path of the Unix socket is too long" in refused("--port", "off", "--unix-socket", str(tmp_path / ("x" * 200)))


def test_beside_a_port_and_the_rights_of_its_peers(tmp_path):
    path = str(tmp_path / "s")
    with serving.Server("--unix-socket", path, "--rate-limit-requests", "30") as s:
        assert s.request("/admin/status")[0] == 200

        def ask(headers):
            return places.exchange(places.UnixConnection(path), "/admin/status", None, headers)[0]

        assert ask({}) == ask({"Host": "example.org"}) == 200
        assert ask({"X-Forwarded-For": "1.2.3.4"}) == ask({"Origin": "http://example.org"}) == 403
        body = {"model": "all-MiniLM-L6-v2", "input": "a"}
        codes = [places.exchange(places.UnixConnection(path), "/v1/embeddings", body)[0] for _ in range(40)]
        assert codes.count(200) >= 30 and codes[-1] == 429
        assert s.request("/v1/embeddings", body)[0] == 200  # another address has its own rate
        places.wait_for_log(s, f"peer=unix:{os.getuid()}")
        os.kill(places.front_pid(s), signal.SIGKILL)
        assert places.exchange(places.UnixConnection(path), "/health", None)[0] == 200  # waits for the next front
        s.stop()
    assert not os.path.exists(path)


def test_dead_letters_are_sent_again_over_it(tmp_path):
    path, letters = str(tmp_path / "s"), tmp_path / "dead.jsonl"
    letters.write_text(json.dumps({"time": "2025-01-31T12:00:00.000Z", "model": "all-MiniLM-L6-v2", "request_id": "a",
                                   "input": 0, "hash": "0" * 32, "tokens": 3, "reason": "died", "ids": [101, 7592, 102]})
                       + "\n")
    with places.Local(path) as s:
        run = subprocess.run([serving.BINARY, "dead-letter", "retry", str(letters), "--url", "unix:" + path],
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "embedded" in run.stdout
        run = subprocess.run([serving.BINARY, "dead-letter", "retry", str(letters), "--url", "unix:/nonexistent"],
                             capture_output=True, text=True, timeout=60)
        assert run.returncode != 0 and "/nonexistent" in run.stderr
        s.stop()


@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_version_6(host):
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    with serving.Server("--host", host) if host == "::" else Six("--host", host) as s:
        with socket.create_connection(("::1", s.port), 20) as c:
            c.sendall(GET)
            assert places.read_all(c).startswith(b"HTTP/1.1 200 ")
        assert f"http://[::1]:{s.port}" in ready_line(s)
        assert s.request("/admin/status")[0] == 200
        s.stop()


class Six(serving.Server):
    def request(self, path, body=None, timeout=60):
        self.url = f"http://[::1]:{self.port}"
        return super().request(path, body, timeout)


def test_small_replies_are_not_held_back():
    """Two small writes in a row: with Nagle's algorithm on, the second would wait for the client's delayed ACK, 40 ms each time."""
    with serving.Server() as s, socket.create_connection(("127.0.0.1", s.port), 20) as c:
        start = time.monotonic()
        for _ in range(100):
            c.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert b" 100 Continue" in c.recv(65536)
            c.sendall(b"{}")
            assert b" 400 " in c.recv(65536)
        assert time.monotonic() - start < 3.5
        s.stop()


def test_backlog():
    """Of 20 clients that come while the front does not run, those beyond the backlog are not accepted; the others are answered."""
    with serving.Server("--backlog", "4") as s:
        front = places.front_pid(s)
        os.kill(front, signal.SIGSTOP)
        waiting = []
        for _ in range(20):
            c = socket.socket()
            c.setblocking(False)
            c.connect_ex(("127.0.0.1", s.port))
            waiting.append(c)
        time.sleep(0.2)
        with open(f"/proc/{front}/net/tcp") as f:
            queue = [line.split()[4] for line in f if line.split()[1].endswith(f":{s.port:04X}") and line.split()[3] == "0A"]
        os.kill(front, signal.SIGCONT)
        assert [int(q.split(":")[1], 16) for q in queue] == [5]  # Linux takes one more than it is told
        for c in waiting:
            c.close()
        assert s.request("/health")[0] == 200
        s.stop()
