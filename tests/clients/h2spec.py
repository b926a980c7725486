#!/usr/bin/env python3
"""Runs h2spec, the conformance test of HTTP/2, against the server: h2spec.py BUILD. Exits with 1 where a case fails that is not known
to, and with 0, saying so, where Go or the module is not to be had."""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

import serving  # noqa: E402
import toolchains  # noqa: E402

KNOWN = {
    # What begins otherwise is answered as HTTP/1.1, with 400, and closed: the port speaks both.
    "Sends invalid connection preface",
    # RFC 9113 dropped RFC 7540's priorities, and the server says that it does not use them.
    "Sends PRIORITY frame that depend on itself",
}


def installed(folder):
    toolchains.need("go", (1, 21), "version")
    toolchains.call(["go", "install", MODULE], None, GOBIN=folder, GOFLAGS="-mod=mod", GOTOOLCHAIN="local")
    return os.path.join(folder, "h2spec")


def run(program):
    with serving.Server() as server:
        done = subprocess.run([program, "-h", "127.0.0.1", "-p", str(server.port), "-P", "/v1/models", "-o", "2"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240)
        server.stop()
    return done.stdout


def main():
    serving.BINARY = os.path.join(os.path.abspath(sys.argv[1]), "embellama")
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = installed(folder)
        except (toolchains.Unavailable, RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"h2spec was not run: {error}")
            return 0
        said = run(program)
    counts = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", said)
    failed = {re.sub(r"\s+", " ", name.strip()) for name in re.findall(r"× \d+: (.*)", said)}
    if not counts or failed - KNOWN:
        print(said)
        return 1
    print(f"h2spec: {counts.group(0)}; known to fail: {len(failed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
