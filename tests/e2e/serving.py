"""Starts the built server for a test and stops it again. Standard library only."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

BINARY = os.environ.get("EMB_BINARY", "build/embellama")


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


def model_dir():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = os.environ.get("EMBELLAMA_TEST_MODEL") or cache + "/embellama/models/all-MiniLM-L6-v2"
    if not os.path.exists(path + "/model.safetensors"):
        skip(f"the default model is not at {path} (make model)")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, *args, env=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.stdout = []
        self.log = tempfile.TemporaryFile()
        self.started = time.monotonic()
        self.process = subprocess.Popen([BINARY, "serve", "--port", str(self.port), *args], stdout=subprocess.PIPE,
                                        stderr=self.log, env=env, text=True)
        self.reader = threading.Thread(target=self.read_stdout, daemon=True)
        self.reader.start()
        self.wait_ready()

    def read_stdout(self):
        for line in self.process.stdout:
            self.stdout.append(line.rstrip("\n"))

    def wait_ready(self):
        while time.monotonic() - self.started < 60:
            if self.process.poll() is not None:
                break
            try:
                if self.request("/health")[0] == 200:
                    self.ready_after = time.monotonic() - self.started
                    return
            except OSError:
                time.sleep(0.02)
        self.process.kill()
        sys.exit("the server did not get ready; its log:\n" + self.read_log())

    def read_log(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]

    def request(self, path, body=None, timeout=60):
        """(status, decoded JSON)"""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"} if data else {})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def stop(self, bound=20):
        """Seconds that a graceful stop took; fails the test when it is not one."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(bound)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit(f"still running {bound} s after SIGTERM; its log:\n" + self.read_log())
        self.reader.join(5)
        if code != 0:
            sys.exit(f"exit status {code} after SIGTERM; its log:\n" + self.read_log())
        return time.monotonic() - start

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
