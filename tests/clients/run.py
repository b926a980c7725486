#!/usr/bin/env python3
"""Runs real clients of other projects against the server, and compares docs/compatibility.md with what they report.

    run.py [--only NAME,...] [--write] BUILD

--only: programs whose name begins so (python/, js/openai ...), and no comparison. --write: writes the page's tables. Exits with 1 when a client
reports that something failed, a program ends badly, or the page says otherwise than the run."""
import argparse
import concurrent.futures
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
PAGE = os.path.join(ROOT, "docs", "compatibility.md")
RERANKER = os.path.join(ROOT, "tests", "golden", "tiny-rank")
PREFIXES = {"Python": "python/", "JavaScript": "js/", "Go": "go", "Rust": "rust", "Java": "java"}  # of programs' names
PROGRAM = 600  # seconds for one program

import compatibility  # noqa: E402
import reference  # noqa: E402
import serving  # noqa: E402
import toolchains  # noqa: E402


class TlsServer(serving.Server):
    """Ready when it says so: its certificate is its own."""

    def wait_ready(self):
        while time.monotonic() - self.started < 60 and self.process.poll() is None:
            if self.stdout:
                return
            time.sleep(0.02)
        self.process.kill()
        sys.exit("the server with TLS did not get ready; its log:\n" + self.read_log())


def certificate(folder):
    files = [os.path.join(folder, name) for name in ("cert.pem", "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return files


def ranked(server):
    query, documents = "what do cats eat?", ["a dog barks", "cats eat mice", "the sea is blue", "a cat sat down"]
    status, reply = server.request("/v1/rerank", {"model": "reranker", "query": query, "documents": documents})
    assert status == 200, reply
    return {"url": server.url, "model": "reranker", "query": query, "documents": documents, "order": [r["index"] for r in reply["results"]]}


def vocabulary(programs):
    """A folder with cl100k's vocabulary as tiktoken keeps it, which LiteLLM carries, and the file's path."""
    python = next((command[0] for name, command in programs.items() if name.startswith("python/")), None)
    if not python:
        return None, None
    pattern = os.path.join(os.path.dirname(python), "..", "lib", "python3*", "site-packages", "litellm", "litellm_core_utils", "tokenizers",
                           "9b5ad71b2ce5302211f9c61530b329a4922fc6a4")
    path = os.path.realpath(glob.glob(pattern)[0])
    return os.path.dirname(path), path


def prepared(work, wanted):
    """Programs by name, and for languages that are not to be had, why."""
    programs, missing, broken = {}, {}, {}

    def prepare(language):
        start = time.monotonic()
        try:
            return language, toolchains.LANGUAGES[language](work), None, time.monotonic() - start
        except (toolchains.Unavailable, RuntimeError, subprocess.TimeoutExpired, OSError) as error:
            return language, {}, error, time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        languages = [name for name, prefix in PREFIXES.items() if not wanted or any(w.startswith(prefix) or prefix.startswith(w) for w in wanted)]
        for language, made, error, seconds in pool.map(prepare, languages):
            print(f"{language}: {error or f'{len(made)} programs'} ({seconds:.0f} s)", flush=True)
            if error:
                (missing if isinstance(error, toolchains.Unavailable) else broken)[language] = str(error)
            programs |= made
    return {name: c for name, c in programs.items() if not wanted or any(name.startswith(w) for w in wanted)}, missing, broken


def run_program(name, command, env):
    """The lines it printed, what is wrong with how it ended, and why it did not run where it did not."""
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PROGRAM, cwd=os.path.dirname(env["EMB_CLIENT_SETUP"]))
        out, wrong = done.stdout, f"ended with {done.returncode}: {done.stderr[-1500:]}" if done.returncode else None
    except subprocess.TimeoutExpired as late:
        out, wrong = (late.stdout or b"").decode(errors="replace"), f"still running after {PROGRAM} s"
    reported = [json.loads(line) for line in out.splitlines() if line.startswith('{"')]
    absent = [line["not run"] for line in reported if "not run" in line]
    lines = [line for line in reported if "feature" in line]
    return lines, wrong or (None if lines or absent else "it reported nothing"), absent


def run_all(programs, setup, folder, tokens):
    path = os.path.join(folder, "setup.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(setup, file)
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | {
        "EMB_CLIENT_SETUP": path, "HF_HUB_OFFLINE": "1", "ANONYMIZED_TELEMETRY": "False", "HAYSTACK_TELEMETRY_ENABLED": "False",
        "DO_NOT_TRACK": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONDONTWRITEBYTECODE": "1"}
    if tokens:
        env["TIKTOKEN_CACHE_DIR"] = tokens
    lines, wrong, missing = [], {}, {}
    for name, command in programs.items():
        start = time.monotonic()
        some, bad, absent = run_program(name, command, env)
        lines += some
        if absent:
            missing[name] = absent[0]
        if bad:
            wrong[name] = bad
        failed = [line for line in some if not line["ok"]]
        print(f"{name}: {len(some) - len(failed)} of {len(some)} ({time.monotonic() - start:.0f} s)" + (f"; {bad}" if bad else ""), flush=True)
        for line in failed:
            print(f"    FAILED {line['client']} / {line['feature']}: {line['detail']}", flush=True)
    return lines, wrong, missing


def serve_and_run(programs, work):
    with tempfile.TemporaryDirectory() as folder:
        keys = os.path.join(folder, "keys.yaml")
        with open(keys, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(reference.KEYS)
        socket = os.path.join(folder, "server.sock")
        cert, key = certificate(folder)
        tokens, tiktoken = vocabulary(programs)
        model = ["--model-path", serving.model_dir(), "--model-name", reference.MODEL, "--log-level", "warn"]
        with serving.Server(*model, "--unix-socket", socket) as server, serving.Server(*model, "--api-key-file", keys) as keyed, \
                serving.Server("--model-path", RERANKER, "--model-name", "reranker", "--log-level", "warn") as reranker, \
                serving.Server(*model, *(["--token-ids", tiktoken] if tiktoken else [])) as by_ids, \
                TlsServer(*model, "--tls-cert", cert, "--tls-key", key) as tls:
            setup = reference.described(server.url, server.request) | {
                "keyed": keyed.url, "rerank": ranked(reranker), "token_ids": by_ids.url,
                "tls": tls.url.replace("http:", "https:"), "certificate": cert, "socket": socket}
            found = run_all(programs, setup, folder, tokens)
            for each in server, keyed, reranker, by_ids, tls:
                each.stop()
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    serving.BINARY = os.path.join(os.path.abspath(args.build), "embellama")
    work = os.path.join(os.path.abspath(args.build), "clients")
    os.makedirs(work, exist_ok=True)
    programs, missing, broken = prepared(work, [w for w in args.only.split(",") if w])
    lines, wrong, absent = serve_and_run(programs, work)
    missing |= absent
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    if args.write:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(compatibility.written(page, lines))
    differs = [] if args.write or args.only else compatibility.contradictions(page, lines)
    print()
    for language, why in missing.items():
        print(f"not run: {language}: {why}")
    for name, why in (broken | wrong).items():
        print(f"FAILED: {name}: {why}")
    for sentence in differs[:20]:
        print(f"docs/compatibility.md: {sentence}")
    passed = sum(line["ok"] for line in lines)
    failed = len(lines) - passed + len(broken) + len(wrong) + len(differs)
    print(f"{passed} passed, {failed} failed, {len(missing)} skipped")
    return 1 if failed or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
