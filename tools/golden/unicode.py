#!/usr/bin/env python3
"""Probes the `tokenizers` library (0.23.3) over every code point: what its BERT normaliser and pre-tokeniser do.

    unicode.py tables   writes src/tokenizer/unicode_data.c
    unicode.py classes  writes src/tokenizer/unicode_classes.c
    unicode.py digest   writes tests/tokenizer/unicode_digest.h

The tables the library was built with match no single Unicode version, so they are taken from its behaviour. The digest
covers what it makes of every code point in every combination of options; test_unicode recomputes it with our tables.
"""
import argparse
import itertools
import multiprocessing
import pathlib
import zlib

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = "0.23.3"
LIMIT = 0x110000
SURROGATES = range(0xD800, 0xE000)
HANGUL = range(0xAC00, 0xD7A4)

# Bits of a record's flags, as src/tokenizer/unicode.h names them.
REMOVED, TO_SPACE, CJK, MARK, PUNCTUATION, SPACE, WORD, DECOMPOSES, LOWER_LONG = (1 << i for i in range(9))


def code_points():
    return (c for c in range(LIMIT) if c not in SURROGATES)


def bert(clean=False, cjk=False, strip=False, lower=False):
    return normalizers.BertNormalizer(
        clean_text=clean, handle_chinese_chars=cjk, strip_accents=strip, lowercase=lower)


class Probe:
    def __init__(self):
        self.clean = bert(clean=True)
        self.cjk = bert(cjk=True)
        self.strip = bert(strip=True)
        self.lower = bert(lower=True)
        self.nfd = normalizers.NFD()
        self.pre = pre_tokenizers.BertPreTokenizer()
        self.word = self.matcher(single_word=True)
        self.space = self.matcher(lstrip=True)

    @staticmethod
    def matcher(**options):
        tokenizer = Tokenizer(models.WordLevel({"u": 0}, unk_token="u"))
        tokenizer.add_tokens([AddedToken("T", normalized=False, **options)])
        return tokenizer

    def flags(self, c):
        s = chr(c)
        around = "a" + s + "b"
        flags = 0
        cleaned = self.clean.normalize_str(around)
        if cleaned == "ab":
            flags |= REMOVED
        elif cleaned == "a b":
            flags |= TO_SPACE
        elif cleaned != around:
            raise ValueError(f"clean_text of {c:#x}: {cleaned!r}")
        padded = self.cjk.normalize_str(around)
        if padded == "a " + s + " b":
            flags |= CJK
        elif padded != around:
            raise ValueError(f"chinese characters of {c:#x}: {padded!r}")
        parts = [p for p, _ in self.pre.pre_tokenize_str(around)]
        if parts == ["a", s, "b"]:
            flags |= PUNCTUATION
        elif parts == ["a", "b"]:
            flags |= SPACE
        elif parts != [around]:
            raise ValueError(f"pre-tokenising {c:#x}: {parts!r}")
        if 1 not in self.word.encode(s + "T").ids:
            flags |= WORD
        start = self.space.encode("a" + s + "T").offsets[-1][0]
        if (start == 1) != bool(flags & SPACE):
            raise ValueError(f"white space of {c:#x} differs between the pre-tokeniser and added tokens")
        return flags


def probe_orders(probe, plain):
    """Ranks 1, 2, ... of the code points that canonical ordering moves, found by comparing them in pairs."""
    nfd = probe.nfd.normalize_str

    def above(a, b):
        return nfd(chr(a) + chr(b)) != chr(a) + chr(b)

    moving = [c for c in plain if above(c, 0x334) or above(0x345, c)]
    classes = []  # lists of code points, rising
    for c in moving:
        low, high = 0, len(classes)
        while low < high:
            middle = (low + high) // 2
            if above(c, classes[middle][0]):
                low = middle + 1
            else:
                high = middle
        if low < len(classes) and not above(classes[low][0], c):
            classes[low].append(c)
        else:
            classes.insert(low, [c])
    return classes


def check_hangul(probe):
    for c in HANGUL:
        i = c - 0xAC00
        parts = [0x1100 + i // 588, 0x1161 + i % 588 // 28] + ([0x11A7 + i % 28] if i % 28 else [])
        if probe.nfd.normalize_str(chr(c)) != "".join(map(chr, parts)):
            raise ValueError(f"Hangul syllable {c:#x} decomposes otherwise")


def collect():
    probe = Probe()
    check_hangul(probe)
    decomposition, plain = {}, []
    for c in code_points():
        d = probe.nfd.normalize_str(chr(c))
        if d == chr(c):
            plain.append(c)
        elif c not in HANGUL:
            decomposition[c] = [ord(x) for x in d]
    classes = probe_orders(probe, plain)

    marks, lower, flags = set(), {}, {}
    for c in code_points():
        flags[c] = probe.flags(c)
        low = [ord(x) for x in probe.lower.normalize_str(chr(c))]
        if low != [c]:
            lower[c] = low
    for c in plain:
        stripped = probe.strip.normalize_str(chr(c))
        if stripped == "":
            marks.add(c)
        elif stripped != chr(c):
            raise ValueError(f"accents of {c:#x}: {stripped!r}")
    return decomposition, classes, marks, lower, flags


def surviving_ranks(classes, marks):
    """Canonical ordering among code points that are not dropped: 0 starts anew, 1.. is the order, PASS neither."""
    order, rank = {}, 0
    for members in classes:
        kept = [c for c in members if c not in marks]
        if kept:
            rank += 1
        for c in members:
            order[c] = rank if c not in marks else 255
    return order, rank


def two_stage(values, bits):
    size = 1 << bits
    blocks, first = {}, []
    for start in range(0, LIMIT, size):
        block = tuple(values[start:start + size])
        first.append(blocks.setdefault(block, len(blocks)))
    return first, list(itertools.chain.from_iterable(blocks))


def c_array(kind, name, values, form="{}"):
    out, line = [f"const {kind} {name}[{len(values)}] = {{"], "   "
    for v in values:
        item = " " + form.format(v) + ","
        if len(line) + len(item) > 120:
            out.append(line)
            line = "   "
        line += item
    return "\n".join(out + [line, "};"]) + "\n"


HEADER = """/* What the BERT normaliser and pre-tokeniser do to each code point: two-stage tables. Generated by
 * tools/golden/unicode.py from the behaviour of tokenizers {version}; unicode.h reads them. Not to be edited. */
/* clang-format off */
#include "tokenizer/unicode.h"

"""


def tables(path):
    decomposition, classes, marks, lower, flags = collect()
    order, ranks = surviving_ranks(classes, marks)
    long_lower = {c: low for c, low in lower.items() if len(low) > 1}
    if set(long_lower) != {0x130} or long_lower[0x130] != [0x69, 0x307]:
        raise ValueError(f"lower case of several code points: {long_lower}")

    pool, place = [0], {}
    for c, d in decomposition.items():
        if tuple(d) not in place:
            place[tuple(d)] = len(pool)
            pool += [len(d)] + d
    records, index = {}, []
    for c in range(LIMIT):
        if c in SURROGATES:
            record = (0, 0, 0)
        else:
            f = flags[c]
            f |= MARK if c in marks else 0
            f |= DECOMPOSES if c in decomposition or c in HANGUL else 0
            f |= LOWER_LONG if c in long_lower else 0
            delta = lower[c][0] - c if c in lower and c not in long_lower else 0
            if delta and order.get(c, 0):
                raise ValueError(f"{c:#x} has both an order and a lower case")
            record = (f, order.get(c, 0), delta)
        index.append(records.setdefault(record, len(records)))
    if len(records) > 256:
        raise ValueError(f"{len(records)} records do not fit a byte")
    decomposed = [place[tuple(decomposition[c])] if c in decomposition else 0 for c in range(LIMIT)]

    kinds, parts = two_stage(index, 7), two_stage(decomposed, 8)

    text = HEADER.format(version=VERSION)
    text += "/* Flags of ASCII alone. */\n"
    text += c_array("uint8_t", "emb_unicode_ascii", [flags[c] for c in range(128)])
    text += "\n/* {flags, order, lower-case distance} */\n"
    text += c_array("struct emb_unicode_record", "emb_unicode_records", list(records), "{{{0[0]}, {0[1]}, {0[2]}}}")
    text += "\n" + c_array("uint16_t", "emb_unicode_first", kinds[0])
    text += "\n" + c_array("uint8_t", "emb_unicode_second", kinds[1])
    text += "\n" + c_array("uint16_t", "emb_unicode_decomposed_first", parts[0])
    text += "\n" + c_array("uint16_t", "emb_unicode_decomposed_second", parts[1])
    text += "\n" + c_array("uint32_t", "emb_unicode_decompositions", pool)
    path.write_text(text)
    growth = max(
        (len("".join(map(chr, d)).encode()) + 2 * (c in flags and bool(flags[c] & CJK))) / len(chr(c).encode())
        for c, d in decomposition.items())
    print(f"{path}: {len(text)} bytes, {len(records)} records, {ranks} orders, {len(pool)} values of decompositions, "
          f"longest decomposition {max(map(len, decomposition.values()))}, growth at most {growth:.2f}")


CLASSES_HEADER = """/* Canonical ordering of all combining marks, for the places of tokens: ranges of one rank. Generated by tools/golden/unicode.py
 * from the behaviour of tokenizers {version}; unicode.h reads them. Not to be edited. */
/* clang-format off */
#include "tokenizer/unicode.h"

/* {{first, last, rank}} */
"""


def classes(path):
    probe = Probe()
    plain = [c for c in code_points() if probe.nfd.normalize_str(chr(c)) == chr(c)]
    ranks = {c: rank for rank, members in enumerate(probe_orders(probe, plain), 1) for c in members}
    ranges = []
    for c in sorted(ranks):
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == ranks[c]:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, ranks[c]])
    text = CLASSES_HEADER.format(version=VERSION)
    text += c_array("struct emb_unicode_class", "emb_unicode_classes", ranges, "{{0x{0[0]:x}, 0x{0[1]:x}, {0[2]}}}")
    path.write_text(text + f"\nconst uint32_t emb_unicode_class_count = {len(ranges)};\n")
    print(f"{path}: {len(ranks)} code points, {len(ranges)} ranges, {max(ranks.values())} ranks")


# Two code points that ordering moves, that are not dropped as accents: of a high and of a low class.
DIGEST_MARKS = ("\u08D4", "\U0001E94A")


def block_text(start):
    """Each code point of a block alone, between letters, and among marks that canonical ordering moves."""
    high, low = DIGEST_MARKS
    out = []
    for c in range(start, start + 256):
        if c not in SURROGATES:
            s = chr(c)
            out += [s, "a" + s + "b", "x" + high + s + low + "Y"]
    return " ".join(out)


def digest(path):
    starts = [s for s in range(0, LIMIT, 256) if s not in SURROGATES]
    with multiprocessing.Pool() as pool:
        values = pool.map(block_digest, starts, chunksize=64)
    text = ("/* CRC-32 of what becomes of each block of 256 code points, but the surrogates'; test_unicode.c says how.\n"
            f" * Generated by tools/golden/unicode.py from tokenizers {VERSION}. Not to be edited. */\n"
            "/* clang-format off */\n#include <stdint.h>\n\n")
    text += c_array("uint32_t", "unicode_digest", values, "0x{:08x}").replace("const", "static const", 1)
    path.write_text(text)
    print(f"{path}: {len(values)} blocks")


def block_digest(start):
    pre = pre_tokenizers.BertPreTokenizer()
    text, crc = block_text(start), 0
    for clean, cjk, strip, lower in itertools.product((False, True), repeat=4):
        out = bert(clean, cjk, strip, lower).normalize_str(text)
        crc = zlib.crc32(out.encode() + b"\xff", crc)
        for word, _ in pre.pre_tokenize_str(out):
            crc = zlib.crc32(word.encode() + b"\xfe", crc)
    return crc


def main():
    if tokenizers.__version__ != VERSION:
        raise SystemExit(f"needs tokenizers {VERSION}, found {tokenizers.__version__}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tables", "classes", "digest"))
    what = parser.parse_args().what
    if what == "tables":
        tables(ROOT / "src/tokenizer/unicode_data.c")
    elif what == "classes":
        classes(ROOT / "src/tokenizer/unicode_classes.c")
    else:
        digest(ROOT / "tests/tokenizer/unicode_digest.h")


if __name__ == "__main__":
    main()
