"""Reranking as its user meets it, with the tiny cross-encoders of tests/golden, whose scores the reference gave."""
import json
import math
import os
import shutil
import unittest

from cli_support import run, temporary

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
RANK = os.path.join(GOLDEN, "tiny-rank")
LABELS = os.path.join(GOLDEN, "tiny-labels")
EMBEDDER = os.path.join(GOLDEN, "tiny-a")
QUERY = "What is the capital of France?"


def golden():
    """Documents of the golden pairs with QUERY that fit on a line, and the reference's logits."""
    with open(RANK + ".json", encoding="utf-8") as file:
        rows = json.load(file)
    found = {r["document"]: r["logits"][0] for r in rows
             if r["text"] == QUERY and r["limit"] == 96 and len(r["ids"]) < 90 and r["document"].isprintable()}
    return list(found), list(found.values())


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def rerank(*args, **more):
    return run("rerank", "--precision", "f32", *args, **more)


class Rerank(unittest.TestCase):
    def setUp(self):
        self.documents, self.logits = golden()
        self.assertGreater(len(self.documents), 10)
        self.order = sorted(range(len(self.logits)), key=lambda i: -self.logits[i])
        self.lines = "".join(d + "\n" for d in self.documents).encode()

    def results(self, *args, stdin=None):
        r = rerank("--json", "-q", QUERY, *args, stdin=self.lines if stdin is None else stdin)
        self.assertEqual((r.returncode, r.stderr), (0, b""), r)
        return json.loads(r.stdout)

    def test_json(self):
        for model in (RANK, RANK + ".gguf"):
            with self.subTest(model=model):
                reply = self.results(model)
                self.assertEqual(reply["model"], "tiny-rank")
                self.assertEqual([r["index"] for r in reply["results"]], self.order)
                for r in reply["results"]:
                    self.assertEqual(set(r), {"index", "relevance_score"})
                    self.assertAlmostEqual(r["relevance_score"], sigmoid(self.logits[r["index"]]), delta=1e-5)

    def test_raw_scores_top_n_and_documents(self):
        reply = self.results(RANK, "--raw-scores", "--top-n", "3", "--return-documents", "--threads", "1")
        self.assertEqual(len(reply["results"]), 3)
        for r, i in zip(reply["results"], self.order):
            self.assertEqual((r["index"], r["document"]), (i, {"text": self.documents[i]}))
            self.assertAlmostEqual(r["relevance_score"], self.logits[i], delta=1e-4)

    def test_text_and_files(self):
        with temporary() as d:
            half = len(self.documents) // 2
            names = [os.path.join(d, "a.txt"), os.path.join(d, "b.jsonl")]
            with open(names[0], "w", encoding="utf-8") as file:
                file.writelines(x + "\n" for x in self.documents[:half])
            r = rerank("--query", QUERY, RANK, names[0], "-", stdin="\n".join(self.documents[half:]).encode())
            self.assertEqual((r.returncode, r.stderr), (0, b""), r)
            places = [f"{names[0]}:{i + 1}" if i < half else f"-:{i - half + 1}" for i in self.order]
            rows = [line.split("\t") for line in r.stdout.decode().splitlines()]
            self.assertEqual([row[1] for row in rows], places)
            for row, i in zip(rows, self.order):
                self.assertAlmostEqual(float(row[0]), sigmoid(self.logits[i]), delta=1e-5)

            with open(names[1], "w", encoding="utf-8") as file:
                file.writelines(json.dumps({"body": x}) + "\n" for x in ["a\tb\nc", "\x1b[31mred"])
            r = rerank("-q", "x", "--input-format", "jsonl", "--field", "body", "--return-documents", RANK, names[1])
            self.assertEqual({line.split("\t")[2] for line in r.stdout.decode().splitlines()}, {"a b c", " [31mred"}, r)

    def test_nothing_to_rank(self):
        self.assertEqual(self.results(RANK, stdin=b""), {"model": "tiny-rank", "results": []})
        self.assertEqual(rerank("-q", "x", RANK).stdout, b"")

    def test_equal_documents_keep_their_order(self):
        indices = [r["index"] for r in self.results(RANK, stdin=b"same\nsame\nsame\n")["results"]]
        self.assertEqual(indices, [0, 1, 2])

    def test_long_documents(self):
        long = b"short\n" + b"word " * 200 + b"\n"
        r = rerank("-q", QUERY, RANK, stdin=long)
        self.assertEqual((r.returncode, r.stdout), (1, b""), r)
        self.assertRegex(r.stderr.decode(), r"^embellama: standard input:2: \d+ tokens with the query, but 96 fit \(--truncate shortens\)\n$")
        self.assertEqual(len(self.results(RANK, "--truncate", stdin=long)["results"]), 2)
        self.assertEqual(len(self.results(RANK, "--truncate", "--max-length", "7", stdin=long)["results"]), 2)

    def test_mistakes(self):
        for code, says, args in [
            (2, "rerank needs a model", []),
            (2, "rerank needs --query", [RANK]),
            (2, "--model does not belong to this command", ["--model", RANK, "-q", "x"]),
            (2, "--top-n: -1 is not between", ["-q", "x", "--top-n", "-1", RANK]),
            (2, "--max-length: 97 is beyond the model's context of 96", ["-q", "x", "--max-length", "97", RANK]),
            (1, "cannot read no-such-file: No such file", ["-q", "x", RANK, "no-such-file"]),
            (1, "no model 'no-such-model'", ["-q", "x", "no-such-model"]),
            (1, "tiny-a makes vectors only: reranking needs a cross-encoder", ["-q", "x", EMBEDDER]),
            (1, "tiny-labels has 3 labels: reranking needs a single score", ["-q", "x", LABELS]),
            (1, "--query: .*UTF-8", ["-q", b"\xff", RANK]),
        ]:
            with self.subTest(args=args):
                r = rerank(*args, stdin=b"text\n")
                self.assertEqual((r.returncode, r.stdout), (code, b""), r)
                self.assertRegex(r.stderr.decode(), says)
                self.assertEqual(r.stderr.decode().count("\n"), 1 + r.stderr.decode().count("Try: "), r)
        r = rerank("-q", "x", RANK, stdin=b"good\nb\xffd\n")
        self.assertEqual((r.returncode, r.stdout), (1, b""), r)
        self.assertRegex(r.stderr.decode(), "standard input:2: .*not valid UTF-8")

    def test_broken_heads(self):
        with temporary() as d:
            for file, old, new, says in [
                ("config.json", b'"0": "LABEL_0"', b'"0": "a", "1": "b"', "classifier.weight has the shape .1, 48."),
                ("model.safetensors", b"bert.pooler.dense.bias", b"bert.pooler.dense.bios", "bert.pooler.dense.bias is missing"),
                ("config.json", b'"0": "LABEL_0"', b"", "0 labels where a head has 1 to 4096"),
            ]:
                with self.subTest(says=says):
                    path = os.path.join(d, "m")
                    shutil.copytree(RANK, path)
                    with open(os.path.join(path, file), "rb") as f:
                        data = f.read()
                    self.assertIn(old, data)
                    with open(os.path.join(path, file), "wb") as f:
                        f.write(data.replace(old, new))
                    r = rerank("-q", "x", path, stdin=b"text\n")
                    self.assertEqual((r.returncode, r.stdout, r.stderr.count(b"\n")), (1, b"", 1), r)
                    self.assertRegex(r.stderr.decode(), says)
                    shutil.rmtree(path)


class Inspect(unittest.TestCase):
    def test_labels(self):
        info = json.loads(run("inspect", "--json", LABELS).stdout)
        self.assertEqual((info["labels"], info["label_names"]), (3, ["contradiction", "entailment", "neutral"]))
        self.assertRegex(run("inspect", LABELS).stdout.decode(), r"\nlabels +3 \(contradiction, entailment, neutral\)\n")
        self.assertEqual(json.loads(run("inspect", "--json", EMBEDDER).stdout)["labels"], 0)
        self.assertNotIn(b"labels", run("inspect", EMBEDDER).stdout)


if __name__ == "__main__":
    unittest.main()
