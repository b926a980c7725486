"""One program under test as the driver sees it: started, asked, and stopped (SIGSTOP) whenever it is not its turn."""
import ctypes
import json
import os
import select
import signal
import subprocess
import tempfile
import time

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
TICKS = os.sysconf("SC_CLK_TCK")


class Gone(Exception):
    """The program ended, or did not answer in time; says why."""


def cpu_seconds_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def die_with_parent():
    """A stopped program would stay for ever when the driver is killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Side:
    """key: its name in results. info: what it said of itself. missing: why it takes no part, or None."""

    def __init__(self, key, command, env=None, timeout=1800):
        self.key = key
        self.command = command
        self.env = env
        self.timeout = timeout
        self.info = {}
        self.missing = None
        self.process = None

    def start(self):
        self.errors = tempfile.TemporaryFile()
        self.pending = b""
        try:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                            env={**os.environ, **(self.env or {})}, preexec_fn=die_with_parent)
            self.info = self._answer()
            self.process.send_signal(signal.SIGSTOP)
        except (OSError, Gone) as error:
            self._lose(str(error))
        return self

    def ask(self, line):
        """Its turn: (reply, CPU seconds it used). Raises Gone."""
        try:
            before = cpu_seconds_of(self.process.pid)
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
            reply = self._answer()
            used = cpu_seconds_of(self.process.pid) - before
            self.process.send_signal(signal.SIGSTOP)
            return reply, used
        except (OSError, Gone) as error:
            self._lose(str(error))
            raise Gone(self.missing) from error

    def cpu_seconds(self):
        return cpu_seconds_of(self.process.pid) if self.process else 0.0

    def close(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def _answer(self):
        end = time.monotonic() + self.timeout
        fd = self.process.stdout.fileno()
        while b"\n" not in self.pending:
            if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                raise Gone(f"no answer in {self.timeout} s")
            data = os.read(fd, 1 << 16)
            if not data:
                raise Gone(f"ended with status {self.process.wait()}")
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return json.loads(line)

    def _lose(self, reason):
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().split("\n")[-1]
        self.missing = f"{said or reason}"
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
