"""What the server tells of itself: metrics, health, log, timing, and what the one who runs it may ask for."""
import json
import os
import re
import signal
import subprocess
import time

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from conftest import BINARY, MODEL, NAME, PATIENCE, end_with_parent, until

ROUTE = "/v1/embeddings"


class Page:
    """A scrape: samples by name and labels."""

    def __init__(self, server, **more):
        reply = requests.get(server.url + "/metrics", timeout=PATIENCE, **more)
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert reply.text.endswith("\n")
        self.text = reply.text
        families = list(text_string_to_metric_families(reply.text))
        self.families = {f.name: f for f in families}
        assert len(self.families) == len(families), "no two families of one name, a counter's without its _total"
        self.samples = {}
        for family in self.families.values():
            for s in family.samples:
                key = s.name, frozenset(s.labels.items())
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = s.value

    def __call__(self, name, **labels):
        return self.samples.get(("embellama_" + name, frozenset(labels.items())), 0)

    def all(self, name):
        return {labels: value for (n, labels), value in self.samples.items() if n == "embellama_" + name}


def requests_of(page, status, route=ROUTE, model=NAME):
    return page("requests_total", route=route, model=model, status=str(status))


# ---- Metrics ----

def test_format(server):
    server.post({"model": NAME, "input": "one"})
    page = Page(server)
    announced = re.findall(r"^# TYPE (\S+) (\S+)$", page.text, re.M)
    assert len(announced) == len({name for name, _ in announced}), "a family is announced once"
    assert len(re.findall(r"^# HELP ", page.text, re.M)) == len(announced)
    histograms = [name for name, kind in announced if kind == "histogram"]
    assert len(histograms) >= 12
    for name in histograms:
        series = {}
        for s in page.families[name].samples:
            rest = frozenset((k, v) for k, v in s.labels.items() if k != "le")
            series.setdefault(rest, {})[s.labels.get("le", s.name[len(name):])] = s.value
        for values in series.values():
            count, total = values.pop("_count"), values.pop("_sum")
            bounds = [float(le) for le in values]
            assert bounds == sorted(bounds) and bounds[-1] == float("inf")
            assert list(values.values()) == sorted(values.values()), f"{name} is cumulative"
            assert values["+Inf"] == count
            assert total >= 0 and (total > 0) <= (count > 0)
            assert total >= sum((v - below) * b for v, below, b in zip(
                list(values.values())[1:], values.values(), bounds)) * (1 - 1e-9), f"{name}: the sum fits the buckets"


def test_everything_is_there(server):
    server.post({"model": NAME, "input": "one"})
    page = Page(server)
    for name in """build_info model_info requests_total request_seconds request_tokenize_seconds request_queue_seconds
            request_infer_seconds queue_inputs queue_tokens queue_oldest_seconds queue_wait_seconds batch_inputs batch_tokens
            batch_infer_seconds worker_ready worker_restarts_total worker_busy_seconds_total cache_lookups_total
            cache_hit_ratio access_refused_total shed_total breaker_state breaker_opened_total memory_bytes loop_lag_seconds
            loop_turn_seconds worker_hop_seconds thread_hop_seconds client_requests_total client_tokens_total connections held_bytes
            uptime_seconds""".split():
        family = page.families.get("embellama_" + name.removesuffix("_total"))
        assert family and family.samples, name
    assert page("build_info", version=server.health()["version"],
                compiler=dict(next(iter(page.all("build_info"))))["compiler"]) == 1
    assert page("worker_ready", worker="0") == 1
    assert page("breaker_state", state="closed") == 1 and page("breaker_state", state="open") == 0
    assert page("memory_bytes", process="front", kind="resident") > 1 << 20
    assert 0 < page("memory_bytes", process="front", kind="proportional") <= page("memory_bytes", process="front", kind="resident")
    assert page("loop_turn_seconds_count") > 0
    assert page("connections") >= 1 and page("requests_held") >= 1


def test_counts_are_exact(server):
    before = Page(server)
    inputs = tokens = 0
    for i in range(7):
        reply = server.post({"model": NAME, "input": [f"count {i} {j} {time.time_ns()}" for j in range(i + 1)]})
        assert reply.status_code == 200
        inputs += i + 1
        tokens += reply.json()["usage"]["total_tokens"]
    for _ in range(2):
        assert server.post({"model": NAME, "input": 5}).status_code == 400
    for i in range(3):
        assert requests.get(f"{server.url}/v1/models/no-{i}", timeout=PATIENCE).status_code == 404
        assert requests.get(f"{server.url}/nowhere/{i}", timeout=PATIENCE).status_code == 404
    after = Page(server)

    def rise(name, **labels):
        return after(name, **labels) - before(name, **labels)

    ok = {"route": ROUTE, "model": NAME, "status": "200"}
    assert rise("requests_total", **ok) == 7
    assert rise("request_seconds_count", **ok) == 7
    assert 0 < rise("request_seconds_sum", **ok) < PATIENCE
    assert sum(rise("requests_total", **dict(l)) for l in after.all("requests_total") if ("status", "400") in l) == 2
    assert rise("requests_total", route="/v1/models/{id}", model="", status="404") == 3
    assert rise("requests_total", route="other", model="", status="404") == 3
    assert not any("no-1" in str(labels) or "nowhere" in str(labels) for _, labels in after.samples)
    assert rise("requests_total", route="/metrics", model="", status="200") == 1
    for name in "tokenize", "queue", "infer":
        assert rise(f"request_{name}_seconds_count", model=NAME) == 7
    assert rise("request_infer_seconds_sum", model=NAME) > 0
    assert rise("request_inputs_sum", model=NAME) == inputs
    assert rise("request_tokens_sum", model=NAME) == tokens
    assert rise("client_requests_total", client="anonymous", model=NAME) >= 7
    assert rise("client_inputs_total", client="anonymous", model=NAME) == inputs
    assert rise("client_tokens_total", client="anonymous", model=NAME) == tokens
    assert rise("loop_busy_seconds_total") >= rise("request_tokenize_seconds_sum", model=NAME) > 0, "short ones: on the loop"
    assert rise("queue_wait_seconds_count") == inputs
    assert rise("batch_inputs_sum") == inputs
    assert rise("batch_tokens_sum") == rise("tokens_total") == tokens
    assert rise("batch_inputs_count") == rise("batch_infer_seconds_count") == rise("batches_total") > 0
    assert sum(rise("worker_batches_total", **dict(l)) for l in after.all("worker_batches_total")) == rise("batches_total")
    assert sum(rise("worker_busy_seconds_total", **dict(l)) for l in after.all("worker_busy_seconds_total")) > 0
    assert rise("worker_hop_seconds_count", hop="to") == rise("worker_hop_seconds_count", hop="from") == rise("batches_total")
    assert all(rise("queue_inputs", priority=p) == 0 for p in ("high", "normal", "low"))
    assert after("queue_inputs", priority="normal") == 0 and after("running_inputs") == 0


def test_worker_in_metrics(start):
    server = start("--workers", "2", "--threads", "1")
    page = Page(server)
    assert {dict(l)["worker"] for l in page.all("worker_ready")} == {"0", "1"}
    for process in "worker 0", "worker 1":
        assert 0 < page("memory_bytes", process=process, kind="proportional") < page("memory_bytes", process=process, kind="resident")
    victim = server.health()["worker_states"][1]
    assert victim["worker"] == 1 and page("worker_restarts_total", worker="1") == victim["restarts"] == 0
    os.kill(victim["pid"], signal.SIGKILL)
    assert until(lambda: Page(server)("worker_restarts_total", worker="1") == 1)
    assert until(lambda: Page(server)("worker_ready", worker="1") == 1)
    again = server.health()["worker_states"][1]
    assert again["restarts"] == 1 and again["pid"] != victim["pid"]
    assert Page(server)("worker_restarts_total", worker="0") == 0
    assert requests.get(server.url + "/health/ready", timeout=PATIENCE).status_code == 200


def test_cache_in_metrics(server):
    text = f"cached {time.time_ns()}"
    before = Page(server)
    for _ in range(4):
        assert server.post({"model": NAME, "input": text}).status_code == 200
    after = Page(server)
    looked = {r: after("cache_lookups_total", result=r) - before("cache_lookups_total", result=r) for r in ("hit", "miss")}
    assert looked == {"hit": 3, "miss": 1}
    assert after("batch_inputs_sum") - before("batch_inputs_sum") == 1
    assert after("cache_entries") > 0 and after("cache_bytes") > 0
    assert after("cache_hit_ratio") == pytest.approx(
        after("cache_lookups_total", result="hit") / sum(after.all("cache_lookups_total").values()))


def test_hops_of_long_bodies(server):
    before = Page(server)
    for i in range(2):
        assert server.post({"model": NAME, "input": [f"long {i} {j} " + "word " * 50 for j in range(60)]}).status_code == 200
    after = Page(server)
    for hop in "to", "from":
        assert after("thread_hop_seconds_count", hop=hop) - before("thread_hop_seconds_count", hop=hop) == 2


def test_clients_and_cost(start, tmp_path):
    server = start("--api-key", "k-one,k-two", "--token-cost", "20")
    assert requests.get(server.url + "/metrics", timeout=PATIENCE).status_code == 401
    assert server.post({"model": NAME, "input": "a"}).status_code == 401
    used = {}
    for key, client, times in ("k-one", "key-1", 3), ("k-two", "key-2", 1):
        for i in range(times):
            reply = server.post({"model": NAME, "input": f"a text of {client} {i}"}, headers={"authorization": "Bearer " + key})
            used[client] = used.get(client, 0) + reply.json()["usage"]["total_tokens"]
    page = Page(server, headers={"authorization": "Bearer k-one"})
    assert page("client_requests_total", client="key-1", model=NAME) == 3
    assert page("client_requests_total", client="key-2", model=NAME) == 1
    for client, tokens in used.items():
        assert page("client_tokens_total", client=client, model=NAME) == tokens
        assert page("client_cost_total", client=client, model=NAME) == pytest.approx(tokens * 20 / 1e6)
    assert page("access_refused_total", reason="unauthorized") == 2
    assert page("api_keys") == 2
    assert "k-one" not in page.text and "k-one" not in server.logged()


def test_public_metrics_and_buckets(start):
    server = start("--api-key", "k-one", "--metrics-public", "--metrics-buckets", "0.25,2")
    assert server.post({"model": NAME, "input": "a"}, headers={"x-api-key": "k-one"}).status_code == 200
    page = Page(server)
    bounds = [dict(labels)["le"] for labels in page.all("request_seconds_bucket") if ("route", ROUTE) in labels]
    assert bounds == ["0.25", "2", "+Inf"]


@pytest.mark.parametrize("buckets", ["", "1,1", "x", "-1"])
def test_wrong_buckets(buckets):
    done = subprocess.run([BINARY, "serve", "--model-path", MODEL, "--port", "0", "--metrics-buckets", buckets],
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0 and "buckets" in done.stderr and not done.stdout


# ---- Health ----

def test_health(server):
    health = server.health()
    assert health["status"] == "ok" and health["ready"] is True and health["reason"] is None
    assert health["breaker"] == "closed" and health["uptime_s"] > 0 and health["model"] == NAME
    states = health["worker_states"]
    assert len(states) == health["workers"] == health["workers_ready"]
    for i, state in enumerate(states):
        assert state["worker"] == i and state["state"] == "ready" and state["restarts"] == 0
        os.kill(state["pid"], 0)
    for path in "/health", "/health/live", "/health/ready":
        get, head = (requests.request(m, server.url + path, timeout=PATIENCE) for m in ("GET", "HEAD"))
        assert get.status_code == head.status_code == 200
        assert get.json() and head.content == b"" and int(head.headers["content-length"]) > 0
    assert requests.get(server.url + "/health/ready", timeout=PATIENCE).json() == {"ready": True, "reason": None}


def test_drain(start):
    server = start("--drain-delay", "2")
    reply = requests.post(server.url + "/admin/drain", timeout=PATIENCE)
    assert reply.status_code == 202 and reply.json() == {"status": "draining"}
    assert until(lambda: requests.get(server.url + "/health/ready", timeout=PATIENCE).status_code == 503)
    ready = requests.get(server.url + "/health/ready", timeout=PATIENCE)
    assert ready.json() == {"ready": False, "reason": "the server is stopping"}
    live = requests.get(server.url + "/health/live", timeout=PATIENCE)
    assert live.status_code == 200
    reply = server.post({"model": NAME, "input": "from a balancer that has not noticed yet"})
    assert reply.status_code == 200 and reply.headers["connection"] == "close"
    assert requests.get(server.url + "/health", timeout=PATIENCE).json()["status"] == "stopping"
    assert requests.post(server.url + "/admin/drain", timeout=PATIENCE).status_code == 202
    assert server.wait() == 0
    assert re.search(r"event=drain asked_by=\S", server.logged())


# ---- Timing and traces ----

def test_server_timing(server):
    reply = server.post({"model": NAME, "input": ["word " * 100 + str(time.time_ns())] * 3})
    timing = dict(re.fullmatch(r"(\w+);dur=(\d+\.\d{3})", part).groups() for part in reply.headers["server-timing"].split(", "))
    assert list(timing) == ["tokenize", "queue", "infer", "total"]
    parts = [float(timing[k]) for k in ("tokenize", "queue", "infer")]
    assert parts[0] > 0 and parts[2] > 0 and sum(parts) <= float(timing["total"]) + 0.01
    assert float(timing["total"]) <= reply.elapsed.total_seconds() * 1000 + 1
    assert "server-timing" not in server.post({"model": NAME, "input": 5}).headers


def test_trace(server):
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    reply = server.post({"model": NAME, "input": "a"},
                        headers={"traceparent": f"00-{trace}-{parent}-01", "x-request-id": "mine-1"})
    assert reply.headers["x-request-id"] == "mine-1"
    span = re.fullmatch(f"00-{trace}-([0-9a-f]{{16}})-01", reply.headers["traceresponse"]).group(1)
    assert span != parent
    line = server.logged_line('id="mine-1"')
    assert f'trace_id="{trace}" parent_id="{parent}" span_id="{span}"' in line
    reply = server.post({"model": NAME, "input": "a"}, headers={"traceparent": f"00-{'0' * 32}-{parent}-01"})
    assert reply.status_code == 200 and "traceresponse" not in reply.headers


# ---- The log ----

def test_no_text_in_the_log(start):
    server = start("--log-level", "debug")
    secret = "xylophone-quagmire"
    for body in ({"model": NAME, "input": secret}, {"model": NAME, "input": [secret, 5]}, {"model": secret, "input": secret},
                 {"model": NAME, "input": secret * 2000}, {"model": NAME, "input": secret, "encoding_format": secret}):
        server.post(body)
    requests.post(server.url + ROUTE, data="{" + secret, headers={"content-type": "application/json"}, timeout=PATIENCE)
    last = server.post({"model": NAME, "input": "x"}).headers["x-request-id"]
    server.logged_line(last)
    assert server.logged().count("event=request") >= 7
    assert secret not in server.logged()


def test_log_level(start):
    server = start()
    level = server.url + "/admin/log-level"

    def request(name):
        assert server.post({"model": NAME, "input": "a"}, headers={"x-request-id": name}).status_code == 200

    request("first")
    reply = requests.post(level, json={"level": "warn"}, timeout=PATIENCE)
    assert reply.status_code == 200 and reply.json() == {"level": "warn", "before": "info"}
    request("second")
    assert requests.get(server.url + "/admin/status", timeout=PATIENCE).json()["log"] == {"level": "warn", "dropped": 0}
    assert requests.post(level, json={"level": "info"}, timeout=PATIENCE).json() == {"level": "info", "before": "warn"}
    request("third")
    for wrong in {"level": "loud"}, {"level": 3}, {}, [], "info":
        assert requests.post(level, json=wrong, timeout=PATIENCE).status_code == 400
    assert requests.post(level, data="{", headers={"content-type": "application/json"}, timeout=PATIENCE).status_code == 400
    assert requests.post(level, data='{"level":"info"}', headers={"content-type": "text/plain"}, timeout=PATIENCE).status_code == 415
    server.logged_line('id="first"')
    server.logged_line('id="third"')
    assert 'id="second"' not in server.logged()


def test_json_log(start):
    server = start("--log-format", "json")
    server.post({"model": NAME, "input": ["a", "b"]}, headers={"x-request-id": "0123"})
    requests.get(server.url + "/v1/models/%22%5C%0A", timeout=PATIENCE)
    server.logged_line('"id":"0123"')
    server.logged_line("/v1/models/%22")
    lines = [json.loads(line) for line in server.logged().splitlines()]
    line = next(l for l in lines if l.get("id") == "0123")
    assert line["event"] == "request" and line["level"] == "info" and line["status"] == 200 and line["inputs"] == 2
    assert line["model"] == NAME and line["path"] == ROUTE and line["ms"] >= line["compute_ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_stuck_log(start):
    """Nobody reads standard error: requests are answered all the same, and the lines that were dropped are counted."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("EMBELLAMA_")}
    process = subprocess.Popen([BINARY, "serve", "--model-path", MODEL, "--port", "0"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=env, preexec_fn=end_with_parent)
    try:
        url = re.search(rb"http://[^ ]*:\d+", process.stdout.readline()).group().decode()
        with requests.Session() as session:
            name = "n" * 120
            for i in range(4000):
                assert session.get(url + "/health/live", headers={"x-request-id": f"{name}{i}"}, timeout=PATIENCE).ok
                if i % 500 == 499 and (dropped := session.get(url + "/admin/status", timeout=PATIENCE).json()["log"]["dropped"]):
                    break
            assert dropped > 0
            text = session.get(url + "/metrics", timeout=PATIENCE).text
            assert float(re.search(r"^embellama_log_dropped_total (\S+)$", text, re.M).group(1)) >= dropped
        process.terminate()
        told = process.communicate(timeout=PATIENCE)[1].decode()
        assert process.returncode == 0
        lines = told.splitlines()
        assert all(line.startswith("time=") for line in lines)
        assert sum(int(n) for n in re.findall(r"event=log_dropped lines=(\d+)", told)) >= dropped
    finally:
        process.kill()
        process.wait()


def test_admin_status(server):
    status = requests.get(server.url + "/admin/status", timeout=PATIENCE).json()
    assert status["status"] == "ok" and status["dimensions"] == 384 and status["connections"]["open"] >= 1
    assert status["log"]["level"] == "info" and status["bytes_held"] <= status["bytes_held_limit"]
    assert until(lambda: requests.get(server.url + "/admin/status", timeout=PATIENCE).json()["requests_held"] == 1)
