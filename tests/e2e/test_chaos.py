"""Processes that end while requests are under way: what clients see of it."""
import os
import random
import signal
import time

from processes import NOT_CACHED, QUIET, api, load, processes, report, run_load, workers, write_texts

WORDS = "the of a model vector text in water stone bird runs quickly under heavy rain 日本 über naïve 42 !".split()
SECONDS = 10


def mixed_texts(n, seed, longest=60):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) + f" {i}" for i in range(n)]


def vectors_without_load(server, texts, path):
    """Each text's vector, computed alone, for the load client to compare with."""
    r = run_load(server, texts, requests=sum(1 for _ in open(texts, encoding="utf-8")), save_vectors=path, header=NOT_CACHED)
    assert r["failed"] == 0, r
    return path


def test_a_worker_killed_every_second(start, tmp_path):
    """No request fails and every vector has the bits it has without load."""
    server = start("--workers", "2", "--threads", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", mixed_texts(120, seed=1))
    want = vectors_without_load(server, texts, tmp_path / "vectors")
    client = load(server, texts, connections=32, seconds=SECONDS, verify=want, header=NOT_CACHED)
    draw, killed = random.Random(2), []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(1)
        assert api.until(lambda: workers(server), 30), "no worker is there any more"
        killed.append(draw.choice(workers(server)))
        os.kill(killed[-1], signal.SIGKILL)
    r = report(client)
    assert r["failed"] == 0 and r["statuses"] == {"200": r["requests"]}, f"{r}\n{server.logged()[-3000:]}"
    assert r["requests"] > 32 and len(killed) >= 5
    assert api.until(lambda: len(workers(server)) == 2 and not set(workers(server)) & set(killed))
    assert run_load(server, texts, requests=120, verify=want, header=NOT_CACHED)["failed"] == 0


def test_all_workers_killed_at_once(start, tmp_path):
    server = start("--workers", "2", "--threads", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", mixed_texts(120, seed=3))
    want = vectors_without_load(server, texts, tmp_path / "vectors")
    client = load(server, texts, connections=16, requests=400, verify=want, header=NOT_CACHED)
    for _ in range(3):
        time.sleep(0.3)
        for pid in workers(server):
            os.kill(pid, signal.SIGKILL)
    r = report(client)
    assert r["failed"] == 0 and r["requests"] == 400, r


def test_a_stopped_worker(start, tmp_path):
    """One that is stopped is replaced, and what it held is computed by another."""
    server = start("--workers", "1", "--threads", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", mixed_texts(60, seed=4))
    want = vectors_without_load(server, texts, tmp_path / "vectors")
    client = load(server, texts, connections=8, seconds=4, verify=want, header=NOT_CACHED)
    time.sleep(0.5)
    (pid,) = workers(server)
    os.kill(pid, signal.SIGSTOP)
    r = report(client)
    assert r["failed"] == 0, r
    assert api.until(lambda: workers(server) and pid not in workers(server))


def test_a_killed_front(start, tmp_path):
    """Its connections are reset; the port stays, new connections are answered, and right."""
    server = start("--workers", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", mixed_texts(60, seed=5))
    want = vectors_without_load(server, texts, tmp_path / "vectors")
    client = load(server, texts, connections=8, seconds=4, verify=want, header=NOT_CACHED)
    time.sleep(1)
    (pid,) = processes(server, "embellama: front")
    os.kill(pid, signal.SIGKILL)
    r = report(client)
    assert r["outcomes"]["wrong"] == 0 and set(r["statuses"]) == {"200"}, r
    lost = r["requests"] - r["statuses"]["200"]
    assert lost <= 2 * 8, f"more than what was under way was lost: {r}"
    assert run_load(server, texts, connections=8, requests=60, verify=want, header=NOT_CACHED)["failed"] == 0
    assert pid not in processes(server, "embellama: front")


def test_a_killed_supervisor_leaves_nothing(start, tmp_path):
    """What was under way is answered, then nothing is left, and nothing keeps the port."""
    server = start("--workers", "2", *QUIET)
    texts = write_texts(tmp_path / "texts", mixed_texts(60, seed=6))
    left = [pid for pid in processes(server, "embellama: ") if pid != server.process.pid]
    assert len(left) == 3, left
    client = load(server, texts, connections=8, seconds=3, header=NOT_CACHED)
    time.sleep(1)
    server.process.kill()
    r = report(client)
    assert r["outcomes"]["wrong"] == 0 and r["statuses"].get("200", 0) > 0, r
    assert api.until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in left)), left
    again = start("--port", str(server.port), *QUIET)
    assert again.port == server.port
