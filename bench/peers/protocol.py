"""What all peers share: the protocol of bench/bulk.c on standard input and output, the tokenizer, and sorted batches.

    PEER.py MODEL PRECISION THREADS [CALIBRATION-TEXTS]

A peer is an object with
    name, version   strings
    dim             values in a vector
    settings        ways to run that are all fair (streams x threads and the like); the fastest on the texts given is kept
    use(setting)    switches to one of them
    embed(texts)    the whole work from texts to an array [texts, dim] of pooled, normalised f32 vectors
    count(texts)    tokens of the texts, truncated as embed truncates
"""
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tokenizers import Tokenizer

BATCH = 32
MAX_LENGTH = 512
# A setting is judged by its best pass of at least TRIAL_PASSES, after a warm-up, taken until TRIAL_SECONDS are over.
TRIAL_PASSES = 2
TRIAL_SECONDS = 0.5


def read_texts(path):
    with open(path, "rb") as f:
        return [t.decode() for t in f.read().split(b"\0")[:-1]]


def streams_by_threads(threads):
    """[(streams, threads of each)]: all threads on one batch, or each on its own."""
    return [(1, threads)] + ([(threads, 1)] if threads > 1 else [])


class SortedBatches:
    """Tokenises with Hugging Face's tokenizers, sorts by length, pads batches of 32, and shares them among streams. A subclass
    sets streams: one function a stream, from ids [batch, length] and lengths [batch], both int32, to vectors [batch, dim]."""

    def __init__(self, model_dir):
        self.tokenizer = Tokenizer.from_file(f"{model_dir}/tokenizer.json")
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_LENGTH)
        self.streams = []
        self.pool = None

    def set_streams(self, streams):
        if self.pool:
            self.pool.shutdown()
        self.streams = streams
        self.pool = ThreadPoolExecutor(len(streams)) if len(streams) > 1 else None

    def tokenize(self, texts):
        if len(texts) == 1:
            return [self.tokenizer.encode(texts[0]).ids]
        return [e.ids for e in self.tokenizer.encode_batch_fast(texts)]

    def count(self, texts):
        return sum(map(len, self.tokenize(texts)))

    def embed(self, texts):
        ids = self.tokenize(texts)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]), reverse=True)
        size = max(1, min(BATCH, len(order) // len(self.streams)))
        batches = [order[first:first + size] for first in range(0, len(order), size)]
        free = list(self.streams)

        def run(batch):
            lengths = np.array([len(ids[i]) for i in batch], np.int32)
            padded = np.zeros((len(batch), lengths.max()), np.int32)
            for row, i in enumerate(batch):
                padded[row, :lengths[row]] = ids[i]
            stream = free.pop()
            vectors = stream(padded, lengths)
            free.append(stream)
            return vectors

        results = list(self.pool.map(run, batches)) if self.pool else [run(batch) for batch in batches]
        out = np.empty((len(ids), results[0].shape[1]), np.float32)
        for batch, vectors in zip(batches, results):
            out[batch] = vectors
        return out


def timed(peer, texts):
    start = time.perf_counter()
    vectors = peer.embed(texts)
    return time.perf_counter() - start, vectors


def choose_setting(peer, texts):
    best = {}
    for setting in peer.settings:
        peer.use(setting)
        timed(peer, texts)
        start, passes = time.perf_counter(), []
        while len(peer.settings) > 1 and (len(passes) < TRIAL_PASSES or time.perf_counter() - start < TRIAL_SECONDS):
            passes.append(timed(peer, texts)[0])
        best[setting] = min(passes, default=0)
    chosen = min(best, key=best.get)
    peer.use(chosen)
    timed(peer, texts)
    return chosen


def obey(peer, line, texts):
    command, _, argument = line.partition(" ")
    if command == "texts":
        texts[:] = read_texts(argument)
        return {"texts": len(texts), "tokens": peer.count(texts), "setting": choose_setting(peer, texts)}
    if command == "run":
        return {"seconds": [timed(peer, texts)[0] for _ in range(int(argument))]}
    if command == "write":
        vectors = timed(peer, texts)[1]
        np.ascontiguousarray(vectors, "<f4").tofile(argument)
        return {"texts": len(vectors)}
    raise ValueError(f"unknown command {command!r}")


def serve(make):
    """Runs a peer: make(model, precision, threads, calibration texts) builds it."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print must not mix with the replies

    def say(reply):
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    calibration = read_texts(sys.argv[4]) if len(sys.argv) > 4 else []
    peer = make(sys.argv[1], sys.argv[2], int(sys.argv[3]), calibration)
    say({"name": peer.name, "version": peer.version, "dim": peer.dim, "precision": sys.argv[2]})
    texts = []
    for line in sys.stdin:
        say(obey(peer, line.rstrip("\n"), texts))
