"""The real openai-node against the server: tests/clients/js/openai.mjs tries its methods, encodings, errors and repeats."""
import importlib.util
import json
import os
import shutil
import subprocess

import pytest

from conftest import PATIENCE, SOURCE, Server

CLIENTS = os.path.join(SOURCE, "tests", "clients")
MODULES = os.environ.get("EMBELLAMA_TEST_NODE", "")
pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(MODULES, "node_modules")),
                                reason="no npm packages (EMBELLAMA_TEST_NODE=$(scripts/node-modules test tests/api/node))")


def load(name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(CLIENTS, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_openai_node(server, tmp_path):
    reference = load("reference")
    keys = tmp_path / "keys.yaml"
    keys.write_text(reference.KEYS)
    keys.chmod(0o600)

    def request(path, body):
        reply = server.post(body, path)
        return reply.status_code, reply.json()

    keyed = Server("--api-key-file", str(keys))
    try:
        setup = reference.described(server.url, request) | {"keyed": keyed.url}
        (tmp_path / "setup.json").write_text(json.dumps(setup))
        for name in "openai.mjs", "features.mjs":
            shutil.copy(os.path.join(CLIENTS, "js", name), tmp_path)
        (tmp_path / "node_modules").symlink_to(os.path.join(MODULES, "node_modules"))
        done = subprocess.run(["node", str(tmp_path / "openai.mjs")], env=os.environ | {"EMB_CLIENT_SETUP": str(tmp_path / "setup.json")},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    finally:
        keyed.close()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [line for line in lines if not line["ok"]]
    assert done.returncode == 0 and len(lines) >= 20, done.stderr
