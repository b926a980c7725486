"""bench and tune on a tiny model: what they print and save, and who uses it. No figure is judged."""
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import unittest

from cli_support import BINARY, MANUAL, environment, run, temporary

TINY = os.path.join(os.path.dirname(os.path.abspath(MANUAL)), "../tests/golden/tiny-a")
OPERATIONS = ["tokenizing", "embedding", "qkv", "attention", "output", "up", "down", "norm", "encode", "pooling"]


class Bench(unittest.TestCase):
    def bench(self, *args, **more):
        r = run("bench", "--json", "--seconds", "1", *args, **more)
        self.assertEqual((r.returncode, r.stderr), (0, b""), r)
        return json.loads(r.stdout)

    def check(self, result, names):
        self.assertEqual([w["name"] for w in result["workloads"]], names)
        self.assertEqual(result["rounds"], 5)
        self.assertGreater(result["token_flops"], 0)
        for w in result["workloads"]:
            self.assertEqual(list(w["operations"]), OPERATIONS)
            self.assertAlmostEqual(sum(w["operations"].values()), 1, places=4)
            self.assertTrue(all(0 <= share <= 1 for share in w["operations"].values()), w)
            self.assertEqual(w["operations"]["encode"] > 0, result["precision"] == "int8")
            self.assertEqual(w["batches"][0]["texts"], 1)
            self.assertLessEqual({b["texts"] for b in w["batches"]}, {1, 4, 16, 64, 256})
            latency = w["latency_ms"]
            self.assertGreaterEqual(latency["calls"], 5)
            self.assertTrue(0 < latency["p50"] <= latency["p90"] <= latency["p99"], latency)
            for rate in [w["tokens_per_s"], w["texts_per_s"], w["cpu_use"]]:
                self.assertGreater(rate, 0)
            if result["peak_flops"] is not None:
                self.assertAlmostEqual(w["share_of_peak"] / (w["tokens_per_s"] * result["token_flops"]
                                                             / result["peak_flops"]), 1, delta=0.2)

    def test_json(self):
        result = self.bench(TINY, "--threads", "2")
        self.check(result, ["short"])  # its context has 96 tokens
        self.assertEqual((result["model"], result["threads"]), ("tiny-a", 2))
        self.assertTrue(12 < result["workloads"][0]["tokens_per_text"] < 20)

    def test_precision_tier_and_input(self):
        result = self.bench("--model", TINY, "--precision", "int8", "--cpu", "ref", "--threads", "1", "--input", "-",
                            stdin=b"one\ntwo words\n\n" + b"long " * 200 + b"\n")
        self.check(result, ["input"])
        self.assertEqual((result["precision"], result["cpu_tier"], result["threads"]), ("int8", "ref", 1))
        self.assertEqual(result["workloads"][0]["texts"], 4)

    def test_table(self):
        r = run("bench", "--seconds", "1", TINY)
        self.assertEqual((r.returncode, r.stderr), (0, b""), r)
        for line in ["tokens a text", "  tokens/s", "  share of the peak", "  CPU use", "  p99", *("  " + o for o in OPERATIONS)]:
            self.assertRegex(r.stdout.decode(), rf"(?m)^{line} +[\d.-]+( %)?$")

    def test_faults(self):
        r = run("bench", "--seconds", "1", TINY, "--input", "-")
        self.assertEqual((r.returncode, r.stdout), (1, b""))
        self.assertIn(b"the input has no text", r.stderr)
        r = run("bench", "--seconds", "1", "no-such-model")
        self.assertEqual((r.returncode, r.stdout), (1, b""))

    def test_stopped_by_a_signal(self):
        with subprocess.Popen([BINARY, "bench", "--seconds", "60", TINY], stdout=subprocess.PIPE,
                              env=environment()) as p:
            time.sleep(1)
            p.send_signal(signal.SIGINT)
            self.assertEqual((p.wait(60), p.stdout.read()), (128 + signal.SIGINT, b""))


class Tune(unittest.TestCase):
    def setUp(self):
        folder = temporary()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.env = environment(XDG_CONFIG_HOME=self.folder)
        self.file = os.path.join(self.folder, "embellama/tune.json")

    def tune(self):
        r = run("tune", "--seconds", "1", TINY, env=self.env)
        self.assertEqual((r.returncode, r.stderr), (0, b""), r)
        with open(self.file, encoding="utf-8") as f:
            return r.stdout.decode(), json.load(f)["tuned"]

    def serve_log(self, *args, **env):
        """What serve logs until it is ready."""
        with subprocess.Popen([BINARY, "serve", "--port", "0", "--model", TINY, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**self.env, **env}) as p:
            log, end = b"", time.monotonic() + 60
            while b"event=ready" not in log and time.monotonic() < end:
                if select.select([p.stderr], [], [], 1)[0]:
                    more = os.read(p.stderr.fileno(), 65536)
                    if not more:
                        break
                    log += more
            p.send_signal(signal.SIGTERM)
            p.stdout.read()
            log += p.stderr.read()
            self.assertEqual(p.wait(60), 0, log)
        self.assertIn(b"event=ready", log)
        return log.decode()

    def test_saved_and_used(self):
        page, tuned = self.tune()
        self.assertEqual(len(tuned), 1)
        entry = tuned[0]
        self.assertEqual((entry["model_name"], entry["precision"], entry["kernels"]), ("tiny-a", "auto", "auto"))
        best = [line.split() for line in page.splitlines() if line.endswith("best")]
        self.assertEqual(len(best), 1)
        self.assertEqual([int(best[0][0]), int(best[0][1])], [entry["workers"], entry["threads"]])
        self.assertIn(self.file, page)
        says = rf"event=tuned workers={entry['workers']} threads={entry['threads']} " \
               rf"batch_tokens={entry['batch_tokens']} shard_tokens={entry['shard_tokens']}"
        self.assertRegex(self.serve_log(), says)
        self.assertRegex(self.serve_log("--batch-tokens", "777"), "event=tuned .*batch_tokens=777")
        for log in [self.serve_log("--no-tune"), self.serve_log(EMBELLAMA_TUNE="off"), self.serve_log("--threads", "1"),
                    self.serve_log(EMBELLAMA_WORKERS="1"), self.serve_log("--precision", "f32"),
                    self.serve_log("--cpu", "ref")]:
            self.assertNotIn("tun", re.sub(r"url=\S+", "", log))
        self.tune()

    def test_never_another_vector(self):
        want = run("embed", "--model", TINY, "a b c", "d", env=self.env).stdout
        os.makedirs(os.path.dirname(self.file))
        for workers, threads, shard in [(1, 1, 0), (2, 1, 128), (1, 3, 1), (128, 1024, 8192)]:
            _, tuned = self.tune() if not os.path.exists(self.file) else (None, self.entries())
            tuned[0].update(workers=workers, threads=threads, shard_tokens=shard)
            with open(self.file, "w", encoding="utf-8") as f:
                json.dump({"tuned": tuned}, f)
            if workers * threads < 1000:
                r = run("embed", "--model", TINY, "a b c", "d", env=self.env)
                self.assertEqual((r.returncode, r.stdout, r.stderr), (0, want, b""))

    def entries(self):
        with open(self.file, encoding="utf-8") as f:
            return json.load(f)["tuned"]

    def test_broken_file_is_ignored_with_a_warning(self):
        os.makedirs(os.path.dirname(self.file))
        with open(self.file, "w", encoding="utf-8") as f:
            f.write('{"tuned": [')
        self.assertRegex(self.serve_log(), "level=warn event=tuning_ignored reason=\".*tune.json")
        want = run("embed", "--model", TINY, "x", "--no-tune", env=self.env)
        self.assertEqual((want.returncode, want.stderr), (0, b""))
        r = run("embed", "--model", TINY, "x", env=self.env)
        self.assertEqual((r.returncode, r.stdout), (0, want.stdout))
        self.assertRegex(r.stderr.decode(), "warning: .*ignored.*tune.json")
        self.assertEqual(len(self.tune()[1]), 1)  # and replaced

    def test_nowhere_to_save(self):
        with open(os.path.join(self.folder, "embellama"), "w", encoding="utf-8"):
            pass
        r = run("tune", "--seconds", "1", TINY, env=self.env)
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"best", r.stdout)
        self.assertRegex(r.stderr.decode(), "cannot write .*tune.json: Not a directory")


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=1).result.wasSuccessful())
