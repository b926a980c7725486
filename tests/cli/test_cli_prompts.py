"""A model's prompts on the command line, and token ids back to text."""
import json
import os
import unittest

from cli_support import environment, model, run, skip_without_model, temporary

skip_without_model()

PROMPTS = {"query": "query: ", "passage": "", "Instruct": "Instruct: find \"this\"\nQuery: "}


class Prompts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = temporary()
        cls.with_default = cls.make("default", {"prompts": PROMPTS, "default_prompt_name": "query"})
        cls.without = cls.make("none", {"prompts": PROMPTS, "default_prompt_name": None})

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def make(cls, name, config):
        """The default model's folder again, its files linked, with these prompts."""
        path = os.path.join(cls.folder.name, name)
        os.mkdir(path)
        for entry in os.listdir(model()):
            if entry != "config_sentence_transformers.json":
                os.symlink(os.path.join(model(), entry), os.path.join(path, entry))
        with open(os.path.join(path, "config_sentence_transformers.json"), "w") as f:
            json.dump(config, f)
        return path

    def vector(self, path, *args):
        r = run("embed", "--model", path, "--threads", "1", *args)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def test_embed(self):
        plain = {text: self.vector(model(), text) for text in ("cat", "query: cat", PROMPTS["Instruct"] + "cat", "my cat")}
        self.assertEqual(len(set(plain.values())), 4)
        for path, args, same in [
            (self.with_default, [], "query: cat"),
            (self.without, [], "cat"),
            (self.without, ["--prompt-name", "query"], "query: cat"),
            (self.with_default, ["--prompt-name", "passage"], "cat"),
            (self.with_default, ["--prompt-name", "none"], "cat"),
            (self.without, ["--prompt-name", "Instruct"], PROMPTS["Instruct"] + "cat"),
            (self.with_default, ["--prompt", "my "], "my cat"),
            (self.with_default, ["--prompt", "my ", "--prompt-name", "query"], "my cat"),
            (model(), ["--prompt", "query: "], "query: cat"),
            (model(), ["--prompt-name", "none"], "cat"),
        ]:
            with self.subTest(path=path, args=args):
                self.assertEqual(self.vector(path, *args, "cat"), plain[same])

    def test_every_text_of_a_file(self):
        lines = [f"line {i}" for i in range(50)]
        got = run("embed", "--model", self.with_default, "--input", "-", stdin="\n".join(lines).encode())
        expected = run("embed", "--model", model(), "--input", "-", stdin="\n".join("query: " + x for x in lines).encode())
        self.assertEqual((got.returncode, got.stdout), (0, expected.stdout))

    def test_similarity(self):
        asked = run("similarity", "--model", self.with_default, "a cat", "a dog").stdout
        self.assertEqual(asked, run("similarity", "query: a cat", "query: a dog").stdout)
        self.assertNotEqual(asked, run("similarity", "a cat", "a dog").stdout)

    def test_unknown_names(self):
        for path, says in [(self.without, 'no prompt "Query" (inspect shows them)'), (model(), 'no prompt "Query", nor any')]:
            r = run("embed", "--model", path, "--prompt-name", "Query", "cat")
            self.assertEqual((r.returncode, r.stdout), (1, b""))
            self.assertIn(says, r.stderr.decode())

    def test_tokens_are_the_texts_alone(self):
        self.assertEqual(run("tokenize", "--model", self.with_default, "cat").stdout, run("tokenize", "cat").stdout)

    def test_inspect(self):
        r = json.loads(run("inspect", "--json", self.with_default).stdout)
        self.assertEqual((r["prompts"], r["default_prompt_name"]), (PROMPTS, "query"))
        self.assertEqual(list(r["prompts"]), list(PROMPTS))
        r = json.loads(run("inspect", "--json", self.without).stdout)
        self.assertEqual((r["prompts"], r["default_prompt_name"]), (PROMPTS, None))
        r = json.loads(run("inspect", "--json", model()).stdout)
        self.assertEqual((r["prompts"], r["default_prompt_name"]), ({}, None))
        table = run("inspect", self.with_default).stdout.decode()
        self.assertRegex(table, r'(?m)^prompt +"query" is "query: ", the default$')
        self.assertRegex(table, r'(?m)^prompt +"passage" is ""$')
        self.assertRegex(table, r'(?m)^prompt +"Instruct" is "Instruct: find \\"this\\"\\nQuery: "$')
        self.assertNotIn("prompt", run("inspect", model()).stdout.decode())

    def test_prompts_that_pooling_leaves_out(self):
        path = self.make("left-out", {"prompts": PROMPTS})
        os.unlink(os.path.join(path, "1_Pooling"))
        os.mkdir(os.path.join(path, "1_Pooling"))
        with open(os.path.join(model(), "1_Pooling/config.json")) as f:
            pooling = json.load(f)
        with open(os.path.join(path, "1_Pooling/config.json"), "w") as f:
            json.dump(pooling | {"include_prompt": False}, f)
        r = run("embed", "--model", path, "cat")
        self.assertEqual(r.returncode, 1)
        self.assertIn("include_prompt", r.stderr.decode())


class Decode(unittest.TestCase):
    def texts(self, *args, **more):
        r = run("tokenize", "--decode", *args, **more)
        self.assertEqual(r.returncode, 0, r.stderr)
        return [json.loads(line)["text"] for line in r.stdout.decode().splitlines()]

    def test_there_and_back(self):
        r = json.loads(run("tokenize", "Hello, unaffable World!").stdout)
        ids = " ".join(map(str, r["ids"]))
        self.assertEqual(self.texts(ids), ["[CLS] hello, unaffable world! [SEP]"])
        self.assertEqual(self.texts(json.dumps(r["ids"])), ["[CLS] hello, unaffable world! [SEP]"])
        self.assertEqual(self.texts("", "7592", " 7592,1010\t2088 "), ["", "hello", "hello, world"])
        self.assertEqual(self.texts("--input", "-", stdin=b"7592\n\n2088\n"), ["hello", "", "world"])

    def test_mistakes(self):
        for line, says in [("7592 x", "argument 2: byte 6 is not of a list"), ("-1", "argument 2: byte 1"), ("1.5", "argument 2: byte 2"),
                           ("99999", "argument 2: token id 99999 is not in the vocabulary"),
                           ("99999999999999999999", "argument 2: byte")]:
            with self.subTest(line=line):
                r = run("tokenize", "--decode", "7592", "--", line)
                self.assertEqual((r.returncode, r.stdout), (1, b'{"text":"hello"}\n'))
                self.assertIn(says, r.stderr.decode())

    def test_variable(self):
        self.assertEqual(run("tokenize", "7592", env=environment(EMBELLAMA_DECODE="1")).stdout, b'{"text":"hello"}\n')


if __name__ == "__main__":
    unittest.main()
