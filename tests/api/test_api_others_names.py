"""Servers whose clients and command lines go on working: the Rust server of this name, and text-embeddings-inference's command line."""
import os
import re
import subprocess

import pytest
import requests

from conftest import BINARY, MODEL, NAME, PATIENCE, Server, end_with_parent


class Started(Server):
    """A server by a command line and an environment of its own."""

    def __init__(self, tmp_path, command, **variables):
        env = {k: v for k, v in os.environ.items() if not k.startswith("EMBELLAMA_")} | variables
        self.log = open(tmp_path / "log", "w+b")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=env, start_new_session=True,
                                        preexec_fn=end_with_parent)
        ready = self.process.stdout.readline().decode()
        found = re.search(r"http://[^ ]*:(\d+)", ready)
        if not found:
            self.process.wait(PATIENCE)
            pytest.fail(f"no ready line but {ready!r}; {self.logged()}")
        self.port = int(found.group(1))
        self.url = f"http://127.0.0.1:{self.port}"


@pytest.fixture
def by_command(tmp_path):
    servers = []

    def begin(*command, **variables):
        servers.append(Started(tmp_path, command, **variables))
        return servers[-1]

    yield begin
    for s in servers:
        s.close()


def test_rust_servers_command_line(by_command, tmp_path):
    program = tmp_path / "embellama-server"
    program.symlink_to(BINARY)
    s = by_command(program, "--model-path", MODEL, "--model-name", "mine", "--host", "127.0.0.1", "-p", "0", "--workers", "1",
                   "--queue-size", "100", "--request-timeout", "60", "--n-seq-max", "8", "--pooling-strategy", "cls",
                   "--normalization-mode", "none", "--pnorm-exponent", "2", "--log-level", "info")
    model = requests.get(s.url + "/v1/models", timeout=PATIENCE).json()["data"][0]
    assert (model["id"], model["pooling"], model["normalize"]) == ("mine", "cls", "none")
    assert 'reason="batches are filled by tokens here' in s.logged_line("option=--n-seq-max")


def test_rust_servers_environment(by_command, tmp_path):
    program = tmp_path / "embellama-server"
    program.symlink_to(BINARY)
    s = by_command(program, EMBELLAMA_MODEL_PATH=MODEL, EMBELLAMA_MODEL_NAME="mine", EMBELLAMA_PORT="0", EMBELLAMA_POOLING_STRATEGY="mean",
                   EMBELLAMA_NORMALIZATION="l2", EMBELLAMA_N_SEQ_MAX="4", EMBELLAMA_LOG_LEVEL="trace", EMBELLAMA_CONTEXT_SIZE="128",
                   EMBELLAMA_USE_GPU="true")
    model = requests.get(s.url + "/v1/models", timeout=PATIENCE).json()["data"][0]
    assert (model["id"], model["context_length"]) == ("mine", 128)
    assert s.logged_line("option=EMBELLAMA_USE_GPU") and s.logged_line("option=--n-seq-max")


def test_teis_command_line(by_command):
    s = by_command(BINARY, "serve", "--model-id", MODEL, "--served-model-name", "mine", "--hostname", "127.0.0.1", "--port", "0",
                   "--pooling", "mean", "--dtype", "float32", "--max-client-batch-size", "3", "--max-batch-tokens", "16384",
                   "--max-concurrent-requests", "512", "--payload-limit", "2000000", "--tokenization-workers", "2", "--json-output",
                   "--auto-truncate", "--cors-allow-origin", "*")
    info = requests.get(s.url + "/info", timeout=PATIENCE).json()
    assert (info["served_model_name"], info["max_client_batch_size"], info["model_dtype"]) == ("mine", 3, "float32")
    assert s.post({"inputs": ["a"] * 4}, "/embed").status_code == 422
    assert s.logged_line("option_without_effect").startswith("{")


def test_teis_environment(by_command):
    s = by_command(BINARY, "serve", MODEL_ID=MODEL, SERVED_MODEL_NAME="mine", PORT="0", HOSTNAME="0a1b2c3d4e5f", API_KEY="secret",
                   MAX_CLIENT_BATCH_SIZE="3", AUTO_TRUNCATE="false", MAX_CONCURRENT_REQUESTS="9")
    assert requests.get(s.url + "/info", timeout=PATIENCE).status_code == 401
    info = requests.get(s.url + "/info", timeout=PATIENCE, headers={"authorization": "Bearer secret"}).json()
    assert (info["served_model_name"], info["max_client_batch_size"], info["auto_truncate"]) == ("mine", 3, False)


def test_what_cannot_be_is_refused():
    for args, says in ((["--revision", "main"], "nothing is downloaded"), (["--otlp-endpoint", "x"], "no traces are exported"),
                       (["--pooling", "splade"], "'splade' is not one of"), (["--dtype", "float16"], "'float16' is not one of")):
        done = subprocess.run([BINARY, "serve", "--model-id", MODEL, "--port", "0", *args], capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == 2 and says in done.stderr.decode()


# ---- The Rust server's routes ----

def test_cache_stats_and_clear(server):
    server.embed(["one", "two"])
    server.embed(["one"])
    body = requests.get(server.url + "/cache/stats", timeout=PATIENCE).json()
    assert body["enabled"] is True
    assert set(body["stats"]) == {"hits", "misses", "evictions", "memory_bytes", "entry_count", "hit_rate"}
    assert body["stats"]["hits"] == body["hits"] >= 1 and body["stats"]["entry_count"] == body["entries"] >= 2
    assert set(body["memory"]) == {"total_bytes", "available_bytes", "usage_percentage"}
    assert body["memory"]["total_bytes"] - body["memory"]["available_bytes"] == body["bytes"]
    cleared = server.post({}, "/cache/clear").json()
    assert cleared["status"] == "ok" and cleared["previous_stats"]["entry_count"] == cleared["entries"] >= 2
    assert requests.get(server.url + "/cache/stats", timeout=PATIENCE).json()["stats"]["entry_count"] == 0


def test_cache_warm(server):
    server.post({}, "/cache/clear")
    assert server.post({"texts": ["warm one", "warm two"]}, "/cache/warm").json() == {
        "status": "completed", "texts_processed": 2, "already_cached": 0}
    assert server.post({"texts": ["warm two", "warm three"], "model": NAME}, "/cache/warm").json() == {
        "status": "completed", "texts_processed": 2, "already_cached": 1}
    reply = server.post({"model": NAME, "input": ["warm one", "warm two", "warm three"]})
    assert reply.headers["x-embellama-cache"] == "hit"
    for bad, status in (({}, 400), ({"texts": "a"}, 400), ({"texts": []}, 400), ({"texts": [5]}, 400), ({"texts": ["a"] * 1001}, 400),
                        ({"texts": ["a"], "model": "other"}, 404), ({"texts": ["word " * 600]}, 400)):
        assert server.post(bad, "/cache/warm").status_code == status, str(bad)[:60]


def test_cache_off(start):
    s = start("--cache-size", "0")
    assert requests.get(s.url + "/cache/stats", timeout=PATIENCE).json()["enabled"] is False
    reply = s.post({"texts": ["a"]}, "/cache/warm")
    assert reply.status_code == 400 and "keeps none" in reply.json()["error"]["message"]


def test_prefixes(server):
    url = server.url + "/v1/embeddings/prefix"
    added = requests.post(url, json={"prefix": "Represent this:"}, timeout=PATIENCE)
    assert added.status_code == 501 and "encoder" in added.json()["error"]["message"]
    assert added.headers["x-should-retry"] == "false"
    assert requests.get(url, timeout=PATIENCE).json() == {"prefixes": [], "total_count": 0}
    assert requests.get(url + "/stats", timeout=PATIENCE).json()["enabled"] is False
    assert requests.delete(url, timeout=PATIENCE).json()["status"] == "ok"
    assert requests.put(url, timeout=PATIENCE).headers["allow"] == "POST, GET, HEAD, DELETE, OPTIONS"
