"""What the shows of serving.py are made with: servers as processes, the load client, and looks at both from outside."""
import ctypes
import glob
import http.client
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import numpy as np

import corpus

TICKS = os.sysconf("SC_CLK_TCK")
MODEL_NAME = "all-MiniLM-L6-v2"
NOT_CACHED = "cache-control: no-cache, no-store"
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def end_with_parent():
    """In the child: no server outlives a driver that was killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def process_tree(pid):
    """pid and all its descendants that are there."""
    try:
        children = []
        for path in glob.glob(f"/proc/{pid}/task/*/children"):
            with open(path, encoding="ascii") as f:
                children += map(int, f.read().split())
    except OSError:
        return [pid]
    return [pid] + [p for child in children for p in process_tree(child)]


def role(pid):
    """A process's argv[0], as ps shows it; "" once it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def cpu_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    except OSError:
        return 0.0


def pss_bytes(pid):
    """Proportional set size: pages that n processes map count for a share of 1/n."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))


def busy_seconds():
    """CPU time that the machine spent so far, on whatever, and what its host took away."""
    with open("/proc/stat", encoding="utf-8") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


class Server:
    """A process that answers POST /v1/embeddings on a port of its own."""

    def __init__(self, name, command, port, env=None, ready_within=120):
        self.name, self.port = name, port
        self.log = tempfile.TemporaryFile()
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env={**os.environ, **(env or {})}, start_new_session=True,
                                        preexec_fn=end_with_parent)
        try:
            self.wait_ready(ready_within)
        except BaseException:
            self.close()
            raise

    def wait_ready(self, seconds):
        while True:
            try:
                if self.request("GET", self.ready_path())[0] == 200:
                    self.ready_after = time.monotonic() - self.began
                    return
            except (OSError, http.client.HTTPException):
                pass
            if self.process.poll() is not None or time.monotonic() - self.began > seconds:
                raise RuntimeError(f"{self.name} did not get ready: {self.logged()[-500:]}")
            time.sleep(0.005)

    def ready_path(self):
        return "/v1/models"

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def request(self, method, path, body=None, headers=None, timeout=60):
        """(status, headers with lower-case names, bytes)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"content-type": "application/json", **(headers or {})})
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def embed(self, texts, headers=None, timeout=60):
        return self.request("POST", "/v1/embeddings", {"model": MODEL_NAME, "input": texts, "encoding_format": "base64"},
                            headers, timeout)

    def processes(self):
        return {pid: role(pid) for pid in process_tree(self.process.pid)}

    def cpu(self):
        return sum(cpu_seconds(pid) for pid in process_tree(self.process.pid))

    def pss(self):
        return sum(pss_bytes(pid) for pid in process_tree(self.process.pid))

    def pause(self):
        """Until resume, so that no waiting thread of it disturbs another server's turn."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def close(self):
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Embellama(Server):
    """Our own. Options that this build does not know are left out, so that a show can ask for what it needs."""

    known = {}

    def __init__(self, binary, model, *flags, env=None):
        if binary not in self.known:
            text = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True, check=True).stdout
            self.known[binary] = set(re.findall(r"--[a-z][a-z-]*", text))
        port = free_port()
        usable = [part for flag in flags if flag[0] in self.known[binary] for part in flag]
        super().__init__("embellama", [binary, "serve", "--model-path", model, "--model-name", MODEL_NAME, "--port",
                                       str(port), *usable], port, env)

    def ready_path(self):
        return "/health/ready" if "--drain-timeout" in next(iter(self.known.values())) else "/health"

    def workers(self):
        """{pid: role} of the worker processes."""
        return {pid: name for pid, name in self.processes().items() if name.startswith("embellama: worker")}


class Load:
    """The load client, running. Options are its own, with underscores; a list repeats one."""

    def __init__(self, program, port, texts, **options):
        arguments = [program, "--port", str(port), "--texts", texts]
        for name, value in options.items():
            for one in value if isinstance(value, (list, tuple)) else [value]:
                arguments += ["--" + name.replace("_", "-"), str(one)]
        self.busy = busy_seconds()
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
        self.events = {}
        self.report = None
        self.sent = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "event" in said:
                self.events[said["event"]] = said["monotonic"]
            else:
                self.report = said
            if "sent" in self.events:
                self.sent.set()
        self.sent.set()

    def stop_sending(self):
        self.process.send_signal(signal.SIGINT)

    def result(self):
        self.process.wait()
        self.reader.join()
        if self.process.returncode != 0 or self.report is None:
            raise RuntimeError(f"the load client ended with status {self.process.returncode}")
        self.report["ended"] = self.events["sent"]
        return self.report


class Bench:
    """Everything the shows share: programs, files, lengths of time, and how disturbed the machine was."""

    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.disturbed = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def write_texts(self, name, texts):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        return path

    def write_mixed(self, name, count):
        """A set's texts in an order of chance, always the same one, so that whoever takes only the first of them takes as long ones as
        whoever takes all; and their reference vectors in that order ("none" without a corpus). Two paths."""
        texts = corpus.texts(self.args.corpus, name, self.args.model, count)
        order = list(range(len(texts)))
        random.Random(name).shuffle(order)
        reference = corpus.reference(self.args.corpus, name)
        known = reference is not None and len(reference) >= len(texts)
        if known:
            np.save(self.path(f"{name}.npy"), reference[order])
        return self.write_texts(name, [texts[i] for i in order]), self.path(f"{name}.npy") if known else "none"

    def serve(self, *flags, model=None, env=None, binary=None):
        return Embellama(binary or self.args.embellama, model or self.args.model, *flags, env=env)

    def load(self, server, texts, **options):
        return Load(self.args.load, server.port, texts, **options)

    def measure(self, server, texts, **options):
        """One load from start to end. The report, with the server's CPU use in cores and what else used the machine."""
        cpu, busy, began = server.cpu(), busy_seconds(), time.monotonic()
        report = self.load(server, texts, **options).result()
        seconds = time.monotonic() - began
        used = server.cpu() - cpu
        own = used + report["client_cpu"] * seconds
        report["server_cpu"] = used / seconds
        if seconds > 1:
            self.disturbed.append(max(0.0, busy_seconds() - busy - own) / seconds / os.cpu_count())
        return report


def read_timeline(path):
    """Lists of floats by column, and the outcome as text."""
    with open(path, encoding="ascii") as f:
        names = f.readline().strip().split(",")
        rows = [line.strip().split(",") for line in f]
    return [{name: value if name == "outcome" else float(value) for name, value in zip(names, row)} for row in rows]


def median(values):
    return statistics.median(values) if values else float("nan")
