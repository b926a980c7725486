#!/usr/bin/env python3
"""Writes tests/format/dtype.golden: blocks of every readable tensor type and what the reference makes of them.

Reference: PyPI's `gguf` (gguf.quants.dequantize). Run: python3 tools/golden/dtype.py; needs numpy and gguf.

The file is a sequence of records, little-endian:
    char name[8]        zero-filled
    uint32 elements     in all blocks of the record
    uint32 bytes
    uint8 src[bytes]
    uint32 out[elements]    the bits of the f32 values
"""
import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Where the f16 scales of a block lie; everything else is random, so that all quant values and sub-scales occur.
SCALES = {T.Q4_0: [0], T.Q5_0: [0], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q6_K: [208]}
# An ordinary scale, the largest, the smallest subnormal, a negative one, minus zero, infinity.
VALUES = [0x2A37, 0x7BFF, 0x0001, 0xB4C1, 0x8000, 0x7C00]


def blocks(kind, rng):
    size = GGML_QUANT_SIZES[kind][1]
    data = rng.integers(0, 256, size=(len(VALUES), size), dtype=np.uint8)
    for row, value in zip(data, VALUES):
        for i, at in enumerate(SCALES[kind]):
            row[at : at + 2] = np.frombuffer(struct.pack("<H", value ^ (i << 15)), dtype=np.uint8)
    return data


def record(name, src, out):
    out = np.ascontiguousarray(out, dtype="<f4").reshape(-1)
    return struct.pack("<8sII", name.encode(), out.size, src.nbytes) + src.tobytes() + out.tobytes()


def main():
    rng = np.random.default_rng(20240229)
    parts = []
    with np.errstate(all="ignore"):
        for kind in SCALES:
            data = blocks(kind, rng)
            parts.append(record(kind.name, data, dequantize(data, kind)))
        specials = [0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]
        halves = np.array(specials + list(rng.integers(0, 0x7C00, size=51)), dtype="<u2")
        parts.append(record("F16", halves, halves.view("<f2").astype(np.float32)))
        parts.append(record("BF16", halves, dequantize(halves.view(np.uint8), T.BF16)))
    path = Path(__file__).resolve().parents[2] / "tests" / "format" / "dtype.golden"
    path.write_bytes(b"".join(parts))
    print(f"{path.name}: {path.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
