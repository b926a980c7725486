"""What the tests of the server's processes share: the server of the API's tests, its processes as seen from outside, and the
load client (bench/load_*.c), which sends requests from many connections and looks at every vector."""
import glob
import importlib.util
import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("api_conftest", os.path.join(HERE, "..", "api", "conftest.py"))
api = importlib.util.module_from_spec(spec)
spec.loader.exec_module(api)

LOAD = os.path.join(os.environ["EMB_BUILD_DIR"], "bench", "load")
SANITIZED = bool(os.environ.get("EMB_SANITIZE"))
QUIET = ("--log-level", "warn")
NOT_CACHED = "cache-control: no-cache, no-store"


def tree(pid):
    """pid and all its descendants that are there."""
    found = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path, encoding="ascii") as f:
                children = f.read().split()
        except OSError:
            continue
        for child in children:
            found += tree(int(child))
    return found


def role(pid):
    """A process's argv[0], as ps shows it; "" where it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def processes(server, name):
    """The server's processes whose role begins so."""
    return sorted(pid for pid in tree(server.process.pid) if role(pid).startswith(name))


def workers(server):
    return processes(server, "embellama: worker")


def write_texts(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def load(server, texts, **options):
    """Starts the load client; its options with underscores. Ended by the test's end at the latest."""
    command = [LOAD, "--port", str(server.port), "--model", api.NAME, "--texts", str(texts), "--timeout", "120"]
    for name, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            command += ["--" + name.replace("_", "-"), str(one)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=api.end_with_parent)


def report(client):
    """What the load client measured, once it has ended."""
    out = client.communicate(timeout=api.PATIENCE)[0]
    assert client.returncode == 0, out
    return json.loads(out.splitlines()[-1])


def run_load(server, texts, **options):
    return report(load(server, texts, **options))


def metrics(server):
    """{name with its labels: value}"""
    status, text = get(server, "/metrics")
    assert status == 200
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def get(server, path):
    reply = api.requests.get(server.url + path, timeout=api.PATIENCE)
    return reply.status_code, reply.text
