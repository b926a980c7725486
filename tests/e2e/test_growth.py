"""Neither memory nor descriptors grow with the number of requests."""
import os

import pytest
from processes import NOT_CACHED, QUIET, SANITIZED, api, run_load, tree, write_texts

MB = 1 << 20
SECONDS = 4


def memory(server):
    total = 0
    for pid in tree(server.process.pid):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            total += next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
    return total


def descriptors(server):
    return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in tree(server.process.pid)}


@pytest.mark.parametrize("kind", ["cached", "computed", "a connection each", "refused"])
def test_no_growth(start, tmp_path, kind):
    if SANITIZED:
        pytest.skip("a sanitizer keeps freed memory")
    # A cache that is soon full: it may grow until then.
    server = start("--workers", "1", "--cache-size", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", [f"text {i}" for i in range(300)])
    options = {"cached": {}, "computed": {"header": NOT_CACHED}, "a connection each": {"header": "connection: close"},
               "refused": {"model": "no-such-model"}}[kind]
    options.update(connections=16, verify="none")
    run_load(server, texts, requests=2000, **options)
    assert api.until(lambda: server.health()["queue"]["running"] == 0)
    before, files = memory(server), descriptors(server)
    r = run_load(server, texts, seconds=SECONDS, **options)
    assert set(r["statuses"]) == {"404" if kind == "refused" else "200"}, r
    assert r["outcomes"]["answered"] == r["requests"] > 0, r
    grown = memory(server) - before
    print(f"{kind}: {r['requests']} requests, {grown / MB:+.2f} MB")
    assert grown < 4 * MB, f"{grown / MB:.1f} MB more after {r['requests']} requests"
    assert api.until(lambda: all(n <= files.get(pid, 0) for pid, n in descriptors(server).items())), (files, descriptors(server))
