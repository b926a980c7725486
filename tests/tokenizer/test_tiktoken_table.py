"""Decoding by the library beside tiktoken's own, over the real cl100k_base where a package that carries it is installed, and over a
table made here. Without tiktoken, what its decode does: join the bytes, decode them with errors="replace"."""
import base64
import ctypes
import importlib.util
import os
import pathlib
import random

import pytest

# The file's name in tiktoken's cache, which these packages ship.
CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
CARRIERS = {"litellm": "litellm_core_utils/tokenizers", "llama_index.core": "_static/tiktoken_cache"}
E_TOKEN_ID = -9


class Ids(ctypes.Structure):
    _fields_ = [("ids", ctypes.POINTER(ctypes.c_int32)), ("count", ctypes.c_size_t)]


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("offset", ctypes.c_uint64), ("message", ctypes.c_char * 256)]


class Vocabulary:
    def __init__(self, path):
        self.lib = ctypes.CDLL(os.environ["EMB_LIBRARY"])
        self.lib.embellama_vocabulary_size.restype = ctypes.c_size_t
        self.lib.embellama_vocabulary_size.argtypes = [ctypes.c_void_p]
        self.lib.embellama_vocabulary_free.argtypes = [ctypes.c_void_p]
        self.lib.embellama_vocabulary_decode.argtypes = [
            ctypes.c_void_p, Ids, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(Error)]
        self.handle, error = ctypes.c_void_p(), Error()
        status = self.lib.embellama_vocabulary_open(ctypes.byref(self.handle), os.fsencode(path), ctypes.byref(error))
        assert status == 0, error.message

    def __len__(self):
        return self.lib.embellama_vocabulary_size(self.handle)

    def decode(self, ids):
        """The text, or the status."""
        array, size, error = (ctypes.c_int32 * len(ids))(*ids), ctypes.c_size_t(), Error()
        room = ctypes.create_string_buffer(3 * 1024 * len(ids) + 1)
        status = self.lib.embellama_vocabulary_decode(self.handle, Ids(array, len(ids)), room, len(room), ctypes.byref(size),
                                                      ctypes.byref(error))
        return room.raw[:size.value].decode() if status == 0 else (status, error.offset)

    def close(self):
        self.lib.embellama_vocabulary_free(self.handle)


def read(path):
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in open(path, "rb") if line.strip())}


def real_table():
    for package, folder in CARRIERS.items():
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for place in (spec.submodule_search_locations or []) if spec else []:
            path = pathlib.Path(place) / folder / CL100K
            if path.exists():
                return path
    return None


def made_table(folder):
    rnd = random.Random(3)
    tokens = [bytes([b]) for b in range(256)]
    while len(tokens) < 5000:
        token = rnd.choice(["é中🦙 the", "ab c", "\n\n  "]).encode()[rnd.randrange(3):][:rnd.randrange(1, 9)] + bytes([rnd.randrange(256)])
        tokens += [token] if token not in tokens else []
    path = folder / "made.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % i for i, t in enumerate(tokens)))
    return path


def decoder(table):
    try:
        import tiktoken
    except ImportError:
        by_id = {rank: token for token, rank in table.items()}
        return lambda ids: b"".join(by_id[i] for i in ids).decode("utf-8", errors="replace")
    return tiktoken.Encoding("test", pat_str=r"\S+|\s+", mergeable_ranks=table, special_tokens={}).decode


@pytest.mark.parametrize("which", ["made", "cl100k_base"])
def test_decodes_as_tiktoken(which, tmp_path):
    path = made_table(tmp_path) if which == "made" else real_table()
    if path is None:
        pytest.skip("cl100k_base is in no installed package (" + ", ".join(CARRIERS) + ")")
    table = read(path)
    expected, vocabulary = decoder(table), Vocabulary(path)
    assert len(vocabulary) == max(table.values()) + 1
    rnd, ids = random.Random(4), sorted(table.values())
    for _ in range(500):
        some = rnd.choices(ids, k=rnd.randrange(1, 60))
        assert vocabulary.decode(some) == expected(some), some
    for start in range(0, len(ids), 4096):
        assert vocabulary.decode(ids[start:start + 4096]) == expected(ids[start:start + 4096])
    assert vocabulary.decode([ids[0], len(vocabulary)]) == (E_TOKEN_ID, 1)
    if which == "cl100k_base":
        assert vocabulary.decode([9906, 11, 1917, 0]) == "Hello, world!"
    vocabulary.close()
