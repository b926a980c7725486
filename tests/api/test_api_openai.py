"""OpenAI's dialect in full: its published shapes for success and every class of error, Azure's path, and the options that other servers' clients
send."""
import base64
import os
import re
import shutil
import subprocess

import numpy as np
import openai
import pytest
import requests

from conftest import DIM, NAME, PATIENCE, SOURCE, floats
from shapes import EMBEDDINGS, EMBEDDINGS_BASE64, ERROR_BODY, MODEL, fits, mismatch, strict

LONG = "word " * 600


def unit(server, text="The cat sat on the mat."):
    return server.embed(text)[0]


# ---- Shapes ----

def test_shapes_reject():
    """The comparison itself can fail."""
    good = {"object": "list", "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1},
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1]}]}
    assert mismatch(good, EMBEDDINGS) is None
    for path, value in ((("object",), "lists"), (("usage",), None), (("usage", "prompt_tokens"), 1.5), (("extra",), 1),
                        (("data", 0, "index"), "0"), (("data", 0, "embedding"), "AAAA"), (("data", 0, "embedding"), [None])):
        bad = eval(repr(good))
        at = bad
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        assert mismatch(bad, EMBEDDINGS), path


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings", "/openai/v1/embeddings", f"/openai/deployments/{NAME}/embeddings"])
def test_reply_has_the_published_shape(server, path):
    body = {"model": NAME, "input": ["a", "b"]}
    assert fits(server.post(body, path), EMBEDDINGS)["model"] == NAME
    fits(server.post(body | {"encoding_format": "float"}, path), EMBEDDINGS)
    fits(server.post(body | {"encoding_format": "base64"}, path), EMBEDDINGS_BASE64)


def test_models_have_the_published_shapes(server):
    """OpenAI's list is `data`, Cohere's and llama.cpp's `models`."""
    listed = requests.get(server.url + "/v1/models", timeout=PATIENCE).json()
    assert set(listed) == {"object", "data", "models"} and listed["object"] == "list"
    for model in listed["data"] + listed["models"]:
        assert mismatch({k: model[k] for k in MODEL}, MODEL) is None
        cohere = {"name": str, "endpoints": [str], "finetuned": bool, "context_length": int, "tokenizer_url": type(None),
                  "default_endpoints": [str]}
        assert mismatch({k: model[k] for k in cohere}, cohere) is None
        llama = {"name": str, "model": str, "capabilities": [str], "details": dict,
                 "meta": {"n_vocab": int, "n_ctx_train": int, "n_embd": int, "n_params": int, "size": int}}
        assert mismatch({k: model[k] for k in llama}, llama) is None


@pytest.mark.parametrize("status, param, code, call", [
    (400, None, None, lambda s: requests.post(s.url + "/v1/embeddings", data=b"{", headers={"content-type": "application/json"})),
    (400, "model", None, lambda s: s.post({"input": "a"})),
    (404, "model", "model_not_found", lambda s: s.post({"model": "x", "input": "a"})),
    (404, "model", "model_not_found", lambda s: requests.get(s.url + "/v1/models/org%2Fna%20me")),
    (400, "input", None, lambda s: s.post({"model": NAME})),
    (400, "input", None, lambda s: s.post({"model": NAME, "input": []})),
    (400, "input", None, lambda s: s.post({"model": NAME, "input": {"a": 1}})),
    (400, "input[1]", None, lambda s: s.post({"model": NAME, "input": ["a", 7]})),
    (400, "input", None, lambda s: s.post({"model": NAME, "input": ["a"] * 2049})),
    (400, "input", None, lambda s: s.post({"model": NAME, "input": LONG})),
    (400, "input[1]", None, lambda s: s.post({"model": NAME, "input": ["a", LONG]})),
    (400, "encoding_format", None, lambda s: s.post({"model": NAME, "input": "a", "encoding_format": "x"})),
    (400, "dimensions", None, lambda s: s.post({"model": NAME, "input": "a", "dimensions": 385})),
    (404, "model", "DeploymentNotFound", lambda s: s.post({"input": "a"}, "/openai/deployments/x/embeddings")),
    (404, None, "unknown_url", lambda s: s.post({}, "/v1/x")),
    (405, None, "method_not_allowed", lambda s: requests.get(s.url + "/v1/embeddings")),
    (415, None, "unsupported_media_type", lambda s: requests.post(s.url + "/v1/embeddings", data=b"{}", headers={"content-type": "text/plain"})),
    (413, None, "request_too_large", lambda s: s.post({"model": NAME, "input": "a" * (11 << 20)})),
])
def test_errors_have_the_published_shape(server, status, param, code, call):
    reply = call(server)
    error = fits(reply, ERROR_BODY, status)["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    if status == 405:
        assert "POST" in reply.headers["allow"]


# ---- The client, with keys ----

def test_keys_and_azure(start):
    server = start("--api-key", "sk-right")
    azure = dict(azure_endpoint=server.url, api_version="2024-10-21", max_retries=0, timeout=PATIENCE)
    with openai.AzureOpenAI(api_key="sk-right", **azure) as client:
        reply = client.embeddings.create(model=NAME, input=["a", "b"])
        assert len(reply.data) == 2 and len(reply.data[0].embedding) == DIM
        with pytest.raises(openai.NotFoundError) as e:
            client.embeddings.create(model="other", input="a")
        assert e.value.code == "DeploymentNotFound"
    with openai.AzureOpenAI(api_key="sk-right", azure_deployment=NAME, **azure) as client:
        assert client.embeddings.create(model="whatever it is called", input="a").model == NAME
    with openai.AzureOpenAI(api_key="sk-wrong", **azure) as client, pytest.raises(openai.AuthenticationError):
        client.embeddings.create(model=NAME, input="a")
    with server.client(api_key="sk-wrong") as client:
        for call in (lambda: client.embeddings.create(model=NAME, input="a"), client.models.list, lambda: client.models.retrieve(NAME)):
            with pytest.raises(openai.AuthenticationError) as e:
                call()
            assert e.value.code == "invalid_api_key" and e.value.type == "invalid_request_error" and e.value.param is None
    reply = server.post({"model": NAME, "input": "a"})
    error = fits(reply, ERROR_BODY, 401)["error"]
    assert error["code"] is None and "You didn't provide an API key" in error["message"]
    assert requests.post(server.url + f"/openai/deployments/{NAME}/embeddings?api-version=1", json={"input": "a"},
                         headers={"api-key": "sk-right"}, timeout=PATIENCE).status_code == 200


def test_rate_limit(start):
    server = start("--rate-limit-requests", "1")
    client = server.client()
    client.embeddings.create(model=NAME, input="a")
    with pytest.raises(openai.RateLimitError) as e:
        client.embeddings.create(model=NAME, input="a")
    assert e.value.code == "rate_limit_exceeded" and e.value.type == "requests"
    fits(e.value.response, ERROR_BODY, 429)


# ---- Small types ----

def quantized(v, kind):
    """sentence-transformers' quantize_embeddings, with the vector's own range."""
    if kind.endswith("binary"):
        bits = np.packbits(v > 0)
        return bits if kind == "ubinary" else (bits - 128).astype(np.int8)
    most = np.abs(v).max()
    q = np.clip(np.floor((v + most) / ((most - -most) / np.float32(255))), 0, 255)
    return q.astype(np.uint8) if kind == "uint8" else (q - 128).astype(np.int8)


@pytest.mark.parametrize("dimensions", [384, 12, 1])
@pytest.mark.parametrize("kind", ["int8", "uint8", "binary", "ubinary"])
def test_small_types(server, kind, dimensions):
    body = {"model": NAME, "input": ["hello", "world"], "dimensions": dimensions}
    whole = [floats(d["embedding"]) for d in server.post(body | {"encoding_format": "base64"}).json()["data"]]
    want = [quantized(v, kind) for v in whole]
    for more in ({"encoding_format": kind}, {"output_dtype": kind}, {"embedding_type": kind}, {"embedding_types": [kind]},
                 {"encoding_format": "float", "output_dtype": kind}):
        got = fits(server.post(body | more), EMBEDDINGS)["data"]
        assert [d["embedding"] for d in got] == [w.tolist() for w in want]
    got = server.post(body | {"encoding_format": "base64", "output_dtype": kind}).json()["data"]
    assert [base64.b64decode(d["embedding"]) for d in got] == [w.tobytes() for w in want]


def test_small_types_keep_cosines(server):
    texts = ["A man plays a guitar.", "Someone is playing an instrument.", "The stock market fell today."]
    whole = server.embed(texts)
    small = [d["embedding"] for d in server.post({"model": NAME, "input": texts, "encoding_format": "int8"}).json()["data"]]
    small = np.float32(small) + 0.5  # the middle of each step
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    assert np.abs(small @ small.T - whole @ whole.T).max() < 2e-3


def test_small_types_in_the_client(server):
    """A format that the client does not know comes through as it is."""
    reply = server.client().embeddings.create(model=NAME, input="hello", encoding_format="int8")
    assert reply.data[0].embedding == quantized(unit(server, "hello"), "int8").tolist()


# ---- Options ----

def test_names_of_dimensions(server):
    for name in ("dimensions", "output_dimension"):
        v = np.float32(server.post({"model": NAME, "input": "a", name: 7}).json()["data"][0]["embedding"])
        assert v.shape == (7,) and abs(np.linalg.norm(v) - 1) < 1e-5
        assert server.post({"model": NAME, "input": "a", name: 385}).json()["error"]["param"] == name


@pytest.mark.parametrize("more", [{"truncate": "END"}, {"truncate": "Yes"}, {"truncate": "yes"}, {"truncation": True},
                                  {"truncate_prompt_tokens": -1}, {"truncate_prompt_tokens": 512}, {"truncate": {"Limit": 9999}},
                                  {"truncate": True, "truncation_side": "right"}, {"truncate": True, "truncation_direction": "Right"}])
def test_truncated_at_the_end(server, more):
    text = " ".join(f"word{i}" for i in range(400))
    want = server.embed(text, truncate=True)
    reply = server.post({"model": NAME, "input": text, "encoding_format": "base64"} | more)
    assert reply.headers["x-embellama-truncated"] == "1"
    assert floats(reply.json()["data"][0]["embedding"]).tobytes() == want[0].tobytes()


@pytest.mark.parametrize("more", [{"truncate": "START"}, {"truncate": True, "truncation_side": "left"},
                                  {"truncate": True, "truncation_direction": "Left"}])
def test_truncated_at_the_start(server, more):
    words = ["river"] * 600 + ["mountain"] * 510
    want = server.embed(" ".join(words[-510:]))
    reply = server.post({"model": NAME, "input": " ".join(words), "encoding_format": "base64"} | more)
    assert reply.headers["x-embellama-truncated"] == "1"
    assert floats(reply.json()["data"][0]["embedding"]).tobytes() == want[0].tobytes()


@pytest.mark.parametrize("more", [{"truncate": {"Limit": 5}}, {"truncate_prompt_tokens": 5}])
def test_truncated_to_a_limit(server, more):
    """Not the vector that the cache has of the same text uncut."""
    text = "one two three four five six"
    whole = server.embed(text)[0]
    reply = server.post({"model": NAME, "input": text, "encoding_format": "base64"} | more)
    assert reply.headers["x-embellama-truncated"] == "1" and reply.json()["usage"]["prompt_tokens"] == 5
    got = floats(reply.json()["data"][0]["embedding"])
    assert got.tobytes() == server.embed("one two three")[0].tobytes() != whole.tobytes()
    assert server.embed(text)[0].tobytes() == whole.tobytes()


@pytest.mark.parametrize("more", [{"truncate": "NONE"}, {"truncate": "No"}, {"truncation": False}, {"truncate": None, "truncation": None,
                                  "truncate_prompt_tokens": None, "truncation_side": "left"}])
def test_not_truncated(server, more):
    reply = server.post({"model": NAME, "input": LONG} | more)
    assert reply.status_code == 400 and "602 tokens" in reply.json()["error"]["message"]


def test_normalize(server):
    want = unit(server, "hello")
    for name in ("normalize", "normalized", "use_activation"):
        raw = np.float32(server.post({"model": NAME, "input": "hello", name: False}).json()["data"][0]["embedding"])
        norm = np.linalg.norm(raw)
        assert abs(norm - 1) > 0.01
        assert np.abs(raw / norm - want).max() < 1e-6
        assert server.embed("hello", **{name: True})[0].tobytes() == want.tobytes()


def test_texts_as_objects(server):
    want = server.embed(["hello", "world"])
    for given in ([{"text": "hello"}, {"text": "world"}], ["hello", {"text": "world", "x": 1}]):
        assert server.embed(given).tobytes() == want.tobytes()
    assert server.embed({"text": "hello"})[0].tobytes() == want[0].tobytes()
    reply = server.post({"model": NAME, "input": [{"image": "data:"}]})
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "input[0]"


def test_empty_text_alone(server):
    """LangChain sends it for empty documents and relies on a vector."""
    assert server.embed("").shape == (1, DIM)


@pytest.mark.parametrize("more", [
    {"input_type": "query"}, {"input_type": "search_document"}, {"task": "retrieval.query"}, {"task": "separation"}, {"prompt_name": "query"},
    {"prompt_name": None, "input_type": None, "task": None}, {"user": "me", "unknown": [1, {"a": None}]}, {"late_chunking": False},
    {"return": "dense"}, {"output_dtype": None, "output_dimension": None, "encoding_format": "base64", "truncation": True, "input_type": None}])
def test_accepted_without_effect(server, more):
    """This model has no prompts of its own."""
    assert server.embed("hello", **more)[0].tobytes() == unit(server, "hello").tobytes()


@pytest.mark.parametrize("member, value, says", [
    ("prompt_name", "no-such", "no prompt named 'no-such'"), ("prompt_name", 7, "a string"), ("input_type", [], "a string"),
    ("normalize", "yes", "true or false"), ("truncation", 1, "true or false"), ("truncation_side", "up", "left"),
    ("truncate_prompt_tokens", -2, "from -1"), ("truncate", {"Limit": 0}, "Limit"), ("truncate", {}, "Limit"),
    ("return", "sparse", "no sparse vectors"), ("return", "multivector", "no multivector vectors"), ("return", "x", "Supported values"),
    ("output_dtype", "int4", "Supported values"), ("embedding_type", ["float", "int8"], "Supported values"), ("embedding_type", [], "Supported values")])
def test_refused_options(server, member, value, says):
    error = fits(server.post({"model": NAME, "input": "a", member: value}), ERROR_BODY, 400)["error"]
    assert error["param"] == member and says in error["message"], error


# ---- Jina's and Voyage's clients ----

def test_jina_request(server):
    reply = server.post({"model": NAME, "task": "retrieval.passage", "dimensions": 64, "normalized": True, "late_chunking": False,
                         "embedding_type": "float", "truncate": True, "input": [{"text": "a"}, {"text": "b"}]})
    assert [len(d["embedding"]) for d in fits(reply, EMBEDDINGS)["data"]] == [64, 64]


def test_voyage_request(server):
    reply = server.post({"input": ["a"], "model": NAME, "input_type": None, "truncation": True, "output_dtype": None, "output_dimension": None,
                         "encoding_format": "base64"})
    assert len(floats(fits(reply, EMBEDDINGS_BASE64)["data"][0]["embedding"])) == DIM
    refused = server.post({"input": ["a"], "model": "voyage-3", "input_type": None})
    assert refused.status_code == 404 and refused.json()["detail"] == refused.json()["error"]["message"]


# ---- The documentation ----

def examples():
    with open(os.path.join(SOURCE, "docs", "api.md")) as f:
        return re.findall(r"```sh\n(.*?)```", f.read(), re.S)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("example", examples())
def test_examples_of_the_documentation(server, example):
    assert "http://127.0.0.1:8080/" in example
    done = subprocess.run(["sh", "-ec", example.replace("curl http://127.0.0.1:8080", f"curl -sS --fail-with-body {server.url}")],
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert strict(done.stdout).keys() & {"data", "results", "embeddings"}


def test_the_documentation_has_examples():
    assert len(examples()) >= 5
