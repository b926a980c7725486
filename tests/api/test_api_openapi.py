"""/openapi.json: it has the routes that there are, is OpenAPI, and says what the server does; each example is tried."""
import json
import os
import re
import subprocess

import jsonschema
import openapi_spec_validator
import pytest
import requests
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from conftest import DIM, NAME, PATIENCE, SOURCE, Server

RERANKER = os.path.join(SOURCE, "tests", "golden", "tiny-rank")
METHODS = "get", "post", "delete"


@pytest.fixture(scope="module")
def spec(server):
    reply = requests.get(server.url + "/openapi.json", timeout=PATIENCE)
    assert reply.status_code == 200 and reply.headers["content-type"] == "application/json"
    return reply.json()


@pytest.fixture(scope="module")
def reranker():
    s = Server("--model-path", RERANKER)
    yield s
    s.close()


@pytest.fixture(scope="module")
def check(spec):
    """Fails where a value is not as a schema of the description says."""
    registry = Registry().with_resource("urn:spec", Resource(contents=spec, specification=DRAFT202012))

    def run(schema, value):
        def absolute(s):
            if isinstance(s, dict):
                return {k: "urn:spec" + v if k == "$ref" else absolute(v) for k, v in s.items()}
            return [absolute(v) for v in s] if isinstance(s, list) else s

        jsonschema.Draft202012Validator(absolute(schema), registry=registry).validate(value)

    return run


def follow(spec, v):
    while "$ref" in v:
        at = spec
        for key in v["$ref"][2:].split("/"):
            at = at[key]
        v = at
    return v


def operations(spec):
    return [(path, method, op) for path, methods in spec["paths"].items() for method, op in methods.items()]


def test_routes_and_description_are_the_same(spec):
    out = subprocess.run([os.environ["EMB_ROUTES"]], stdout=subprocess.PIPE, text=True, check=True).stdout
    routes = out.split("\n")[:-1]
    described = [f"{method.upper()} {path}" for path, method, _ in operations(spec)]
    assert sorted(routes) == sorted(described)


def test_valid(spec):
    openapi_spec_validator.validate(spec)
    assert spec["openapi"].startswith("3.1")
    used = set(re.findall(r'"#/components/(\w+/[^"]+)"', json.dumps(spec)))
    assert {f"{kind}/{name}" for kind in spec["components"] for name in spec["components"][kind]
            if kind != "securitySchemes"} == used, "components that nothing refers to"
    ids = [op["operationId"] for *_, op in operations(spec)]
    assert len(ids) == len(set(ids))


def test_complete(spec, check):
    """Each operation has an example of what is sent, of what comes back and of each error, and they are as their schemas say."""
    for path, method, op in operations(spec):
        sent = follow(spec, op["requestBody"])["content"]["application/json"] if "requestBody" in op else None
        assert (method == "post") == bool(sent) or path in ("/admin/drain", "/cache/clear"), (method, path)
        for name, example in (sent or {}).get("examples", {}).items():
            check(sent["schema"], example["value"])
        assert not sent or sent["examples"], path
        codes = set(op["responses"])
        if path not in ("/openapi.json", "/docs", "/") and op.get("security") != []:
            assert {"401", "429", "503"} <= codes, path
        for code, given in op["responses"].items():
            for kind, content in follow(spec, given)["content"].items():
                if "example" in content and kind == "application/json":
                    check(content["schema"], content["example"])
                assert "example" in content or code == "503" or path in ("/openapi.json", "/docs"), (path, code)


def reply_is_described(spec, check, op, reply):
    response = op["responses"].get(str(reply.status_code))
    assert response, (reply.status_code, reply.text)
    content = follow(spec, response)["content"]
    kind = reply.headers["content-type"].partition(";")[0]
    assert kind in content, kind
    check(content[kind]["schema"], reply.json() if kind == "application/json" else reply.text)


def test_examples_are_answered(spec, check, server, reranker):
    """Where both models refuse an example, the route is one of those that refuse all."""
    refuse_all = {op["operationId"] for *_, op in operations(spec) if not any(code.startswith("2") for code in op["responses"])}
    for path, method, op in operations(spec):
        if op["operationId"] == "adminDrain":
            continue
        sent = follow(spec, op["requestBody"])["content"]["application/json"]["examples"] if "requestBody" in op else {"": {"value": None}}
        for name, example in sent.items():
            good = False
            for s in server, reranker:
                body = example["value"]
                reply = requests.request(method, s.url + path.replace("{id}", NAME).replace("{deployment}", NAME), json=body,
                                         timeout=PATIENCE)
                reply_is_described(spec, check, op, reply)
                good |= reply.status_code < 300
            assert good != (op["operationId"] in refuse_all), (path, name, reply.text)


def test_the_last_of_the_server(spec, check, start):
    op = spec["paths"]["/admin/drain"]["post"]
    server = start()
    reply = requests.post(server.url + "/admin/drain", timeout=PATIENCE)
    reply_is_described(spec, check, op, reply)
    assert reply.status_code == 202


@pytest.mark.parametrize("body, status", [({"input": []}, 400), ({"inputs": 5}, 400), ({"model": "other", "input": "x"}, 404)])
def test_errors_are_described(spec, check, server, body, status):
    """Wrong bodies on every route that takes one."""
    for path, method, op in operations(spec):
        if method == "post" and "requestBody" in op and "403" not in op["responses"] or path == "/v1/embeddings":
            reply = requests.post(server.url + path.replace("{deployment}", NAME), json=body, timeout=PATIENCE)
            reply_is_described(spec, check, op, reply)
    assert requests.post(server.url + "/v1/embeddings", json={"model": NAME} | body, timeout=PATIENCE).status_code == status


def test_version_is_the_servers(spec, server):
    assert spec["info"]["version"] == server.health()["version"]
    assert spec["components"]["schemas"]["Dimensions"]["maximum"] >= DIM


def test_page_loads_nothing(server):
    reply = requests.get(server.url + "/docs", timeout=PATIENCE)
    assert reply.status_code == 200 and reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", reply.text)


@pytest.mark.parametrize("path, body, status", [
    ("/v1/embeddings", {"model": NAME, "input": "x", "late_chunking": {}}, 400),
    ("/v1/embeddings", {"model": NAME, "input": "x", "late_chunking": "true"}, 400),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": "x"}, 422),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"] * 2049}}, 422),
    ("/v1/embeddings", {"model": NAME, "input": [7592.0, 2088.0], "dimensions": 128.0}, 200),
    ("/v1/embeddings", {"model": NAME, "input": "x", "dimensions": 128.5}, 400),
])
def test_what_schemathesis_found(server, path, body, status):
    assert requests.post(server.url + path, json=body, timeout=PATIENCE).status_code == status
