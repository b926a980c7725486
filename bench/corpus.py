"""The texts to embed, their float32 reference vectors, and the cosine to these.

A corpus folder holds dev-{short,p128,p512}.jsonl and minilm-f32-dev-*.npy (reference vectors of the first lines). Where there
is none, texts are made up of the vocabulary's words, and a peer's f32 vectors have to serve as the reference.

    corpus.py MODEL FOLDER [CORPUS]     writes each set's texts to FOLDER, and one short text as "single"
"""
import json
import random
import sys

import numpy as np

SETS = {"short": 1000, "p128": 300, "p512": 75}  # texts of each
WORDS = {"short": 10, "p128": 95, "p512": 400}


def made_up(name, model_dir, count):
    with open(f"{model_dir}/tokenizer.json", encoding="utf-8") as f:
        vocabulary = json.load(f)["model"]["vocab"]
    words = [w for w in vocabulary if w.isascii() and w.isalpha() and len(w) > 2]
    draw = random.Random(name)
    length = WORDS[name]
    return [" ".join(draw.choices(words, k=draw.randint(length // 2, length * 3 // 2))) for _ in range(count)]


def texts(corpus, name, model_dir, count=None):
    count = count or SETS[name]
    if not corpus:
        return made_up(name, model_dir, count)
    with open(f"{corpus}/dev-{name}.jsonl", encoding="utf-8") as f:
        return [json.loads(line)["text"] for line in f][:count]


def reference(corpus, name):
    return np.load(f"{corpus}/minilm-f32-dev-{name}.npy") if corpus else None


def singles(corpus, model_dir):
    """One text each of the two lengths that latency is measured at: a sentence of median length, and 512 tokens."""
    short = sorted(texts(corpus, "short", model_dir), key=len)
    long = texts(corpus, "p512", model_dir)
    return {"one short text": short[len(short) // 2], "one text of 512 tokens": long[0] + " " + long[1]}


def write(path, items):
    with open(path, "wb") as f:
        f.write(b"".join(t.replace("\0", " ").encode() + b"\0" for t in items))


def worst_cosine(vectors, ref):
    n = min(len(vectors), len(ref))
    a, b = vectors[:n].astype(np.float64), ref[:n].astype(np.float64)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: corpus.py MODEL FOLDER [CORPUS]")
    model, folder, corpus = (sys.argv[1:] + [""])[:3]
    for name in SETS:
        write(f"{folder}/{name}", texts(corpus, name, model))
    write(f"{folder}/single", [singles(corpus, model)["one short text"]])


if __name__ == "__main__":
    main()
