#!/usr/bin/env python3
"""Checks the layers of src/: who may include whom, and that file names are unique.

    tools/check_layers.py [ROOT]        checks the tree, prints each breach, exits 1 if there is one
    tools/check_layers.py --self-test   shows on made-up trees that each rule can fail

A layer may include itself and layers below it. server, api and cli reach the engine only through embellama/embellama.h and pool/.
"""
import re
import sys
import tempfile
from pathlib import Path

BELOW = {
    "base": set(),
    "format": {"base"},
    "kernel": {"base"},
    "tokenizer": {"base", "format", "kernel"},
    "model": {"base", "format", "kernel", "tokenizer"},
    "engine": {"base", "format", "kernel", "tokenizer", "model"},
    "pool": {"base", "engine"},
    "server": {"base", "pool"},
    "api": {"base", "pool", "server"},
    "cli": {"base", "pool", "server", "api"},
}
PUBLIC = "embellama/embellama.h"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
ANGLED = re.compile(r"^\s*#\s*include\s*<([^>]+)>", re.M)
SUFFIXES = {".c", ".h", ".cpp"}
# Third-party headers that belong to one place.
CONFINED = {"uv.h": {"pool", "server", "api"}, "llhttp.h": {"server"}, "simdjson.h": {"base"}}


def check(root):
    src = root / "src"
    errors = []
    names = {}
    for path in sorted(p for p in src.rglob("*") if p.suffix in SUFFIXES):
        relative = path.relative_to(src)
        layer = relative.parts[0]
        if len(relative.parts) < 2 or layer not in BELOW:
            errors.append(f"{path}: not in a folder that is a layer")
            continue
        if path.name in names:
            errors.append(f"{path}: file name also used by {names[path.name]}")
        names[path.name] = path
        text = path.read_text(encoding="utf-8")
        included = INCLUDE.findall(text)
        for name in included:
            errors += check_include(root, path, layer, name)
        for name in ANGLED.findall(text):
            owners = CONFINED.get(name)
            if owners and layer not in owners:
                errors.append(f"{path}: includes <{name}>, which only {', '.join(sorted(owners))} may")
            if name.startswith("embellama/"):
                errors.append(f"{path}: write the public header in quotes")
        own = str(relative.with_suffix(".h"))
        if path.suffix != ".h" and (src / own).exists() and (not included or included[0] != own):
            errors.append(f"{path}: must include its own header first: {own}")
    return errors


def check_include(root, path, layer, name):
    if name == PUBLIC:
        return []
    target = name.split("/")[0]
    if target not in BELOW or "/" not in name:
        return [f'{path}: "{name}" must be named from src/, with its layer']
    if not (root / "src" / name).exists():
        return [f'{path}: "{name}" does not exist']
    if target != layer and target not in BELOW[layer]:
        return [f'{path}: layer {layer} must not include "{name}"']
    return []


def breaches(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder) / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return check(Path(folder))


def self_test():
    good = {"base/buf.h": "", "base/buf.c": '#include "base/buf.h"\n', "format/gguf.c": '#include "base/buf.h"\n',
            "server/conn.c": '#include "embellama/embellama.h"\n#include "base/buf.h"\n#include <uv.h>\n'}
    cases = {
        "upward include": {"base/a.c": '#include "format/gguf.h"\n', "format/gguf.h": ""},
        "sibling include": {"format/a.c": '#include "kernel/k.h"\n', "kernel/k.h": ""},
        "server into model": {"server/a.c": '#include "model/spec.h"\n', "model/spec.h": ""},
        "cli into engine": {"cli/a.c": '#include "engine/ctx.h"\n', "engine/ctx.h": ""},
        "name twice": {"base/buf.h": "", "model/buf.h": ""},
        "no such layer": {"util/a.c": ""},
        "no layer in the name": {"base/a.c": '#include "buf.h"\n', "base/buf.h": ""},
        "missing header": {"base/a.c": '#include "base/none.h"\n'},
        "own header not first": {"base/a.h": "", "base/b.h": "", "base/a.c": '#include "base/b.h"\n#include "base/a.h"\n'},
        "libuv in the library": {"model/a.c": "#include <uv.h>\n"},
    }
    assert breaches(good) == [], breaches(good)
    for name, files in cases.items():
        assert len(breaches(files)) == 1, (name, breaches(files))
    print(f"self-test: {len(cases)} kinds of breach found, a good tree passes")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    errors = check(root)
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
