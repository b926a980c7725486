"""The dialect of Hugging Face's text-embeddings-inference: its routes, fields, defaults, statuses, error bodies and headers."""
import json
import os

import numpy as np
import pytest
import requests

from conftest import DIM, NAME, PATIENCE, SOURCE, Server

LONG = "word " * 600


def refused(reply, status, kind, says=""):
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"].startswith("application/json")
    assert set(reply.json()) == {"error", "error_type"}
    assert reply.json()["error_type"] == kind
    assert says in reply.json()["error"], reply.text


def vectors(reply):
    assert reply.status_code == 200, reply.text
    return np.array(reply.json(), dtype=np.float32)


def golden(name):
    with open(os.path.join(SOURCE, "tests", "golden", name + ".json"), encoding="utf-8") as f:
        return json.load(f)


# ---- /embed ----

def test_embed_is_a_list_of_vectors(server):
    want = server.embed(["hello", "wörld"])
    assert np.array_equal(vectors(server.post({"inputs": ["hello", "wörld"]}, "/embed")), want)
    assert np.array_equal(vectors(server.post({"inputs": "hello"}, "/embed")), want[:1])


def test_embed_takes_token_ids(server):
    want = server.embed(["hello"])
    for ids in ([7592], [[7592]], [101, 7592, 102]):
        assert np.array_equal(vectors(server.post({"inputs": ids}, "/embed")), want)
    mixed = vectors(server.post({"inputs": ["hello", [7592]]}, "/embed"))
    assert np.array_equal(mixed[0], mixed[1])


def test_embed_normalize_and_dimensions(server):
    raw = vectors(server.post({"inputs": "hello", "normalize": False}, "/embed"))[0]
    unit = vectors(server.post({"inputs": "hello", "normalize": True}, "/embed"))[0]
    assert np.linalg.norm(raw) > 1.5
    assert np.allclose(raw / np.linalg.norm(raw), unit, atol=1e-6)
    short = vectors(server.post({"inputs": "hello", "dimensions": 8}, "/embed"))[0]
    assert np.allclose(short, unit[:8] / np.linalg.norm(unit[:8]), atol=1e-6)
    assert np.array_equal(vectors(server.post({"inputs": "hello", "dimensions": 8, "normalize": False}, "/embed"))[0], raw[:8])


def test_null_and_unknown_members(server):
    reply = server.post({"inputs": "hello", "truncate": None, "truncation_direction": None, "prompt_name": None, "normalize": None,
                         "dimensions": None, "parameters": {}, "model": "any"}, "/embed")
    assert np.array_equal(vectors(reply), server.embed(["hello"]))


def test_long_texts_are_cut_unless_told(server):
    reply = server.post({"inputs": LONG}, "/embed")
    assert reply.headers["x-embellama-truncated"] == "1"
    assert np.array_equal(vectors(reply), server.embed(["word " * 510]))
    refused(server.post({"inputs": LONG, "truncate": False}, "/embed"), 422, "Validation", "602 tokens")
    text = " ".join(f"w{i}" for i in range(400))
    left, right = (vectors(server.post({"inputs": text, "truncation_direction": side}, "/embed")) for side in ("Left", "Right"))
    assert not np.array_equal(left, right)
    assert np.array_equal(vectors(server.post({"inputs": text, "truncation_direction": "left"}, "/embed")), left)


def test_auto_truncate_off(start):
    s = start("--auto-truncate=false")
    refused(s.post({"inputs": LONG}, "/embed"), 422, "Validation", "602 tokens")
    assert s.post({"inputs": LONG, "truncate": True}, "/embed").status_code == 200
    assert requests.get(s.url + "/info", timeout=PATIENCE).json()["auto_truncate"] is False


def test_errors(server):
    refused(server.post({"inputs": []}, "/embed"), 400, "Empty", "`inputs` cannot be empty")
    refused(server.post({"inputs": ""}, "/embed"), 400, "Empty", "cannot be empty")
    refused(server.post({"inputs": ["a", ""]}, "/embed"), 400, "Empty", "cannot be empty")
    refused(server.post({}, "/embed"), 422, "Validation", "missing field `inputs`")
    refused(server.post({"inputs": None}, "/embed"), 422, "Validation", "missing field `inputs`")
    refused(server.post({"inputs": 5}, "/embed"), 422, "Validation", "an integer")
    refused(server.post({"inputs": ["a", 5]}, "/embed"), 422, "Validation", "inputs[1]")
    refused(server.post({"inputs": [99999999]}, "/embed"), 422, "Validation", "vocabulary")
    refused(server.post({"inputs": "a", "dimensions": 0}, "/embed"), 422, "Validation", "dimensions")
    refused(server.post({"inputs": "a", "dimensions": DIM + 1}, "/embed"), 422, "Validation", "dimensions")
    refused(server.post({"inputs": "a", "normalize": "yes"}, "/embed"), 422, "Validation", "normalize")
    refused(server.post({"inputs": "a", "truncation_direction": "Up"}, "/embed"), 422, "Validation", "truncation_direction")
    refused(server.post({"inputs": "a", "prompt_name": "nonesuch"}, "/embed"), 422, "Validation", "nonesuch")
    refused(server.post({"inputs": ["a"] * 2049}, "/embed"), 422, "Validation",
            "batch size 2049 > maximum allowed batch size 2048")
    bad = requests.post(server.url + "/embed", data="{", headers={"content-type": "application/json"}, timeout=PATIENCE)
    refused(bad, 400, "Validation", "could not parse")
    text = requests.post(server.url + "/embed", data="hello", headers={"content-type": "text/plain"}, timeout=PATIENCE)
    refused(text, 415, "Validation", "text/plain")
    wrong = requests.get(server.url + "/embed", timeout=PATIENCE)
    refused(wrong, 405, "Validation")
    assert wrong.headers["allow"] == "POST, OPTIONS"


def test_keys_and_rates(start):
    s = start("--api-key", "secret", "--rate-limit-requests", "2")
    refused(s.post({"inputs": "a"}, "/embed"), 401, "Validation")
    assert requests.get(s.url + "/", timeout=PATIENCE).status_code == 200
    assert requests.get(s.url + "/ping", timeout=PATIENCE).status_code == 200
    key = {"headers": {"authorization": "Bearer secret"}}
    codes = [s.post({"inputs": "a"}, "/embed", **key).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    refused(s.post({"inputs": "a"}, "/embed", **key), 429, "Overloaded")


def test_headers(server):
    reply = server.post({"inputs": ["héllo", "you there"]}, "/embed")
    h = reply.headers
    assert h["x-compute-type"] == "cpu"
    assert h["x-compute-characters"] == "14"
    assert int(h["x-compute-tokens"]) >= 7
    for name in ("x-compute-time", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"):
        assert h[name].isdigit(), name


# ---- Other vectors ----

def test_embed_all(server):
    reply = server.post({"inputs": ["hello you", "a " * 90]}, "/embed_all")
    rows = [np.array(r, dtype=np.float32) for r in reply.json()]
    assert [r.shape for r in rows] == [(4, DIM), (92, DIM)]
    assert np.allclose(rows[0].mean(axis=0), vectors(server.post({"inputs": "hello you", "normalize": False}, "/embed"))[0], atol=0.02)
    assert server.post({"inputs": LONG}, "/embed_all").headers["x-embellama-truncated"] == "1"
    refused(server.post({"inputs": []}, "/embed_all"), 400, "Empty")


def test_wrong_kind_of_model(server):
    refused(server.post({"inputs": "a"}, "/embed_sparse"), 424, "Backend", "SPLADE")
    refused(server.post({"inputs": "a"}, "/predict"), 424, "Backend", "no classifier")
    refused(server.post({"query": "a", "texts": ["b"]}, "/"), 424, "Backend", "cannot rerank")


def test_similarity(server):
    sentences = ["a kitten", "stock markets", "a cat"]
    body = {"inputs": {"source_sentence": "a cat", "sentences": sentences}}
    v = server.embed(["a cat", *sentences])
    for path in ("/similarity", "/"):
        got = server.post({**body, "parameters": {"truncate": True, "truncation_direction": "Right", "prompt_name": None}}, path)
        assert np.allclose(got.json(), v[1:] @ v[0], atol=1e-6)
    assert server.post({**body, "parameters": None}, "/similarity").status_code == 200
    long = {"inputs": {"source_sentence": LONG, "sentences": ["a"]}, "parameters": {"truncate": False}}
    refused(server.post(long, "/similarity"), 422, "Validation", "602 tokens")
    refused(server.post({"inputs": {"source_sentence": "a", "sentences": []}}, "/similarity"), 400, "Empty", "sentences")
    refused(server.post({"inputs": {"source_sentence": "", "sentences": ["a"]}}, "/similarity"), 400, "Empty")
    refused(server.post({"inputs": {"sentences": ["a"]}}, "/similarity"), 422, "Validation", "source_sentence")
    refused(server.post({"inputs": {"source_sentence": 1, "sentences": ["a"]}}, "/similarity"), 422, "Validation")
    refused(server.post({"inputs": {"source_sentence": "a", "sentences": ["a", [1]]}}, "/similarity"), 422, "Validation", "sentences[1]")
    refused(server.post({"inputs": "a"}, "/similarity"), 422, "Validation")


def test_root_and_invocations(server):
    want = server.embed(["hello"])
    for path in ("/", "/invocations"):
        assert np.array_equal(vectors(server.post({"inputs": "hello"}, path)), want)
        assert np.array_equal(vectors(server.post({"inputs": ["hello"], "normalize": True, "truncate": True}, path)), want)
    refused(server.post({}, "/"), 422, "Validation", "missing field `inputs`")
    reply = requests.get(server.url + "/", timeout=PATIENCE)
    assert (reply.status_code, reply.text) == (200, "Ollama is running")
    assert requests.head(server.url + "/", timeout=PATIENCE).status_code == 200


def test_vertex(server):
    v = server.embed(["a", "b", "c"], dimensions=4)
    body = {"instances": [{"inputs": "a", "dimensions": 4}, {"inputs": ["b", "c"], "dimensions": 4}]}
    got = server.post(body, "/vertex").json()["predictions"]
    assert np.array_equal(np.float32(got[0]), v[:1]) and np.array_equal(np.float32(got[1]), v[1:])
    refused(server.post({"instances": []}, "/vertex"), 400, "Empty")
    refused(server.post({"instances": [{"inputs": "a"}, {}]}, "/vertex"), 422, "Validation", "missing field `inputs`")
    refused(server.post({"instances": [{"inputs": "a"}, 5]}, "/vertex"), 422, "Validation")
    refused(server.post({"instances": [{"inputs": "a"}, {"inputs": "b", "normalize": False}]}, "/vertex"), 422, "Validation", "same options")
    short = {"inputs": "a", "truncate": {"Limit": 5}}
    refused(server.post({"instances": [short, {"inputs": "b", "truncate": True}]}, "/vertex"), 422, "Validation", "same options")
    assert len(server.post({"instances": [short, short]}, "/vertex").json()["predictions"]) == 2
    refused(server.post({}, "/vertex"), 422, "Validation", "instances")


# ---- Tokens ----

def test_tokenize(server):
    body = {"inputs": ["Hello wörld", "unaffable"]}
    first, second = server.post(body, "/tokenize").json()
    assert first == [{"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None},
                     {"id": 7592, "text": "Hello", "special": False, "start": 0, "stop": 5},
                     {"id": 2088, "text": "wörld", "special": False, "start": 6, "stop": 12},
                     {"id": 102, "text": "[SEP]", "special": True, "start": None, "stop": None}]
    assert "".join(t["text"] for t in second if not t["special"]) == "unaffable"
    assert [t["id"] for t in server.post({"inputs": "Hello", "add_special_tokens": False}, "/tokenize").json()[0]] == [7592]
    refused(server.post({"inputs": []}, "/tokenize"), 400, "Empty")
    refused(server.post({"inputs": ""}, "/tokenize"), 400, "Empty")
    refused(server.post({"inputs": [1]}, "/tokenize"), 422, "Validation", "inputs[0]")
    refused(server.post({"inputs": "a", "prompt_name": "nonesuch"}, "/tokenize"), 422, "Validation", "nonesuch")
    refused(server.post({"inputs": ["a"] * 2049}, "/tokenize"), 422, "Validation", "2048")
    refused(server.post({}, "/tokenize"), 422, "Validation", "missing field")


def test_tokenize_long(server):
    """Beyond what the loop reads by itself."""
    text = "naïve café " * 20000
    tokens = server.post({"inputs": text}, "/tokenize").json()[0]
    raw = text.encode()
    assert len(tokens) == 40002
    assert all(raw[t["start"]:t["stop"]].decode() == t["text"] for t in tokens[1:-1])
    assert server.health()["status"] == "ok"


def test_decode(server):
    ids = [101, 7592, 2088, 102]
    assert server.post({"ids": ids}, "/decode").json() == ["hello world"]
    assert server.post({"ids": [ids, [7592]], "skip_special_tokens": False}, "/decode").json() == ["[CLS] hello world [SEP]", "hello"]
    refused(server.post({"ids": []}, "/decode"), 400, "Empty")
    refused(server.post({}, "/decode"), 422, "Validation", "missing field `ids`")
    refused(server.post({"ids": ["a"]}, "/decode"), 422, "Validation", "element 0")
    refused(server.post({"ids": [-1]}, "/decode"), 422, "Validation")
    refused(server.post({"ids": 5}, "/decode"), 422, "Validation")


# ---- About the server ----

def test_info(server):
    info = requests.get(server.url + "/info", timeout=PATIENCE).json()
    assert info["model_id"] and info["served_model_name"] == NAME
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 512 and info["max_client_batch_size"] == 2048 and info["auto_truncate"] is True
    assert set(info) == {"model_id", "model_sha", "model_dtype", "served_model_name", "model_type", "max_concurrent_requests",
                         "max_input_length", "max_batch_tokens", "max_batch_requests", "max_client_batch_size", "auto_truncate",
                         "tokenization_workers", "version", "sha", "docker_label"}
    assert requests.get(server.url + "/metrics", timeout=PATIENCE).status_code == 200


# ---- Models that score ----

@pytest.fixture(scope="module")
def classifier():
    s = Server("--model-path", os.path.join(SOURCE, "tests/golden/tiny-labels"), "--precision", "f32")
    yield s
    s.close()


@pytest.fixture(scope="module")
def reranker():
    s = Server("--model-path", os.path.join(SOURCE, "tests/golden/tiny-rank"), "--precision", "f32")
    yield s
    s.close()


def test_predict(classifier):
    names = ["contradiction", "entailment", "neutral"]
    rows = [r for r in golden("tiny-labels") if r["limit"] == 96 and r["text"] and r["document"] and len(r["ids"]) < 96][:4]
    assert rows
    replies = classifier.post({"inputs": [[r["text"], r["document"]] for r in rows], "raw_scores": True}, "/predict").json()
    for row, reply in zip(rows, replies, strict=True):
        assert [s["score"] for s in reply] == sorted((s["score"] for s in reply), reverse=True)
        assert np.allclose([next(s["score"] for s in reply if s["label"] == n) for n in names], row["logits"], atol=2e-3)
    row = rows[0]
    one = classifier.post({"inputs": [row["text"], row["document"]]}, "/predict").json()
    soft = np.exp(row["logits"]) / np.exp(row["logits"]).sum()
    assert np.allclose([s["score"] for s in one], sorted(soft, reverse=True), atol=1e-3)
    assert one[0]["label"] == names[int(np.argmax(soft))]


def test_predict_many(classifier):
    """As many as a request may have: few values, but a long reply."""
    reply = classifier.post({"inputs": [["a text"]] * 2048}, "/predict")
    assert len(reply.content) > 4 * 65536 and reply.json() == [classifier.post({"inputs": "a text"}, "/predict").json()] * 2048


def test_predict_forms(classifier):
    single = classifier.post({"inputs": "a text"}, "/predict").json()
    assert len(single) == 3 and set(single[0]) == {"score", "label"}
    assert classifier.post({"inputs": ["a text"]}, "/predict").json() == single
    assert classifier.post({"inputs": [["a text"], ["a", "b"]]}, "/predict").json()[0] == single
    assert classifier.post({"inputs": "a text", "parameters": {}}, "/").json() == single
    refused(classifier.post({"inputs": []}, "/predict"), 400, "Empty")
    refused(classifier.post({"inputs": ""}, "/predict"), 400, "Empty")
    refused(classifier.post({"inputs": ["a", "b", "c"]}, "/predict"), 422, "Validation", "one or two")
    refused(classifier.post({"inputs": [["a"], 5]}, "/predict"), 422, "Validation", "inputs[1]")
    refused(classifier.post({"inputs": LONG, "truncate": False}, "/predict"), 422, "Validation")
    refused(classifier.post({"inputs": "a"}, "/embed"), 424, "Backend")
    info = requests.get(classifier.url + "/info", timeout=PATIENCE).json()
    assert info["model_type"]["classifier"]["id2label"] == {"0": "contradiction", "1": "entailment", "2": "neutral"}
    assert info["model_type"]["classifier"]["label2id"]["neutral"] == 2


def test_rerank_at_root(reranker):
    body = {"query": "What is the capital of France?", "texts": ["Paris", "a dog", "is of"], "raw_scores": True, "return_text": True}
    want = reranker.post(body, "/rerank").json()
    assert [r["score"] for r in want] == sorted((r["score"] for r in want), reverse=True)
    assert {r["text"] for r in want} == set(body["texts"])
    assert reranker.post(body, "/").json() == want
    assert "reranker" in requests.get(reranker.url + "/info", timeout=PATIENCE).json()["model_type"]
