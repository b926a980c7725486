"""Ollama's dialect: its routes, fields, defaults, statuses and error texts."""
import datetime

import numpy as np
import requests

from conftest import DIM, NAME, PATIENCE

LONG = "word " * 600


def get(server, path):
    reply = requests.get(server.url + path, timeout=PATIENCE)
    assert reply.status_code == 200, reply.text
    assert requests.head(server.url + path, timeout=PATIENCE).status_code == 200
    return reply.json()


def refused(reply, status, text):
    assert reply.status_code == status, reply.text
    assert list(reply.json()) == ["error"] and isinstance(reply.json()["error"], str)
    assert text in reply.json()["error"]


def embed(server, **body):
    reply = server.post({"model": NAME, **body}, "/api/embed")
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_embed(server):
    body = embed(server, input=["hello", "you there"])
    assert set(body) == {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"}
    assert body["model"] == NAME and body["prompt_eval_count"] == 7
    assert 0 < body["total_duration"] < PATIENCE * 10 ** 9 and isinstance(body["total_duration"], int)
    assert np.array_equal(np.float32(body["embeddings"]), server.embed(["hello", "you there"]))
    assert embed(server, input="hello")["embeddings"] == body["embeddings"][:1]


def test_options_are_accepted(server):
    want = embed(server, input="hello")["embeddings"]
    options = {"mirostat": None, "num_ctx": None, "top_p": None, "temperature": 0.5, "tfs_z": None}
    for more in ({"options": options}, {"options": None}, {"options": {}}, {"keep_alive": "5m"}, {"keep_alive": -1}, {"keep_alive": 10.0},
                 {"keep_alive": None}, {"truncate": None}, {"dimensions": None}, {"dimensions": 0}, {"unknown": 1}):
        assert embed(server, input="hello", **more)["embeddings"] == want, more


def test_dimensions(server):
    full = np.float32(embed(server, input="hello")["embeddings"][0])
    short = np.float32(embed(server, input="hello", dimensions=8)["embeddings"][0])
    assert np.allclose(short, full[:8] / np.linalg.norm(full[:8]), atol=1e-6)
    for all_of_them in (DIM, DIM + 100):
        assert len(embed(server, input="hello", dimensions=all_of_them)["embeddings"][0]) == DIM
    refused(server.post({"model": NAME, "input": "a", "dimensions": -1}, "/api/embed"), 400, "dimensions")


def test_names(server):
    want = embed(server, input="hello")["embeddings"]
    for name in (NAME + ":latest", "sentence-transformers/" + NAME, NAME.lower(), NAME.upper() + ":LATEST"):
        reply = server.post({"model": name, "input": "hello"}, "/api/embed").json()
        assert reply["embeddings"] == want and reply["model"] == name
    for name in ("other", NAME + ":v2", NAME + ":latest:latest", NAME + ":latest:latest:x"):
        refused(server.post({"model": name, "input": "a"}, "/api/embed"), 404, f"model '{name}' not found")
        refused(server.post({"model": name, "prompt": "a"}, "/api/embeddings"), 404, f'model "{name}" not found, try pulling it first')
        refused(server.post({"model": name}, "/api/show"), 404, f"model '{name}' not found")
        refused(server.post({"model": name}, "/api/pull"), 404, "not found")
    refused(server.post({"input": "a"}, "/api/embed"), 400, "model is required")
    refused(server.post({"model": 5, "input": "a"}, "/api/embed"), 400, "model")


def test_empty_input_loads_the_model(server):
    for more in ({}, {"input": ""}, {"input": None}, {"input": []}):
        body = embed(server, **more)
        assert body["embeddings"] == [] and body["prompt_eval_count"] == 0
    assert len(embed(server, input=[""])["embeddings"]) == 1
    assert server.post({"model": NAME, "prompt": ""}, "/api/embeddings").json() == {"embedding": []}
    assert server.post({"model": NAME}, "/api/embeddings").json() == {"embedding": []}


def test_bad_input(server):
    for bad in (["a", 5], [5], [None], {"a": 1}, 7, True, [["a"]]):
        refused(server.post({"model": NAME, "input": bad}, "/api/embed"), 400, "invalid input type")
    refused(server.post({"model": NAME, "input": ["a"] * 2049}, "/api/embed"), 400, "2048")
    refused(server.post({"model": NAME, "prompt": 5}, "/api/embeddings"), 400, "prompt")
    for path in ("/api/embed", "/api/show", "/api/pull"):
        bad = requests.post(server.url + path, data="{", headers={"content-type": "application/json"}, timeout=PATIENCE)
        refused(bad, 400, "parse")
        refused(requests.post(server.url + path, timeout=PATIENCE), 400, "empty")
        refused(requests.put(server.url + path, timeout=PATIENCE), 405, "PUT")


def test_truncation(server):
    reply = server.post({"model": NAME, "input": LONG}, "/api/embed")
    assert reply.headers["x-embellama-truncated"] == "1"
    assert np.array_equal(np.float32(reply.json()["embeddings"]), server.embed(["word " * 510]))
    refused(server.post({"model": NAME, "input": LONG, "truncate": False}, "/api/embed"), 400, "context length")
    refused(server.post({"model": NAME, "prompt": LONG}, "/api/embeddings"), 400, "context length")


def test_old_embeddings_are_raw(server):
    raw = np.float32(server.post({"model": NAME, "prompt": "hello", "options": None, "keep_alive": None}, "/api/embeddings").json()["embedding"])
    assert np.linalg.norm(raw) > 1.5
    assert np.allclose(raw / np.linalg.norm(raw), server.embed(["hello"])[0], atol=1e-6)


def test_models(server):
    models = get(server, "/api/tags")["models"]
    assert [m["model"] for m in models] == [NAME + ":latest"] and models[0]["name"] == NAME + ":latest"
    assert models[0]["size"] > 1e6 and isinstance(models[0]["digest"], str)
    assert datetime.datetime.fromisoformat(models[0]["modified_at"].replace("Z", "+00:00"))
    assert set(models[0]["details"]) == {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}
    assert models[0]["details"]["family"] == "bert" and models[0]["details"]["families"] == ["bert"]
    running = get(server, "/api/ps")["models"]
    assert running[0]["model"] == NAME + ":latest" and running[0]["size_vram"] == 0 and running[0]["context_length"] == 512
    assert datetime.datetime.fromisoformat(running[0]["expires_at"].replace("Z", "+00:00")).year > 2500
    assert get(server, "/api/version")["version"]


def test_show(server):
    want = server.post({"model": NAME}, "/api/show").json()
    assert want["model_info"]["general.architecture"] == "bert"
    assert want["model_info"]["bert.embedding_length"] == DIM and want["model_info"]["bert.context_length"] == 512
    assert want["capabilities"] == ["embedding"]
    assert {"modelfile", "parameters", "template", "details", "modified_at"} <= set(want)
    assert server.post({"model": NAME, "name": "", "system": "", "template": "", "verbose": False, "options": None}, "/api/show").json() == want
    assert server.post({"name": NAME}, "/api/show").json() == want


def test_pull(server):
    one = server.post({"model": NAME, "stream": False, "insecure": False}, "/api/pull")
    assert one.json() == {"status": "success"} and one.headers["content-type"] == "application/json"
    many = server.post({"model": NAME}, "/api/pull")
    assert many.headers["content-type"] == "application/x-ndjson" and many.text == '{"status":"success"}\n'


def test_no_generation(server):
    for path in ("/api/generate", "/api/chat"):
        refused(server.post({"model": NAME}, path), 501, "generates none")


def test_keys(start):
    s = start("--api-key", "secret")
    refused(s.post({"model": NAME, "input": "a"}, "/api/embed"), 401, "key")
    assert requests.head(s.url + "/", timeout=PATIENCE).status_code == 200
