"""Hostile and odd HTTP/1.1 requests, as raw bytes to the real server: each is answered or refused as its rule says, nothing behind a refused
one is taken for a request, and one that leaves the connection open leaves it in step.

Each probe has its rule (a section of RFC 9112, or of the RFC named), what is sent (text with a byte a character; a list of texts
and of [text, times]; {ok} is a request's body, {len} and {hex} its length, {bytes} the same in chunks of one), the status of each
reply (or those that would do), and whether the connection stays. interim: the body is sent once 100 Continue came."""
import json
import os
import socket

import pytest

import serving

OK = '{"model":"all-MiniLM-L6-v2","input":"a"}'
AFTER = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: after\r\n\r\n"

with open(os.path.join(os.path.dirname(__file__), "probes_http1.json")) as f:
    PROBES = json.load(f)


@pytest.fixture(scope="module")
def server():
    serving.model_dir()
    with serving.Server() as s:
        yield s
        s.stop()


def bytes_of(send):
    parts = [send] if isinstance(send, str) else [p if isinstance(p, str) else p[0] * p[1] for p in send]
    text = "".join(parts)
    for name, value in (("ok", OK), ("len", str(len(OK))), ("hex", f"{len(OK):x}"),
                        ("bytes", "".join(f"1\r\n{c}\r\n" for c in OK))):
        text = text.replace("{" + name + "}", value)
    return text.encode("latin-1")


class Reader:
    def __init__(self, sock):
        self.sock, self.data = sock, b""

    def more(self):
        try:
            piece = self.sock.recv(65536)
        except ConnectionResetError:
            piece = b""
        self.data += piece
        return piece

    def head(self):
        """(status, fields), or None where the connection ends. Bytes that are no reply fail."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                assert self.data == b"", self.data[:200]
                return None
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 "), lines[0]
        return int(lines[0][9:12]), {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}

    def reply(self, bodyless=False):
        got = self.head()
        if got and not bodyless and got[0] >= 200:
            size = int(got[1].get("content-length", 0))
            while len(self.data) < size and self.more():
                pass
            assert len(self.data) >= size
            self.data = self.data[size:]
        return got


def send_all(sock, data):
    try:
        sock.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before all was sent: the reply tells


@pytest.mark.parametrize("probe", PROBES, ids=[p["name"] for p in PROBES])
def test_probe(server, probe):
    with socket.create_connection(("127.0.0.1", server.port), 20) as s:
        reader = Reader(s)
        data = bytes_of(probe["send"])
        if probe.get("interim"):
            send_all(s, data[:data.index(b"\r\n\r\n") + 4])
            assert reader.reply() == (100, {})
            data = data[data.index(b"\r\n\r\n") + 4:]
        send_all(s, data)
        for i, expected in enumerate(probe["replies"]):
            got = reader.reply(probe.get("bodyless", False))
            assert got, f"the connection ended before reply {i}"
            assert got[0] in (expected if isinstance(expected, list) else [expected]), got
        if "header" in probe:
            assert got[1][probe["header"][0]] == probe["header"][1]
        if probe["stays"]:
            send_all(s, AFTER)
            status, fields = reader.reply()
            assert status == 200 and fields["x-request-id"] == "after"
        else:
            assert got[1]["connection"] == "close" and reader.reply() is None


def test_byte_by_byte(server):
    """However the bytes come, what they mean is the same."""
    probes = [p for p in PROBES if isinstance(p["send"], str) and p["replies"] == [200] and p["stays"]]
    for probe in probes[:6]:
        with socket.create_connection(("127.0.0.1", server.port), 20) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in bytes_of(probe["send"]):
                s.sendall(bytes([byte]))
            reader = Reader(s)
            status = reader.reply()[0]
            assert (reader.reply() if status == 100 else [status])[0] == 200


def test_none_of_them_ended_a_process(server):
    assert len(PROBES) >= 60 and len({p["name"] for p in PROBES}) == len(PROBES)
    assert "event=ended" not in server.read_log()
