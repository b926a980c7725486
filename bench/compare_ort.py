"""Bulk speed beside ONNX Runtime's f32, in one run: rounds of each in turn, medians, and the worst cosine to reference vectors.

    compare_ort.py --bulk PROGRAM --model DIR [--corpus DIR] [--rounds 5] [--threads 2] [--output FILE.json]

Both sides do the whole work from text to vector: tokenising, the forward pass, pooling, normalising; two threads each, texts
truncated at 512 tokens. The peer gets batches of 32 sorted by length (little padding) and Hugging Face's tokenizers.
Texts and float32 reference vectors come from --corpus (dev-*.jsonl, minilm-f32-dev-*.npy) where there is one; else texts are
made up of words and the peer's own vectors are the reference.
"""
import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time

import bert_onnx
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

BATCH = 32
MAX_LENGTH = 512
SETS = {"short": 1000, "p128": 300, "p512": 75}
WORDS = {"short": 10, "p128": 95, "p512": 400}


class Peer:
    def __init__(self, model_dir, threads):
        self.tokenizer = Tokenizer.from_file(f"{model_dir}/tokenizer.json")
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_LENGTH)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Its threads must not go on spinning while the other side has its turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(bert_onnx.build(model_dir), options, providers=["CPUExecutionProvider"])

    def run(self, texts):
        start = time.perf_counter()
        ids = [e.ids for e in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = None
        for first in range(0, len(order), BATCH):
            batch = order[first:first + BATCH]
            lengths = np.array([len(ids[i]) for i in batch], np.int32)
            padded = np.zeros((len(batch), lengths.max()), np.int32)
            for row, i in enumerate(batch):
                padded[row, :lengths[row]] = ids[i]
            out = self.session.run(None, {"ids": padded, "lengths": lengths})[0]
            vectors = np.empty((len(ids), out.shape[1]), np.float32) if vectors is None else vectors
            vectors[batch] = out
        return sum(map(len, ids)), time.perf_counter() - start, vectors


class Bulk:
    def __init__(self, program, model_dir, precision, threads, texts, folder):
        path = os.path.join(folder, "texts")
        with open(path, "wb") as f:
            f.write(b"".join(t.replace("\0", " ").encode() + b"\0" for t in texts))
        self.process = subprocess.Popen([program, model_dir, precision, str(threads), path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.folder = folder
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"compare_ort: {program} --precision {precision} did not start")
        self.info = json.loads(line)

    def run(self, command="run"):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        tokens, seconds = self.process.stdout.readline().split()
        return int(tokens), float(seconds)

    def vectors(self):
        path = os.path.join(self.folder, "vectors")
        self.run("write " + path)
        return np.fromfile(path, "<f4").reshape(-1, self.info["dim"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def load_texts(corpus, name, model_dir):
    if corpus:
        with open(f"{corpus}/dev-{name}.jsonl", encoding="utf-8") as f:
            return [json.loads(line)["text"] for line in f][:SETS[name]], np.load(f"{corpus}/minilm-f32-dev-{name}.npy")
    with open(f"{model_dir}/vocab.txt", encoding="utf-8") as f:
        words = [w for w in f.read().split("\n") if w.isascii() and w.isalpha() and len(w) > 2]
    draw = random.Random(name)
    length = WORDS[name]
    return [" ".join(draw.choices(words, k=draw.randint(length // 2, length * 3 // 2))) for _ in range(SETS[name])], None


def worst_cosine(vectors, reference):
    n = min(len(vectors), len(reference))
    a, b = vectors[:n].astype(np.float64), reference[:n].astype(np.float64)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def compare(args, peer, name):
    texts, reference = load_texts(args.corpus, name, args.model)
    with tempfile.TemporaryDirectory() as folder:
        sides = {}
        for precision in args.precisions.split(","):
            os.mkdir(os.path.join(folder, precision))
            sides[precision] = Bulk(args.bulk, args.model, precision, args.threads, texts, os.path.join(folder, precision))
        tokens, _, peer_vectors = peer.run(texts)
        if reference is None:
            reference = peer_vectors
        row = {"set": name, "texts": len(texts), "tokens": tokens,
               "cosine": {"ort-f32": worst_cosine(peer_vectors, reference)}, "rounds": {"ort-f32": []}, "tier": {}}
        for precision, side in sides.items():
            row["cosine"][precision] = worst_cosine(side.vectors(), reference)
            row["rounds"][precision] = []
            row["tier"][precision] = side.info["tier"]
            if side.info["tokens"] != tokens:
                sys.exit(f"compare_ort: {name}: {side.info['tokens']} tokens here, {tokens} at the peer")
        for _ in range(args.rounds):
            for precision, side in sides.items():
                time.sleep(0.1)
                n, seconds = side.run()
                row["rounds"][precision].append(n / seconds)
            time.sleep(0.1)
            n, seconds, _ = peer.run(texts)
            row["rounds"]["ort-f32"].append(n / seconds)
        for side in sides.values():
            side.close()
    row["tokens_per_second"] = {k: statistics.median(v) for k, v in row["rounds"].items()}
    return row


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())


def print_row(row):
    peer = row["tokens_per_second"]["ort-f32"]
    for side, speed in row["tokens_per_second"].items():
        rounds = row["rounds"][side]
        print(f"{row['set']:6} {side:8} {speed:9.0f} {min(rounds):9.0f} {max(rounds):9.0f} {speed / peer:6.2f}x"
              f"   {row['cosine'][side]:.7f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bulk", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--corpus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precisions", default="f32,bf16")
    parser.add_argument("--output")
    args = parser.parse_args()
    peer = Peer(args.model, args.threads)
    print(f"{cpu_name()}; {args.threads} threads a side; onnxruntime {onnxruntime.__version__}; median of {args.rounds} rounds"
          f" taken in turn; texts: {'corpus' if args.corpus else 'made up'}")
    print("set    side      tokens/s       min       max  ratio   worst cosine")
    rows = []
    for name in SETS:
        rows.append(compare(args, peer, name))
        print_row(rows[-1])
    if args.output:
        os.makedirs(os.path.dirname(args.output) or ".", exist_ok=True)
        with open(args.output, "w", encoding="utf-8") as f:
            json.dump({"cpu": cpu_name(), "threads": args.threads, "onnxruntime": onnxruntime.__version__,
                       "corpus": "shared" if args.corpus else "made up", "rows": rows}, f, indent=1)
        print(f"written to {args.output}")


if __name__ == "__main__":
    main()
