"""The program with one more dialect: one file, one line. docs/architecture.md shows both as they are."""
import os
import re

import numpy as np
import requests

from conftest import PATIENCE, SOURCE

HERE = os.path.dirname(os.path.abspath(__file__))


def text_of(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def test_the_dialect_speaks(server):
    body = server.post({"of": ["hello", "you there"]}, "/plain").json()
    assert body["tokens"] == 7
    assert np.allclose([np.array(line.split(), dtype=np.float32) for line in body["lines"]], server.embed(["hello", "you there"]), atol=1e-6)
    assert len(server.post({"of": "hello"}, "/plain").json()["lines"]) == 1


def test_all_else_is_shared(server):
    """Limits, errors, methods, the cache, metrics and large bodies come with it."""
    long = server.post({"of": "word " * 600}, "/plain")
    assert long.status_code == 400 and "602 tokens" in long.json()["error"]["message"]
    assert server.post({}, "/plain").json()["error"]["param"] == "of"
    assert server.post({"of": ["a"] * 2049}, "/plain").status_code == 400
    assert requests.get(server.url + "/plain", timeout=PATIENCE).headers["allow"] == "POST, OPTIONS"
    assert requests.post(server.url + "/plain", data="{", timeout=PATIENCE).status_code == 400
    many = [f"text {i} " + "word " * 40 for i in range(200)]
    assert len(server.post({"of": many}, "/plain").json()["lines"]) == 200
    assert server.post({"of": many}, "/plain").headers["x-embellama-cache"] == "hit"
    assert 'route="/plain"' in requests.get(server.url + "/metrics", timeout=PATIENCE).text


def test_the_page_shows_it(server):
    page = text_of(SOURCE, "docs", "architecture.md")
    chapter = page.split("How to add a dialect")[1]
    blocks = re.findall(r"```c\n(.*?)```", chapter, re.S)
    assert blocks[:2] == [text_of(HERE, "plain.c"), text_of(HERE, "routes.line")]
