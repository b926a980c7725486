#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets of the weight formats: fuzz/corpus/gguf/ and fuzz/corpus/safetensors/.

Valid files of all shapes, and broken ones that reach each check. Needs nothing but Python.
"""
import json
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus"
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}


def string(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, v):
    if kind == STRING:
        return string(v)
    if kind == ARRAY:
        element, items = v
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, i) for i in items)
    return struct.pack("<" + CODES[kind], v)


def entry(key, kind, v):
    return string(key) + struct.pack("<I", kind) + value(kind, v)


def tensor(name, dims, kind, offset):
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf(entries=(), tensors=(), data=b"", version=3, alignment=32, n_tensors=None, n_entries=None):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                                 len(entries) if n_entries is None else n_entries)
    head += b"".join(entries) + b"".join(tensors)
    return head + b"\0" * (-len(head) % alignment) + data


def gguf_files():
    numbers = [entry("k", kind, 1) for kind in CODES]
    arrays = [
        entry("words", ARRAY, (STRING, ["one", "", "\u2581three"])),
        entry("ints", ARRAY, (I32, [1, -2, 3])),
        entry("floats", ARRAY, (F32, [0.5, -1.0])),
        entry("yes", ARRAY, (BOOL, [0, 1])),
        entry("k", ARRAY, (ARRAY, [(U8, [1, 2]), (STRING, ["x"]), (ARRAY, [(U16, [])])])),
    ]
    types = {0: 4, 1: 2, 30: 2, 27: 8, 2: 18, 6: 22, 8: 34, 12: 144, 14: 210, 10: 84}
    blocks = {0: 1, 1: 1, 30: 1, 27: 1, 2: 32, 6: 32, 8: 32, 12: 256, 14: 256, 10: 256}
    for i, number in enumerate(numbers):
        yield f"scalar-{i}", gguf([number])
    yield "arrays", gguf(arrays, version=2)
    tensors, data = [], b""
    for kind, size in types.items():
        tensors.append(tensor(f"t{kind}", [blocks[kind], 1], kind, len(data)))
        data += bytes(range(size)) + b"\0" * (-size % 32)
    yield "tensors", gguf([entry("general.name", STRING, "x")], tensors, data)
    yield "alignment", gguf([entry("general.alignment", U32, 64)], [tensor("t", [], 0, 64)], b"\0" * 68, alignment=64)
    yield "four-dims", gguf([], [tensor("t", [2, 2, 2, 2], 0, 0)], b"\0" * 64)
    yield "empty-tensor", gguf([], [tensor("t", [0], 0, 0)])
    yield "broken-counts", gguf(n_tensors=1 << 60, n_entries=1 << 60)
    yield "broken-key", gguf([struct.pack("<Q", 1 << 60) + b"key-key-key-key"])
    yield "broken-nesting", gguf([string("k") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 9])
    yield "broken-offset", gguf([], [tensor("t", [8], 0, (1 << 64) - 32)], b"\0" * 32)
    yield "broken-dims", gguf([], [tensor("t", [1 << 32, 1 << 32], 0, 0)], b"\0" * 32)
    yield "broken-twice", gguf([], [tensor("t", [8], 0, 0)] * 2, b"\0" * 32)
    yield "broken-version", gguf(version=1)


def header(tensors, pad=0):
    text = (tensors if isinstance(tensors, str) else json.dumps(tensors, separators=(",", ":"))).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text


def st(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def single(tensors, data=32, pad=0):
    return b"\0" + header(tensors, pad) + bytes(range(data))


def shards(index, tensors, data=32):
    text = (index if isinstance(index, str) else json.dumps(index)).encode()
    return b"\1" + struct.pack("<H", len(text)) + text + header(tensors) + bytes(range(data))


def safetensors_files():
    good = {"__metadata__": {"format": "pt"}, "x": st("F32", [2, 3], 0, 24), "y": st("BF16", [], 24, 26),
            "z": st("F16", [1, 3], 26, 32)}
    yield "single", single(good)
    yield "padded", single(good, pad=7)
    yield "other-types", single({"a": st("I64", [1], 0, 8), "b": st("F4", [4], 8, 10), "c": st("BOOL", [0], 32, 32)})
    yield "escaped", single('{"\\u00e9\\ud83d\\ude00":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}')
    yield "empty", single({})
    yield "shards", shards({"metadata": {}, "weight_map": {"x": "a", "y": "b", "z": "a"}}, good)
    yield "shards-some", shards({"weight_map": {"x": "a"}}, good)
    yield "broken-shard-missing", shards({"weight_map": {"x": "c"}}, good)
    yield "broken-shard-path", shards({"weight_map": {"x": "../single/model.safetensors"}}, good)
    yield "broken-shard-tensor", shards({"weight_map": {"x": "a", "w": "b"}}, good)
    yield "broken-index", shards('{"weight_map":[]}', good)
    yield "broken-length", b"\0" + struct.pack("<Q", 1 << 60) + b"{}"
    yield "broken-json", single('{"a":')
    yield "broken-type", single({"a": st("F31", [1], 0, 4)})
    yield "broken-shape", single({"a": st("F32", [-1], 0, 4)})
    yield "broken-product", single({"a": st("F32", [1 << 40, 1 << 40], 0, 4)})
    yield "broken-range", single({"a": st("F32", [8], 8, 40)})
    yield "broken-order", single({"a": st("F32", [1], 8, 4)})
    yield "broken-dims", single({"a": st("F32", [1] * 5, 0, 4)})
    yield "broken-twice", single('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                                 '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}')


def main():
    for folder, files in (("gguf", gguf_files()), ("safetensors", safetensors_files())):
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        for name, data in files:
            (CORPUS / folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
