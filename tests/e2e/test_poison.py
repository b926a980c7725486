"""An input that ends the process that computes it (embellama_hooks, the command built to do so for one text), among good ones."""
import json
import os
import random
import subprocess

import pytest
from processes import NOT_CACHED, QUIET, api, load, report, run_load, workers, write_texts

HOOKS = os.path.join(os.environ["EMB_BUILD_DIR"], "tests", "pool", "embellama_hooks")
POISON = "this text ends the process that computes it"
GOOD = 400


def ids_of(text):
    done = subprocess.run([api.BINARY, "tokenize", "--model", api.MODEL, "--input", "-"], input=text + "\n",
                          capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)["ids"]


def good_texts(n):
    draw = random.Random(7)
    return [f"a good text {i} " + "of words " * draw.randint(0, 20) for i in range(n)]


@pytest.fixture
def poisoned(start, monkeypatch):
    if not os.path.exists(HOOKS):
        pytest.skip(f"the command with test hooks is not at {HOOKS}")

    def begin(how, *flags):
        # EMBELLAMA_ variables do not reach the server; this one does.
        monkeypatch.setenv("EMB_TEST_POISON", " ".join(map(str, ids_of(POISON))) + "=" + how)
        monkeypatch.setattr(api, "BINARY", HOOKS)
        server = start(*flags, *QUIET)
        monkeypatch.undo()
        return server

    return begin


@pytest.mark.parametrize("how", ["abort", "segv", "exit"])
def test_one_input_among_many(poisoned, tmp_path, how):
    """Exactly one request fails, it is told not to try again, and it is recorded; all others have their right vectors."""
    letters = tmp_path / "dead-letter"
    server = poisoned(how, "--workers", "2", "--threads", "1", "--dead-letter", str(letters))
    texts = good_texts(GOOD)
    alone = write_texts(tmp_path / "good", texts)
    want = tmp_path / "vectors"
    assert run_load(server, alone, requests=GOOD, save_vectors=want, header=NOT_CACHED)["failed"] == 0
    row = want.stat().st_size // GOOD
    bits = want.read_bytes()
    # The poison is in the middle; the good ones around it keep their rows.
    mixed = write_texts(tmp_path / "mixed", texts[:200] + [POISON] + texts[200:])
    (tmp_path / "rows").write_bytes(bits[:200 * row] + bytes(row) + bits[200 * row:])
    r = run_load(server, mixed, connections=GOOD + 1, requests=GOOD + 1, verify=tmp_path / "rows", header=NOT_CACHED,
                 timeline=tmp_path / "lines")
    assert r["statuses"] == {"200": GOOD, "500": 1}, f"{r}\n{server.logged()[-3000:]}"
    assert r["failed"] == 1 and r["should_not_retry"] == 1, r
    (line,) = [line for line in (tmp_path / "lines").read_text().splitlines()[1:] if line.split(",")[2] != "200"]
    assert line.split(",")[-1] == "200", f"and it is the poison's: {line}"
    (entry,) = letters.read_text().splitlines()
    assert json.loads(entry)
    assert POISON not in entry, "its text is not kept unless that is allowed"
    assert api.until(lambda: len(workers(server)) == 2)


def test_it_does_not_kill_again(poisoned, tmp_path):
    """A client's retries are answered at once, by what is known of the input: no worker dies a second time for it."""
    server = poisoned("abort", "--workers", "1", "--dead-letter", str(tmp_path / "letters"))
    body = {"model": api.NAME, "input": [POISON, "a good neighbour"]}
    first = server.post(body)
    assert first.status_code == 500 and first.headers["x-should-retry"] == "false", first.text
    assert api.until(lambda: workers(server) and server.health()["ready"])
    pids = workers(server)
    for _ in range(5):
        reply = server.post({"model": api.NAME, "input": POISON})
        assert reply.status_code == 500 and reply.headers["x-should-retry"] == "false", reply.text
    assert workers(server) == pids
    assert server.embed("a good neighbour").shape == (1, api.DIM)


def test_a_part_of_the_answer(poisoned):
    """With x-allow-partial the request's good inputs have their vectors."""
    server = poisoned("abort", "--workers", "1")
    want = server.embed("a good neighbour")
    reply = server.post({"model": api.NAME, "input": ["a good neighbour", POISON, "another"], "encoding_format": "base64"},
                        headers={"x-allow-partial": "true"})
    assert reply.status_code == 200, reply.text
    data = reply.json()["data"]
    assert data[1]["embedding"] is None
    assert api.floats(data[0]["embedding"]).tobytes() == want[0].tobytes() and data[2]["embedding"]
    (error,) = reply.json()["errors"]
    assert error["index"] == 1


def test_one_that_computes_for_ever(poisoned, tmp_path):
    """It is noticed after --stuck-timeout, and blamed like one that crashes."""
    letters = tmp_path / "letters"
    server = poisoned("spin", "--workers", "2", "--threads", "1", "--stuck-timeout", "1", "--dead-letter", str(letters))
    texts = write_texts(tmp_path / "texts", good_texts(60))
    client = load(server, texts, connections=8, seconds=5, header=NOT_CACHED)
    reply = server.post({"model": api.NAME, "input": POISON})
    assert reply.status_code == 500 and reply.headers["x-should-retry"] == "false", reply.text
    r = report(client)
    assert r["failed"] == 0, f"{r}\n{server.logged()[-3000:]}"
    assert len(letters.read_text().splitlines()) == 1
