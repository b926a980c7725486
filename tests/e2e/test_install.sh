#!/bin/sh
# Installs into an empty folder and uses only what is there: pkg-config, the shared and the static library, the CMake package,
# both commands and the man page.
set -eu
if [ -n "${EMB_SANITIZE:-}" ]; then
    echo "skipped: a sanitizer build is not for installing"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
prefix=/opt/embellama-test

DESTDIR=$root cmake --install "$EMB_BUILD_DIR" --prefix $prefix >"$work/log"
for file in bin/embellama bin/embellama-get-model include/embellama/embellama.h share/man/man1/embellama.1; do
    [ -f "$root$prefix/$file" ] || {
        echo "not installed: $file"
        exit 1
    }
done
[ "$(readlink "$root$prefix/bin/embellama-server")" = embellama ]
"$root$prefix/bin/embellama" --version
"$root$prefix/bin/embellama-server" --help >/dev/null

libdir=$(dirname "$(find "$root" -name libembellama.so)")
export PKG_CONFIG_PATH="$libdir/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root"
[ -f "$libdir/libembellama.so.0" ]
# shellcheck disable=SC2046
cc -std=c17 -Wall -Werror examples/embed.c -o "$work/shared" $(pkg-config --cflags --libs embellama) -lm
# shellcheck disable=SC2046
cc -std=c17 -Wall -Werror examples/embed.c -o "$work/static" $(pkg-config --cflags embellama) "$libdir/libembellama.a" \
    $(PKG_CONFIG_SYSROOT_DIR='' pkg-config --static --libs-only-l --libs-only-other embellama | sed 's/-lembellama//') -pthread

mkdir "$work/consumer"
cat >"$work/consumer/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(embellama 0.1 REQUIRED)
add_executable(consumer $PWD/examples/embed.c)
target_link_libraries(consumer PRIVATE embellama::embellama m)
CMAKE
cmake -S "$work/consumer" -B "$work/consumer/build" -G Ninja -Dembellama_ROOT="$root$prefix" >"$work/log" 2>&1 &&
    cmake --build "$work/consumer/build" >>"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}

model=${EMBELLAMA_TEST_MODEL:-${XDG_CACHE_HOME:-$HOME/.cache}/embellama/models/all-MiniLM-L6-v2}
if [ -f "$model/model.safetensors" ]; then
    for program in shared static consumer/build/consumer; do
        LD_LIBRARY_PATH=$libdir "$work/$program" "$model" >"$work/out.$(basename $program)" || {
            echo "$program failed"
            exit 1
        }
    done
    cmp "$work/out.shared" "$work/out.static"
    cmp "$work/out.shared" "$work/out.consumer"
    [ -s "$work/out.shared" ]
fi
echo "installed tree: ok"
