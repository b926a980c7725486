"""A server of our own for the tests: `server` is one shared by a file, `start` makes more."""
import base64
import ctypes
import os
import re
import signal
import subprocess
import tempfile
import time

import numpy as np
import openai
import pytest
import requests

NAME = "all-MiniLM-L6-v2"
MODEL = os.environ["EMBELLAMA_TEST_MODEL"]
BINARY = os.environ.get("EMB_BINARY", "embellama")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIM = 384
PATIENCE = 300  # seconds: also under a sanitizer on a busy machine


def end_with_parent():
    """In the child: SIGKILL when the test's process ends, so that no server outlives a test that was killed."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """`embellama serve` on a free port, in a process group of its own, with variables in its environment."""

    def __init__(self, *flags, **variables):
        env = {k: v for k, v in os.environ.items() if not k.startswith("EMBELLAMA_")} | variables
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--model-path", MODEL, "--model-name", NAME, "--port", "0", *flags],
            stdout=subprocess.PIPE, stderr=self.log, env=env, start_new_session=True, preexec_fn=end_with_parent)
        ready = self.process.stdout.readline().decode()
        found = re.search(r"http://[^ ]*:(\d+)", ready)
        if not found:
            self.process.wait(PATIENCE)
            pytest.fail(f"no ready line but {ready!r}; {self.logged()}")
        self.port = int(found.group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def logged_line(self, text):
        """The log's line with the text in it: it may be written after the reply."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.logged().splitlines():
                if text in line:
                    return line
            time.sleep(0.01)
        pytest.fail(f"not logged: {text}")

    def client(self, **more):
        return openai.OpenAI(**{"base_url": self.url + "/v1", "api_key": "k", "max_retries": 0, "timeout": PATIENCE, **more})

    def post(self, body, path="/v1/embeddings", **more):
        return requests.post(self.url + path, json=body, timeout=PATIENCE, **more)

    def embed(self, given, session=requests, **more):
        """Vectors of an input of any form, float32, by way of base64."""
        reply = session.post(self.url + "/v1/embeddings", timeout=PATIENCE,
                             json={"model": NAME, "input": given, "encoding_format": "base64", **more})
        assert reply.status_code == 200, reply.text
        return np.stack([floats(d["embedding"]) for d in reply.json()["data"]])

    def health(self):
        return requests.get(self.url + "/health", timeout=PATIENCE).json()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                raise
        self.process.stdout.close()
        self.log.close()


def floats(text):
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")


def until(condition, seconds=PATIENCE):
    """True as soon as condition() holds, False after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def shared(name):
    """A file of the data folder beside the source tree; skips the test where it is absent."""
    root = os.environ.get("EMBELLAMA_SHARED") or os.path.join(SOURCE, "..", "shared")
    path = os.path.join(root, "data", name)
    if not os.path.exists(path):
        pytest.skip(f"{path} is absent")
    return path


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    code = s.process.poll()
    assert code is None, f"the server ended with {code}: {s.logged()[-2000:]}"
    s.terminate()
    assert s.wait() == 0, s.logged()[-2000:]
    s.close()


@pytest.fixture
def start():
    servers = []

    def begin(*flags):
        servers.append(Server(*flags))
        return servers[-1]

    yield begin
    for s in servers:
        s.close()
