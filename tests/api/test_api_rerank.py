"""Rerank and score: by cosine with the default model, by a small cross-encoder against the reference's logits (tests/golden/tiny-rank.json)."""
import json
import os

import numpy as np
import pytest

from conftest import NAME, SOURCE, Server
from shapes import ERROR, ERROR_BODY, fits

GOLDEN = os.path.join(SOURCE, "tests", "golden")
RERANK_PATHS = ["/v1/rerank", "/v2/rerank", "/rerank", "/v1/reranking", "/reranking"]
RESULT = {"index": int, "relevance_score": float}
RERANK = {"id": str, "object": "list", "model": str, "results": [RESULT], "data": [RESULT], "usage": {"prompt_tokens": int, "total_tokens": int},
          "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": int}}}
RERANK_DOCUMENTS = RERANK | {"results": [RESULT | {"document": {"text": str}}], "data": [RESULT | {"document": str}]}
TEI = [{"index": int, "score": float}]
SCORE = {"id": str, "object": "list", "created": int, "model": str, "data": [{"index": int, "object": "score", "score": float}],
         "usage": {"prompt_tokens": int, "total_tokens": int, "completion_tokens": int}}
ERRORS = ERROR_BODY | {"message": str, "detail": str}
del ERRORS["message?"], ERRORS["detail?"]

QUERY = "Which animal purrs?"
DOCUMENTS = ["A dog barks at night.", "Cats purr when they are content.", "The stock market fell.", "A lion roars."]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


@pytest.fixture(scope="module")
def cosines(server):
    v = server.embed([QUERY] + DOCUMENTS)
    return v[1:] @ v[0]


@pytest.fixture(scope="module")
def encoder():
    """A cross-encoder of one label, in the reference's precision."""
    s = Server("--model-path", os.path.join(GOLDEN, "tiny-rank"), "--precision", "f32")
    yield s
    s.close()


@pytest.fixture(scope="module")
def golden():
    """{query: [(document, logit)]} of pairs that need no cut."""
    rows = {}
    with open(os.path.join(GOLDEN, "tiny-rank.json")) as f:
        for row in json.load(f):
            if len(row["ids"]) < row["limit"] and row.get("document") is not None:
                rows.setdefault(row["text"], {})[row["document"]] = row["logits"][0]
    return rows


def pairs(golden):
    """The query with the most documents, these, and their logits."""
    query = max(golden, key=lambda q: len(golden[q]))
    return query, list(golden[query]), np.float64(list(golden[query].values()))


def ranked(body):
    return [r["index"] for r in body["results"]], np.float64([r["relevance_score"] for r in body["results"]])


# ---- Cosines ----

@pytest.mark.parametrize("path", RERANK_PATHS)
def test_embedder_says_that_it_cannot(server, path):
    error = fits(server.post({"query": QUERY, "documents": DOCUMENTS}, path), ERRORS, 400)
    assert error["error"]["code"] == "not_supported" and '"rank_by": "cosine"' in error["message"] == error["detail"]


@pytest.mark.parametrize("path", RERANK_PATHS)
def test_by_cosine(server, cosines, path):
    body = fits(server.post({"model": NAME, "query": QUERY, "documents": DOCUMENTS, "rank_by": "cosine"}, path), RERANK)
    order, scores = ranked(body)
    assert order == list(np.argsort(-cosines)) and np.abs(scores - cosines[order]).max() < 1e-5
    assert body["results"] == body["data"] and body["model"] == NAME


def test_equal_documents_keep_their_order(server):
    body = server.post({"query": "a", "documents": ["x", "y", "x", "y", "x"], "rank_by": "cosine"}, "/rerank").json()
    order, scores = ranked(body)
    for value in set(scores):
        same = [i for i, s in zip(order, scores) if s == value]
        assert same == sorted(same)


# ---- The cross-encoder ----

def test_scores_are_the_references(encoder, golden):
    query, documents, logits = pairs(golden)
    assert len(documents) >= 5
    for more, want in (({}, sigmoid(logits)), ({"raw_scores": True}, logits), ({"normalize": False}, logits), ({"use_activation": False}, logits)):
        order, scores = ranked(fits(encoder.post({"query": query, "documents": documents} | more, "/v1/rerank"), RERANK))
        assert sorted(order) == list(range(len(documents)))
        assert np.abs(scores - want[order]).max() < 1e-4 and (np.diff(scores) <= 0).all()


def test_query_and_document_are_a_pair(encoder, golden):
    """Each for itself, and not the other way round."""
    query, documents, logits = pairs(golden)
    for document, logit in list(zip(documents, logits))[:4]:
        score = encoder.post({"query": query, "documents": [document], "raw_scores": True}, "/rerank").json()["results"][0]["relevance_score"]
        assert abs(score - logit) < 1e-4
    turned = encoder.post({"query": documents[1], "documents": [query], "raw_scores": True}, "/rerank").json()["results"][0]["relevance_score"]
    assert abs(turned - logits[1]) > 1e-4


def test_text_embeddings_inference(encoder, golden):
    query, documents, logits = pairs(golden)
    body = {"query": query, "texts": documents, "raw_scores": False, "truncate": False, "truncation_direction": "Right"}
    plain = fits(encoder.post(body, "/rerank"), TEI)
    assert [r["index"] for r in plain] == list(np.argsort(-logits, kind="stable"))
    assert np.abs(np.float64([r["score"] for r in plain]) - np.sort(sigmoid(logits))[::-1]).max() < 1e-4
    whole = fits(encoder.post(body | {"return_text": True, "raw_scores": True}, "/rerank"), [{"index": int, "score": float, "text": str}])
    assert [r["text"] for r in whole] == [documents[r["index"]] for r in whole]


@pytest.mark.parametrize("name", ["top_n", "top_k"])
def test_top(encoder, golden, name):
    query, documents, logits = pairs(golden)
    for top, shown in ((1, 1), (3, 3), (0, len(documents)), (9999, len(documents)), (None, len(documents))):
        body = fits(encoder.post({"query": query, "documents": documents, name: top}, "/v1/rerank"), RERANK)
        assert len(body["results"]) == len(body["data"]) == shown
        assert body["results"][0]["index"] == int(np.argmax(logits))


def test_documents_come_back(encoder):
    """An object for Cohere, Jina and vLLM, a string for Voyage; absent unless it is asked for."""
    documents = ["a b", {"text": "c d"}, {"text": "é\u0000\"", "title": "x"}]
    body = fits(encoder.post({"query": "q", "documents": documents, "return_documents": True}, "/v1/rerank"), RERANK_DOCUMENTS)
    texts = ["a b", "c d", "é\u0000\""]
    assert [r["document"]["text"] for r in body["results"]] == [r["document"] for r in body["data"]] == [texts[r["index"]] for r in body["results"]]


def test_rank_fields(encoder):
    documents = [{"title": "ab", "body": "cd", "n": 1}, {"body": "ef"}, "gh"]
    body = {"query": "q", "documents": documents, "rank_fields": ["title", "body"], "return_documents": True}
    got = fits(encoder.post(body, "/v1/rerank"), RERANK_DOCUMENTS)
    assert {r["index"]: r["document"]["text"] for r in got["results"]} == {0: "ab\ncd", 1: "ef", 2: "gh"}
    assert "documents[0]" in encoder.post(body | {"rank_fields": ["x"]}, "/v1/rerank").json()["message"]


def test_too_long(encoder, golden):
    """Cut unless that is forbidden: what other rerankers do."""
    query, documents, _ = pairs(golden)
    long = "hello world " * 200
    reply = encoder.post({"query": query, "documents": ["a", long]}, "/v1/rerank")
    assert reply.status_code == 200 and reply.headers["x-embellama-truncated"] == "1"
    for more in ({"truncate": False}, {"truncation": False}, {"truncate": "NONE"}):
        error = fits(encoder.post({"query": query, "documents": ["a", long]} | more, "/v1/rerank"), ERRORS, 400)["error"]
        assert error["param"] == "documents[1]" and "96 tokens" in error["message"]


def test_max_tokens_per_doc(encoder):
    def score(document, **more):
        reply = encoder.post({"query": "the cat", "documents": [document], "raw_scores": True} | more, "/v2/rerank")
        return reply.json()["results"][0]["relevance_score"], reply.headers.get("x-embellama-truncated")

    words = "the cat sat on the mat".split()
    tokens = [len(encoder.post({"text": " ".join(words[:n])}, "/v1/tokenize").json()["tokens"]) for n in range(1, 7)]
    for n in (1, 3, 5):
        assert score(" ".join(words), max_tokens_per_doc=tokens[n - 1]) == (score(" ".join(words[:n]))[0], "1")
    assert score(" ".join(words), max_tokens_per_doc=tokens[-1]) == score(" ".join(words)) == score(" ".join(words), max_tokens_per_doc=4096)


def test_large_documents_come_back(encoder):
    """More than a piece of a reply; of each at most so much."""
    documents = [("é" * 3000) + str(i) for i in range(300)] + ["x" * 300000]
    body = fits(encoder.post({"query": "q", "documents": documents, "return_documents": True}, "/v1/rerank"), RERANK_DOCUMENTS)
    assert len(body["results"]) == 301
    for r in body["results"]:
        text = r["document"]["text"]
        assert text == documents[r["index"]] if r["index"] < 300 else (documents[-1].startswith(text) and len(text) == 102400)


@pytest.mark.parametrize("size", [20000, 60000, 65000, 90000])
def test_escapes_come_back(encoder, size):
    """Texts of control characters, six bytes each in a reply that holds them twice."""
    document = "\x01" * size
    body = fits(encoder.post({"query": "a", "documents": [document], "return_documents": True}, "/v1/rerank"), RERANK_DOCUMENTS)
    assert body["results"][0]["document"]["text"] == body["data"][0]["document"] == document


def test_cross_encoder_makes_no_vectors(encoder):
    for path, body in (("/v1/embeddings", {"model": NAME, "input": "a"}), ("/rerank", {"query": "a", "documents": ["b"], "rank_by": "cosine"})):
        error = fits(encoder.post(body, path), ERROR_BODY, 400)["error"]
        assert error["code"] == "not_supported" and "no vectors" in error["message"]


def test_classifier_does_not_rank(start):
    server = start("--model-path", os.path.join(GOLDEN, "tiny-labels"))
    for path, body in (("/v1/rerank", {"query": "a", "documents": ["b"]}), ("/score", {"text_1": "a", "text_2": "b"})):
        error = fits(server.post(body, path), ERRORS, 400)["error"]
        assert error["code"] == "not_supported" and "labels" in error["message"]


@pytest.mark.parametrize("body, status, param", [
    ({}, 400, "query"), ({"query": "a"}, 400, "documents"), ({"query": "a", "documents": []}, 400, "documents"), ({"query": 1, "documents": ["a"]}, 400, "query"),
    ({"query": "a", "documents": "b"}, 400, "documents"), ({"query": "a", "documents": ["b", 1]}, 400, "documents[1]"),
    ({"query": "a", "documents": [{"x": "b"}]}, 400, "documents[0]"), ({"query": "a", "documents": ["b"] * 2049}, 400, "documents"),
    ({"query": "a", "texts": [None]}, 400, "texts[0]"), ({"query": ["a", "b"], "documents": ["a"]}, 400, "query"),
    ({"query": "a", "documents": ["b"], "top_n": -1}, 400, "top_n"), ({"query": "a", "documents": ["b"], "top_k": "1"}, 400, "top_k"),
    ({"query": "a", "documents": ["b"], "return_documents": 1}, 400, "return_documents"), ({"query": "a", "documents": ["b"], "rank_by": "x"}, 400, "rank_by"),
    ({"query": "a", "documents": ["b"], "max_tokens_per_doc": 0}, 400, "max_tokens_per_doc"), ({"query": "a", "documents": ["b"], "rank_fields": 1}, 400, "rank_fields"),
    ({"query": "a", "documents": ["b"], "model": "x"}, 404, "model")])
def test_refused(encoder, body, status, param):
    error = fits(encoder.post(body, "/v1/rerank"), ERRORS, status)
    assert error["error"]["param"] == param and error["message"] == error["detail"] == error["error"]["message"]


def test_nulls(encoder):
    """As langchain-cohere, voyageai and litellm send them."""
    for more in ({"max_tokens_per_doc": None, "top_n": 3, "rank_fields": None}, {"top_k": None, "truncation": True, "return_documents": False},
                 {"return_documents": None, "top_n": None, "priority": 0, "max_chunks_per_doc": 10}):
        fits(encoder.post({"query": "a", "documents": ["b", "c"], "model": NAME} | more, "/v2/rerank"), RERANK)


# ---- vLLM's score ----

@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize("first, second", [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")])
def test_score(encoder, golden, path, first, second):
    query, documents, logits = pairs(golden)
    body = fits(encoder.post({"model": NAME, first: query, second: documents}, path), SCORE)
    assert [d["index"] for d in body["data"]] == list(range(len(documents)))
    assert np.abs(np.float64([d["score"] for d in body["data"]]) - sigmoid(logits)).max() < 1e-4
    one = fits(encoder.post({first: query, second: documents[0], "use_activation": False}, path), SCORE)
    assert abs(one["data"][0]["score"] - logits[0]) < 1e-4
    several = fits(encoder.post({first: [query] * len(documents), second: documents}, path), SCORE)
    assert several["data"] == body["data"]


def test_score_by_cosine(server, cosines):
    got = fits(server.post({"text_1": QUERY, "text_2": DOCUMENTS}, "/score"), SCORE)
    assert np.abs(np.float64([d["score"] for d in got["data"]]) - cosines).max() < 1e-5
    got = fits(server.post({"text_1": DOCUMENTS, "text_2": DOCUMENTS}, "/score"), SCORE)
    assert np.abs(np.float64([d["score"] for d in got["data"]]) - 1).max() < 1e-5


@pytest.mark.parametrize("body, param", [
    ({}, "text_1"), ({"text_1": "a"}, "text_2"), ({"text_1": ["a", "b"], "text_2": ["c"]}, "text_2"), ({"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, "text_2"),
    ({"text_1": [], "text_2": ["c"]}, "text_1"), ({"text_1": "a", "text_2": 7}, "text_2"), ({"text_1": "a", "text_2": "word " * 600}, "text_2")])
def test_score_refused(server, body, param):
    assert fits(server.post(body, "/v1/score"), ERRORS, 400)["error"]["param"] == param


def test_error_object_is_openais(encoder):
    assert set(encoder.post({}, "/v1/rerank").json()["error"]) == set(ERROR)
