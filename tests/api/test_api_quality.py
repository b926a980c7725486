"""Vectors through the server are the reference's."""
import csv
import json
import os

import numpy as np

from conftest import SOURCE, shared


def test_golden_vectors(server):
    """Those of the reference implementation that are kept with the sources; the server's own precision may be bf16."""
    rows = json.load(open(os.path.join(SOURCE, "tests/golden/minilm.json"), encoding="utf-8"))
    rows = [r for r in rows if len(r["ids"]) <= 512]
    assert len(rows) > 5
    for given in ([r["text"] for r in rows], [r["ids"] for r in rows]):
        got = server.embed(given)
        for v, r in zip(got, rows):
            want = np.float32(r["vector"])
            assert v @ want / np.linalg.norm(want) >= 0.9999, r["text"][:60]


def ranks(values):
    """Ranks from 1, ties averaged."""
    values = np.asarray(values)
    order = values.argsort(kind="stable")
    out = np.empty(len(values))
    out[order] = np.arange(1, len(values) + 1)
    for v in np.unique(values):
        same = values == v
        out[same] = out[same].mean()
    return out


def test_sts_benchmark(server):
    rows = list(csv.reader(open(shared("corpus/stsb-en-dev.csv"), encoding="utf-8")))
    texts = [r[0] for r in rows] + [r[1] for r in rows]
    vectors = np.concatenate([server.embed(texts[i:i + 500]) for i in range(0, len(texts), 500)])
    n = len(rows)
    cosines = (vectors[:n] * vectors[n:]).sum(1)
    spearman = np.corrcoef(ranks(cosines), ranks([float(r[2]) for r in rows]))[0, 1]
    assert abs(spearman - 0.8672) <= 0.0005, spearman
