"""The server's processes: what each is called and may do, what its death, its stopping or a crash of its own does to requests, and how
all of them end. The command that goes wrong on purpose is built as tests/pool/embellama_hooks."""
import concurrent.futures as cf
import os
import re
import signal
import subprocess
import time

import pytest

from processes import NOT_CACHED, QUIET, SANITIZED, api, load, processes, report, role, tree, workers, write_texts

HOOKS = os.path.join(os.environ["EMB_BUILD_DIR"], "tests", "pool", "embellama_hooks")
LOADER = "embellama: loader"
FRONT = "embellama: front"
NO_STORE = {"cache-control": "no-cache, no-store"}


@pytest.fixture
def hooks(monkeypatch):
    """hooks(EMB_TEST_...=...): servers started from now on can go wrong so."""
    if not os.path.exists(HOOKS):
        pytest.skip(f"the command with hooks is not at {HOOKS}")

    def use(**env):
        monkeypatch.setattr(api, "BINARY", HOOKS)
        for name, value in env.items():
            monkeypatch.setenv(name, value)

    return use


def ids_of(text):
    done = subprocess.run([os.environ["EMB_BINARY"], "tokenize", "--model", api.MODEL, text], capture_output=True, text=True, check=True)
    return " ".join(re.search(r'"ids":\s*\[([^]]*)\]', done.stdout).group(1).replace(",", " ").split())


def field(pid, file, name):
    with open(f"/proc/{pid}/{file}", encoding="ascii") as f:
        return next(line for line in f if line.startswith(name))[len(name):].strip(" :\t\n")


def content(pid, file):
    with open(f"/proc/{pid}/{file}", "rb") as f:
        return f.read()


def gone(pids):
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def post(server, texts, **headers):
    return server.post({"model": api.NAME, "input": texts}, headers={**NO_STORE, **headers})


def one_front(server, but=None):
    """The front's pid, once there is one other than but that answers."""
    def there():
        pids = [pid for pid in processes(server, FRONT) if pid != but]
        try:
            return len(pids) == 1 and server.health()["ready"]
        except api.requests.RequestException:
            return False
    assert api.until(there, 60)
    (pid,) = processes(server, FRONT)
    return pid


# ---- What they are


def test_names_and_rights(start):
    server = start("--workers", "2", "--threads", "1", "--api-key", "a-secret-key", *QUIET)
    pids = {role(pid): pid for pid in tree(server.process.pid)}
    assert set(pids) == {"embellama: supervisor", FRONT, "embellama: worker 0", "embellama: worker 1"}
    assert pids["embellama: supervisor"] == server.process.pid
    for name, pid in pids.items():
        assert content(pid, "cmdline").rstrip(b"\0") == name.encode(), "nothing but the name: no key, no path"
        assert field(pid, "status", "Name") == "embellama"
        assert content(pid, "coredump_filter").strip() == b"00000000"
        assert field(pid, "limits", "Max core file size").split()[0] == "0"
        ignored = int(field(pid, "status", "SigIgn"), 16)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            assert ignored & 1 << (number - 1), "told by the supervisor, not by whoever signals the whole group"
    for i in range(2):
        worker = pids[f"embellama: worker {i}"]
        assert os.getpriority(os.PRIO_PROCESS, worker) == os.getpriority(os.PRIO_PROCESS, pids[FRONT]) + 5
        assert int(content(worker, "oom_score_adj")) > int(content(pids[FRONT], "oom_score_adj"))
    assert len({os.readlink(f"/proc/{pid}/exe") for pid in pids.values()}) == 1


def test_core_dumps(start):
    server = start("--core-dumps", *QUIET)
    own = content("self", "coredump_filter")
    assert all(content(pid, "coredump_filter") == own for pid in tree(server.process.pid))


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's own memory would be measured")
def test_workers_share_the_weights(start):
    """Each worker more costs at most 16 MB, its arena included for a model of this size."""
    sizes = {}
    for n in (1, 4):
        server = start("--workers", str(n), "--threads", "1", *QUIET)
        assert post(server, [f"{i} " + "word " * 200 for i in range(64)]).status_code == 200
        assert api.until(lambda: len(workers(server)) == n)
        sizes[n] = sum(int(field(pid, "smaps_rollup", "Pss").split()[0]) for pid in workers(server)) / 1024
    assert (sizes[4] - sizes[1]) / 3 <= 16, sizes


def test_workers_on_nodes(start, tmp_path):
    """--numa auto, with two simulated nodes: each worker has the processors of one, the front all."""
    every = sorted(os.sched_getaffinity(0))
    if len(every) < 2:
        pytest.skip("one processor makes one node")
    nodes = [every[:1], every[1:]]
    (tmp_path / "online").write_text("0-1\n")
    for i, node in enumerate(nodes):
        (tmp_path / f"node{i}").mkdir()
        (tmp_path / f"node{i}" / "cpulist").write_text(",".join(map(str, node)) + "\n")
    for flags, expected in (((), [every, every]), (("--numa", "auto"), nodes)):
        server = start("--workers", "2", "--threads", "1", *flags, *QUIET, EMBELLAMA_SYSFS_NODES=str(tmp_path))
        pids = {role(pid): pid for pid in tree(server.process.pid)}
        assert [sorted(os.sched_getaffinity(pids[f"embellama: worker {i}"])) for i in range(2)] == expected
        assert sorted(os.sched_getaffinity(pids[FRONT])) == every
        assert post(server, "computed").status_code == 200


# ---- Inputs that end their worker


@pytest.mark.parametrize("how", ["segv", "abort", "exit", "spin"])
def test_poison(start, hooks, how):
    """Exactly the input that ends workers fails; those beside it, in its request and in others, are answered."""
    poison = "a text that nobody survives"
    hooks(EMB_TEST_POISON=f"{ids_of(poison)}={how}")
    server = start("--workers", "2", "--threads", "1", "--stuck-timeout", "1", "--log-level", "error")
    front = one_front(server)
    want = server.embed("a text of no consequence").tobytes()
    with cf.ThreadPoolExecutor(12) as pool:
        good = [pool.submit(post, server, [f"text {k} of request {i}" for k in range(8)]) for i in range(30)]
        bad = pool.submit(post, server, poison)
        assert [g.result().status_code for g in good] == [200] * 30
    reply = bad.result()
    assert reply.status_code == 500, reply.text
    assert reply.headers["x-should-retry"] == "false"
    assert one_front(server) == front, "the front is the same"
    assert api.until(lambda: len(workers(server)) == 2)
    before = workers(server)
    again = post(server, poison)
    assert again.status_code == 500 and workers(server) == before, "a retry kills nobody"
    assert server.embed("a text of no consequence").tobytes() == want


def test_workers_that_cannot_start(hooks):
    """They die before their first answer: the server ends, and says why."""
    hooks(EMB_TEST_POISON="101 102=abort")
    done = subprocess.run([HOOKS, "serve", "--model", api.MODEL, "--port", "0"], capture_output=True, text=True, timeout=api.PATIENCE)
    assert done.returncode == 1 and done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("embellama: worker 0 cannot start: it ") and ("SIGABRT" in last or SANITIZED), done.stderr
    assert done.stderr.count("event=restart_delayed") >= 2, "each try waits longer"


def test_crash_loop_backs_off(start):
    """Killed again and again, a worker is started at once four times, then less and less often; requests wait and are answered."""
    server = start("--workers", "1", "--threads", "1", "--log-level", "warn")
    killed = []
    for _ in range(5):
        assert api.until(lambda: server.health()["workers_ready"] == 1, 60)
        assert post(server, "between two deaths").status_code == 200
        killed += workers(server)
        os.kill(killed[-1], signal.SIGKILL)
        assert api.until(lambda: killed[-1] not in workers(server))
    assert post(server, "still here").status_code == 200
    assert len(set(killed)) == 5
    if not SANITIZED:  # five within ten seconds
        assert server.logged().count("event=restart_delayed") == 1, server.logged()


# ---- The loader


@pytest.mark.parametrize("how, says", [("segv", "died of SIGSEGV"), ("stop", "was stopped from outside and killed")])
def test_loader_that_dies(hooks, how, says):
    hooks(EMB_TEST_LOADER=how)
    done = subprocess.run([HOOKS, "serve", "--model", api.MODEL, "--port", "0"], capture_output=True, text=True, timeout=api.PATIENCE)
    assert done.returncode == 1 and done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("embellama: cannot load the model ") and last.endswith(says), done.stderr


class Loading:
    """A server whose loader never ends."""

    def __enter__(self):
        self.process = subprocess.Popen([HOOKS, "serve", "--model", api.MODEL, "--port", "0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, preexec_fn=api.end_with_parent)
        assert api.until(lambda: processes(self, LOADER))
        (self.loader,) = processes(self, LOADER)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def test_killed_loader(hooks):
    hooks(EMB_TEST_LOADER="spin")
    with Loading() as server:
        os.kill(server.loader, signal.SIGKILL)
        out, err = server.process.communicate(timeout=api.PATIENCE)
        assert server.process.returncode == 1 and out == ""
        assert err.strip().splitlines()[-1].endswith("the process that read it was killed by SIGKILL"), err


def test_stopped_while_loading(hooks):
    hooks(EMB_TEST_LOADER="spin")
    with Loading() as server:
        server.process.terminate()
        assert server.process.wait(api.PATIENCE) == 0
        assert gone([server.loader])


def test_supervisor_killed_while_loading(hooks):
    hooks(EMB_TEST_LOADER="spin")
    with Loading() as server:
        server.process.kill()
        assert api.until(lambda: gone([server.loader]), 10)


# ---- Stopped by a signal


def test_stopped_front(start):
    server = start(*QUIET)
    front = one_front(server)
    os.kill(front, signal.SIGSTOP)
    assert api.until(lambda: gone([front]), 30)
    one_front(server, but=front)
    assert post(server, "answered").status_code == 200


def test_front_whose_loop_stands_still_is_not_mistaken(start):
    """An idle server is not stuck, however short the time that makes one so."""
    server = start("--stuck-timeout", "1", *QUIET)
    before = tree(server.process.pid)
    time.sleep(4)
    assert tree(server.process.pid) == before


def test_stopped_supervisor(start):
    """Everything goes on without it; what died meanwhile is put back when it runs again."""
    server = start("--workers", "2", "--threads", "1", *QUIET)
    os.kill(server.process.pid, signal.SIGSTOP)
    assert post(server, "one").status_code == 200
    dead = workers(server)[0]
    os.kill(dead, signal.SIGKILL)
    for i in range(5):
        assert post(server, [f"{i} {k}" for k in range(20)]).status_code == 200
    os.kill(server.process.pid, signal.SIGCONT)
    assert api.until(lambda: len(workers(server)) == 2 and dead not in workers(server))
    assert api.until(lambda: server.health()["workers_ready"] == 2)


def test_killed_supervisor_and_a_worker_that_hangs(start):
    """Nobody puts an end to the worker or to the stop any more: the front does, when --drain-timeout is over."""
    server = start("--workers", "1", "--threads", "1", "--drain-timeout", "2", *QUIET)
    front, worker = one_front(server), workers(server)[0]
    os.kill(server.process.pid, signal.SIGSTOP)
    os.kill(worker, signal.SIGSTOP)
    try:
        with cf.ThreadPoolExecutor(1) as pool:
            request = pool.submit(post, server, "never answered")
            assert api.until(lambda: server.health()["queue"]["running"] > 0)
            server.process.kill()
            with pytest.raises(api.requests.ConnectionError):
                request.result(api.PATIENCE)
        assert api.until(lambda: gone([front]), 10)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert api.until(lambda: gone([worker]), 10)


def test_killed_worker_while_nobody_asks(start):
    server = start("--workers", "1", *QUIET)
    for _ in range(3):
        (pid,) = workers(server)
        os.kill(pid, signal.SIGKILL)
        assert api.until(lambda: workers(server) not in ([], [pid]))
        assert post(server, "next").status_code == 200


# ---- The end


def slow_request(pool, server, texts=400):
    """One that takes a while and is being computed."""
    slow = pool.submit(post, server, [f"{i} " + "word " * 200 for i in range(texts)])
    assert api.until(lambda: server.health()["queue"]["running"] > 0)
    return slow


def test_signal_to_the_whole_group(start):
    """As a terminal or a service manager sends it: nobody dies of it, what is held is answered."""
    server = start("--workers", "2", "--threads", "1", *QUIET)
    everybody = tree(server.process.pid)
    with cf.ThreadPoolExecutor(1) as pool:
        slow = slow_request(pool, server, 60)
        os.killpg(server.process.pid, signal.SIGTERM)
        assert slow.result().status_code == 200
    assert server.wait() == 0, server.logged()
    assert gone(everybody)


def test_second_signal(start):
    server = start("--workers", "1", *QUIET)
    everybody = tree(server.process.pid)
    with cf.ThreadPoolExecutor(1) as pool:
        slow = slow_request(pool, server, 2000)
        server.terminate()
        assert api.until(lambda: refused(server))
        server.terminate()
        assert server.wait() == 1
        with pytest.raises(api.requests.RequestException):
            slow.result()
    assert gone(everybody)
    assert "second signal" in server.logged()


def refused(server):
    try:
        api.requests.get(server.url + "/health", timeout=5)
        return False
    except api.requests.RequestException:
        return True


def test_drain_timeout(start):
    server = start("--workers", "1", "--drain-timeout", "1", *QUIET)
    everybody = tree(server.process.pid)
    with cf.ThreadPoolExecutor(1) as pool:
        slow = slow_request(pool, server, 2000)
        server.terminate()
        assert server.wait() == 1
        with pytest.raises(api.requests.RequestException):
            slow.result()
    assert gone(everybody)
    assert "--drain-timeout" in server.logged()


def test_drain_under_load_loses_nothing(start, tmp_path):
    """What was accepted is answered, right, even while workers die; later connections are refused."""
    server = start("--workers", "2", "--threads", "1", *QUIET)
    texts = write_texts(tmp_path / "texts", [f"{i} " + "word " * (i % 50) for i in range(100)])
    client = load(server, texts, connections=16, seconds=4, header=NOT_CACHED)
    time.sleep(1)
    os.kill(workers(server)[0], signal.SIGKILL)
    server.terminate()
    assert server.wait() == 0, server.logged()
    outcomes = report(client)["outcomes"]
    assert outcomes["answered"] > 16 and outcomes["reset"] == outcomes["wrong"] == outcomes["malformed"] == 0, outcomes


def test_front_killed_while_draining(start):
    """What it held is lost, and the exit code says so; nothing is left behind."""
    server = start("--workers", "1", *QUIET)
    everybody = tree(server.process.pid)
    front = one_front(server)
    with cf.ThreadPoolExecutor(1) as pool:
        slow = slow_request(pool, server, 2000)
        server.terminate()
        assert api.until(lambda: refused(server))
        os.kill(front, signal.SIGKILL)
        assert server.wait() == 1
        with pytest.raises(api.requests.RequestException):
            slow.result()
    assert gone(everybody)
