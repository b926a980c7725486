#!/usr/bin/env python3
"""What the `tokenizers` library (0.23.3) says of the places of tokens, and makes of ids:

    spans.py [--model DIRECTORY] [--texts FILE.jsonl]

writes tests/tokenizer/data/spans.json, over the small tokenizers of tokens.py, one of its own (contractions.json beside it) and, with
--model, all-MiniLM-L6-v2's; with --texts also tests/tokenizer/data/spans_digest.json, for a test that has those texts. Offsets are in bytes of UTF-8.
"""
import argparse
import json
import pathlib
import random

import tokenizers

from tokens import DATA, FIXED, TOKENIZERS, VERSION, added, reference, texts, tokenizer

NAME = "all-MiniLM-L6-v2"
# Tokens that the decoder's cleanup changes: WordPiece itself never makes any but punctuation.
CONTRACTIONS = tokenizer(extra=[added(c) for c in (
    "n't", "'m", "'s", "'ve", "'re", "a do not b", " do not", "x ' y", " ' ", "a . b ? c ! d , e", " n't 'm 's", "do not do not")])
BLOCK = 100  # texts of one digest

MORE = [
    "cafe\u0301 cafe\u0301s", "a\u0301\u302e\u0316b", "x\u0344\u0316y \u0344\u08d4\u0316", "\u1e69\u08d4\u0323s", "\uac01\u11a8 \u1112\u1161\u11ab",
    "\U0002f800a\uf900 b中\u0301国", "İ̇stanbul İ", "\0a\0\0b \ufffd\u200bc", "a\u00a0\u2003b\u3000", " [MASK]  [mask] ", "n't do not 've . , ! ?",
]


def spans(text, encoding):
    """[begin, end] of each token, in bytes."""
    places = [0]
    for c in text:
        places.append(places[-1] + len(c.encode()))
    return [[places[b], places[e]] for b, e in encoding.offsets]


def decoded(t, ids):
    return {"plain": t.decode(ids, skip_special_tokens=True), "full": t.decode(ids, skip_special_tokens=False)}


def case(t, name, text):
    e = t.encode(text)
    return {"tokenizer": name, "text": text, "ids": e.ids, "spans": spans(text, e), "frame": e.special_tokens_mask,
            **decoded(t, e.ids)}


def decode_cases(t, name, seed, count):
    """Ids in no sense a text, with much of what the decoder's cleanup looks for, and some that no token has."""
    rnd = random.Random(seed)
    liked = [i for i in map(t.token_to_id, [e["content"] for e in CONTRACTIONS["added_tokens"]] + [".", "?", "!", ",", "'", "n", "t", "m", "s", "ve", "re", "do", "not", "##t", "##s", "[SEP]", "[UNK]"])
             if i is not None]
    size = t.get_vocab_size()
    for _ in range(count):
        ids = [rnd.choice(liked) if rnd.random() < 0.6 else rnd.randrange(size + size // 8) for _ in range(rnd.randrange(1, 16))]
        yield {"tokenizer": name, "ids": ids, **decoded(t, ids)}


def fnv(data, value=0xCBF29CE484222325):
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def digest(t, path):
    """One number a block of texts: FNV-1a over id, begin and end of every token, each as four bytes."""
    lines = [json.loads(line)["text"] for line in open(path, encoding="utf-8")]
    out = []
    for start in range(0, len(lines), BLOCK):
        value = 0xCBF29CE484222325
        for text in lines[start:start + BLOCK]:
            e = t.encode(text)
            for token, (begin, end) in zip(e.ids, spans(text, e)):
                value = fnv(b"".join(n.to_bytes(4, "little") for n in (token, begin, end)), value)
        out.append(f"{value:016x}")
    return {"texts": len(lines), "block": BLOCK, "digests": out}


def main():
    if tokenizers.__version__ != VERSION:
        raise SystemExit(f"needs tokenizers {VERSION}, found {tokenizers.__version__}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--texts")
    args = parser.parse_args()
    paths = {name: DATA / f"{name}.json" for name in TOKENIZERS}
    paths["contractions"] = DATA / "contractions.json"
    paths["contractions"].write_text(json.dumps(CONTRACTIONS, separators=(",", ":")) + "\n")
    if args.model:
        paths[NAME] = pathlib.Path(args.model) / "tokenizer.json"
    cases = []
    for seed, (name, path) in enumerate(paths.items(), 500):
        t = reference(path)
        some = [s for s in FIXED if len(s) < 200] + MORE + texts(seed, 25)
        cases += [case(t, name, s) for s in some]
        cases += decode_cases(t, name, seed, 25)
    path = DATA / "spans.json"
    path.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
    print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")
    if args.model and args.texts:
        path = DATA / "spans_digest.json"
        path.write_text(json.dumps(digest(reference(paths[NAME]), args.texts)) + "\n")
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
