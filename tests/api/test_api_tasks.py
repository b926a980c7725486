"""What else than plain embeddings may be asked for, and what of it the cache tells apart; clients' own token ids; models that score."""
import base64
import os
import subprocess

import numpy as np
import pytest

from conftest import BINARY, DIM, MODEL, NAME, SOURCE, Server

TEXT = "The quick brown fox jumps over the lazy dog, then sleeps in the shade of an old tree."


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    """A vocabulary of a client's own: the bytes 0 to 255, and two words."""
    tokens = [bytes([i]) for i in range(256)] + [b"Hello", b", world"]
    path = tmp_path_factory.mktemp("ids") / "own.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % i for i, t in enumerate(tokens)))
    return str(path)


@pytest.fixture(scope="module")
def foreign(vocabulary):
    s = Server("--token-ids", vocabulary)
    yield s
    s.close()


def test_foreign_ids_are_text(foreign):
    ids = [256, 257, ord("!")]
    words = foreign.embed("Hello, world!")
    assert (foreign.embed(ids) == words).all()
    assert (foreign.embed([ids, [256]]) == foreign.embed(["Hello, world!", "Hello"])).all()
    assert foreign.post({"model": NAME, "input": [0xC3]}).status_code == 200  # half a character


@pytest.mark.parametrize("id", [258, 100257, 2**31, -1])
def test_foreign_id_of_no_token(foreign, id):
    r = foreign.post({"model": NAME, "input": [[256], [256, id]]})
    error = r.json()["error"]
    assert (r.status_code, error["param"]) == (400, "input[1]")
    assert f"token id {id} at position 1" in error["message"] and "258" in error["message"] and "--token-ids" in error["message"]


def test_own_id_outside_names_the_option(server):
    r = server.post({"model": NAME, "input": [[101, 100257]]})
    assert r.status_code == 400
    assert "check_embedding_ctx_length=False" in r.json()["error"]["message"] and "--token-ids" in r.json()["error"]["message"]


@pytest.mark.parametrize("content", [None, b"not base64 at all\n"])
def test_vocabulary_that_is_none(tmp_path, content):
    path = tmp_path / "bad.tiktoken"
    if content is not None:
        path.write_bytes(content)
    r = subprocess.run([BINARY, "serve", "--model-path", MODEL, "--port", "0", "--token-ids", str(path)], capture_output=True, timeout=120)
    assert r.returncode == 1 and b"bad.tiktoken" in r.stderr


def test_raw_and_embedding_are_kept_apart(server):
    """Whichever was asked for first, and with either from the cache."""
    for text in ("raw first", "raw last"):
        order = [False, True] if text == "raw first" else [True, False]
        seen = {n: server.embed(text, normalize=n) for n in order}
        again = {n: server.embed(text, normalize=n) for n in order}
        for n in order:
            assert (seen[n] == again[n]).all()
        assert abs(np.linalg.norm(seen[True]) - 1) < 1e-5 and abs(np.linalg.norm(seen[False]) - 1) > 1e-2
        assert np.allclose(seen[False] / np.linalg.norm(seen[False]), seen[True], atol=1e-6)


def test_raw_is_cut_and_not_normalised(server):
    whole = server.embed("cut", normalize=False)
    assert (server.embed("cut", normalize=False, dimensions=7) == whole[:, :7]).all()
    cut = server.embed("cut", dimensions=7)
    assert abs(np.linalg.norm(cut) - 1) < 1e-5 and np.allclose(cut, whole[:, :7] / np.linalg.norm(whole[:, :7]), atol=1e-6)


def test_sides_and_lengths_are_kept_apart(start):
    """A cut text's vector is found again for the same cut only."""
    s = start("--max-length", "8")
    long = " ".join(["red", "green", "blue", "black", "white", "yellow", "brown", "pink", "grey"])
    first, last = "red green blue black white yellow", "black white yellow brown pink grey"
    for _ in range(2):
        assert (s.embed(long, truncate=True) == s.embed(first)).all()
        assert (s.embed(long, truncate=True, truncation_side="left") == s.embed(last)).all()
        assert s.post({"model": NAME, "input": long}).status_code == 400


def test_rows_of_tokens_are_not_cached(server):
    body = {"inputs": ["rows", TEXT], "truncate": False}
    rows = [server.post(body, "/embed_all") for _ in range(2)]
    for r in rows:
        assert r.status_code == 200 and "x-embellama-cache" not in r.headers
        assert [np.array(v).shape[1] for v in r.json()] == [DIM, DIM]
    assert rows[0].json() == rows[1].json()
    assert np.allclose(np.array(rows[0].json()[0]).mean(axis=0), server.embed("rows", normalize=False)[0], atol=1e-5)


def test_many_rows_go_out_in_pieces(server):
    """More values than a reply holds at once, and more than a batch takes."""
    texts = [f"{TEXT} {i}" for i in range(60)]
    r = server.post({"inputs": texts}, "/embed_all")
    assert r.status_code == 200
    rows = [np.array(v) for v in r.json()]
    means = np.stack([v.mean(axis=0) for v in rows])
    assert np.allclose(means, server.embed(texts, normalize=False), atol=1e-5)


def test_a_scorer_makes_no_vectors_and_an_embedder_no_scores(server, start):
    scorer = start("--model-path", os.path.join(SOURCE, "tests", "golden", "tiny-rank"))
    for given in ("a text", [2, 3]):
        r = scorer.post({"model": NAME, "input": given})
        assert (r.status_code, r.json()["error"]["code"]) == (400, "not_supported")
        assert "scores" in r.json()["error"]["message"]
    r = server.post({"model": NAME, "query": "a", "documents": ["b"]}, "/v1/rerank")
    assert (r.status_code, r.json()["error"]["code"]) == (400, "not_supported")
    assert scorer.post({"model": NAME, "query": "a", "documents": ["b"]}, "/v1/rerank").status_code == 200
    assert scorer.health()["status"] == server.health()["status"]
