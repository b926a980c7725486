"""What the server holds under load: each show runs `embellama serve` and a client, and says whether its goal is met.

    serving.py --embellama PROGRAM --load PROGRAM --bare PROGRAM --model DIR [--hooks PROGRAM] [--corpus DIR] [--gguf FILE]
               [--llama-python PYTHON] [--original PROGRAM] [--large DIR] [--shows 1,2,...] [--quick] [--rounds N]
               [--output FILE.json] [--write-docs FILE.md]

Shows: 1 workers killed, 2 an input that ends its worker, 3 short texts beside a large request, 4 overload, 5a over HTTP and in
process, 5b beside other servers, 6 cached answers, 7 workers and memory, 8 starting. What is missing is reported as not measured.
"""
import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time

import serving_report
from serving_shows import SHOWS
from serving_tools import Bench

# Lengths: seconds of each load, texts of the large request, rounds taken in turn.
FULL = {"killed": 60, "alone": 30, "bulk_texts": 2048, "overload": 20, "throughput": 10, "in_process": 20, "cached": 5,
        "restarts": 12, "rounds": 3}
QUICK = {"killed": 10, "alone": 5, "bulk_texts": 128, "overload": 6, "throughput": 4, "in_process": 8, "cached": 2,
         "restarts": 5, "rounds": 1}


def progress(text):
    print(f"serving: {text}", file=sys.stderr, flush=True)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--embellama", required=True)
    parser.add_argument("--load", required=True, help="the load client")
    parser.add_argument("--bare", required=True, help="the bare_http program")
    parser.add_argument("--model", required=True, help="directory of all-MiniLM-L6-v2")
    parser.add_argument("--hooks", default="", help="embellama built with test hooks")
    parser.add_argument("--corpus", default="")
    parser.add_argument("--gguf", default="", help="Q8_0 file of the model")
    parser.add_argument("--llama-python", default="", help="interpreter that has llama-cpp-python")
    parser.add_argument("--original", default="", help="the Rust crate's embellama-server")
    parser.add_argument("--large", default="", help="a model of 1.5 GB or less, for show 8")
    parser.add_argument("--shows", default=",".join(SHOWS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--output", help="results as JSON")
    parser.add_argument("--write-docs", help="page to put the tables into; a chart goes beside it")
    args = parser.parse_args()
    args.shows = args.shows.split(",")
    for name in args.shows:
        if name not in SHOWS:
            parser.error(f"unknown show {name}; there are {', '.join(SHOWS)}")
    args.seconds = dict(QUICK if args.quick else FULL)
    args.seconds["rounds"] = args.rounds or args.seconds["rounds"]
    args.serving_python = sys.executable
    return args


def run_show(bench, name):
    title, show = SHOWS[name]
    progress(f"{name}: {title}")
    began = time.monotonic()
    try:
        rows, data = show(bench)
    except Exception as error:  # one show that breaks leaves the others their say
        progress(f"{name}: {type(error).__name__}: {error}")
        rows, data = [(f"the show itself: {type(error).__name__}", str(error).replace("\n", " ")[:200], "", False)], {}
    for row in rows:
        progress(f"    {row[0]}: {row[1]}  [{row[2]}]  {serving_report.holds(row[3])}")
    return {"show": name, "title": title, "seconds": time.monotonic() - began, "rows": rows, "data": data}


def main():
    args = parse_arguments()
    results = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "machine": machine(),
               "quick": args.quick, "corpus": "dev" if args.corpus else "made up"}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, folder)
        results["shows"] = [run_show(bench, name) for name in args.shows]
        results["disturbed"] = bench.disturbed
    if args.output:
        os.makedirs(os.path.dirname(args.output) or ".", exist_ok=True)
        with open(args.output, "w", encoding="utf-8") as f:
            json.dump(results, f)
        progress(f"written to {args.output}")
    print(serving_report.render(results))
    if args.write_docs:
        serving_report.write_docs(results, args.write_docs)
    # A goal that is missed is a finding, not a failure of the run.


if __name__ == "__main__":
    main()
