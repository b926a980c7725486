"""embed over long inputs: memory, killing and resuming, signals, readers that go away."""
import os
import re
import resource
import signal
import subprocess
import sys
import time
import unittest

from cli_support import BINARY, environment, run, skip_without_model, temporary

FAST = ["--threads", "1", "--truncate", "--max-length", "4"]
exact_memory = unittest.skipIf(os.environ.get("EMB_SANITIZE"), "a sanitizer keeps memory of its own")
MANY = 2500 if os.environ.get("EMB_SANITIZE") else 5000  # more than two windows of texts
FORMATS = ["jsonl", "npy", "f32"]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def lines(n):
    return "".join(f"text number {i} of many\n" for i in range(n)).encode()


class Resume(unittest.TestCase):
    def args(self, d, form, name="/out"):
        return ["embed", "-i", d + "/in", "-o", d + name, "--output-format", form, *FAST]

    def test_torn_anywhere(self):
        """Wherever it was cut, a file goes on to be the whole one."""
        with temporary() as d:
            write(d + "/in", lines(12))
            for form in FORMATS:
                self.assertEqual(run(*self.args(d, form)).returncode, 0)
                whole = read(d + "/out")
                cuts = [0, 1, 127, 128 + 1536 * 5, 128 + 1536 * 5 + 7, len(whole) - 1, len(whole)]
                for cut in cuts:
                    with self.subTest(form=form, cut=cut):
                        write(d + "/torn", whole[:cut])
                        r = run(*self.args(d, form, "/torn"), "--resume")
                        if form == "npy" and 0 < cut < 128:
                            self.assertEqual((r.returncode, read(d + "/torn")), (1, whole[:cut]), r.stderr)
                        else:
                            self.assertEqual((r.returncode, r.stderr), (0, b""))
                            self.assertTrue(read(d + "/torn") == whole)

    def test_killed(self):
        with temporary() as d:
            write(d + "/in", lines(MANY))
            for form in FORMATS:
                with self.subTest(form=form):
                    self.assertEqual(run(*self.args(d, form)).returncode, 0)
                    whole = read(d + "/out")
                    kills = 0
                    for share in 0.1, 0.3, 0.6:
                        kills += self.kill_at(d, form, share * len(whole))
                    self.assertGreater(kills, 0)
                    self.assertLess(0, os.path.getsize(d + "/killed"))
                    self.assertEqual(run(*self.args(d, form, "/killed"), "--resume").returncode, 0)
                    self.assertTrue(read(d + "/killed") == whole, "not the bytes of a run that was left alone")
                    os.unlink(d + "/killed")

    def kill_at(self, d, form, size):
        """Resumes and kills once the output has this size. Returns whether the kill came before the end."""
        out = d + "/killed"
        p = subprocess.Popen([BINARY, *self.args(d, form, "/killed"), "--resume"], env=environment())
        while p.poll() is None and not (os.path.exists(out) and os.path.getsize(out) >= size):
            time.sleep(0.002)
        p.kill()
        return p.wait() == -signal.SIGKILL

    def test_interrupted(self):
        for number in signal.SIGINT, signal.SIGTERM:
            with temporary() as d:
                write(d + "/in", lines(MANY))
                p = subprocess.Popen([BINARY, *self.args(d, "npy")], stderr=subprocess.PIPE, env=environment())
                while p.poll() is None and not (os.path.exists(d + "/out") and os.path.getsize(d + "/out") > 200):
                    time.sleep(0.002)
                p.send_signal(number)
                said = p.communicate()[1].decode()
                self.assertEqual(p.returncode, 128 + number, said)
                done = int(re.search(r"stopped after (\d+) texts; --resume goes on", said)[1])
                self.assertTrue(0 < done < MANY)
                self.assertEqual(os.path.getsize(d + "/out"), 128 + done * 4 * 384)
                self.assertIn(f"({done}, 384)".encode(), read(d + "/out")[:128])

    def test_interrupted_while_waiting_for_input(self):
        p = subprocess.Popen([BINARY, "embed", "-i", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=environment())
        time.sleep(1.5)
        p.send_signal(signal.SIGINT)
        out, said = p.communicate(timeout=60)
        self.assertEqual((p.returncode, out), (130, b""))
        self.assertIn(b"stopped after 0 texts", said)

    def test_refuses_what_is_not_its_own(self):
        with temporary() as d:
            write(d + "/in", lines(3))
            for form, content in ("jsonl", b"my diary\n"), ("jsonl", b"my diary"), ("npy", b"x" * 500):
                write(d + "/out", content)
                r = run(*self.args(d, form), "--resume")
                self.assertEqual((r.returncode, read(d + "/out")), (1, content))
                self.assertIn(b"cannot resume", r.stderr)

    def test_other_dimensions_and_shorter_input(self):
        with temporary() as d:
            write(d + "/in", lines(3))
            for form in "jsonl", "npy":
                self.assertEqual(run(*self.args(d, form)).returncode, 0)
                r = run(*self.args(d, form), "--resume", "--dimensions", "64")
                self.assertEqual(r.returncode, 1)
                self.assertIn(b"its vectors have 384 values, these have 64", r.stderr)
            write(d + "/in", lines(2))
            r = run(*self.args(d, "npy"), "--resume")
            self.assertEqual(r.returncode, 1)
            self.assertIn(b"the output holds 3 vectors, the input only 2 texts", r.stderr)

    def test_after_a_fault_is_mended(self):
        with temporary() as d:
            write(d + "/in", b"one\n\xff\nthree\n")
            self.assertEqual(run(*self.args(d, "npy")).returncode, 1)
            write(d + "/in", b"one\ntwo\nthree\n")
            self.assertEqual(run(*self.args(d, "npy"), "--resume").returncode, 0)
            resumed = read(d + "/out")
            self.assertEqual(run(*self.args(d, "npy")).returncode, 0)
            self.assertTrue(read(d + "/out") == resumed)


class Streams(unittest.TestCase):
    def peak(self, args, source):
        """Peak resident memory in KiB of the command, fed by an iterable of bytes."""
        p = subprocess.Popen([BINARY, *args], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment())
        for block in source:
            p.stdin.write(block)
        p.stdin.close()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(p.returncode, 0)
        return usage.ru_maxrss

    @exact_memory
    def test_memory_does_not_grow_with_the_input(self):
        block = (b"word " * 20000)[:99999] + b"\n"
        for args in ["embed", "-i", "-", *FAST], ["tokenize", "-i", "-", "--threads", "1"]:
            few = self.peak(args, [block] * 4)
            many = self.peak(args, [block] * 600)
            self.assertLess(many, few + 12 * 1024, f"{args[0]}: {few} KiB for 4 lines, {many} KiB for 600")

    @exact_memory
    def test_many_short_lines(self):
        few = self.peak(["embed", "-i", "-", *FAST], [b"a\n" * 3000])
        many = self.peak(["embed", "-i", "-", *FAST], [b"a\n" * 3000] * 10)
        self.assertLess(many, few + 12 * 1024, f"{few} KiB for 3000 lines, {many} KiB for 30000")

    def test_reader_that_goes_away(self):
        p = subprocess.Popen([BINARY, "embed", "-i", "-", *FAST], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=environment())
        p.stdout.close()
        try:
            p.stdin.write(b"a\n" * 5000)
            p.stdin.close()
        except BrokenPipeError:
            pass
        said = p.stderr.read()
        p.stderr.close()
        self.assertIn(p.wait(), (-signal.SIGPIPE, 128 + signal.SIGPIPE))
        self.assertEqual(said, b"")

    def test_reader_that_goes_away_unsignalled(self):
        """Where SIGPIPE is ignored the failed write itself must end it, as quietly."""
        r = subprocess.run(["sh", "-c", "trap '' PIPE; \"$0\" embed -i - --dimensions 2; echo $? >&2", BINARY],
                           input=b"a\n" * 20, stdout=self.closed_pipe(), stderr=subprocess.PIPE, env=environment(),
                           check=False)
        self.assertEqual(r.stderr, b"141\n")

    def closed_pipe(self):
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        return writer

    def test_output_limit(self):
        """A file that may not grow is a write error, and what is in it stays whole."""
        with temporary() as d:
            limit = 128 + 100 * 1536 + 700
            r = run("embed", "-i", "-", "-o", d + "/out", "--output-format", "npy", *FAST, stdin=lines(200),
                    preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
            self.assertEqual(r.returncode, 1)
            self.assertIn(b"cannot write to", r.stderr)
            write(d + "/in", lines(200))
            r = run("embed", "-i", d + "/in", "-o", d + "/out", "--output-format", "npy", *FAST, "--resume")
            self.assertEqual((r.returncode, os.path.getsize(d + "/out")), (0, 128 + 200 * 1536), r.stderr)


if __name__ == "__main__":
    skip_without_model()
    sys.exit(not unittest.main(exit=False, verbosity=1).result.wasSuccessful())
