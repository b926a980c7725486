"""Chunks and late chunking: vectors of parts, with their places; and prompts, with a model that has some."""
import json
import os
import shutil

import numpy as np
import pytest

from conftest import DIM, NAME, SOURCE, Server, floats
from shapes import ERROR_BODY, fits

TEXT = "The cat sat on the mat. It was purring! Then a dog came; it barked 😀 twice. 猫が好きです。犬も好き。 And so on and on."
CHUNKED = {"object": "list", "model": str, "usage": {"prompt_tokens": int, "total_tokens": int},
           "data": [{"object": "embedding", "index": int, "embedding": str,
                     "chunk": {"input": int, "start": int, "end": int, "start_byte": int, "end_byte": int}}]}


def chunked(server, given, **more):
    body = fits(server.post({"model": NAME, "input": given, "encoding_format": "base64"} | more), CHUNKED)
    assert [d["index"] for d in body["data"]] == list(range(len(body["data"])))
    return [d["chunk"] | {"vector": floats(d["embedding"])} for d in body["data"]]


def unit(v):
    return v / np.linalg.norm(v)


@pytest.mark.parametrize("options", [{"size": 8}, {"size": 8, "overlap": 3}, {"size": 12, "by": "sentence"}, {"size": 3, "by": "sentence"},
                                     {"size": 1}, {}])
def test_chunks_are_the_text(server, options):
    """Places are those of the text, in characters and in bytes; together they cover it; each vector is that of its part."""
    texts = [TEXT, "short", "", TEXT * 3]
    found = chunked(server, texts, chunk=options)
    assert sorted({c["input"] for c in found}) == [0, 1, 2, 3]
    for i, text in enumerate(texts):
        mine = [c for c in found if c["input"] == i]
        raw = text.encode()
        assert mine[0]["start"] == 0 and mine[-1]["end"] == len(text) and mine[-1]["end_byte"] == len(raw)
        for c in mine:
            assert text[c["start"]:c["end"]].encode() == raw[c["start_byte"]:c["end_byte"]]
        for a, b in zip(mine, mine[1:]):
            assert a["start"] < b["start"] and (b["start"] == a["end"] if not options.get("overlap") else b["start"] <= a["end"])
    parts = [texts[c["input"]][c["start"]:c["end"]] for c in found]
    assert np.stack([c["vector"] for c in found]).tobytes() == server.embed(parts).tobytes()


def test_sentences(server):
    found = chunked(server, TEXT, chunk={"size": 12, "by": "sentence"})
    assert [TEXT[c["start"]:c["end"]].strip() for c in found][0] == "The cat sat on the mat. It was purring!"


def test_a_long_text_needs_no_leave(server):
    """What is longer than the model's context comes in chunks of as much as fits."""
    text = "word " * 3000
    found = chunked(server, text, chunk={})
    assert len(found) == 6 and found[-1]["end"] == len(text)


def rows(server, text):
    """A row a token, not normalised, special tokens included."""
    return np.float32(server.post({"inputs": text}, "/embed_all").json()[0])


def test_late_chunks_are_pooled_rows(server):
    """The reference: rows of the whole text, the mean of each chunk's, normalised."""
    found = chunked(server, [TEXT, "short"], chunk={"size": 8, "overlap": 2}, late_chunking=True)
    tokens = server.post({"inputs": [TEXT, "short"]}, "/tokenize").json()
    whole = [rows(server, TEXT), rows(server, "short")]
    for c in found:
        own = [i for i, t in enumerate(tokens[c["input"]])
               if not t["special"] and t["start"] >= c["start_byte"] and t["stop"] <= c["end_byte"]]
        want = unit(whole[c["input"]][own].mean(axis=0))
        assert 0 < len(own) <= 8
        assert np.abs(c["vector"] - want).max() < 2e-6
    alone = chunked(server, [TEXT, "short"], chunk={"size": 8, "overlap": 2})
    assert [c["start"] for c in alone] == [c["start"] for c in found]
    assert np.abs(alone[0]["vector"] - found[0]["vector"]).max() > 1e-3, "the context counts"


def test_late_chunking_of_inputs(server):
    """As Jina has it: the inputs are one context, and each has its vector."""
    parts = ["Berlin is the capital of Germany.", "The city has 3.85 million inhabitants.", "x"]
    body = {"model": NAME, "input": parts, "late_chunking": True, "encoding_format": "base64"}
    data = server.post(body).json()["data"]
    assert all(set(d) == {"object", "index", "embedding"} for d in data) and len(data) == 3
    whole = rows(server, " ".join(parts))
    counts = [len(server.post({"inputs": p, "add_special_tokens": False}, "/tokenize").json()[0]) for p in parts]
    at = 1
    for d, n in zip(data, counts):
        assert np.abs(floats(d["embedding"]) - unit(whole[at:at + n].mean(axis=0))).max() < 2e-6
        at += n
    objects = server.post(body | {"input": [{"text": p} for p in parts]}).json()["data"]
    assert [d["embedding"] for d in objects] == [d["embedding"] for d in data]


def test_late_dimensions_and_raw(server):
    more = {"chunk": {"size": 8}, "late_chunking": True}
    whole = chunked(server, TEXT, **more)
    for a, b in zip(whole, chunked(server, TEXT, dimensions=10, **more)):
        assert np.abs(unit(a["vector"][:10]) - b["vector"]).max() < 1e-6
    for a, b in zip(whole, chunked(server, TEXT, normalize=False, **more)):
        assert np.abs(a["vector"] - unit(b["vector"])).max() < 1e-6 and abs(np.linalg.norm(b["vector"]) - 1) > 0.01


def test_late_and_too_long(server):
    body = {"model": NAME, "input": "word " * 600, "late_chunking": True, "chunk": {"size": 100}}
    assert "602 tokens" in fits(server.post(body), ERROR_BODY, 400)["error"]["message"]
    found = chunked(server, "word " * 600, late_chunking=True, chunk={"size": 100}, truncate=True)
    assert len(found) == 6 and found[-1]["end"] <= 5 * 510, "only what was computed"


@pytest.mark.parametrize("more, param", [
    ({"chunk": 7}, "chunk"), ({"chunk": {"size": 0}}, "chunk.size"), ({"chunk": {"size": 511}}, "chunk.size"), ({"chunk": {"size": "a"}}, "chunk.size"),
    ({"chunk": {"size": 5, "overlap": 5}}, "chunk.overlap"), ({"chunk": {"by": "page"}}, "chunk.by"), ({"late_chunking": 1, "chunk": {}}, "late_chunking"),
    ({"chunk": {"size": 1}, "input": "word " * 2100}, "input"), ({"chunk": {}, "input": [[101]]}, "input[0]"), ({"chunk": {}, "input": []}, "input"),
    ({"chunk": {}, "input": None}, "input"), ({"late_chunking": True, "input": ["a", ""]}, "input[1]"),
    ({"late_chunking": True, "truncate": "START"}, "truncate"), ({"late_chunking": True, "input": ["word " * 400] * 2}, "input")])
def test_refused(server, more, param):
    assert fits(server.post({"model": NAME, "input": "a"} | more), ERROR_BODY, 400)["error"]["param"] == param


# ---- Prompts ----

@pytest.fixture(scope="module")
def prompted(tmp_path_factory):
    """A server of a small model whose files name prompts."""
    path = tmp_path_factory.mktemp("model") / "tiny"
    shutil.copytree(os.path.join(SOURCE, "tests", "golden", "tiny-a"), path)
    (path / "config_sentence_transformers.json").write_text(json.dumps(
        {"prompts": {"query": "query: ", "passage": "passage: ", "other": "task other: "}, "default_prompt_name": "passage"}))
    s = Server("--model-path", str(path))
    yield s
    s.close()


def test_prompts(prompted):
    text = "the cat"

    def same(prompt, **more):
        """The vector is that of the text with the prompt before it; ids have none put before them."""
        ids = [t["id"] for t in prompted.post({"inputs": prompt + text}, "/tokenize").json()[0]]
        return prompted.embed(text, **more)[0].tobytes() == prompted.embed(ids)[0].tobytes()

    assert same("passage: "), "the default"
    for more in ({"prompt_name": "query"}, {"input_type": "query"}, {"input_type": "search_query"}, {"task": "retrieval.query"},
                 {"prompt_name": "query", "input_type": "document"}):
        assert same("query: ", **more), more
    for more in ({"prompt_name": "document"}, {"input_type": "document"}, {"input_type": "search_document"}, {"task": "retrieval.passage"}):
        assert same("passage: ", **more), more
    assert same("task other: ", prompt_name="other") and same("task other: ", task="other")
    assert same("passage: ", task="separation"), "what no prompt fits leaves the default"
    reply = prompted.post({"model": NAME, "input": text, "prompt_name": "x"})
    assert reply.status_code == 400 and "It has: query, passage, other." in reply.json()["error"]["message"]


def test_prompts_of_tokenize(prompted):
    """/tokenize knows the names that requests for vectors know."""
    for name, prompt in ("query", "query: "), ("document", "passage: "), (None, ""):
        tokens = prompted.post({"inputs": "the cat", "prompt_name": name}, "/tokenize").json()
        assert tokens == prompted.post({"inputs": prompt + "the cat"}, "/tokenize").json(), name
    reply = prompted.post({"inputs": "the cat", "prompt_name": "x"}, "/tokenize")
    assert reply.status_code == 422 and "It has: query, passage, other." in reply.json()["error"]


def test_no_prompts(prompted):
    """Where clients put prompts before texts themselves, the default is not put there a second time."""
    text = "the cat"
    ids = [t["id"] for t in prompted.post({"inputs": text}, "/tokenize").json()[0]]
    want = prompted.post({"model": NAME, "input": ids}).json()["data"][0]["embedding"]
    assert want != prompted.post({"model": NAME, "input": text}).json()["data"][0]["embedding"]
    assert prompted.post({"inputs": text}, "/embed").json()[0] == want
    assert prompted.post({"model": NAME, "input": text}, "/api/embed").json()["embeddings"][0] == want
    assert prompted.post({"content": text}, "/embedding").json()[0]["embedding"][0] == want


def test_prompts_of_cohere(prompted):
    """input_type is theirs."""
    query, document = (prompted.post({"texts": ["the cat"], "input_type": t}, "/v1/embed").json()["embeddings"][0]
                       for t in ("search_query", "search_document"))
    assert query == prompted.post({"model": NAME, "input": "the cat", "prompt_name": "query"}).json()["data"][0]["embedding"]
    assert document == prompted.post({"model": NAME, "input": "the cat", "prompt_name": "passage"}).json()["data"][0]["embedding"]


def test_chunks_with_prompts(prompted):
    """Each chunk alone has the prompt before it; a late one knows of it, but is not pooled from it."""
    text = "the cat sat on the mat and the dog"
    found = chunked(prompted, text, chunk={"size": 6}, prompt_name="query")
    parts = [text[c["start"]:c["end"]] for c in found]
    assert len(found) > 1 and "".join(parts) == text
    assert np.stack([c["vector"] for c in found]).tobytes() == prompted.embed(parts, prompt_name="query").tobytes()
    late = chunked(prompted, text, chunk={"size": 6}, prompt_name="query", late_chunking=True)
    assert [(c["start"], c["end"]) for c in late] == [(c["start"], c["end"]) for c in found]
    assert len(late[0]["vector"]) != DIM
