"""The dialect of llama.cpp's server, and what /embeddings and /tokenize are to whom."""
import numpy as np
import requests

from conftest import DIM, NAME, PATIENCE

LONG = "word " * 600


def refused(reply, status, kind, says=""):
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error"}
    error = reply.json()["error"]
    assert set(error) == {"code", "message", "type"}
    assert error["code"] == status and error["type"] == kind
    assert says in error["message"]


def embedding(server, body, path="/embedding"):
    reply = server.post(body, path)
    assert reply.status_code == 200, reply.text
    assert [e["index"] for e in reply.json()] == list(range(len(reply.json())))
    assert all(len(e["embedding"]) == 1 for e in reply.json())
    return np.float32([e["embedding"][0] for e in reply.json()])


def test_embedding(server):
    want = server.embed(["hello", "you there"])
    for member in ("content", "input"):
        assert np.array_equal(embedding(server, {member: ["hello", "you there"]}), want)
        assert np.array_equal(embedding(server, {member: "hello"}), want[:1])
        assert np.array_equal(embedding(server, {member: [7592]}), want[:1])
        assert np.array_equal(embedding(server, {member: ["hello", [2017, 2045]]}), want)
    assert embedding(server, {"content": ""}).shape == (1, DIM)
    assert embedding(server, {"content": [""]}).shape == (1, DIM)


def test_embd_normalize(server):
    raw = embedding(server, {"content": "hello", "embd_normalize": -1})[0]
    assert np.linalg.norm(raw) > 1.5
    assert np.allclose(raw / np.linalg.norm(raw), embedding(server, {"content": "hello", "embd_normalize": 2})[0], atol=1e-6)
    refused(server.post({"content": "a", "embd_normalize": 1}, "/embedding"), 400, "invalid_request_error", "embd_normalize")


def test_embeddings_by_member(server):
    want = server.embed(["hello"])
    assert np.array_equal(embedding(server, {"content": "hello"}, "/embeddings"), want)
    openai = server.post({"model": NAME, "input": "hello"}, "/embeddings").json()
    assert openai["object"] == "list" and np.array_equal(np.float32(openai["data"][0]["embedding"]), want[0])
    error = server.post({"model": NAME, "input": 5}, "/embeddings").json()["error"]
    assert error["code"] is None and error["param"] == "input"


def test_client_faults_are_not_500(server):
    refused(server.post({"content": LONG}, "/embedding"), 400, "invalid_request_error", "602 tokens")
    refused(server.post({"content": 5}, "/embedding"), 400, "invalid_request_error", "content")
    refused(server.post({"content": []}, "/embedding"), 400, "invalid_request_error", "content")
    refused(server.post({"content": ["a", [1], 3]}, "/embedding"), 400, "invalid_request_error", "content[2]")
    refused(server.post({}, "/embedding"), 400, "invalid_request_error", '"input" or "content"')
    bad = requests.post(server.url + "/embedding", data="{", headers={"content-type": "application/json"}, timeout=PATIENCE)
    refused(bad, 400, "invalid_request_error", "parse")
    refused(requests.get(server.url + "/embedding", timeout=PATIENCE), 405, "invalid_request_error")


def test_tokenize_content(server):
    assert server.post({"content": "Hello world"}, "/tokenize").json() == {"tokens": [7592, 2088]}
    assert server.post({"content": "Hello world", "add_special": True}, "/tokenize").json() == {"tokens": [101, 7592, 2088, 102]}
    pieces = server.post({"content": "Hello", "with_pieces": True, "add_special": True}, "/tokenize").json()["tokens"]
    assert pieces == [{"id": 101, "piece": "[CLS]"}, {"id": 7592, "piece": "hello"}, {"id": 102, "piece": "[SEP]"}]
    assert server.post({"content": ""}, "/tokenize").json() == {"tokens": []}
    assert server.post({"content": 5}, "/tokenize").status_code == 422
    assert server.post({"content": "a", "add_special": "x"}, "/tokenize").status_code == 422


def test_tokenize_prompt_is_vllm(server):
    got = server.post({"model": NAME, "prompt": "Hello world"}, "/tokenize").json()
    assert got == {"count": 4, "max_model_len": 512, "tokens": [101, 7592, 2088, 102], "token_strs": None}
    got = server.post({"prompt": "Hello", "add_special_tokens": False, "return_token_strs": True}, "/tokenize").json()
    assert got["tokens"] == [7592] and got["token_strs"] == ["hello"] and got["count"] == 1


def test_detokenize(server):
    got = server.post({"tokens": [7592, 2088]}, "/detokenize").json()
    assert got == {"content": "hello world", "prompt": "hello world"}
    assert server.post({"tokens": []}, "/detokenize").json()["content"] == ""
    refused(server.post({}, "/detokenize"), 400, "invalid_request_error", "tokens")
    refused(server.post({"tokens": ["a"]}, "/detokenize"), 400, "invalid_request_error", "element 0")
    refused(server.post({"tokens": "a"}, "/detokenize"), 400, "invalid_request_error", "a string")
    long = server.post({"tokens": [7592] * 50000}, "/detokenize").json()
    assert long["content"] == long["prompt"] == " ".join(["hello"] * 50000)


def test_props_slots_health(server):
    props = requests.get(server.url + "/props", timeout=PATIENCE).json()
    assert props["default_generation_settings"]["n_ctx"] == 512 and props["total_slots"] >= 1
    assert props["bos_token"] == "[CLS]" and props["eos_token"] == "[SEP]" and props["model_alias"] == NAME
    assert "/" not in props["model_path"]
    slots = requests.get(server.url + "/slots", timeout=PATIENCE).json()
    assert len(slots) == props["total_slots"] and slots[0]["n_ctx"] == 512 and isinstance(slots[0]["is_processing"], bool)
    assert requests.get(server.url + "/v1/health", timeout=PATIENCE).json()["status"] == "ok"


def test_no_generation(server):
    for path in ("/completion", "/completions", "/infill"):
        reply = server.post({"prompt": "a"}, path)
        refused(reply, 501, "not_supported_error", "generates none")
        assert reply.headers["x-should-retry"] == "false"
    for path in ("/v1/chat/completions", "/v1/completions", "/chat/completions"):
        reply = server.post({"messages": []}, path)
        assert reply.status_code == 501 and reply.json()["error"]["code"] == "not_supported"


def test_keys(start):
    s = start("--api-key", "secret")
    refused(s.post({"content": "a"}, "/embedding"), 401, "authentication_error")
    assert s.post({"content": "a"}, "/embedding", headers={"x-api-key": "secret"}).status_code == 200
    assert requests.get(s.url + "/v1/health", timeout=PATIENCE).status_code == 200
    refused(requests.get(s.url + "/props", timeout=PATIENCE), 401, "authentication_error")
