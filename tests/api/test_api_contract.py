"""The wire as the API documents it: members, statuses, messages. With plain HTTP, so that no client is between."""
import json
import re
import uuid

import numpy as np
import pytest
import requests

from conftest import DIM, NAME, PATIENCE, floats


def post_raw(server, body, headers=None, path="/v1/embeddings"):
    return requests.post(server.url + path, data=body, timeout=PATIENCE,
                         headers={"content-type": "application/json"} if headers is None else headers)


def refused(reply, status=400, param=None, code=None, type="invalid_request_error", says=""):
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"].startswith("application/json")
    body = reply.json()
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == type
    assert error["param"] == param
    assert error["code"] == code
    assert says in error["message"], error["message"]
    assert body["request_id"] == reply.headers["x-request-id"]
    assert uuid.UUID(body["request_id"]).version == 4


def test_reply_is_whole(server):
    reply = server.post({"model": NAME, "input": ["a", "b c"]})
    assert reply.headers["content-type"].startswith("application/json")
    assert uuid.UUID(reply.headers["x-request-id"]).version == 4
    assert "x-embellama-truncated" not in reply.headers
    body = reply.json()
    assert set(body) == {"object", "data", "model", "usage"}
    assert body["object"] == "list" and body["model"] == NAME
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert [(d["object"], d["index"], len(d["embedding"])) for d in body["data"]] == [("embedding", 0, DIM), ("embedding", 1, DIM)]
    assert all(isinstance(v, float) for d in body["data"] for v in d["embedding"])


def test_floats_are_shortest(server):
    text = server.post({"model": NAME, "input": "hello"}).text
    numbers = re.search(r'"embedding":\[([^\]]*)\]', text).group(1).split(",")
    assert len(numbers) == DIM
    for number in numbers:
        value = np.float32(number)
        assert len(number) <= len(np.format_float_scientific(value, unique=True, trim="-", exp_digits=2)) + 3
        assert np.float32(float(number)) == value


def test_base64_is_padded_and_little_endian(server):
    body = server.post({"model": NAME, "input": "hello", "encoding_format": "base64"}).json()
    text = body["data"][0]["embedding"]
    assert len(text) == 2048 and re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text)
    assert abs(np.linalg.norm(floats(text)) - 1) < 1e-5
    assert len(floats(server.post({"model": NAME, "input": "a", "encoding_format": "base64", "dimensions": 1}).json()
                      ["data"][0]["embedding"])) == 1


def test_null_is_absent(server):
    reply = server.post({"model": NAME, "input": "a", "encoding_format": None, "dimensions": None, "user": None, "truncate": None})
    assert reply.status_code == 200
    refused(server.post({"model": None, "input": "a"}), param="model", says="you must provide a model parameter")
    refused(server.post({"model": NAME, "input": None}), param="input", says="input")


def test_model_is_required(server):
    for body in ({"input": "a"}, {"input": "a", "model": ""}):
        refused(server.post(body), param="model", says="you must provide a model parameter")
    refused(server.post({"input": "a", "model": 7}), param="model", says="an integer")
    refused(server.post({"input": "a", "model": "x" * 5000}), 404, "model", "model_not_found", says="does not exist")
    refused(server.post({"input": "a", "model": "é" * 5000}), 404, "model", "model_not_found", says="éé")


@pytest.mark.parametrize("given, param, says", [
    ([], "input", "empty list"),
    ([[]], "input[0]", "empty list of token ids"),
    (["ok", None], "input[1]", "'$.input[1]' is invalid: it is null"),
    (["ok", 5], "input[1]", "an integer"),
    (["ok", ["x"]], "input[1]", "an array"),
    ([[101], "ok"], "input[1]", "a string"),
    ([[101], [101, "a"]], "input[1]", "its element 1 is a string"),
    ([[101], [101, 1.5]], "input[1]", "its element 1 is a number"),
    ([101, "a"], "input", "its element 1 is a string"),
    ([101, None], "input", "null"),
    ([True], "input[0]", "a boolean"),
    ([{"image": "a"}], "input[0]", "\"text\""),
    ([1.5], "input[0]", "a number"),
    ({"a": 1}, "input", "an object"),
    (7, "input", "an integer"),
    (True, "input", "a boolean"),
    ([1, 99999999], "input", "99999999 at position 1 is outside this model's vocabulary of 30522 tokens"),
    ([-1], "input", "-1 at position 0"),
    ([30522], "input", "30522 at position 0"),
    ([2 ** 40], "input", "outside this model's vocabulary"),
    ([2 ** 63], "input[0]", "a number"),
    (["ok", "word " * 600], "input[1]", "maximum context length is 512 tokens, however you requested 602 tokens (input[1])"),
    ("word " * 600, "input", "maximum context length is 512 tokens, however you requested 602 tokens"),
    ([2000] * 600, "input", "602 tokens"),
    (["a"] * 2049, "input", "2048 inputs, but this one holds 2049"),
    ([[101]] * 2049, "input", "2048 inputs, but this one holds 2049"),
], ids=lambda v: None if isinstance(v, str) and len(v) > 60 else str(v)[:40])
def test_bad_input(server, given, param, says):
    refused(server.post({"model": NAME, "input": given}), param=param, says=says)


def test_input_at_the_limits(server):
    assert server.post({"model": NAME, "input": "word " * 510}).json()["usage"]["prompt_tokens"] == 512
    assert server.post({"model": NAME, "input": [2000] * 510}).json()["usage"]["prompt_tokens"] == 512
    assert server.post({"model": NAME, "input": [101] + [2000] * 510 + [102]}).json()["usage"]["prompt_tokens"] == 512
    refused(server.post({"model": NAME, "input": "word " * 511}), param="input", says="513 tokens")
    assert server.post({"model": NAME, "input": [0, 30521]}).status_code == 200


@pytest.mark.parametrize("member, value, says", [
    ("encoding_format", "yaml", "Invalid value for 'encoding_format' = yaml. Supported values: ['float', 'base64', 'int8', 'uint8', 'binary', 'ubinary']."),
    ("encoding_format", "", "Supported values"),
    ("encoding_format", 5, "an integer"),
    ("encoding_format", "Base64", "Supported values"),
    ("dimensions", 0, "from 1 to 384, but it is 0"),
    ("dimensions", -3, "-3"),
    ("dimensions", 385, "385"),
    ("dimensions", 2 ** 62, "from 1 to 384"),
    ("dimensions", 12.5, "a number"),
    ("dimensions", "12", "a string"),
    ("dimensions", True, "a boolean"),
    ("truncate", "MIDDLE", "true or false"),
    ("truncate", 1, "true or false"),
])
def test_bad_options(server, member, value, says):
    refused(server.post({"model": NAME, "input": "a", member: value}), param=member, says=says)


def test_truncate(server):
    long = "word " * 600
    reply = server.post({"model": NAME, "input": [long, "short", long], "truncate": True, "encoding_format": "base64"})
    assert reply.status_code == 200
    assert reply.headers["x-embellama-truncated"] == "2"
    assert reply.json()["usage"]["prompt_tokens"] == 512 + 3 + 512
    cut = reply.json()["data"][0]["embedding"]
    assert cut == server.post({"model": NAME, "input": "word " * 510, "encoding_format": "base64"}).json()["data"][0]["embedding"]
    ids = server.post({"model": NAME, "input": [2773] * 600, "truncate": "END", "encoding_format": "base64"})
    assert ids.headers["x-embellama-truncated"] == "1"
    assert ids.json()["data"][0]["embedding"] == cut, "ids and text are cut alike"
    for off in (False, "NONE"):
        refused(server.post({"model": NAME, "input": long, "truncate": off}), param="input", says="602 tokens")


@pytest.mark.parametrize("body, says", [
    (b"", "the body is empty"),
    (b'{"input":', ""),
    (b"{'model':'a'}", ""),
    (b'{"model":"%s","input":"a"} x', ""),
    (b'{"model":"%s","input":"\\ud800"}', "\\ud800 at byte 37 is a lone surrogate"),
    (b'{"model":"%s","input":"caf\xe9"}', "byte 40 of the body is not valid UTF-8"),
    (b'{"model":"%s","input":"a\nb"}', ""),
    (b"\x00", ""),
    (b"[" * 100000, ""),
    (b'{"a":' * 50000, ""),
])
def test_invalid_json(server, body, says):
    body = body.replace(b"%s", NAME.encode())
    reply = post_raw(server, body)
    refused(reply, says="We could not parse the JSON body of your request.")
    assert "(HINT: " in reply.json()["error"]["message"] and says in reply.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true"])
def test_body_that_is_no_object(server, body):
    refused(post_raw(server, body), says="must be a JSON object")


def test_large_broken_bodies(server):
    """Beyond some size bodies are read beside the loop: refusals must come from there, too."""
    pad = b" " * 20000
    refused(post_raw(server, pad + b'{"model":'), says="We could not parse")
    refused(post_raw(server, pad + b'{"model":"%s","input":[1,99999999]}' % NAME.encode()), param="input", says="99999999")
    refused(post_raw(server, pad + b"[]"), says="must be a JSON object")
    assert post_raw(server, pad + b'{"model":"%s","input":"a"}' % NAME.encode()).status_code == 200


def test_content_type(server):
    body = json.dumps({"model": NAME, "input": "a"}).encode()
    for headers in ({}, {"content-type": "application/json; charset=utf-8"}, {"Content-Type": "APPLICATION/JSON"}):
        assert post_raw(server, body, headers).status_code == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        refused(post_raw(server, body, {"content-type": kind}), 415, code="unsupported_media_type", says=kind)


def test_members_twice_and_pretty(server):
    body = b'{\n  "model" : "x",\n  "input" : "a",\r\n\t"input" : ["b", "c"],\n  "model" : "%s"\n}\n' % NAME.encode()
    reply = post_raw(server, body)
    assert reply.status_code == 200 and len(reply.json()["data"]) == 2


def test_text_with_zeros_and_escapes(server):
    body = b'{"model":"%s","input":["a\\u0000b","ab","\\ud83d\\ude00","\xf0\x9f\x98\x80"],"encoding_format":"base64"}' % NAME.encode()
    data = post_raw(server, body).json()["data"]
    assert data[0]["embedding"] == data[1]["embedding"], "zeros are cleaned away as the reference does"
    assert data[2]["embedding"] == data[3]["embedding"]


def test_models(server):
    listed = requests.get(server.url + "/v1/models", timeout=PATIENCE).json()
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert {"id", "object", "created", "owned_by", "dimensions", "context_length", "pooling"} <= set(model)
    one = requests.get(f"{server.url}/v1/models/sentence-transformers%2F{NAME}", timeout=PATIENCE)
    assert one.json() == model
    for path in ("nothing", "a%2Fb", NAME + "%20", "%F0%9F%98%80"):
        refused(requests.get(f"{server.url}/v1/models/{path}", timeout=PATIENCE), 404, "model", "model_not_found", says="does not exist")


def test_paths_without_v1(server):
    with_v1 = server.post({"model": NAME, "input": "a"}).json()
    assert server.post({"model": NAME, "input": "a"}, path="/embeddings").json() == with_v1
    assert requests.get(server.url + "/models", timeout=PATIENCE).json() == requests.get(server.url + "/v1/models", timeout=PATIENCE).json()


def test_wrong_paths_and_methods(server):
    reply = server.post({}, path="/v1/nothing")
    assert reply.status_code == 404 and "/v1/nothing" in reply.json()["error"]["message"]
    reply = requests.get(server.url + "/v1/embeddings", timeout=PATIENCE)
    assert reply.status_code == 405 and "POST" in reply.headers["allow"]
    assert isinstance(reply.json()["error"]["message"], str)


def test_health(server):
    reply = requests.get(server.url + "/health", timeout=PATIENCE)
    assert reply.status_code == 200
    health = reply.json()
    assert health["status"] == "ok" and health["model"] == NAME
    assert re.fullmatch(r"\d+\.\d+\.\d+", health["version"])
    assert health["workers"] >= 1 and health["threads_per_worker"] >= 1
    assert health["queue"]["waiting"] == health["queue"]["running"] == 0 < health["queue"]["size"]


def test_log_line(server):
    reply = server.post({"model": NAME, "input": ["a", "b"]})
    line = server.logged_line(reply.headers["x-request-id"])
    assert "status=200" in line and "inputs=2" in line and "tokens=6" in line
