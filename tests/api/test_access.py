"""Who may do what, how often, from which pages; and the cache: through a real server."""
import hashlib
import subprocess
import time

import numpy as np
import openai
import pytest
import requests

from conftest import BINARY, MODEL, NAME, PATIENCE, Server, floats, until

TEXT = "A text that every test may ask for."


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def sha256(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def keyfile(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    path.write_text(f"""# two ways to write a key
keys:
  - name: search
    key: search-key-0123456789
    priorities: [normal, low]
  - name: operator
    sha256: {sha256("operator-key-0123456789")}
    role: admin
  - name: slow
    sha256: {sha256("slow-key-0123456789")}
    requests_per_second: 0.01
    burst_seconds: 200
  - name: short
    sha256: {sha256("short-key-0123456789")}
    tokens_per_second: 0.01
    burst_seconds: 4000
""")
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def keyed(keyfile):
    s = Server("--api-key", "argument-key-0123456789", "--api-key-file", keyfile)
    yield s
    s.close()


def body(text=TEXT, **more):
    return {"model": NAME, "input": text, "encoding_format": "base64", **more}


def post(server, text=TEXT, headers=None, path="/v1/embeddings", **more):
    return requests.post(server.url + path, json=body(text, **more), headers=headers, timeout=PATIENCE)


# ---- Keys ----


def test_sdk_with_keys(keyed):
    reply = keyed.client(api_key="argument-key-0123456789").embeddings.create(model=NAME, input=TEXT)
    assert len(reply.data) == 1
    assert [m.id for m in keyed.client(api_key="search-key-0123456789").models.list().data] == [NAME]
    with pytest.raises(openai.AuthenticationError) as failure:
        keyed.client(api_key="sk-nobodys-0123456789").embeddings.create(model=NAME, input=TEXT)
    assert failure.value.code == "invalid_api_key" and failure.value.type == "invalid_request_error"


def test_azure_and_others(keyed):
    for headers in (bearer("search-key-0123456789"), bearer("Bearer search-key-0123456789"),
                    {"x-api-key": "search-key-0123456789"}, {"api-key": "operator-key-0123456789"}):
        assert post(keyed, headers=headers).status_code == 200, headers
    reply = post(keyed)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="embellama"'
    error = reply.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, None)
    assert "API key" in error["message"]
    assert post(keyed, headers={"Authorization": "Basic c2VhcmNoOng="}).status_code == 401
    assert requests.get(keyed.url + "/v1/models", timeout=PATIENCE).status_code == 401


def test_public_routes(keyed):
    for path in ("/health", "/health/live", "/health/ready"):
        assert requests.get(keyed.url + path, timeout=PATIENCE).status_code == 200, path
    assert requests.get(keyed.url + "/metrics", timeout=PATIENCE).status_code == 401
    assert requests.get(keyed.url + "/metrics", headers=bearer("search-key-0123456789"), timeout=PATIENCE).status_code == 200


def test_admin_routes(keyed):
    def clear(headers):
        return requests.post(keyed.url + "/cache/clear", headers=headers, timeout=PATIENCE)

    assert clear({}).status_code == 401
    refused = clear(bearer("search-key-0123456789"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_required")
    assert clear(bearer("operator-key-0123456789")).status_code == 200


def test_priorities_of_a_key(keyed):
    assert post(keyed, headers={**bearer("search-key-0123456789"), "x-priority": "low"}).status_code == 200
    refused = post(keyed, headers={**bearer("search-key-0123456789"), "x-priority": "high"})
    assert 400 <= refused.status_code < 404, refused.text
    assert post(keyed, headers={**bearer("operator-key-0123456789"), "x-priority": "high"}).status_code == 200


def test_keys_are_not_logged(keyed):
    post(keyed, headers=bearer("sk-a-wrong-key-of-somebody"))
    assert until(lambda: "invalid_api_key" in keyed.logged())
    assert "0123456789" not in keyed.logged() and "sk-a-wrong" not in keyed.logged()


def test_open_server(start):
    server = start()
    assert post(server, headers=bearer("whatever")).status_code == 200
    assert requests.post(server.url + "/cache/clear", timeout=PATIENCE).status_code == 200
    refused = requests.post(server.url + "/cache/clear", headers={"Origin": "https://evil.example"}, timeout=PATIENCE)
    assert refused.status_code == 403


def test_bad_configuration(keyfile, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("keys:\n  - name: a\n    key: b\n    rate: 3\n")
    bad.chmod(0o600)
    for flags, says in ((["--api-key-file", str(bad)], "Unexpected key: rate (line: "),
                        (["--api-key-file", str(tmp_path / "absent")], "absent"),
                        (["--api-key", "a,a"], "are the same"),
                        (["--cors-origins", "example.org"], "is not an origin")):
        r = subprocess.run([BINARY, "serve", "--model-path", MODEL, "--port", "0", *flags], timeout=PATIENCE,
                           capture_output=True, text=True, check=False)
        assert r.returncode not in (0, -11, -6) and says in r.stderr, (flags, r)


# ---- Rates ----


def test_request_rate(keyed):
    headers = bearer("slow-key-0123456789")
    first = post(keyed, headers=headers)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-reset-requests"] == "1m40s"
    assert post(keyed, headers=headers).status_code == 200
    refused = post(keyed, headers=headers)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 100
    assert 0 < int(refused.headers["retry-after-ms"]) <= 100000
    with pytest.raises(openai.RateLimitError):
        keyed.client(api_key="slow-key-0123456789").embeddings.create(model=NAME, input=TEXT)


def test_token_rate(keyed):
    headers = bearer("short-key-0123456789")
    first = post(keyed, headers=headers, text="word " * 20)
    assert first.status_code == 200, first.text
    used = first.json()["usage"]["prompt_tokens"]
    assert first.headers["x-ratelimit-limit-tokens"] == "40"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) == 40 - used
    refused = post(keyed, headers=headers, text="word " * 25)
    assert refused.status_code == 429 and refused.headers.get("x-should-retry") != "false"
    assert int(refused.headers["retry-after"]) > 0
    hopeless = post(keyed, headers=headers, text="word " * 60)
    assert hopeless.status_code == 429 and hopeless.headers["x-should-retry"] == "false"
    assert hopeless.json()["error"]["code"] == "rate_limit_exceeded"
    assert "retry-after" not in hopeless.headers


def test_rate_by_address(start):
    server = start("--rate-limit-requests", "2", "--rate-limit-tokens", "600")
    replies = [post(server, headers=bearer(f"any-{i}")) for i in range(3)]
    assert [r.status_code for r in replies] == [200, 200, 429]
    assert replies[0].headers["x-ratelimit-limit-tokens"] == "600"
    assert requests.get(server.url + "/health", timeout=PATIENCE).status_code == 200


# ---- Pages ----


def test_cors(start):
    server = start("--cors-origins", "https://a.example", "--api-key", "k")
    ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST",
           "Access-Control-Request-Headers": "authorization,content-type"}
    reply = requests.options(server.url + "/v1/embeddings", headers=ask, timeout=PATIENCE)
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-origin"] == "https://a.example"
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-allow-headers"] == "authorization,content-type"
    reply = post(server, headers={**bearer("k"), "Origin": "https://a.example"})
    assert reply.status_code == 200 and reply.headers["access-control-allow-origin"] == "https://a.example"
    assert reply.headers["vary"] == "origin"
    reply = post(server, headers={"Origin": "https://b.example"})
    assert reply.status_code == 401 and "access-control-allow-origin" not in reply.headers


# ---- The cache ----


def stats(server, headers=None):
    return requests.get(server.url + "/cache/stats", headers=headers, timeout=PATIENCE).json()


def vector(reply):
    assert reply.status_code == 200, reply.text
    return floats(reply.json()["data"][0]["embedding"])


def test_cached_bits_and_clear(start):
    server = start("--cache-size", "8")
    first, usage = post(server), post(server).json()["usage"]
    again = post(server)
    assert np.array_equal(vector(first), vector(again))
    assert first.json()["usage"] == usage
    s = stats(server)
    assert s["enabled"] and s["entries"] == 1 and s["hits"] == 2 and s["max_bytes"] == 8 << 20 and s["bytes"] > 384 * 4
    cleared = requests.post(server.url + "/cache/clear", timeout=PATIENCE).json()
    before = cleared.pop("previous_stats")
    assert cleared == {"status": "ok", "entries": 1}
    assert before["entry_count"] == 1 and before["hits"] == 2 and before["misses"] == 1
    assert stats(server)["entries"] == 0
    assert np.array_equal(vector(first), vector(post(server)))
    s = stats(server)
    assert (s["entries"], s["hits"], s["clears"]) == (1, 2, 1)


def test_cache_off(start):
    server = start("--cache-size", "0")
    assert np.array_equal(vector(post(server)), vector(post(server)))
    s = stats(server)
    assert not s["enabled"] and s["entries"] == 0 and s["hits"] == 0


def test_cache_by_key(start):
    server = start("--cache-size", "8", "--cache-scope", "key", "--api-key", "one,two")
    mine = post(server, headers=bearer("one"))
    yours = post(server, headers=bearer("two"))
    assert np.array_equal(vector(mine), vector(yours))
    assert stats(server, bearer("one"))["hits"] == 0
    post(server, headers=bearer("two"))
    assert stats(server, bearer("one"))["hits"] == 1


def test_cache_ttl(start):
    server = start("--cache-size", "8", "--cache-ttl", "1")
    post(server)
    time.sleep(2.1)
    post(server)
    s = stats(server)
    assert (s["hits"], s["expired"]) == (0, 1)
