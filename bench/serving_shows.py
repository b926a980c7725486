"""The shows of serving.py: each runs servers and loads, and returns (rows, data).

A row is (what, measured, goal, whether it holds or None where it could not be measured).
"""
import json
import math
import os
import random
import signal
import subprocess
import threading
import time

import corpus
from serving_tools import MODEL_NAME, NOT_CACHED, Server, free_port, median, read_timeline

MB = 1 << 20
CLIENTS = 32
LATE = "x-request-timeout-ms: {}"


def not_measured(what, goal, why):
    return (what, why, goal, None)


def usual(seconds):
    """Options for servers whose requests may take long."""
    return [("--request-timeout", str(seconds)), ("--log-level", "warn")]


def kill_now_and_then(server, every, until, kills):
    """SIGKILL to a worker drawn by chance; kills gets (time, role)."""
    draw = random.Random(1)
    while time.monotonic() + every < until:
        time.sleep(every)
        workers = sorted(server.workers().items())
        if workers:
            pid, name = draw.choice(workers)
            os.kill(pid, signal.SIGKILL)
            kills.append((time.monotonic(), name))


# ---- 1: workers killed under load ----

def killed_workers(bench):
    goal = "0 failed requests, every vector the same bits"
    texts = bench.write_texts("mixed", corpus.texts(bench.args.corpus, "short", bench.args.model, 400) +
                              corpus.texts(bench.args.corpus, "p128", bench.args.model, 100))
    seconds = bench.args.seconds["killed"]
    with bench.serve(("--workers", "2"), ("--threads", "1"), *usual(60)) as server:
        if not server.workers():
            return [not_measured("a worker killed every 2 s", goal, "workers are no processes")], {}
        bench.measure(server, texts, requests=500, save_vectors=bench.path("alone"), header=NOT_CACHED)
        kills = []
        killer = threading.Thread(target=kill_now_and_then, args=(server, 2, time.monotonic() + seconds, kills))
        killer.start()
        report = bench.measure(server, texts, connections=CLIENTS, seconds=seconds, verify=bench.path("alone"),
                               header=NOT_CACHED)
        killer.join()
        restored = len(server.workers())
    what = f"{CLIENTS} connections for {seconds} s, {len(kills)} workers killed: failed of {report['requests']:,} requests"
    return [(what, f"{report['failed']}", goal, report["failed"] == 0 and len(kills) > 0),
            ("workers afterwards", f"{restored}", "2", restored == 2)], {"report": report, "kills": kills}


# ---- 2: an input that kills workers ----

def token_ids(bench, text):
    done = subprocess.run([bench.args.embellama, "tokenize", "--model", bench.args.model, "--input", "-"], input=text + "\n",
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[0])


def poison(bench):
    what, goal = "1 poison input among 1,000 concurrent good ones: failed requests", "1, answered 500"
    hooks = bench.args.hooks
    if not hooks or not os.path.exists(hooks):
        return [not_measured(what, goal, "no build with test hooks")], {}
    text = "this text ends the process that computes it"
    ids = token_ids(bench, text)
    ids = ids.get("ids", ids.get("tokens")) if isinstance(ids, dict) else ids
    good = corpus.texts(bench.args.corpus, "short", bench.args.model, 1000)
    texts = bench.write_texts("poison", good[:500] + [text] + good[500:])
    letters = bench.path("dead-letter")
    with bench.serve(("--dead-letter", letters), *usual(60), binary=hooks,
                     env={"EMB_TEST_POISON": " ".join(map(str, ids)) + "=abort"}) as server:
        report = bench.measure(server, texts, connections=len(good) + 1, requests=len(good) + 1, timeline=bench.path("lines"),
                               header=NOT_CACHED)
    lines = [line for line in read_timeline(bench.path("lines")) if line["status"] != 200]
    recorded = 0
    if os.path.exists(letters):
        with open(letters, encoding="utf-8") as f:
            recorded = sum(1 for line in f if line.strip())
    ok = report["failed"] == 1 and [(int(r["status"]), int(r["request"])) for r in lines] == [(500, 500)]
    return [(what, f"{report['failed']}" + "".join(f", answered {int(r['status'])}" for r in lines[:3]), goal, ok),
            ("entries in the dead-letter file", f"{recorded}", "1", recorded == 1)], {"report": report}


# ---- 3: short texts beside a large request ----

def long_texts(bench, n):
    """n texts of 512 tokens or a little less, no two the same: a text again begins at another of its words."""
    base = [text.split() for text in corpus.texts(bench.args.corpus, "p512", bench.args.model, 150)]
    out = []
    for i in range(n):
        words = base[i % len(base)]
        start = i // len(base) * 7 % len(words)
        out.append(" ".join(words[start:] + words[:start]))
    return out


def short_beside_bulk(bench):
    n = bench.args.seconds["bulk_texts"]
    short = bench.write_texts("short", corpus.texts(bench.args.corpus, "short", bench.args.model, 1000))
    texts = long_texts(bench, n)
    bulk = bench.write_texts("long", texts)
    one = bench.write_texts("one-long", texts[:20])
    headers = [NOT_CACHED, LATE.format(900000)]
    common = {"connections": 64, "rate": 50, "header": headers}
    whole = {"per_request": n, "requests": 1, "timeout": 900, "header": headers}
    alone, beside, rates_alone, rates_beside, lines = [], [], [], [], {}
    with bench.serve(*usual(900)) as server:
        single = bench.measure(server, one, requests=40, header=headers)["latency_ms"]["p50"]
        for i in range(bench.args.seconds["rounds"]):
            alone.append(bench.measure(server, short, seconds=bench.args.seconds["alone"], warm=1,
                                       timeline=bench.path("alone.csv"), **common))
            rates_alone.append(bench.measure(server, bulk, **whole)["texts_per_s"])
            running = bench.load(server, bulk, **whole)
            time.sleep(0.5)
            shorts = bench.load(server, short, seconds=900, timeline=bench.path("beside.csv"), **common)
            running.process.wait()
            shorts.stop_sending()
            beside.append(shorts.result())
            rates_beside.append(running.result()["texts_per_s"])
            for name in ("alone", "beside"):
                lines.setdefault(name, []).extend(line["latency_ms"] for line in read_timeline(bench.path(name + ".csv"))
                                                  if line["status"] == 200)
    p99 = {name: median([r["latency_ms"].get("p99", math.nan) for r in runs])
           for name, runs in (("alone", alone), ("beside", beside))}
    kept = median(rates_beside) / median(rates_alone)
    failed = sum(r["failed"] for r in alone + beside)
    bound = p99["alone"] + 1.5 * single
    rows = [
        (f"one short text every 20 ms, alone: p99, ms", f"{p99['alone']:.1f}", "", None),
        (f"beside a request of {n:,} texts of 512 tokens: p99, ms (one such text takes {single:.1f})", f"{p99['beside']:.1f}",
         f"≤ {bound:.1f} (alone + 1.5 texts)", p99["beside"] <= bound),
        ("with the express batch: alone + 10 ms", f"{p99['beside']:.1f}", f"≤ {p99['alone'] + 10:.1f}",
         p99["beside"] <= p99["alone"] + 10),
        ("the large request's throughput beside the short ones ÷ alone", f"{kept:.3f}", "≥ 0.9", kept >= 0.9),
        ("failed short requests", f"{failed}", "0", failed == 0)]
    return rows, {"single_ms": single, "p99_ms": p99, "alone": alone, "beside": beside, "bulk_alone": rates_alone,
                  "bulk_beside": rates_beside, "latencies_ms": {k: sorted(v) for k, v in lines.items()}}


# ---- 4: far more than can be served ----

PROBES_PER_S = 20  # beside the load, before it and after it

def probes_of(report, path):
    """The probing client's requests: at (monotonic), ms, status, retry_after (seconds, or None)."""
    return [{"at": report["began"] + line["at_s"], "ms": line["latency_ms"], "status": line["status"],
             "retry_after": line["retry_after_ms"] / 1e3 if line["retry_after_ms"] >= 0 else None}
            for line in sorted(read_timeline(path), key=lambda line: line["at_s"])]


def kept_promises(probes, end):
    """Of the probes that were told to come again at a time after the load's end: how many, and how many would then have been
    answered, as the next probe after that time shows."""
    told = kept = 0
    for p in probes:
        if p["status"] in (429, 503) and p["retry_after"] is not None and p["at"] + p["retry_after"] >= end:
            later = next((q for q in probes if q["at"] >= p["at"] + p["retry_after"]), None)
            if later:
                told += 1
                kept += later["status"] == 200
    return told, kept


def recovery(probes, end, usual_ms):
    """Seconds from the load's end until all probes are answered as fast as before."""
    bad = [p["at"] + p["ms"] / 1e3 for p in probes if p["at"] >= end and (p["status"] != 200 or p["ms"] > usual_ms)]
    pending = [p["at"] + p["ms"] / 1e3 for p in probes if p["at"] < end < p["at"] + p["ms"] / 1e3]
    return max(bad + pending + [end]) - end


def overload(bench):
    texts = bench.write_texts("p128", corpus.texts(bench.args.corpus, "p128", bench.args.model, 600))
    deadline, seconds = 1000, bench.args.seconds["overload"]
    headers = [NOT_CACHED, LATE.format(deadline)]
    with bench.serve(*usual(30)) as server:
        most = max((bench.measure(server, texts, connections=n, seconds=seconds, warm=1, header=headers) for n in (16, 32)),
                   key=lambda r: r["texts_per_s"])
        capacity = most["texts_per_s"]
        probing = bench.load(server, texts, connections=64, rate=PROBES_PER_S, seconds=seconds + 7, header=headers,
                             timeline=bench.path("probes"))
        time.sleep(2)
        load = bench.load(server, texts, connections=1000, rate=3 * capacity, seconds=seconds, warm=2,
                          header=headers)
        cpu, began = server.cpu(), time.monotonic()
        load.sent.wait()
        cpu = (server.cpu() - cpu) / (time.monotonic() - began)
        report = load.result()
        seen = probes_of(probing.result(), bench.path("probes"))
    start, end = load.events["started"], report["ended"]
    before = sorted(p["ms"] for p in seen if p["at"] < start and p["status"] == 200)
    usual_ms = 2 * before[int(0.99 * (len(before) - 1))] + 10 if before else math.nan
    took = recovery(seen, end, usual_ms)
    told, kept = kept_promises(seen, end)
    probed = sum(start + 2 <= p["at"] < end and p["status"] == 200 for p in seen) / (end - start - 2)
    ratio = (report["texts_per_s"] + probed) / capacity
    other = report["requests"] - report["refused"] - report["statuses"].get("200", 0)
    p99 = report["latency_ms"].get("p99", math.nan)
    refused_p99 = report["refused_ms"].get("p99", math.nan)
    silent = report["refused"] - report["refused_with_retry_after"]
    rows = [
        (f"p128 texts/s with {3 * capacity + PROBES_PER_S:.0f} offered ÷ the most ({capacity:.0f})", f"{ratio:.3f}", "≥ 0.95", ratio >= 0.95),
        (f"accepted requests' p99, ms (deadline {deadline})", f"{p99:.0f}", f"< {deadline}", p99 < deadline),
        ("neither answered nor refused with 429 or 503", f"{other}", "0", other == 0),
        (f"refusals' p99, ms ({report['refused']:,} of {report['requests']:,})", f"{refused_p99:.1f}", "≤ 50",
         refused_p99 <= 50),
        ("refusals without Retry-After", f"{silent}", "0", silent == 0 and report["refused"] > 0),
        ("refusals that were told a time after the load's end, and then found room", f"{kept} of {told}", "all",
         kept == told if told else None),
        ("seconds from the load's end until all is as before", f"{took:.2f}", "≤ 1", took <= 1),
        (f"CPU, cores: server {cpu:.2f}, client {report['client_cpu']:.2f}", "", "", None)]
    return rows, {"capacity": most, "overload": report, "server_cpu": cpu, "recovery_s": took, "probes": seen}


# ---- 5: throughput ----

def in_process(bench, texts, model):
    done = subprocess.run([bench.args.embellama, "bench", model, "--input", texts, "--input-format", "jsonl", "--seconds",
                           str(bench.args.seconds["in_process"]), "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["workloads"][0]["texts_per_s"]


def over_http(bench):
    seconds = bench.args.seconds["throughput"]
    texts = {name: bench.write_mixed(name, count)[0] for name, count in (("short", 2000), ("p128", 600))}
    rates = {}
    failed = 0
    with bench.serve(*usual(60)) as server:
        for _ in range(bench.args.seconds["rounds"]):
            for name, path in texts.items():
                rates.setdefault(("in process", name), []).append(in_process(bench, path, bench.args.model))
                for kind, options in (("bulk", {"connections": 4, "per_request": 64}),
                                      ("single", {"connections": CLIENTS})):
                    report = bench.measure(server, path, seconds=seconds, warm=1, header=NOT_CACHED, **options)
                    failed += report["failed"]
                    rates.setdefault((kind, name), []).append(report["texts_per_s"])
    rows = []
    for kind, what, goal, names in (("bulk", "4 clients, 64 texts a request", 0.92, ("short", "p128")),
                                    ("single", f"{CLIENTS} connections, a text a request", 0.75, ("short",))):
        for name in names:
            base, got = median(rates["in process", name]), median(rates[kind, name])
            rows.append((f"{name}: {what} ({got:,.0f} texts/s) ÷ embellama bench ({base:,.0f})", f"{got / base:.3f}",
                         f"≥ {goal}", got / base >= goal))
    rows.append(("failed requests", f"{failed}", "0", failed == 0))
    return rows, {"texts_per_s": {" ".join(k): v for k, v in rates.items()}}


def llama_server(bench):
    args = bench.args
    port = free_port()
    site = subprocess.run([args.serving_python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
                          capture_output=True, text=True, check=True).stdout.strip()
    threads = str(os.cpu_count())
    return Server("llama-cpp-python's server",
                  [args.llama_python, "-m", "llama_cpp.server", "--model", args.gguf, "--embedding", "true", "--n_ctx", "512",
                   "--n_threads", threads, "--n_threads_batch", threads, "--interrupt_requests", "false", "--verbose", "false",
                   "--host", "127.0.0.1", "--port", str(port)], port, {"PYTHONPATH": site})


def original_server(bench):
    port = free_port()
    return Server("the original", [bench.args.original, "--model-path", bench.args.gguf, "--model-name", MODEL_NAME,
                                   "--n-seq-max", "3", "--queue-size", "1000", "--log-level", "error", "--port", str(port)],
                  port)


def peers(bench):
    args, seconds = bench.args, bench.args.seconds["throughput"]
    goals = {"short": 4.5, "p128": 5.0}
    what = "Q8_0, {} connections, {}: times as fast as {}"
    starters = {"llama-cpp-python's server": (llama_server, args.llama_python),
                "the original (Rust crate)": (original_server, args.original)}
    if not args.gguf:
        return [not_measured(what.format(CLIENTS, name, peer), f"≥ {goals[name]}", "no GGUF file")
                for name in goals for peer in starters], {}
    texts = {name: bench.write_mixed(name, count) for name, count in (("short", 1000), ("p128", 300))}
    sides, missing, rates, reports = {"embellama": bench.serve(*usual(60), model=args.gguf)}, {}, {}, []
    try:
        for name, (start, needed) in starters.items():
            try:
                if not needed:
                    raise RuntimeError("not installed")
                sides[name] = start(bench)
                sides[name].pause()
            except (RuntimeError, OSError) as error:
                missing[name] = str(error).strip().splitlines()[-1][:80]
        for _ in range(args.seconds["rounds"]):
            for set_name, (path, verify) in texts.items():
                for side, server in sides.items():
                    if side in starters:
                        server.resume()
                    report = bench.measure(server, path, connections=CLIENTS, seconds=seconds, warm=1, verify=verify,
                                           cosine=0.99, header=NOT_CACHED, encoding="float")
                    rates.setdefault((side, set_name), []).append(report["texts_per_s"])
                    reports.append({"side": side, "set": set_name, **report})
                    if side in starters:
                        server.pause()
    finally:
        for server in sides.values():
            server.close()
    rows = []
    for set_name, goal in goals.items():
        ours = median(rates["embellama", set_name])
        for peer in starters:
            label = what.format(CLIENTS, set_name, peer)
            if peer in missing:
                rows.append(not_measured(label, f"≥ {goal}", missing[peer]))
                continue
            theirs = median(rates[peer, set_name])
            rows.append((f"{label} ({ours:,.0f} against {theirs:,.0f} texts/s)",
                         f"{ours / theirs:.2f}" if theirs else "it answered none", f"≥ {goal}",
                         ours >= goal * theirs if theirs else None))
    return rows, {"texts_per_s": {" ".join(k): v for k, v in rates.items()}, "reports": reports}


# ---- 6: what was computed before ----

def cached(bench):
    seconds = bench.args.seconds["cached"]
    texts = bench.write_texts("cached", corpus.texts(bench.args.corpus, "short", bench.args.model, 100))
    rates, per_core, failed = {}, {}, 0
    with bench.serve(*usual(60)) as server:
        body = bench.path("answer")
        with open(bench.path("cached"), encoding="utf-8") as f:
            first = json.loads(f.readline())["text"]
        with open(body, "wb") as f:
            f.write(server.embed(first)[2])
        bench.measure(server, texts, requests=200)
        with Bare(bench.args.bare, body) as bare:
            for _ in range(bench.args.seconds["rounds"]):
                for name, side in (("cached", server), ("bare", bare)):
                    # The bare program gives all texts one vector.
                    verify = "first" if name == "cached" else "none"
                    report = bench.measure(side, texts, connections=CLIENTS, seconds=seconds, warm=0.5, verify=verify)
                    failed += report["failed"]
                    rates.setdefault(name, []).append(report["requests_per_s"])
                    per_core.setdefault(name, []).append(report["requests_per_s"] / max(report["server_cpu"], 1e-9))
    ratio = median(rates["cached"]) / median(rates["bare"])
    cores = median(per_core["cached"]) / median(per_core["bare"])
    return [(f"cached answers/s ({median(rates['cached']):,.0f}) ÷ a bare libuv + llhttp program "
             f"({median(rates['bare']):,.0f})", f"{ratio:.2f}", "≥ 0.3", ratio >= 0.3),
            ("the same, for each second of the server's CPU time", f"{cores:.2f}", "", None),
            ("failed requests", f"{failed}", "0", failed == 0)], {"requests_per_s": rates, "per_core": per_core}


class Bare(Server):
    def __init__(self, program, body):
        self.program, self.body = program, body
        super().__init__("bare_http", [program, body], None)

    def wait_ready(self, seconds):
        while not self.logged() and time.monotonic() - self.began < seconds:
            time.sleep(0.01)
        self.port = json.loads(self.logged())["port"]


# ---- 7: many workers ----

def arena_bytes(server):
    """Private anonymous memory of each worker process."""
    out = []
    for pid in server.workers():
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            out.append(next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss_Anon:")))
    return out


def many_workers(bench):
    texts = bench.write_texts("p128", corpus.texts(bench.args.corpus, "p128", bench.args.model, 600))
    pss, rates, arenas = {}, {}, []
    workers = (1, 2, 4)
    for n in workers:
        with bench.serve(("--workers", str(n)), ("--threads", "1"), *usual(60)) as server:
            if not server.workers():
                return [not_measured("memory of one more worker, MB", "≤ 16 and the arena", "workers are no processes")], {}
            bench.measure(server, texts, connections=4, per_request=64, seconds=2, header=NOT_CACHED)
            pss[n] = server.pss()
            arenas += arena_bytes(server)
    more = (pss[workers[-1]] - pss[1]) / (workers[-1] - 1)
    sides = {n: bench.serve(("--workers", str(n)), ("--threads", "1"), *usual(60)) for n in (1, 2)}
    try:
        for _ in range(bench.args.seconds["rounds"]):
            for n, server in sides.items():
                report = bench.measure(server, texts, connections=4, per_request=64, seconds=bench.args.seconds["throughput"],
                                       warm=1, header=NOT_CACHED)
                rates.setdefault(n, []).append(report["texts_per_s"])
    finally:
        for server in sides.values():
            server.close()
    ratio = median(rates[2]) / median(rates[1])
    arena = median(arenas)
    return [(f"memory (PSS) of one more worker, MB; {arena / MB:.1f} of them its own anonymous pages, arena included",
             f"{more / MB:.1f}", f"≤ 16 and the arena", more <= 16 * MB + arena),
            ("texts/s of 2 workers of one thread ÷ 1", f"{ratio:.2f}", "≥ 1.9", ratio >= 1.9)], {
                "pss": pss, "anonymous": arenas, "texts_per_s": rates}


# ---- 8: starting ----

def gap_around(lines, began, at):
    """Seconds without an answer that begin at or just after a kill."""
    ends = sorted(began + line["at_s"] + line["latency_ms"] / 1e3 for line in lines if line["status"] == 200)
    near = [t for t in ends if at - 0.2 <= t <= at + 3]
    return max((b - a for a, b in zip(near, near[1:]) if b >= at), default=math.nan)


def starting(bench):
    rows, data = [], {}
    short = bench.write_texts("short", corpus.texts(bench.args.corpus, "short", bench.args.model, 500))
    times = []
    for _ in range(3):
        with bench.serve(*usual(60)) as server:
            times.append(server.ready_after)
    rows.append(("ready after, s (the default model)", f"{median(times):.2f}", "< 1", median(times) < 1))
    with bench.serve(("--workers", "1"), *usual(60)) as server:
        goal = "< 100"
        what = "a killed worker: ms without an answer, at most"
        if not server.workers():
            rows.append(not_measured(what, goal, "workers are no processes"))
        else:
            kills, seconds = [], bench.args.seconds["restarts"]
            load = bench.load(server, short, connections=4, seconds=seconds, timeline=bench.path("gaps"), header=NOT_CACHED)
            kill_now_and_then(server, 1, time.monotonic() + seconds, kills)
            report = load.result()
            gaps = [gap_around(read_timeline(bench.path("gaps")), report["began"], at) * 1e3 for at, _ in kills]
            rows.append((f"a killed worker: ms without an answer, median of {len(gaps)}", f"{median(gaps):.0f}", goal,
                         median(gaps) < 100))
            data.update(gaps_ms=gaps, report=report)
    if bench.args.large:
        with bench.serve(*usual(60), model=bench.args.large) as server:
            size = sum(os.path.getsize(os.path.join(bench.args.large, f)) for f in os.listdir(bench.args.large))
            rows.append((f"ready after, s (a model of {size / 1e9:.1f} GB)", f"{server.ready_after:.2f}", "< 10",
                         server.ready_after < 10))
    data["ready_s"] = times
    return rows, data


SHOWS = {
    "1": ("Workers killed under load", killed_workers),
    "2": ("An input that ends its worker", poison),
    "3": ("Short texts beside a large request", short_beside_bulk),
    "4": ("Three times what can be served", overload),
    "5a": ("Throughput over HTTP and in process", over_http),
    "5b": ("Beside other servers", peers),
    "6": ("Cached answers", cached),
    "7": ("Workers and memory", many_workers),
    "8": ("Starting", starting),
}
