#!/usr/bin/env python3
"""Finds functions that must not be used, in code (comments and strings do not count).

    tools/check_banned.py [ROOT]
    tools/check_banned.py --self-test

Unsafe ones anywhere; the C allocator outside src/base (memory comes from base/mem.h) and outside tests, examples and bench.
"""
import re
import sys
from pathlib import Path

UNSAFE = "sprintf vsprintf strcpy strcat stpcpy atoi atol atoll atof sscanf vsscanf strtok gets alloca tmpnam mktemp system popen".split()
ALLOCATOR = "malloc calloc realloc free reallocarray aligned_alloc posix_memalign strdup strndup".split()
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
MARKS = re.compile(r"\b(TODO|FIXME|XXX)\b")


def findings(text, allocator_allowed):
    names = UNSAFE if allocator_allowed else UNSAFE + ALLOCATOR
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    code = NOISE.sub(lambda m: " " + "\n" * m.group().count("\n"), text)
    for number, line in enumerate(code.splitlines(), 1):
        for match in pattern.finditer(line):
            yield number, f"{match.group(1)}() is banned"
    for number, line in enumerate(text.splitlines(), 1):
        for match in MARKS.finditer(line):
            yield number, f"{match.group(1)}: finish it, or say so in the issue tracker"


def check(root):
    bad = 0
    for folder in ("src", "include", "tests", "examples", "bench", "fuzz"):
        for path in sorted(p for p in (root / folder).rglob("*") if p.suffix in {".c", ".h", ".cpp"}):
            allowed = folder != "src" or path.relative_to(root / "src").parts[0] == "base"
            for number, what in findings(path.read_text(encoding="utf-8"), allowed):
                print(f"{path.relative_to(root)}:{number}: {what}")
                bad += 1
    return bad


def self_test():
    assert [n for n, _ in findings('int x;\nsprintf(a, "b");\n', True)] == [2]
    assert [n for n, _ in findings("/* sprintf(\n*/ free(p);\n", False)] == [2]
    assert not list(findings('/* strcpy( */ puts("atoi(1)"); emb_free(p); x->free(p); free(p);', True))
    assert len(list(findings("/* TODO: later */\n", True))) == 1
    print("self-test: ok")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    else:
        sys.exit(1 if check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent) else 0)
