"""Speed of Embellama beside its peers in one run: rounds of each program in turn, medians, and the worst cosine.

    compare.py --bulk PROGRAM --model DIR [--gguf FILE] [--corpus DIR] [--sides embellama-bf16,ort-f32,...] [--skip latency,...]
               [--shapes bge-base,...] [--rounds 5] [--threads 2] [--share 1] [--output FILE.json] [--gemm FILE.txt]
               [--write-docs FILE.md]

Every program does the whole work from text to normalised vector, in its own process, with the same number of threads, texts
truncated at 512 tokens. Peers get batches of 32 sorted by length and the fastest of their sensible settings (peers/*.py). While
one has its turn the others are stopped. A program that cannot run is reported with the reason.
"""
import argparse
import datetime
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import corpus
import numpy as np
import random_model
import report
from side import TICKS, Gone, Side

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = {"ort": "ort.py", "openvino": "ov.py", "torch": "st.py", "llama": "llama.py"}
SIDES = ["embellama-f32", "embellama-bf16", "embellama-int8", "embellama-q8_0", "ort-f32", "ort-int8", "openvino-f32",
         "openvino-bf16", "openvino-int8", "torch-f32", "torch-bf16", "llama-q8_0"]
SHAPE_SIDES = ["embellama-f32", "embellama-bf16", "embellama-int8", "ort-f32", "openvino-bf16"]
# Texts of each set: fewer of them where a text costs more.
SHAPE_SETS = {
    "multilingual-e5-small": {"short": 1000, "p128": 192, "p512": 64},
    "bge-base": {"short": 512, "p128": 96, "p512": 32},
    "bge-large": {"short": 256, "p128": 64, "p512": 16},
}
TIER_SETS = {"p128": corpus.SETS["p128"]}
PRECISIONS = ["f32", "bf16", "int8"]
SINGLE_RUNS = {"one short text": 200, "one text of 512 tokens": 50}
SINGLE_WARM_UP = 3  # runs at the start of each block that do not count: the caches held another program's data
CALIBRATION_TEXTS = 100  # of each set, for quantisers that want to see texts


def busy_seconds():
    """CPU time the machine spent so far, on whatever, and what its host took away."""
    with open("/proc/stat", encoding="utf-8") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


class Turns:
    """Takes turns, and keeps account of what else used the CPUs meanwhile: the sides not at their turn, and all else."""

    def __init__(self, sides):
        self.sides = sides
        self.others = []
        self.idle_seconds = 0.0

    def _idle(self, turn):
        return {side.key: side.cpu_seconds() for side in present(self.sides) if side is not turn}

    def take(self, side, line):
        idle, wall, busy = self._idle(side), time.monotonic(), busy_seconds()
        reply, used = side.ask(line)
        wall, busy = time.monotonic() - wall, busy_seconds() - busy
        self.idle_seconds += sum(seconds - idle[key] for key, seconds in self._idle(side).items())
        if wall > 0.2:  # CPU time is counted in ticks of 10 ms
            self.others.append(max(0.0, busy - used) / wall / os.cpu_count())
        return reply

    def summary(self):
        """Shares of the whole machine's CPU time, and the CPU seconds of sides that were not at their turn."""
        mean, worst = (statistics.fmean(self.others), max(self.others)) if self.others else (0.0, 0.0)
        return {"mean": mean, "max": worst, "idle_sides_seconds": self.idle_seconds}


def command_of(args, model, key, calibration):
    """(argument vector, environment) of a side; key is ENGINE-PRECISION[@CPU-TIER][/THREADS]."""
    key, _, threads = key.partition("/")
    key, _, tier = key.partition("@")
    engine, precision = key.split("-")
    threads = threads or str(args.threads)
    if precision == "q8_0":
        model = args.gguf
    if engine == "embellama":
        return [args.bulk, model, "auto" if precision == "q8_0" else precision, threads] + ([tier] if tier else []), {}
    python = args.llama_python if engine == "llama" else sys.executable
    env = {"RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true",
           "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
    return [python, f"{HERE}/peers/{PEERS[engine]}", model, precision, threads, calibration], env


def start_sides(args, model, keys, calibration):
    sides = []
    for key in keys:
        command, env = command_of(args, model, key, calibration)
        side = Side(key, command, env)
        if any(not part for part in command):
            side.missing = "no GGUF file given" if not args.gguf else "not installed"
        else:
            progress(f"starting {key}")
            side.start()
        if side.missing:
            progress(f"{key}: not available: {side.missing}")
        sides.append(side)
    return sides


def progress(text):
    print(f"compare: {text}", file=sys.stderr, flush=True)


def present(sides):
    return [s for s in sides if not s.missing]


def prepare(turns, sides, path):
    """Hands the texts to all sides. Returns what each said: texts, tokens and the setting it chose."""
    said = {}
    for side in present(sides):
        try:
            said[side.key] = turns.take(side, f"texts {path}")
        except Gone:
            progress(f"{side.key}: gone: {side.missing}")
    return said


def rounds(args, turns, sides, runs, skip=0):
    """seconds of each side: args.rounds times in turn, runs each time, the first skip of which do not count."""
    seconds = {side.key: [] for side in present(sides)}
    for _ in range(args.rounds):
        for side in present(sides):
            try:
                seconds[side.key] += turns.take(side, f"run {skip + runs}")["seconds"][skip:]
            except Gone:
                progress(f"{side.key}: gone: {side.missing}")
    return {side.key: seconds[side.key] for side in present(sides)}


def vectors_of(turns, side, folder):
    path = os.path.join(folder, "vectors")
    turns.take(side, f"write {path}")
    return np.fromfile(path, "<f4").reshape(-1, side.info["dim"])


def cosines(turns, sides, reference, folder):
    vectors = {}
    for side in present(sides):
        try:
            vectors[side.key] = vectors_of(turns, side, folder)
        except Gone:
            progress(f"{side.key}: gone: {side.missing}")
    if reference is None:
        single_precision = [k for k in vectors if "-f32" in k]
        base = next((k for k in single_precision if not report.ours(k)), next(iter(single_precision), None))
        reference = vectors.get(base)
    return {k: corpus.worst_cosine(v, reference) for k, v in vectors.items()} if reference is not None else {}


def measure_set(args, turns, sides, texts, reference, folder):
    path = os.path.join(folder, "texts")
    corpus.write(path, texts)
    said = prepare(turns, sides, path)
    cosine = cosines(turns, sides, reference, folder)
    seconds = rounds(args, turns, sides, 1)
    tokens = next(iter(said.values()), {"tokens": 0})["tokens"]
    for key, reply in said.items():
        if reply["tokens"] != tokens:
            progress(f"{key} made {reply['tokens']} tokens of the texts, the first side {tokens}")
    return {"texts": len(texts), "tokens": tokens, "sides": {
        key: {"tokens_per_second": tokens / statistics.median(times), "seconds": times, "cosine": cosine.get(key),
              "setting": said[key]["setting"], "tokens": said[key]["tokens"]} for key, times in seconds.items()}}


def measure_single(args, turns, sides, text, runs, folder):
    path = os.path.join(folder, "text")
    corpus.write(path, [text])
    said = prepare(turns, sides, path)
    seconds = rounds(args, turns, sides, math.ceil(runs / args.rounds), SINGLE_WARM_UP)
    return {"tokens": next(iter(said.values()), {"tokens": 0})["tokens"], "sides": {
        key: {"p50_ms": statistics.median(times) * 1e3, "p99_ms": float(np.quantile(times, 0.99)) * 1e3,
              "runs": len(times), "setting": said[key]["setting"]} for key, times in seconds.items()}}


def measure_job(args, name, model, keys, sets, singles, has_reference):
    progress(f"== {name}")
    job = {"name": name, "bulk": {}, "single": {}}
    with tempfile.TemporaryDirectory() as folder:
        calibration = os.path.join(folder, "calibration")
        corpus.write(calibration, [t for s in corpus.SETS
                                   for t in corpus.texts(args.corpus, s, args.model,
                                                             max(8, round(CALIBRATION_TEXTS * args.share)))])
        sides = start_sides(args, model, keys, calibration)
        turns = Turns(sides)
        for set_name, count in sets.items():
            progress(f"{name}: {set_name}")
            texts = corpus.texts(args.corpus, set_name, args.model, max(1, round(count * args.share)))
            reference = corpus.reference(args.corpus, set_name) if has_reference else None
            job["bulk"][set_name] = measure_set(args, turns, sides, texts, reference, folder)
        for single, text in singles.items():
            progress(f"{name}: {single}")
            job["single"][single] = measure_single(args, turns, sides, text, SINGLE_RUNS[single], folder)
        job["sides"] = {s.key: {**s.info, "missing": s.missing} for s in sides}
        job["other_load"] = turns.summary()
        for side in sides:
            side.close()
    return job


def thread_keys():
    return [f"embellama-{precision}{suffix}" for precision in PRECISIONS for suffix in ("", "/1")]


def tier_keys(args):
    """Each precision on every CPU tier but the portable one."""
    info = json.loads(subprocess.run([args.bulk, args.model, "f32", "1"], input="", capture_output=True, text=True,
                                     check=True).stdout)
    return [f"embellama-{precision}@{tier}" for precision in PRECISIONS for tier in info["tiers"] if tier != "ref"]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release()}


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bulk", required=True, help="the bulk program")
    parser.add_argument("--model", required=True, help="directory of all-MiniLM-L6-v2")
    parser.add_argument("--gguf", default="", help="its Q8_0 GGUF")
    parser.add_argument("--corpus", default="")
    parser.add_argument("--llama-python", default="", help="interpreter that has llama-cpp-python")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--skip", default="", help="parts to leave out: latency, threads, tiers")
    parser.add_argument("--shapes", default="", help="of " + ",".join(SHAPE_SETS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--share", type=float, default=1.0, help="of each set's texts, for a quick look")
    parser.add_argument("--output", help="results as JSON")
    parser.add_argument("--gemm", help="what gemm_peers printed, for the report")
    parser.add_argument("--write-docs", help="page to put the tables into; a chart goes beside it")
    args = parser.parse_args()
    for name in filter(None, args.shapes.split(",")):
        if name not in SHAPE_SETS:
            parser.error(f"unknown shape {name}")
    for name in args.sides.split(","):
        if name not in SIDES:
            parser.error(f"unknown side {name}")
    return args


def save(args, results):
    """After each part, so that a run that is cut short leaves what it measured."""
    if args.output:
        os.makedirs(os.path.dirname(args.output) or ".", exist_ok=True)
        with open(args.output, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)
        progress(f"written to {args.output}")
    if args.write_docs:
        report.write_docs(results, args.write_docs, args.gemm)


def parts(args):
    """What is measured, in turn: (name, model, sides, sets, single texts, whether there are reference vectors)."""
    skip = args.skip.split(",")
    singles = {} if "latency" in skip else corpus.singles(args.corpus, args.model)
    yield "all-MiniLM-L6-v2", args.model, args.sides.split(","), corpus.SETS, singles, True
    if "threads" not in skip:
        yield "threads", args.model, thread_keys(), corpus.SETS, {}, True
    if "tiers" not in skip:
        yield "tiers", args.model, tier_keys(args), TIER_SETS, {}, True
    for shape in filter(None, args.shapes.split(",")):
        yield shape, random_model.ensure(shape, args.model), SHAPE_SIDES, SHAPE_SETS[shape], {}, False


def main():
    args = parse_arguments()
    results = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "machine": machine(),
               "threads": args.threads, "rounds": args.rounds, "share": args.share,
               "corpus": "dev" if args.corpus else "made up", "jobs": []}
    for part in parts(args):
        results["jobs"].append(measure_job(args, *part))
        save(args, results)
    print(report.render(results, args.gemm))


if __name__ == "__main__":
    main()
