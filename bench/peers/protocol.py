"""What all peers share: the protocol of bench/bulk.c on standard input and output.

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

import numpy as np

BATCH = 32
MAX_LENGTH = 512
TRIAL_SECONDS = 1.0  # a setting is judged by its best pass, after a warm-up, of those until this is over


def read_texts(path):
    with open(path, "rb") as f:
        return [t.decode() for t in f.read().split(b"\0")[:-1]]


def timed(peer, texts):
    start = time.perf_counter()
    vectors = peer.embed(texts)
    return time.perf_counter() - start, vectors


def choose_setting(peer, texts):
    best = {}
    for setting in peer.settings:
        peer.use(setting)
        timed(peer, texts)
        best[setting] = timed(peer, texts)[0]
        end = time.perf_counter() + TRIAL_SECONDS - best[setting]
        while time.perf_counter() < end:
            best[setting] = min(best[setting], timed(peer, texts)[0])
    chosen = min(best, key=best.get)
    peer.use(chosen)
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
