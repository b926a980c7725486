"""Shared by the tests of the command: where it is, where the model is, and running it."""
import os
import subprocess
import sys
import tempfile

BINARY = os.environ.get("EMB_BINARY", "embellama")
MANUAL = os.environ.get("EMB_MANUAL", "docs/embellama.1")


def cache():
    return os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")


def model():
    """The default model's directory, or None."""
    path = os.environ.get("EMBELLAMA_TEST_MODEL") or os.path.join(cache(), "embellama/models/all-MiniLM-L6-v2")
    return path if os.path.exists(os.path.join(path, "model.safetensors")) else None


def environment(**more):
    """The environment without our variables, so that a developer's own do not change a test."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("EMBELLAMA_")}
    if model():
        env["EMBELLAMA_MODEL"] = model()
    env.update(more)
    return env


def run(*args, stdin=b"", env=None, binary=BINARY, **more):
    return subprocess.run([binary, *args], input=stdin, capture_output=True, env=env or environment(), timeout=300,
                          **more)


def temporary():
    return tempfile.TemporaryDirectory(prefix="embellama-test-")


def skip_without_model():
    if not model():
        print("skipped: no model; set EMBELLAMA_TEST_MODEL, or fetch it with make model")
        sys.exit(77)
