"""HTTP/2 as other programs speak it: curl, nghttp and h2load, over clear text and TLS, and a stop in the middle."""
import json
import re
import shutil
import signal
import subprocess
import time

import pytest

import places
import serving

BODY = json.dumps({"model": "all-MiniLM-L6-v2", "input": ["Hello", "world"]})
LARGE = {"model": "all-MiniLM-L6-v2", "input": [f"text number {i}" for i in range(2048)]}


def need(tool):
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")


def run(*command, text=None):
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return done.stdout


def curl(url, *options, prior=True):
    need("curl")
    if "HTTP2" not in run("curl", "--version"):
        pytest.skip("curl was built without HTTP/2")
    return run("curl", "-sS", *(["--http2-prior-knowledge"] if prior else []), *options, url)


@pytest.fixture(scope="module")
def server():
    serving.model_dir()
    with serving.Server() as s:
        yield s
        s.stop()


def test_the_same_vectors(server):
    expected = server.request("/v1/embeddings", json.loads(BODY))[1]
    reply = curl(server.url + "/v1/embeddings", "-H", "content-type: application/json", "-d", BODY)
    assert json.loads(reply) == expected
    deadline = time.monotonic() + 10
    while " protocol=HTTP/2 " not in server.read_log() and time.monotonic() < deadline:
        time.sleep(0.02)  # lines are written in the background
    assert " protocol=HTTP/2 " in server.read_log() and " protocol=HTTP/1.1 " in server.read_log()


def test_a_large_reply(server, tmp_path):
    (tmp_path / "body").write_text(json.dumps(LARGE))
    reply = curl(server.url + "/v1/embeddings", "-H", "content-type: application/json", "--data-binary", f"@{tmp_path}/body")
    assert json.loads(reply) == server.request("/v1/embeddings", LARGE)[1]


def test_head_and_options(server):
    head = curl(server.url + "/health", "-I")
    assert head.startswith("HTTP/2 200") and "content-length: " in head
    options = curl(server.url + "/v1/embeddings", "-i", "-X", "OPTIONS")
    assert options.startswith("HTTP/2 204") and "allow: POST, OPTIONS" in options


def test_errors(server):
    reply = curl(server.url + "/v1/embeddings", "-i", "-d", "{}", "-H", "content-type: application/json")
    assert reply.startswith("HTTP/2 400") and '"type":"invalid_request_error"' in reply
    assert curl(server.url + "/nowhere", "-i").startswith("HTTP/2 404")


def test_an_offer_to_upgrade(server):
    """It is not taken up, and the connection stays."""
    reply = curl(server.url + "/health", "-i", "--http2", "--next", "-sS", "-i", "--http2", server.url + "/health", prior=False)
    assert reply.count("HTTP/1.1 200 OK") == 2 and "HTTP/2" not in reply


def test_nghttp(server):
    need("nghttp")
    said = run("nghttp", "-nv", "-m", "20", server.url + "/health")
    assert said.count(":status: 200") == 20 and "GOAWAY" in said


def load(server, *options):
    need("h2load")
    said = run("h2load", *options)
    counts = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded", said)
    assert counts and counts.group(1) == counts.group(2) == counts.group(3), said
    assert re.search(r"status codes: " + counts.group(1) + " 2xx", said), said


def test_many_at_once(server, tmp_path):
    load(server, "-n", "5000", "-c", "5", "-m", "50", server.url + "/health")
    (tmp_path / "body").write_text(BODY)
    load(server, "-n", "400", "-c", "4", "-m", "25", "-d", f"{tmp_path}/body", "-H", "content-type: application/json",
         server.url + "/v1/embeddings")


def test_small_windows(server, tmp_path):
    (tmp_path / "body").write_text(json.dumps({**LARGE, "input": LARGE["input"][:256]}))
    load(server, "-n", "4", "-c", "1", "-m", "4", "-w", "14", "-W", "14", "-d", f"{tmp_path}/body", "-H",
         "content-type: application/json", server.url + "/v1/embeddings")


def test_over_tls(tmp_path):
    serving.model_dir()
    pair = places.make_certificate(str(tmp_path))
    with places.Secure(*pair) as s:
        url = f"https://localhost:{s.port}"
        options = ["--cacert", pair[0], "-i", "--resolve", f"localhost:{s.port}:127.0.0.1"]
        assert curl(url + "/health", *options, "--http2", prior=False).startswith("HTTP/2 200")
        assert curl(url + "/health", *options, "--http1.1", prior=False).startswith("HTTP/1.1 200")
        (tmp_path / "body").write_text(json.dumps(LARGE))
        reply = curl(url + "/v1/embeddings", *options[:2], *options[3:], "--http2", "-H", "content-type: application/json",
                     "--data-binary", f"@{tmp_path}/body", prior=False)
        assert json.loads(reply) == s.request("/v1/embeddings", LARGE)[1]
        load(s, "-n", "2000", "-c", "4", "-m", "20", f"https://127.0.0.1:{s.port}/health")
        s.stop()


def test_stop(tmp_path):
    """What was asked is answered, and the connection ended in order."""
    need("curl")
    serving.model_dir()
    (tmp_path / "body").write_text(json.dumps(LARGE))
    with serving.Server() as s:
        client = subprocess.Popen(["curl", "-sS", "--http2-prior-knowledge", "-H", "content-type: application/json", "--data-binary",
                                   f"@{tmp_path}/body", s.url + "/v1/embeddings"], stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not re.search(r"^embellama_queue_inputs\S* [1-9]", metrics(s), re.M):
            if client.poll() is not None:
                break
            time.sleep(0.005)
        s.process.send_signal(signal.SIGTERM)
        assert len(json.loads(client.communicate(timeout=60)[0])["data"]) == 2048
        assert client.returncode == 0
        assert s.process.wait(30) == 0


def metrics(server):
    return run("curl", "-sS", server.url + "/metrics")
