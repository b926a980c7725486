#!/usr/bin/env python3
"""Writes tests/api/quantized.json: vectors, and what sentence-transformers makes of them in int8, uint8, binary and ubinary.

Reference: sentence_transformers.util.quantize_embeddings (6.2.0), or, where the package is not installed, the same arithmetic below. As ranges it
is given a vector's own: from minus its largest absolute value to that value. Run: python3 tools/golden/quantized.py; needs numpy.
"""
import json
from pathlib import Path

import numpy as np

TYPES = ["int8", "uint8", "binary", "ubinary"]


def restated(embeddings, precision, ranges):
    """quantize_embeddings of one batch with given ranges."""
    if precision.endswith("int8"):
        starts = ranges[0, :]
        steps = (ranges[1, :] - starts) / 255
        steps = np.where(steps == 0, 1, steps)
        q = np.clip(np.floor((embeddings - starts) / steps), 0, 255)
        return q.astype(np.uint8) if precision == "uint8" else (q - 128).astype(np.int8)
    bits = np.packbits(embeddings > 0, axis=-1)
    return bits if precision == "ubinary" else (bits - 128).astype(np.int8)


try:
    from sentence_transformers.util import quantize_embeddings
except ImportError:
    quantize_embeddings = restated


def vectors():
    rng = np.random.default_rng(20250101)
    for n in (1, 2, 7, 8, 9, 64, 384):
        v = rng.standard_normal(n).astype(np.float32)
        yield v / np.linalg.norm(v)
    yield np.zeros(5, np.float32)
    yield np.float32([-1, 1, 0, -0.0, 0.5, -0.5])
    yield np.float32([1e-30, -3e-31, 2e-38, 0])
    yield np.float32([3e37, -1e37, 1, 0])
    yield rng.standard_normal(100).astype(np.float32) * 37


def main():
    rows = []
    for v in vectors():
        most = np.abs(v).max()
        ranges = np.stack([np.full_like(v, -most), np.full_like(v, most)])
        row = {"vector": [float(x) for x in v]}
        for precision in TYPES:
            row[precision] = quantize_embeddings(v[None, :], precision=precision, ranges=ranges)[0].tolist()
        rows.append(row)
    path = Path(__file__).resolve().parents[2] / "tests" / "api" / "quantized.json"
    path.write_text("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
