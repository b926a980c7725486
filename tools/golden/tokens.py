#!/usr/bin/env python3
"""Token ids from the reference, the `tokenizers` library (0.23.3).

    tokens.py write [--model DIR]     writes tests/tokenizer/data: small tokenizers, and texts with their ids; with --model
                                      also texts with the ids of all-MiniLM-L6-v2's own tokenizer
    tokens.py check PROGRAM DIR...    compares `PROGRAM tokenize --model DIR` with the reference on random texts

Both are deterministic.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizers
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/tokenizer/data"
VERSION = "0.23.3"

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """the a is of hello world new york un want want ing run running a b ab abc q é e\u0301 ß ss i i\u0307 ı σ ς café cafe naïve
naive straße strasse привет мир при вет й и 中 国 語 日 本 한 국 각 \u1100\u1161\u11a8 ก า ن ो क ़ \u0915\u093c \u302e \u08d4 \U0001e94a \U0001d157 \U0001d165 🦙 .
, ! ? - _ [ ] # ' " $ ~ ` ; « » 。 ＃ \u0316 \u0301 İ i\u0307stanbul Ω ω ohm K k å Å""".split()
PIECES = """s ed ing ly er a b c d e f g h i j k l m n o p q r s t u v w x y z é e\u0301 0 1 2 ет 国 本 \u11a8 \u1161 \u302e \u08d4 \U0001e94a
\U0001d165 о р и й ı σ ς ß""".split()


def added(content, **options):
    entry = {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": False}
    entry.update(options)
    return entry


def template(vocab):
    def token(name, type_id=0):
        return {"SpecialToken": {"id": name, "type_id": type_id}}

    def text(name, type_id=0):
        return {"Sequence": {"id": name, "type_id": type_id}}
    return {
        "type": "TemplateProcessing",
        "single": [token("[CLS]"), text("A"), token("[SEP]")],
        "pair": [token("[CLS]"), text("A"), token("[SEP]"), text("B", 1), token("[SEP]", 1)],
        "special_tokens": {n: {"id": n, "ids": [vocab[n]], "tokens": [n]} for n in ("[CLS]", "[SEP]")},
    }


def tokenizer(prefix="##", clean=True, cjk=True, strip=None, lower=True, limit=100, extra=(), post="template"):
    tokens = list(dict.fromkeys(SPECIALS + WORDS + [chr(c) for c in range(97, 123)] + [prefix + p for p in PIECES]))
    vocab = {t: i for i, t in enumerate(tokens)}
    entries = [added(t, id=vocab[t], special=True) for t in SPECIALS]
    entries += [dict(e, id=vocab.get(e["content"], len(vocab) + i)) for i, e in enumerate(extra)]
    bert = {"type": "BertProcessing", "sep": ["[SEP]", vocab["[SEP]"]], "cls": ["[CLS]", vocab["[CLS]"]]}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": entries,
        "normalizer": {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": cjk,
                       "strip_accents": strip, "lowercase": lower},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"template": template(vocab), "bert": bert, "none": None}[post],
        "decoder": {"type": "WordPiece", "prefix": prefix, "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": prefix,
                  "max_input_chars_per_word": limit, "vocab": vocab},
    }


TOKENIZERS = {
    "uncased": tokenizer(),
    "cased": tokenizer(lower=False, post="bert"),
    "accents": tokenizer(strip=False, limit=6, post="none"),
    "raw": tokenizer(clean=False, cjk=False, strip=True, lower=False, prefix=""),
    "added": tokenizer(extra=[
        added("<x>"), added("<x><y>"), added("New York", normalized=True), added("WORD", single_word=True),
        added("<l>", lstrip=True), added("<r>", rstrip=True), added("<b>", lstrip=True, rstrip=True),
        added("é", single_word=True, normalized=True, lstrip=True), added("hello"), added(" "),
        added("run", normalized=True, special=True),
    ]),
    # White space is itself a token of the normalised text: what the others take along shows in the ids.
    "spaces": tokenizer(extra=[
        added(" ", normalized=True), added("<l>", lstrip=True), added("<r>", rstrip=True),
        added("<b>", lstrip=True, rstrip=True), added("hello", normalized=True, lstrip=True),
        added("world", normalized=True, rstrip=True, single_word=True), added("\t", rstrip=True),
    ]),
}

FIXED = [
    "", " ", "Hello, world!", "hello<x>world <x><y><y>", "[CLS] a [SEP] [MASK]. [cls]", "New York new york NEW  YORK",
    "WORD WORDS aWORD WORD. _WORD \u0301WORD", "a <l>b <r>  c \u3000<b>\u00a0 d", "<r>   <l>", "  <r> <r>  x", "é aé É e\u0301 é",
    "a\0b\ufffdc\x07d\x7fe\u200bf\u00adg", "a\tb\nc\rd\x0be\x0cf\x85g\u2028h\u3000i", "unwanting wants runnings runer",
    "中国語a日本 漢字 \uf900\U0002f800", "straße Straße STRASSE ẞ", "İstanbul I ı İ i", "ΣΑΣ σας Ω Ω K Å", "각 \u1100\u1161\u11a8 한국",
    "a\u0316\u0301\u302e\u08d4\U0001e94ab", "x\U0001e94a\u0301\u08d4\u302e\u0001\U0001e94ay", "\U0001d15e\U0001d160 \u302e\U0001d165",
    "क\u093c क़ \u0915\u0301\u093c", "don't [#] «q» 。a＃b ~`;\u037e\u1fef", "abcdefghijabcdefghij" * 5, "a" * 100, "a" * 101, "a" * 5000,
    "ab cdefgh", "🦙 llama 🦙🦙", "hello hello", "hello\u3000world", "\u0301", "run Run running",
]


def texts(seed, count):
    rnd = random.Random(seed)
    alphabet = list("aebAE  \t\n.,!-_#['\0\x01\x85\ufffd\u200d\u00a0\u3000éÉßſıİςΣКйЙ中国\uf900각한\u1100\u1161\u11a8\u0301\u0316\u093c\u302e\u08d4"
                    "\U0001e94a\U0001d165\U0001d15e\U0001d1bb\u0344\u0f73\u2126\u212b\u1fef\u2000🦙")
    words = WORDS + SPECIALS + ["<x>", "<y>", "<l>", "<r>", "<b>", "New York", "WORD", "hello", "##ing"]

    def piece():
        kind = rnd.random()
        if kind < 0.45:
            return rnd.choice(alphabet)
        if kind < 0.75:
            return rnd.choice(words) + rnd.choice(["", " ", "s", "ing"])
        while True:
            c = rnd.randrange(rnd.choice([0x80, 0x600, 0x3100, 0x20000, 0x110000]))
            if not 0xD800 <= c < 0xE000:
                return chr(c)
    return ["".join(piece() for _ in range(rnd.randrange(1, 24))) for _ in range(count)]


def reference(path):
    t = Tokenizer.from_file(str(path))
    t.no_truncation()
    t.no_padding()
    return t


def case(t, name, text, pair=None):
    e = t.encode(text) if pair is None else t.encode(text, pair)
    return {"tokenizer": name, "text": text, "pair": pair, "ids": e.ids, "types": e.type_ids}


def write_list(path, cases):
    path.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
    print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")


def write(model):
    DATA.mkdir(parents=True, exist_ok=True)
    cases = []
    for number, (name, content) in enumerate(TOKENIZERS.items()):
        path = DATA / f"{name}.json"
        path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
        t = reference(path)
        some = FIXED + texts(number, 120)
        cases += [case(t, name, s) for s in some]
        cases += [case(t, name, a, b) for a, b in zip(some[1::9], some[2::9])]
    write_list(DATA / "cases.json", cases)
    if model:
        t = reference(pathlib.Path(model) / "tokenizer.json")
        some = FIXED + texts(99, 200)
        write_list(DATA / "minilm.json", [case(t, "all-MiniLM-L6-v2", s) for s in some])


def check(program, models):
    bad = 0
    for model in models:
        t = reference(pathlib.Path(model) / "tokenizer.json")
        some = FIXED + texts(7, 20000)
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
            f.writelines(json.dumps({"text": s}) + "\n" for s in some)
            f.flush()
            out = subprocess.run([program, "tokenize", "--model", model, "--input", f.name, "--input-format", "jsonl",
                                  "--field", "text"],
                                 check=True, capture_output=True, text=True).stdout.splitlines()
        if len(out) != len(some):
            raise SystemExit(f"{model}: {len(some)} texts but {len(out)} lines")
        for text, line in zip(some, out):
            if json.loads(line)["ids"] != t.encode(text).ids:
                bad += 1
                print(f"{model}: {text!a}\n  ours      {json.loads(line)['ids']}\n  reference {t.encode(text).ids}")
        print(f"{model}: {len(some)} texts")
    return 1 if bad else 0


def main():
    if tokenizers.__version__ != VERSION:
        raise SystemExit(f"needs tokenizers {VERSION}, found {tokenizers.__version__}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writer = commands.add_parser("write")
    writer.add_argument("--model")
    checker = commands.add_parser("check")
    checker.add_argument("program")
    checker.add_argument("models", nargs="+")
    args = parser.parse_args()
    if args.command == "write":
        write(args.model)
        return 0
    return check(args.program, args.models)


if __name__ == "__main__":
    sys.exit(main())
