"""Memory while serving: the proportional set size after 200 requests stays within 1.1 x the kept weights + 48 MB; the peak since
the start, loading included, within that and the largest tensor."""
import json
import os
import struct
import subprocess
import sys

from serving import BINARY, Server, model_dir, skip

MB = 1 << 20

if os.environ.get("EMB_SANITIZE"):
    skip("a sanitizer's own memory would be measured")
model = model_dir()


def process_tree(pid):
    yield pid
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            for child in f.read().split():
                yield from process_tree(int(child))


def field(path, name):
    with open(path, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(name + ":"))


def largest_tensor():
    with open(model + "/model.safetensors", "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    spans = [t["data_offsets"] for name, t in header.items() if name != "__metadata__"]
    return max(end - start for start, end in spans)


failed = False
for precision in ("f32", "bf16"):
    inspected = subprocess.run([BINARY, "inspect", model, "--json", "--precision", precision], capture_output=True, text=True,
                               check=True, timeout=60)
    info = json.loads(inspected.stdout)
    kept = info["packed_bytes"] + info["mapped_bytes"]
    with Server("--model-path", model, "--precision", precision) as server:
        name = server.request("/v1/models")[1]["data"][0]["id"]
        for i in range(200):
            # One in fifty is large: 16 texts of 400 tokens.
            texts = ["word " * 400] * 16 if i % 50 == 0 else ["word " * (1 + i % 30)] * (1 + i % 8)
            status, reply = server.request("/v1/embeddings", {"model": name, "input": texts})
            if status != 200:
                sys.exit(f"request {i}: {status} {reply}")
        pids = list(process_tree(server.process.pid))
        pss = sum(field(f"/proc/{pid}/smaps_rollup", "Pss") for pid in pids)
        peak = sum(field(f"/proc/{pid}/status", "VmHWM") for pid in pids)
        server.stop()
    bound = 1.1 * kept + 48 * MB
    peak_bound = bound + largest_tensor()
    print(f"{precision}: kept weights {kept / MB:.1f} MB, PSS {pss / MB:.1f} of {bound / MB:.1f} MB, "
          f"peak RSS {peak / MB:.1f} of {peak_bound / MB:.1f} MB")
    failed |= pss > bound or peak > peak_bound
sys.exit(1 if failed else 0)
