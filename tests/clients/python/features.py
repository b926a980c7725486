"""What the programs of this folder share: what the runner tells them, and how they report what they tried.

The runner (../run.py) writes a JSON file of addresses, texts and the vectors that the server's own replies hold for them, and
names it in EMB_CLIENT_SETUP. A program prints one line of JSON for each feature it tried."""
import base64
import importlib.metadata
import json
import os
import struct
import time
import traceback

with open(os.environ["EMB_CLIENT_SETUP"], encoding="utf-8") as file:
    SETUP = json.load(file)
URL = SETUP["url"]
MODEL = SETUP["model"]
TEXTS = SETUP["texts"]
NAMES = sorted(TEXTS)
BATCH = [TEXTS[name] for name in NAMES]


def same(values, name):
    """Fails unless values are the server's vector of that name, bit by bit."""
    want = base64.b64decode(SETUP["vectors"][name])
    got = struct.pack(f"<{len(values)}f", *map(float, values))
    assert got == want, f"the vector of {name!r} is not the server's: {len(values)} values, {list(values)[:3]}"


def same_batch(vectors, names=None):
    names = NAMES if names is None else names
    assert len(vectors) == len(names), f"{len(vectors)} vectors for {len(names)} texts"
    for vector, name in zip(vectors, names):
        same(vector, name)


def raises(kinds, call):
    """The exception of one of these kinds that call() raises."""
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError("no error")


def says(error, *parts):
    for part in parts:
        assert part in str(error), f"{part!r} is not in {str(error)[:300]!r}"
    return type(error).__name__


def limited(kinds, call):
    """Calls until the rate of the key is used up; the error that says so."""
    for _ in range(20):
        try:
            call()
        except kinds as error:
            return error
    raise AssertionError("20 requests, and none was refused")


def repeated(call):
    """Call, through a client that repeats by itself, with a key for one request a second: no error may come out."""
    start = time.monotonic()
    for _ in range(3):
        call()
    waited = time.monotonic() - start
    assert waited > 0.9, f"three requests took {waited:.2f} s: none was refused"


class Client:
    """A client under test; use: @client.feature("single") over a function, which runs at once."""

    def __init__(self, name, package, dialect):
        self.name = name
        self.version = importlib.metadata.version(package)
        self.dialect = dialect

    def feature(self, feature):
        def run(function):
            ok, detail = True, ""
            try:
                detail = function() or ""
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                ok, detail = False, f"{type(error).__name__}: {error} ({os.path.basename(last.filename)}:{last.lineno})"
            print(json.dumps({"client": self.name, "version": self.version, "dialect": self.dialect, "feature": feature, "ok": ok,
                              "detail": str(detail)[:600]}), flush=True)
            return function

        return run
