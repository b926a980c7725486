#!/bin/sh
# libembellama.so exports embellama_* and nothing else, every function the header declares is there, and the soname is right.
set -eu
lib=$EMB_BUILD_DIR/libembellama.so
symbols=$(nm -D --defined-only "$lib" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }')
bad=$(printf '%s\n' "$symbols" | grep -v '^embellama_' || true)
if [ -n "$bad" ]; then
    echo "exported, but not of the public interface:"
    echo "$bad"
    exit 1
fi
declared=$(sed -n '/^#/d; s/^EMBELLAMA_API .*[ *]\(embellama_[a-z0-9_]*\)(.*/\1/p' include/embellama/embellama.h)
[ "$(printf '%s\n' "$declared" | wc -l)" -ge 20 ] || {
    echo "found too few declarations in the header"
    exit 1
}
for name in $declared; do
    printf '%s\n' "$symbols" | grep -qx "$name" || {
        echo "$name is declared in the header and not exported"
        exit 1
    }
done
objdump -p "$lib" | grep -q 'SONAME *libembellama\.so\.0$' || {
    echo "soname: $(objdump -p "$lib" | grep SONAME)"
    exit 1
}
echo "$(printf '%s\n' "$symbols" | wc -l) symbols exported, all of the public interface"
