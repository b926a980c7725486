"""Cohere's dialect: the shapes of its API reference."""
import base64

import numpy as np
import pytest
import requests

from conftest import DIM, NAME, PATIENCE, floats
from shapes import fits, strict
from test_api_openai import quantized

META = {"api_version": {"version": str}, "billed_units": {"input_tokens": int}}
FLOATS = {"id": str, "response_type": "embeddings_floats", "texts": [str], "embeddings": [[float]], "meta": META}


def by_type(**types):
    return {"id": str, "response_type": "embeddings_by_type", "texts": [str], "embeddings": types, "meta": META}


def test_version_1(server):
    body = fits(server.post({"texts": ["a", "b"], "model": NAME, "input_type": "search_document"}, "/v1/embed"), FLOATS)
    assert body["texts"] == ["a", "b"] and body["meta"]["api_version"]["version"] == "1"
    assert np.float32(body["embeddings"]).tobytes() == server.embed(["a", "b"]).tobytes()
    body = fits(server.post({"texts": ["a"], "embedding_types": ["float"], "truncate": None}, "/v1/embed"), by_type(float=[[float]]))
    assert len(body["embeddings"]["float"][0]) == DIM


def test_version_2(server):
    body = {"model": NAME, "input_type": "search_query", "texts": ["a", "b", "c"]}
    got = fits(server.post(body, "/v2/embed"), by_type(float=[[float]]))
    assert got["meta"] == {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 9}}
    inputs = [{"content": [{"type": "text", "text": t}]} for t in "abc"]
    same = fits(server.post({"model": NAME, "input_type": "x", "inputs": inputs}, "/v2/embed"), by_type(float=[[float]]))
    assert same["embeddings"] == got["embeddings"] and same["texts"] == ["a", "b", "c"]


def test_types(server):
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    body = {"model": NAME, "texts": ["hello", "world"], "input_type": "x", "embedding_types": types + ["int8"], "output_dimension": 20}
    reply = server.post(body, "/v2/embed")
    got = fits(reply, by_type(float=[[float]], int8=[[int]], uint8=[[int]], binary=[[int]], ubinary=[[int]], base64=[str]))["embeddings"]
    whole = np.float32(got["float"])
    assert whole.shape == (2, 20) and np.abs(np.linalg.norm(whole, axis=1) - 1).max() < 1e-5
    assert [floats(t).tobytes() for t in got["base64"]] == [v.tobytes() for v in whole]
    for kind in types[1:5]:
        assert got[kind] == [quantized(v, kind).tolist() for v in whole]
    assert base64.b64decode(got["base64"][0]) == whole[0].tobytes()


def test_many_in_pieces(server):
    """Longer than a reply is held at once, types one behind the other."""
    texts = [f"text number {i}" for i in range(200)]
    got = strict(server.post({"model": NAME, "texts": texts, "embedding_types": ["float", "ubinary"]}, "/v2/embed").text)
    assert got["texts"] == texts and len(got["embeddings"]["float"]) == len(got["embeddings"]["ubinary"]) == 200
    assert got["embeddings"]["ubinary"][199] == quantized(np.float32(got["embeddings"]["float"][199]), "ubinary").tolist()


def test_truncate(server):
    """END unless it says otherwise."""
    long = "word " * 600
    for more in ({}, {"truncate": "END"}, {"truncate": None}, {"truncate": "START"}):
        reply = server.post({"texts": [long]} | more, "/v1/embed")
        assert reply.status_code == 200 and reply.headers["x-embellama-truncated"] == "1"
    reply = server.post({"texts": [long], "truncate": "NONE"}, "/v1/embed")
    assert reply.status_code == 400 and "602 tokens" in reply.json()["message"]


def test_tokenize(server):
    got = fits(server.post({"text": "hello worldly", "model": NAME}, "/v1/tokenize"),
               {"tokens": [int], "token_strings": [str], "meta": {"api_version": {"version": "1"}}})
    assert got["tokens"] == [7592, 2088, 2135] and got["token_strings"] == ["hello", "world", "##ly"]
    assert server.post({"text": ""}, "/v1/tokenize").json()["tokens"] == []
    long = server.post({"text": "word " * 20000}, "/v1/tokenize").json()
    assert len(long["tokens"]) == len(long["token_strings"]) == 20000


@pytest.mark.parametrize("path, body, status, says", [
    ("/v1/embed", {}, 400, "you must provide texts"), ("/v1/embed", {"texts": []}, 400, "empty list"), ("/v1/embed", {"texts": "a"}, 400, "a list of texts"),
    ("/v1/embed", {"texts": ["a", 1]}, 400, "texts[1]"), ("/v1/embed", {"images": ["data:"]}, 400, "no images"), ("/v1/embed", {"texts": ["a"], "model": "x"}, 404, "does not exist"),
    ("/v1/embed", {"texts": ["a"], "embedding_types": ["int4"]}, 400, "embedding_types"), ("/v1/embed", {"texts": ["a"], "embedding_types": []}, 400, "embedding_types"),
    ("/v1/embed", {"texts": ["a"], "truncate": "x"}, 400, "truncate"), ("/v2/embed", {"texts": ["a"]}, 400, "model"),
    ("/v2/embed", {"model": NAME, "inputs": [{"content": [{"type": "image_url"}]}]}, 400, "content"), ("/v2/embed", {"model": NAME, "inputs": [{}]}, 400, "content"),
    ("/v2/embed", {"model": NAME, "texts": ["a"], "output_dimension": 385}, 400, "output_dimension"), ("/v2/embed", {"model": NAME, "texts": ["a"] * 2049}, 400, "2049"),
    ("/v1/tokenize", {}, 400, "text"), ("/v1/tokenize", {"text": 1}, 400, "a string")])
def test_errors(server, path, body, status, says):
    error = fits(server.post(body, path), {"message": str, "id": str}, status)
    assert says in error["message"], error


def test_errors_before_the_dialect(server, start):
    assert set(requests.get(server.url + "/v1/embed", timeout=PATIENCE).json()) == {"message", "id"}
    keyed = start("--api-key", "k")
    reply = keyed.post({"texts": ["a"]}, "/v1/embed")
    fits(reply, {"message": str, "id": str}, 401)
