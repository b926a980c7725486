"""The command as its user meets it: usage, help, manual, exit codes, formats."""
import json
import os
import pty
import re
import struct
import subprocess
import sys
import unittest

from cli_support import BINARY, MANUAL, environment, model, run, temporary

COMMANDS = ["embed", "tokenize", "similarity", "rerank", "inspect", "serve", "bench", "tune", "dead-letter", "help", "version", "completion"]
needs_model = unittest.skipUnless(model(), "no model; set EMBELLAMA_TEST_MODEL, or fetch it with make model")


def f32(values):
    return struct.pack(f"<{len(values)}f", *values)


class Usage(unittest.TestCase):
    def check(self, code, says, *args, **more):
        r = run(*args, **more)
        self.assertEqual((r.returncode, r.stdout), (code, b""), r)
        self.assertRegex(r.stderr.decode(), says)

    def test_mistakes_exit_2(self):
        for args, says in [
            (["embd"], "no command 'embd'; did you mean embed"),
            (["qwertz"], "no command 'qwertz'"),
            (["--threads", "1"], "a command comes before options"),
            (["embed"], "no text"),
            (["embed", "--modle", "x"], "unknown option --modle; did you mean --model"),
            (["embed", "--threads", "-1", "x"], "--threads: -1 is not between 0 and 1024"),
            (["embed", "--input", "f", "x"], "not both"),
            (["embed", "--output-format", "npy", "x"], "npy needs an output.*jsonl or f32"),
            (["embed", "--resume", "x"], "--resume needs --output FILE"),
            (["embed", "-o", "f", "--resume", "--pooling", "none", "--output-format", "f32", "x"], "needs.*jsonl"),
            (["tokenize"], "no text"),
            (["similarity", "a"], "two texts; 1 given"),
            (["similarity", "--pooling", "none", "a", "b"], "no one vector"),
            (["inspect", "a", "b"], "one model; 2 given"),
            (["serve", "x"], "no arguments"),
            (["bench", "a", "b"], "one model; 2 given"),
            (["tune", "a", "b"], "one model; 2 given"),
            (["dead-letter", "bury", "f"], "list FILE or retry FILE"),
            (["serve", "--port", "65536"], "--port: 65536 is not between 0 and 65535"),
            (["help", "nothing"], "no command 'nothing'"),
            (["completion", "fish"], "bash"),
        ]:
            with self.subTest(args=args):
                self.check(2, says, *args)

    def test_variable_is_named(self):
        self.check(2, "EMBELLAMA_THREADS: 'many' is not a whole number", "embed", "x",
                   env=environment(EMBELLAMA_THREADS="many"))

    def test_missing_files_exit_1(self):
        self.check(1, "cannot read no-such-file: No such file", "embed", "--input", "no-such-file")
        self.check(1, "no model 'no-such-model'", "embed", "--model", "no-such-model", "x")

    def test_no_model_says_how_to_get_it(self):
        env = environment(XDG_CACHE_HOME="/nonexistent")
        env.pop("EMBELLAMA_MODEL", None)
        self.check(1, "embellama-get-model.*make model.*--model", "embed", "x", env=env)

    @needs_model
    def test_model_by_name_in_the_cache(self):
        with temporary() as d:
            os.makedirs(d + "/embellama/models")
            os.symlink(os.path.abspath(model()), d + "/embellama/models/all-MiniLM-L6-v2")
            os.symlink(os.path.abspath(model()), d + "/embellama/models/other")
            env = environment(XDG_CACHE_HOME=d)
            env.pop("EMBELLAMA_MODEL", None)
            self.assertEqual(run("tokenize", "x", env=env).returncode, 0)
            self.assertEqual(run("tokenize", "--model", "other", "x", env=env).returncode, 0)

    @needs_model
    def test_what_the_model_cannot_serve_exits_2(self):
        self.check(2, "--dimensions: 9999 is more than the model's", "embed", "--dimensions", "9999", "x")
        self.check(2, "--max-length: 99999 is beyond the model's context", "embed", "--max-length", "99999", "x")

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            r = subprocess.run([BINARY, "help"], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"cannot write to standard output: No space left", r.stderr)
        r = subprocess.run(["sh", "-c", '"$0" help >&-', BINARY], stderr=subprocess.PIPE, check=False)
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"cannot write to standard output", r.stderr)


class DeadLetter(unittest.TestCase):
    RECORD = {"time": "2026-01-02T03:04:05.678Z", "model": "m", "request_id": "r\u001b[1m", "input": 3,
              "hash": "00112233445566778899aabbccddeeff", "tokens": 2, "reason": "signal 11"}

    def write(self, folder, *lines):
        path = os.path.join(folder, "dead")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        return path

    def test_list(self):
        with temporary() as folder:
            path = self.write(folder, json.dumps(self.RECORD), json.dumps({**self.RECORD, "ids": [1, 2]}))
            r = run("dead-letter", "list", path)
            lines = r.stdout.decode().splitlines()
            self.assertEqual((r.returncode, len(lines)), (0, 2), r)
            self.assertEqual(lines[0].split(), ["2026-01-02T03:04:05.678Z", "00112233", "3", "2", "no", "r?[1m", "signal", "11"])
            self.assertEqual(lines[1].split()[4], "yes")

    def test_what_is_none(self):
        with temporary() as folder:
            r = run("dead-letter", "list", self.write(folder, "{}", "[", json.dumps(self.RECORD)))
            self.assertEqual((r.returncode, len(r.stdout.splitlines())), (1, 1), r)
            self.assertIn(b"line 2 is no dead letter", r.stderr)

    def test_retry(self):
        with temporary() as folder:
            path = self.write(folder, json.dumps(self.RECORD))
            r = run("dead-letter", "retry", path)
            self.assertEqual(r.returncode, 1)
            self.assertIn(b"recorded without --dead-letter-text", r.stdout)
            scored = dict(self.RECORD, ids=[101, 7592, 102], task="score", second=2)
            r = run("dead-letter", "retry", self.write(folder, json.dumps(scored)), "--url", "http://127.0.0.1:1")
            self.assertEqual(r.returncode, 1)
            self.assertIn(b"not sent again: it was no request for an embedding (score)", r.stdout)
            self.assertIn(b"score: ", run("dead-letter", "list", path).stdout)
            path = self.write(folder, json.dumps({**self.RECORD, "ids": [1, 2]}))
            for url, says in [("ftp://x", b"http://"), ("http://:80", b"no host"), ("http://127.0.0.1:1", b"cannot connect")]:
                r = run("dead-letter", "retry", path, "--url", url)
                self.assertEqual(r.returncode, 1)
                self.assertIn(says, r.stderr)


class Help(unittest.TestCase):
    def test_overview_lists_the_commands(self):
        for args in [], ["help"], ["--help"], ["-h"]:
            r = run(*args)
            self.assertEqual((r.returncode, r.stderr), (0, b""))
            for command in COMMANDS:
                self.assertIn(f"\n  {command} ", r.stdout.decode())

    def test_pages_teach(self):
        for command in COMMANDS:
            page = run("help", command).stdout.decode()
            self.assertEqual(page, run(command, "--help").stdout.decode())
            self.assertIn(f"Usage: embellama {command}", page)
            self.assertRegex(page, r"Examples:\n  (embellama|source)")
            for line in page.splitlines():
                self.assertLessEqual(len(line), 110, line)

    def test_help_survives_a_wrong_variable(self):
        r = run("embed", "--help", env=environment(EMBELLAMA_THREADS="many"))
        self.assertEqual(r.returncode, 0)

    def test_version(self):
        for args in ["--version"], ["-V"], ["version"], ["embed", "--version"]:
            self.assertRegex(run(*args).stdout.decode(), r"^embellama \d+\.\d+\.\d+ \(\w+, \d+ threads?\)\n$")

    def test_called_as_server(self):
        with temporary() as d:
            os.symlink(os.path.abspath(BINARY), d + "/embellama-server")
            r = run("--help", binary=d + "/embellama-server")
        self.assertEqual(r.stdout, run("help", "serve").stdout)

    def test_manual_has_every_command_option_and_variable(self):
        with open(MANUAL, encoding="utf-8") as f:
            manual = f.read().replace("\\-", "-")
        for command in COMMANDS:
            self.assertIn(f".SS \"embellama {command}", manual)
            page = run("help", command).stdout.decode().split("\nOptions:\n")[1].split("\nExamples:\n")[0]
            for name in re.findall(r"--[a-z0-9-]+|EMBELLAMA_[A-Z_]+", page):
                self.assertRegex(manual, rf"(?<![a-zA-Z_-]){name}(?![a-zA-Z_-])", f"{name} of {command}")
        known = "".join(run("help", c).stdout.decode() for c in COMMANDS)
        for name in set(re.findall(r"EMBELLAMA_[A-Z_]+", manual)):
            self.assertIn(name, known, "the manual has a variable that no option reads")

    def test_manual_is_well_formed(self):
        man = subprocess.run(["sh", "-c", "command -v groff man && man --warnings -l \"$0\" >/dev/null", MANUAL],
                             capture_output=True, check=False, env=environment(LC_ALL="C.UTF-8", MANWIDTH="100"))
        if man.returncode == 127 or not man.stdout:
            self.skipTest("no man")
        self.assertEqual(man.stderr, b"")

    def test_completion_is_bash(self):
        script = run("completion", "bash").stdout
        probe = b"COMP_WORDS=(embellama embed --pool); COMP_CWORD=2; _embellama; echo ${COMPREPLY[@]}\n" \
                b"COMP_WORDS=(embellama embed --pooling me); COMP_CWORD=3; _embellama; echo ${COMPREPLY[@]}\n" \
                b"COMP_WORDS=(embellama tok); COMP_CWORD=1; _embellama; echo ${COMPREPLY[@]}\n"
        r = subprocess.run(["bash", "--norc"], input=script + probe, capture_output=True, check=False)
        self.assertEqual((r.stdout.split(b"\n")[0::2], r.stderr), ([b"--pooling", b"tokenize"], b""))
        self.assertEqual(r.stdout.split(b"\n")[1].split()[0], b"mean")


@needs_model
class Embed(unittest.TestCase):
    texts = ["What is Deep Learning?", "", "caf\u00e9 \u4f60\u597d", "a longer text " * 30]

    def vectors(self, *args, **more):
        r = run("embed", *args, **more)
        self.assertEqual((r.returncode, r.stderr), (0, b""), r)
        rows = [json.loads(line) for line in r.stdout.splitlines()]
        self.assertEqual([row["index"] for row in rows], list(range(len(rows))))
        return [row["embedding"] for row in rows]

    def test_formats_agree_to_the_bit(self):
        with temporary() as d:
            lines = "".join(json.dumps({"id": i, "body": t}) + "\n" for i, t in enumerate(self.texts))
            want = b"".join(f32(v) for v in self.vectors(*self.texts))
            self.assertEqual(len(want), 4 * 4 * 384)
            with open(d + "/in.jsonl", "w", encoding="utf-8") as f:
                f.write(lines)
            source = ["--input", d + "/in.jsonl", "--input-format", "jsonl", "--field", "body"]
            self.assertEqual(b"".join(f32(v) for v in self.vectors(*source)), want)
            self.assertEqual(run("embed", *source, "--output-format", "f32").stdout, want)
            r = run("embed", *source, "--output-format", "npy", "-o", d + "/out.npy")
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b"", b""))
            with open(d + "/to-stdout.npy", "wb") as f:
                subprocess.run([BINARY, "embed", *source, "--output-format", "npy"], stdout=f, check=True,
                               env=environment())
            for name in "/out.npy", "/to-stdout.npy":
                with open(d + name, "rb") as f:
                    npy = f.read()
                self.assertEqual(npy[:10], b"\x93NUMPY\x01\x00\x76\x00")
                self.assertEqual(npy[10:128].decode().rstrip(),
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 384), }")
                self.assertEqual(npy[128:], want)

    def test_same_bits_alone_and_with_any_threads(self):
        together = self.vectors(*self.texts, "--threads", "2")
        self.assertEqual(together, self.vectors(*self.texts, "--threads", "1"))
        for text, vector in zip(self.texts, together):
            self.assertEqual(self.vectors("--", text), [vector])

    def test_variables_and_dimensions(self):
        v = self.vectors("x", env=environment(EMBELLAMA_DIMENSIONS="8", EMBELLAMA_PRECISION="f32"))
        self.assertEqual(len(v[0]), 8)
        self.assertAlmostEqual(sum(x * x for x in v[0]), 1, places=5)

    def test_normalize(self):
        v = self.vectors("x", "--normalize", "max-abs")[0]
        self.assertEqual(max(abs(x) for x in v), 1)
        v = self.vectors("x", "--normalize", "p-norm", "--p", "1")[0]
        self.assertAlmostEqual(sum(abs(x) for x in v), 1, places=4)

    def test_one_vector_a_token(self):
        row = json.loads(run("embed", "--pooling", "none", "hi there").stdout)
        self.assertEqual(row["tokens"], ["[CLS]", "hi", "there", "[SEP]"])
        self.assertEqual([len(v) for v in row["embedding"]], [384] * 4)
        raw = run("embed", "--pooling", "none", "--output-format", "f32", "hi there", "you").stdout
        self.assertEqual(raw[:4 * 4 * 384], b"".join(f32(v) for v in row["embedding"]))
        self.assertEqual(len(raw), (4 + 3) * 4 * 384)

    def test_too_long(self):
        text = "word " * 600
        r = run("embed", "--input", "-", stdin=f"ok\n{text}\nnever\n".encode())
        self.assertEqual(r.returncode, 1)
        self.assertEqual(r.stdout.count(b"\n"), 1)
        self.assertRegex(r.stderr.decode(), r"standard input:2: 602 tokens, but 512 fit \(--truncate")
        cut = self.vectors(text, "--truncate")
        self.assertEqual(cut, self.vectors("word " * 510))
        self.assertNotEqual(cut, self.vectors(text, "--truncate", "--max-length", "recommended"))
        self.assertEqual(self.vectors(text, "--truncate", "--max-length", "recommended"), self.vectors("word " * 254))

    def test_fault_keeps_what_came_before(self):
        r = run("embed", "-i", "-", "--input-format", "jsonl", "--dimensions", "2",
                stdin=b'{"text":"a"}\n{"text":"b"}\n{"txt":"c"}\n{"text":"d"}\n')
        self.assertEqual((r.returncode, r.stdout.count(b"\n")), (1, 2))
        self.assertIn(b'standard input:3: the object has no member "text"', r.stderr)

    def test_input_is_not_overwritten(self):
        with temporary() as d:
            with open(d + "/texts", "w", encoding="utf-8") as f:
                f.write("precious\n")
            r = run("embed", "-i", d + "/texts", "-o", d + "/texts")
            self.assertEqual(r.returncode, 1)
            self.assertIn(b"is the input and the output", r.stderr)
            with open(d + "/texts", encoding="utf-8") as f:
                self.assertEqual(f.read(), "precious\n")

    def test_full_disk(self):
        for form in "jsonl", "npy", "f32":
            r = run("embed", "-o", "/dev/full", "--output-format", form, "x")
            self.assertEqual(r.returncode, 1)
            self.assertIn(b"cannot write to /dev/full: No space left", r.stderr)

    def test_npy_is_not_appended(self):
        with temporary() as d, open(d + "/out.npy", "ab") as out:
            r = subprocess.run([BINARY, "embed", "x", "--output-format", "npy"], stdout=out, stderr=subprocess.PIPE,
                               env=environment(), check=False)
            self.assertEqual(r.returncode, 2)

    def test_progress_is_for_terminals(self):
        with temporary() as d:
            args = [BINARY, "embed", "-i", "-", "-o", d + "/out"]
            terminal, side = pty.openpty()
            subprocess.run(args, input=b"a\nb\n", stderr=side, env=environment(), check=True)
            os.close(side)
            seen = os.read(terminal, 4096).decode()
            os.close(terminal)
        self.assertRegex(seen, r"2 texts  \d+ texts/s  \d+ tokens/s")
        self.assertRegex(seen, r"2 texts, 6 tokens in 0:0\d")


@needs_model
class Others(unittest.TestCase):
    def test_tokenize(self):
        r = run("tokenize", "Unaffable caf\u00e9", "")
        self.assertEqual([json.loads(line) for line in r.stdout.splitlines()],
                         [{"ids": [101, 14477, 20961, 3468, 7668, 102],
                           "tokens": ["[CLS]", "una", "##ffa", "##ble", "cafe", "[SEP]"]},
                          {"ids": [101, 102], "tokens": ["[CLS]", "[SEP]"]}])
        r = run("tokenize", "-i", "-", stdin=b"ok\n\xff\n")
        self.assertEqual((r.returncode, r.stdout.count(b"\n")), (1, 1))
        self.assertIn(b"standard input:2: not valid UTF-8", r.stderr)

    def test_similarity(self):
        self.assertEqual(run("similarity", "same", "same").stdout, b"1.000000\n")
        near = float(run("similarity", "a cat on a mat", "a kitten lies on the rug").stdout)
        far = float(run("similarity", "a cat on a mat", "stocks fell sharply").stdout)
        self.assertTrue(0.5 < near < 0.65 and -0.1 < far < 0.2, (near, far))

    def test_inspect(self):
        info = json.loads(run("inspect", "--json").stdout)
        self.assertEqual((info["family"], info["dim"], info["context_length"], info["recommended_length"],
                          info["pooling"]), ("bert", 384, 512, 256, "mean"))
        self.assertIn(info["cpu_tier"], info["cpu_tiers"])
        table = run("inspect", model()).stdout.decode()
        for key in "name", "family", "packed_bytes", "cpu_tier", "file_types":
            self.assertIn(str(info[key]), table)
        ref = json.loads(run("inspect", "--json", "--cpu", "ref", "--precision", "f32").stdout)
        self.assertEqual((ref["cpu_tier"], ref["precision"]), ("ref", "f32"))

    def test_pack_cache(self):
        plain = run("embed", "hello")
        with temporary() as folder:
            packed = os.path.join(folder, "embellama", "packed")
            for _ in range(2):
                kept = run("embed", "hello", "--pack-cache", "on", env=environment(XDG_CACHE_HOME=folder))
                self.assertEqual((kept.returncode, kept.stdout, kept.stderr), (0, plain.stdout, b""))
                self.assertEqual(sorted(name.split(".")[-1] for name in os.listdir(packed)), ["link", "pack"])
            own = os.path.join(folder, "own")
            self.assertEqual(run("embed", "hello", env=environment(EMBELLAMA_PACK_CACHE=own)).stdout, plain.stdout)
            self.assertEqual(len(os.listdir(own)), 2)
            file = next(os.path.join(own, name) for name in os.listdir(own) if name.endswith(".pack"))
            os.truncate(file, 5000)
            mended = run("embed", "hello", "--pack-cache", own)
            self.assertEqual((mended.returncode, mended.stdout), (0, plain.stdout))
            self.assertIn(b"packed anew", mended.stderr)
            self.assertEqual(run("embed", "hello", "--pack-cache", own).stderr, b"")
        self.assertEqual(run("embed", "hello", "--pack-cache", "/dev/null").stdout, plain.stdout)
        bare = {k: v for k, v in environment().items() if k not in ("HOME", "XDG_CACHE_HOME")}
        self.assertIn(b"--pack-cache", run("embed", "hello", "--pack-cache", "on", env=bare).stderr)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    if result.wasSuccessful() and not model():
        print("skipped in part: no model; set EMBELLAMA_TEST_MODEL, or fetch it with make model")
        sys.exit(77)
    sys.exit(not result.wasSuccessful())
