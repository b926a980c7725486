"""From start to stop, as a user sees it: the default model is found, the ready line's curl example works, SIGTERM ends it."""
import math
import os
import shutil
import subprocess
import sys
import tempfile

from serving import BINARY, Server, model_dir

model = model_dir()


def check(condition, what):
    if not condition:
        sys.exit("FAILED: " + str(what))


def cache_env(folder, with_model):
    env = {k: v for k, v in os.environ.items() if k != "EMBELLAMA_MODEL"}
    env["XDG_CACHE_HOME"] = folder
    if with_model:
        os.makedirs(folder + "/embellama/models")
        os.symlink(os.path.realpath(model), folder + "/embellama/models/all-MiniLM-L6-v2")
    return env


with tempfile.TemporaryDirectory() as folder:
    env = cache_env(folder, with_model=False)
    done = subprocess.run([BINARY, "embed", "hello"], env=env, capture_output=True, text=True, timeout=60)
    check(done.returncode != 0 and "model" in done.stderr and len(done.stderr.strip().splitlines()) == 1,
          f"without a model, one line says how to get it: {done.stderr!r}")

with tempfile.TemporaryDirectory() as folder, Server(env=cache_env(folder, with_model=True)) as server:
    status, models = server.request("/v1/models")
    check(status == 200 and models["data"][0]["id"], models)
    status, reply = server.request("/v1/embeddings", {"model": models["data"][0]["id"], "input": "Hello, world!"})
    check(status == 200 and reply["usage"]["prompt_tokens"] == 6, reply)
    vector = reply["data"][0]["embedding"]
    check(len(vector) == 384 and math.isclose(sum(x * x for x in vector), 1, abs_tol=1e-4), "a unit vector of 384 values")

    printed = "\n".join(server.stdout)
    check(server.url in printed, f"the URL is printed: {printed!r}")
    example = printed[printed.index("curl "):] if "curl " in printed else ""
    check(example, f"a curl example is printed: {printed!r}")
    if shutil.which("curl"):
        done = subprocess.run(["sh", "-c", example], capture_output=True, text=True, timeout=60)
        check(done.returncode == 0 and '"embedding"' in done.stdout, f"the printed example works: {done.stdout[:300]!r}")
    seconds = server.stop()
    print(f"ready after {server.ready_after:.2f} s, stopped in {seconds:.2f} s")
