"""What the clients' programs compare with: texts, and the vectors that the server's own replies hold for them."""
import base64
import struct

MODEL = "all-MiniLM-L6-v2"
# For --api-key-file.
KEYS = """keys:
  - {name: client, key: client-key}
  - {name: slow, key: slow-key, requests_per_second: 1, burst_seconds: 1}
"""


def vector(request, text, **more):
    """The vector that the server's own reply holds, as base64. As numbers it is the same bits, or this run is over."""
    body = {"model": MODEL, "input": text, **more}
    status, numbers = request("/v1/embeddings", body | {"encoding_format": "float"})
    assert status == 200, numbers
    _, reply = request("/v1/embeddings", body | {"encoding_format": "base64"})
    vector = reply["data"][0]["embedding"]
    values = numbers["data"][0]["embedding"]
    assert struct.pack(f"<{len(values)}f", *values) == base64.b64decode(vector), "base64 and numbers differ"
    return vector


def described(url, request):
    """What clients are told of the texts and their vectors. Long: near the model's 512 tokens; too long: 600 words and two tokens."""
    texts = {"short": "hello", "other": "A man is eating food.", "unicode": "naïve café 日本語 😀 \"quoted\" \\ back", "empty": "",
             "long": "the cat sat on the mat " * 80}
    texts["long"] = texts["long"].strip()
    too_long = ("word " * 600).strip()
    vectors = {name: vector(request, text) for name, text in texts.items()}
    vectors |= {"short:128": vector(request, texts["short"], dimensions=128), "truncated": vector(request, too_long, truncate=True)}
    return {"url": url, "model": MODEL, "dim": len(base64.b64decode(vectors["short"])) // 4, "texts": texts, "vectors": vectors,
            "ids": [7592], "too_long": too_long, "far_ids": "antidisestablishmentarianism", "key": "client-key",
            "slow_key": "slow-key"}
