"""curl: what lies below the dialects. HTTP/1.1 and 2, TLS, a Unix socket, compression, Expect."""
import gzip
import json
import subprocess

from features import MODEL, SETUP, TEXTS, URL, Client, same


class Curl(Client):
    def __init__(self):
        self.name, self.dialect, self.version = "curl", "any", "the system's"


client = Curl()
BODY = json.dumps({"model": MODEL, "input": TEXTS["short"]}).encode()


def curl(*args, body=BODY, url=URL):
    """Posts body; the reply's head as sent, and its JSON."""
    done = subprocess.run(["curl", "-sS", "--max-time", "60", "-i", "-H", "Content-Type: application/json", "--data-binary", "@-", *args,
                           url + "/v1/embeddings"], input=body, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.decode()
    while text.startswith("HTTP/1.1 100"):
        text = text.partition("\r\n\r\n")[2]
    head, _, rest = text.partition("\r\n\r\n")
    return head, json.loads(rest)


def vector(reply, i=0):
    return reply["data"][i]["embedding"]


@client.feature("single")
def _():
    head, reply = curl()
    assert head.startswith("HTTP/1.1 200"), head
    same(vector(reply), "short")


@client.feature("HTTP/2")
def _():
    head, reply = curl("--http2-prior-knowledge")
    assert head.startswith("HTTP/2 200"), head
    same(vector(reply), "short")
    head, reply = curl("--http2")
    same(vector(reply), "short")
    return "by prior knowledge; an offer to upgrade is answered in " + head.split()[0]


@client.feature("TLS")
def _():
    head, reply = curl("--cacert", SETUP["certificate"], "--http1.1", url=SETUP["tls"])
    assert head.startswith("HTTP/1.1 200"), head
    same(vector(reply), "short")


@client.feature("HTTP/2 over TLS")
def _():
    head, reply = curl("--cacert", SETUP["certificate"], "--http2", url=SETUP["tls"])
    assert head.startswith("HTTP/2 200"), head
    same(vector(reply), "short")


@client.feature("Unix socket")
def _():
    same(vector(curl("--unix-socket", SETUP["socket"], url="http://localhost")[1]), "short")


@client.feature("100-continue")
def _():
    body = json.dumps({"model": MODEL, "input": [TEXTS["short"]] * 2, "user": "x" * 1_200_000}).encode()
    same(vector(curl("-H", "Expect: 100-continue", body=body)[1], 1), "short")


@client.feature("compressed requests")
def _():
    same(vector(curl("-H", "Content-Encoding: gzip", body=gzip.compress(BODY))[1]), "short")
    same(vector(curl("--http2-prior-knowledge", "-H", "Content-Encoding: gzip", body=gzip.compress(BODY))[1]), "short")


@client.feature("compressed replies")
def _():
    body = json.dumps({"model": MODEL, "input": [TEXTS["short"]] * 64}).encode()
    head, reply = curl("--compressed", body=body)
    assert "content-encoding:" in head.lower(), head
    same(vector(reply, 63), "short")
