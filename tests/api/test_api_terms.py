"""What a request's headers ask for: deadlines, a part of an answer, priorities, the cache."""
import numpy as np
import pytest

from conftest import NAME, floats

MANY = ["a text number %d that is not the same as any other one, %s" % (i, "word " * 300) for i in range(400)]


def ask(server, given, headers=None, **more):
    return server.post({"model": NAME, "input": given, "encoding_format": "base64", **more}, headers=headers or {})


def test_a_deadline_that_cannot_be_met(server):
    reply = ask(server, MANY, {"x-request-timeout-ms": "1"}, truncate=True)
    assert reply.status_code in (503, 504), reply.text  # refused at arrival, or given up
    error = reply.json()["error"]
    assert error["code"] == ("timeout" if reply.status_code == 504 else "overloaded")
    assert error["type"] == "server_error"
    if reply.status_code == 504:
        assert "retry-after" not in reply.headers
    else:
        assert int(reply.headers["retry-after"]) >= 1 and int(reply.headers["retry-after-ms"]) > 0
    assert ask(server, "and the server goes on").status_code == 200


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1.5", "", "99999999999999999999"])
def test_a_deadline_that_is_none(server, value):
    reply = ask(server, "x", {"x-request-timeout-ms": value})
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "x-request-timeout-ms"


def test_a_part_of_an_answer(server):
    known = ask(server, "this one is known before").json()["data"][0]["embedding"]
    reply = ask(server, ["this one is known before", *MANY], {"x-request-timeout-ms": "1", "x-allow-partial": "true"},
                truncate=True)
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert len(body["data"]) == len(MANY) + 1
    assert body["data"][0]["embedding"] == known
    missing = [d["index"] for d in body["data"] if d["embedding"] is None]
    assert missing, "all were computed within a millisecond"
    assert [e["index"] for e in body["errors"]] == missing
    assert {e["code"] for e in body["errors"]} == {"timeout"} and all(e["message"] for e in body["errors"])


def test_priorities(server):
    for value in ("high", "normal", "low", "LOW"):
        assert ask(server, "urgent or not", {"x-priority": value}).status_code == 200
    reply = ask(server, "x", {"x-priority": "urgent"})
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "x-priority"


def test_the_cache_gives_the_same_bits(server):
    texts = ["a new text", "another new text", "a new text"]
    first = ask(server, texts, {"cache-control": "no-store"})
    assert first.headers["x-embellama-cache"] == "miss"
    assert ask(server, texts).headers["x-embellama-cache"] == "miss", "no-store kept something"
    again = ask(server, texts)
    assert again.headers["x-embellama-cache"] == "hit"
    assert again.json() == first.json()
    mixed = ask(server, ["not seen yet", *texts])
    assert mixed.headers["x-embellama-cache"] == "partial"
    assert [d["embedding"] for d in mixed.json()["data"][1:]] == [d["embedding"] for d in first.json()["data"]]
    assert ask(server, texts, {"cache-control": "max-age=0, no-cache"}).headers["x-embellama-cache"] == "miss"


def test_the_cache_knows_what_was_cut(server):
    text = "long " * 600
    assert ask(server, text).status_code == 400
    assert ask(server, text, truncate=True).headers["x-embellama-cache"] == "miss"
    cut = ask(server, text, truncate=True)
    assert cut.headers["x-embellama-cache"] == "hit" and cut.headers["x-embellama-truncated"] == "1"
    assert ask(server, text).status_code == 400


def test_the_cache_of_token_ids(server):
    ids = [2023, 2003, 2025, 2464]
    assert ask(server, [ids]).headers["x-embellama-cache"] == "miss"
    again = ask(server, [ids])
    assert again.headers["x-embellama-cache"] == "hit" and again.json()["usage"]["prompt_tokens"] == len(ids) + 2


def test_a_cached_vector_cut_short_is_not_spoilt(server):
    whole = floats(ask(server, "cut me").json()["data"][0]["embedding"])
    short = floats(ask(server, "cut me", dimensions=16).json()["data"][0]["embedding"])
    assert np.allclose(short, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-6)
    assert np.array_equal(floats(ask(server, "cut me").json()["data"][0]["embedding"]), whole)


def test_a_long_reply_in_pieces(server):
    texts = [f"text {i}" for i in range(2048)]
    reply = server.post({"model": NAME, "input": texts})
    assert reply.status_code == 200 and reply.headers.get("transfer-encoding") == "chunked"
    data = reply.json()["data"]
    assert [d["index"] for d in data] == list(range(2048))
    alone = server.post({"model": NAME, "input": texts[1000]}).json()["data"][0]["embedding"]
    assert data[1000]["embedding"] == alone
