"""Many at once: good beside bad, small beside huge, a full queue, clients that leave; and always the same bits."""
import concurrent.futures as cf
import json
import random
import socket
import threading
import time

import numpy as np
import requests

from conftest import NAME, PATIENCE, floats, until

WORDS = "the of a model vector text in water stone bird runs quickly under heavy rain 日本 über naïve 42 !".split()


def texts(n, seed=1, longest=60):
    r = random.Random(seed)
    return [" ".join(r.choices(WORDS, k=r.randint(0, longest))) for _ in range(n)]


def test_same_bits_in_any_company(server):
    given = texts(60, longest=40)
    alone = [server.embed(t)[0] for t in given]
    whole = server.embed(given)
    order = list(range(len(given)))
    random.Random(3).shuffle(order)
    shuffled = server.embed([given[i] for i in order])
    decimals = server.post({"model": NAME, "input": given}).json()["data"]
    for i in range(len(given)):
        assert whole[i].tobytes() == alone[i].tobytes()
        assert shuffled[order.index(i)].tobytes() == alone[i].tobytes()
        assert np.float32(decimals[i]["embedding"]).tobytes() == alone[i].tobytes()


def test_same_bits_with_other_workers(server, start):
    given = texts(40, seed=5)
    want = server.embed(given)
    for flags in (("--workers", "2", "--threads", "1"), ("--workers", "1", "--threads", "2"), ("--workers", "1", "--threads", "1")):
        assert start(*flags).embed(given).tobytes() == want.tobytes()


def test_forty_clients_good_and_bad(server):
    given = texts(200, seed=2, longest=20)
    want = server.embed(given)
    name = NAME.encode()
    bad = [b'{"model":"%s","input":["ok",null]}' % name, b'{"input":', b'{"model":"%s","input":[1,99999999]}' % name,
           b'{"model":"%s","input":[[]]}' % name, b'{"model":"%s","input":"\\ud800"}' % name,
           json.dumps({"model": NAME, "input": ["fine", "word " * 600]}).encode(), b'{"model":"nope","input":"a"}',
           json.dumps({"model": NAME, "input": ["a"] * 2049}).encode()]
    session = threading.local()

    def post(body):
        if not hasattr(session, "http"):
            session.http = requests.Session()
        return session.http.post(server.url + "/v1/embeddings", data=body, headers={"content-type": "application/json"},
                                 timeout=PATIENCE)

    def good(i):
        reply = post(json.dumps({"model": NAME, "input": given[i], "encoding_format": "base64"}))
        return reply.status_code == 200 and floats(reply.json()["data"][0]["embedding"]).tobytes() == want[i].tobytes()

    with cf.ThreadPoolExecutor(40) as pool:
        goods = [pool.submit(good, i) for i in range(200)]
        bads = [pool.submit(lambda i=i: post(bad[i % len(bad)]).status_code) for i in range(200)]
        assert all(f.result() for f in goods)
        assert {f.result() for f in bads} == {400, 404}


def test_small_request_beside_a_huge_one(server):
    huge = ["word " * 60 + str(i) for i in range(400)]
    with cf.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.embed, huge)
        assert until(lambda: server.health()["queue"]["waiting"] > 100)
        server.embed("small")
        left = server.health()["queue"]["waiting"]
        assert left > 100, f"the small request waited for the huge one ({left} inputs left)"
        assert len(slow.result()) == len(huge)


def test_full_queue(start):
    server = start("--queue-size", "50")

    def post(k):
        return server.post({"model": NAME, "input": ["word " * 400 + f"{k} {i}" for i in range(40)]})

    with cf.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(post, range(8)))
    served = [r for r in replies if r.status_code == 200]
    refused = [r for r in replies if r.status_code != 200]
    assert served and refused, "a queue of 50 holds one such request, and not all eight"
    for reply in refused:
        assert reply.status_code == 503
        assert 1 <= int(reply.headers["retry-after"]) <= 60 and int(reply.headers["retry-after-ms"]) >= 50
        error = reply.json()["error"]
        assert error["type"] == "server_error" and error["code"] == "queue_full"
    assert all(len(r.json()["data"]) == 40 for r in served)
    assert server.post({"model": NAME, "input": "small"}).status_code == 200


def test_larger_than_the_queue(start):
    server = start("--queue-size", "50")
    reply = server.post({"model": NAME, "input": [f"text {i}" for i in range(51)]})
    assert reply.status_code == 413 and reply.json()["error"]["code"] == "request_too_large"
    assert reply.headers["x-should-retry"] == "false"
    assert server.post({"model": NAME, "input": [f"text {i}" for i in range(50)]}).status_code == 200


def leave(server, body, delay):
    s = socket.create_connection(("127.0.0.1", server.port))
    s.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
    s.sendall(body)
    time.sleep(delay)
    s.close()


def test_client_that_leaves(server):
    want = server.embed("still here")
    body = json.dumps({"model": NAME, "input": ["word " * 300 + str(i) for i in range(1000)]}).encode()
    for delay in (0, 0.01, 0.3):
        leave(server, body, delay)
    small = json.dumps({"model": NAME, "input": "a"}).encode()
    for _ in range(50):
        leave(server, small, 0)
    assert until(lambda: server.health()["queue"]["waiting"] == 0, 30), "waiting inputs of those gone are dropped"
    assert until(lambda: server.health()["queue"]["running"] == 0)
    assert server.embed("still here").tobytes() == want.tobytes()


def test_client_that_leaves_while_the_reply_is_written(server):
    """Larger replies are written beside the loop; here the client is gone somewhere around that moment."""
    body = json.dumps({"model": NAME, "input": ["a"] * 2048}).encode()
    for k in range(8):
        leave(server, body, 0.03 * k)
    assert until(lambda: server.health()["queue"]["waiting"] == server.health()["queue"]["running"] == 0)
    assert len(server.embed("a")) == 1
