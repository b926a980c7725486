"""More than the server can do: what does not fit is refused at once and says when to come again, and all is well afterwards."""
import json
import socket

from processes import NOT_CACHED, QUIET, api, get, load, metrics, report, run_load, write_texts

LONG = "word " * 120
MANY = 64


def long_texts(n):
    return [f"{i} {LONG}{i}" for i in range(n)]


def refused(r):
    return sum(r["statuses"].get(status, 0) for status in ("429", "503"))


def test_more_than_fits_is_refused(start, tmp_path):
    """64 connections that send again at once against a queue of 40 inputs."""
    server = start("--queue-size", "40", "--workers", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", long_texts(400))
    r = run_load(server, texts, connections=MANY, per_request=4, seconds=3, header=NOT_CACHED)
    assert set(r["statuses"]) <= {"200", "429", "503"} and r["statuses"]["200"] > 0, r
    assert refused(r) > 0 and r["refused_with_retry_after"] == refused(r), r
    assert r["failed"] == refused(r), f"and nothing but refusals fails: {r}"
    assert r["refused_ms"]["p50"] < r["latency_ms"]["p50"], f"a refusal does not wait for its turn: {r}"
    assert api.until(lambda: server.health()["queue"]["waiting"] == 0, 30)
    after = run_load(server, texts, requests=20, per_request=4, header=NOT_CACHED)
    assert after["failed"] == 0, after


def test_what_cannot_be_in_time_is_refused(start, tmp_path):
    """An open loop far above what can be computed, with a deadline: the rest is refused, not answered too late."""
    server = start("--workers", "1", "--threads", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", long_texts(400))
    headers = [NOT_CACHED, "x-request-timeout-ms: 2000"]
    most = run_load(server, texts, connections=8, seconds=2, header=headers)
    assert most["statuses"].get("200", 0) > 0, most
    r = run_load(server, texts, connections=600, rate=5 * most["requests_per_s"], seconds=4, header=headers)
    assert set(r["statuses"]) <= {"200", "429", "503", "504"} and r["statuses"]["200"] > 0, r
    assert refused(r) > 0 and r["refused_with_retry_after"] == refused(r), r
    assert r["statuses"].get("504", 0) <= 0.2 * r["requests"], f"refused at arrival, not after the wait: {r}"
    assert r["outcomes"]["answered"] == r["requests"], r
    assert run_load(server, texts, requests=5, header=NOT_CACHED)["failed"] == 0
    assert get(server, "/health")[0] == 200


def test_work_of_clients_that_leave_is_dropped(start, tmp_path):
    server = start("--workers", "1", "--threads", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", long_texts(1600))
    r = run_load(server, texts, connections=16, per_request=100, requests=16, cancel_after=0.2, header=NOT_CACHED)
    assert r["outcomes"]["cancelled"] == 16, r
    assert api.until(lambda: server.health()["queue"]["waiting"] == 0, 10), server.health()
    assert api.until(lambda: server.health()["queue"]["running"] == 0)
    seen = metrics(server)
    assert seen["embellama_inputs_cancelled_total"] > 0
    assert seen["embellama_batch_inputs_sum"] < 800, "most of the 1,600 inputs were never computed"


def test_a_small_request_never_waits_for_a_huge_one(start, tmp_path):
    """However long the huge one has been waiting: counted in batches that were computed meanwhile."""
    server = start("--workers", "1", "--threads", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", long_texts(2000))
    huge = load(server, texts, per_request=2000, requests=1, cancel_after=6, header=NOT_CACHED)
    assert api.until(lambda: server.health()["queue"]["waiting"] > 100)
    between = []
    while huge.poll() is None and server.health()["queue"]["waiting"] > 100:
        before = metrics(server)["embellama_batches_total"]
        reply = server.post({"model": api.NAME, "input": f"small {len(between)}"}, headers={"cache-control": "no-store"})
        assert reply.status_code == 200, reply.text
        between.append(metrics(server)["embellama_batches_total"] - before)
    report(huge)
    assert between and max(between) <= 8, between


def test_a_busy_server_still_says_how_it_is(start, tmp_path):
    server = start("--workers", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", long_texts(400))
    client = load(server, texts, connections=32, per_request=8, seconds=3, header=NOT_CACHED)
    for _ in range(20):
        for path in ("/health", "/health/live", "/health/ready", "/metrics", "/v1/models"):
            assert get(server, path)[0] == 200
    assert report(client)["failed"] == 0


def test_small_requests_for_many_vectors_that_nobody_reads(start):
    """What a request's vectors take counts as held until they were sent, so that a few kilobytes each cannot fill memory."""
    server = start("--workers", "1", *QUIET)
    assert server.post({"model": api.NAME, "input": "a"}).status_code == 200
    limit = metrics(server)["embellama_held_bytes_limit"]
    body = json.dumps({"model": api.NAME, "input": ["a"] * 2048}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    statuses, sockets = [], []
    try:
        for _ in range(120):
            s = socket.socket()
            sockets.append(s)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(api.PATIENCE)
            s.connect(("127.0.0.1", server.port))
            s.sendall(head + body)
            reply = s.recv(2048)
            statuses.append(int(reply.split()[1]))
            assert statuses[-1] == 200 or (statuses[-1] == 503 and b"\r\nretry-after: " in reply), reply
        held = metrics(server)["embellama_held_bytes"]
        assert statuses.count(200) * 2048 * 384 * 4 <= held <= limit, (statuses.count(200), held)
        assert statuses.count(503) > 0 and statuses[0] == 200, statuses
    finally:
        for s in sockets:
            s.close()
    assert api.until(lambda: metrics(server)["embellama_held_bytes"] < 1 << 20)
    assert server.post({"model": api.NAME, "input": ["a"] * 2048}).status_code == 200
