#!/bin/sh
# scripts/install-deps with made-up dpkg-query, apt-get, sudo and id in front: what it asks for and what it says.
set -eu
script=$PWD/scripts/install-deps
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bin=$work/bin
mkdir "$bin"

for tool in sed tr sort grep printf env cat wc awk sh test echo; do
    path=$(command -v $tool) && case $path in /*) ln -s "$path" "$bin/$tool" ;; esac
done

stub() {
    printf '#!/bin/sh\n%s\n' "$2" >"$bin/$1"
    chmod +x "$bin/$1"
}
run() {
    status=0
    PATH=$bin /bin/sh "$script" "$@" >"$work/out" 2>&1 </dev/null || status=$?
}
fail() {
    echo "FAILED: $1"
    cat "$work/out"
    exit 1
}

all=$("$script" --list all)
one_less=$(printf '%s\n' "$all" | grep -vx libuv1-dev)
stub id 'echo "${FAKE_UID:-1000}"'
stub apt-get "echo \"apt-get \$*\" >>'$work/calls'; case \"\$*\" in *install*-y*) [ ! -e '$work/broken' ] || exit 100; echo libuv1-dev >>'$work/installed' ;; esac"
stub dpkg-query "for p in \$(cat '$work/installed'); do echo \"installed \$p \"; done"

printf '%s\n' "$all" >"$work/installed"
run all
[ $status = 0 ] && [ ! -s "$work/out" ] && [ ! -e "$work/calls" ] || fail "silent and idle when all is there"

printf '%s\n' "$one_less" >"$work/installed"
run all
[ $status != 0 ] && grep -q 'neither root nor sudo' "$work/out" && grep -q 'install.* libuv1-dev$' "$work/out" &&
    [ ! -e "$work/calls" ] || fail "without root and sudo it names the package and stops"

touch "$work/broken"
FAKE_UID=0 run all
[ $status != 0 ] && grep -q 'apt-get failed' "$work/out" && grep -q 'apt-get update' "$work/calls" ||
    fail "an apt-get that fails is tried once more after an update, then reported"

rm "$work/broken" "$work/calls"
FAKE_UID=0 run all
[ $status = 0 ] && grep -q 'install -y .*libuv1-dev$' "$work/calls" && ! grep -q 'cmake' "$work/calls" ||
    fail "as root it installs just what is missing"

printf '%s\n' "$one_less" >"$work/installed"
rm "$work/calls"
stub sudo "[ \"\$1\" = -n ] && shift; echo sudo >>'$work/sudo'; exec \"\$@\""
stub true 'exit 0'
run all
[ $status = 0 ] && [ -s "$work/sudo" ] && grep -q 'install -y .*libuv1-dev$' "$work/calls" || fail "with sudo it installs"

rm "$bin/dpkg-query" "$bin/apt-get" "$bin/sudo"
run all
[ $status != 0 ] && grep -q 'no apt' "$work/out" && grep -q cmake "$work/out" || fail "without apt it names the packages"

run nonsense
[ $status = 2 ] || fail "an unknown group is refused"
echo "install-deps: ok"
