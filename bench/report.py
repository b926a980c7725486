"""Tables of a run of compare.py, as Markdown: speeds, latencies, ratios to each peer, and whether the goals hold.

    report.py RESULTS.json [--gemm FILE.txt] [--write-docs FILE.md] [--save-baseline FILE.json]

--gemm adds what gemm_peers printed: tables of matrix products. baseline.json beside this file, where there is one, holds the ratios of
an earlier state and how they were measured, for a table of before and after.
"""
import argparse
import json
import os
import re

import chart

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINE = os.path.join(HERE, "baseline.json")
BEGIN, END = "<!-- bench-peers: begin -->", "<!-- bench-peers: end -->"
ENGINES = {"embellama": "Embellama", "ort": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch",
           "llama": "llama-cpp-python"}
TITLES = {"threads": "all-MiniLM-L6-v2, one and all threads", "tiers": "all-MiniLM-L6-v2, on each CPU tier"}
YARDSTICK = "ort-f32"
QUIET = 0.03  # share of the machine that others may use for a run to count as undisturbed

BF16_MUST, BF16_AIM = {"short": 1.2, "p128": 1.15, "p512": 1.25}, {"short": 1.35, "p128": 1.25, "p512": 1.4}
ALL_SIX = {"short": 6.0, "p128": 6.0, "p512": 6.0}
# Ratios of tokens/s: job, ours, the peers of which the fastest counts, at least, aim.
BULK_GOALS = [
    ("all-MiniLM-L6-v2", "embellama-f32", ["ort-f32"], {"short": 1.2, "p128": 1.2, "p512": 1.3},
     {"short": 1.3, "p128": 1.3, "p512": 1.5}),
    ("all-MiniLM-L6-v2", "embellama-bf16", ["openvino-bf16"], BF16_MUST, BF16_AIM),
    ("all-MiniLM-L6-v2", "embellama-int8", ["openvino-bf16", "ort-int8"], {"short": 1.8, "p128": 1.7, "p512": 1.6},
     {"short": 2.2, "p128": 2.0, "p512": 1.9}),
    ("all-MiniLM-L6-v2", "embellama-q8_0", ["llama-q8_0"], ALL_SIX, ALL_SIX),
    ("bge-base", "embellama-bf16", ["openvino-bf16"], BF16_MUST, BF16_AIM),
    ("bge-large", "embellama-bf16", ["openvino-bf16"], BF16_MUST, BF16_AIM),
] + [("threads", f"embellama-{p}", [f"embellama-{p}/1"], dict.fromkeys(BF16_MUST, 1.9), dict.fromkeys(BF16_MUST, 1.9))
     for p in ("f32", "bf16", "int8")] + [
    ("tiers", "embellama-int8@avx2", ["embellama-f32@avx2"], {"p128": 1.5}, {"p128": 1.5}),
]
# Ratios of p50: text, ours, what ends the names of the peers of which the fastest counts, at most.
SINGLE_GOALS = [
    ("one short text", "embellama-bf16", "", 0.7),
    ("one short text", "embellama-int8", "", 0.6),
    ("one text of 512 tokens", "embellama-bf16", "bf16", 0.75),
    ("one text of 512 tokens", "embellama-int8", "", 0.6),
]
# Least share, over all sizes, of a plain product: CPU tier (None: the best), type, of what, at least.
GEMM_GOALS = [(None, "f32", "the peak", 0.95), (None, "bf16", "the peak", 0.95), (None, "int8", "the peak", 0.92),
              ("avx2", "f32", "libxsmm", 0.9)]


def label(key):
    engine, _, rest = key.partition("-")
    rest, _, threads = rest.partition("/")
    precision, _, tier = rest.partition("@")
    return f"{ENGINES[engine]} {precision}" + (f", {tier}" if tier else "") + (f", {threads} thread" if threads else "")


def ours(key):
    return key.startswith("embellama-")


def table(head, rows):
    return "\n".join(["| " + " | ".join(map(str, row)) + " |" for row in
                      [head, ["---"] + ["---:"] * (len(head) - 1)] + rows])


def speed(job, set_name, key):
    side = job["bulk"].get(set_name, {"sides": {}})["sides"].get(key)
    return side and side["tokens_per_second"]


def p50(job, single, key):
    side = job["single"].get(single, {"sides": {}})["sides"].get(key)
    return side and side["p50_ms"]


def bulk_table(job):
    rows = []
    for key, side in job["sides"].items():
        if side["missing"]:
            rows.append([label(key), f"not available: {side['missing']}"] + [""] * (2 * len(job["bulk"]) - 1))
            continue
        row = [label(key)]
        for measured in job["bulk"].values():
            got = measured["sides"].get(key)
            row += [f"{got['tokens_per_second']:,.0f}" if got else "", f"{got['cosine']:.6f}" if got and got["cosine"] else ""]
        rows.append(row)
    head = ["tokens/s"]
    for name, measured in job["bulk"].items():
        head += [f"{name} ({measured['texts']} texts, {measured['tokens']:,} tokens)", "worst cosine"]
    return table(head, rows)


def ratio_tables(job):
    """How many times faster each precision of ours is than each peer, in every set. Below 1 the peer is faster."""
    parts = []
    for mine in (k for k in job["sides"] if ours(k)):
        rows = []
        for peer in (k for k in job["sides"] if not ours(k)):
            cells = [ratio_cell(speed(job, s, mine), speed(job, s, peer)) for s in job["bulk"]]
            cells += [ratio_cell(p50(job, s, peer), p50(job, s, mine)) for s in job["single"]]
            if any(cells):
                rows.append([label(peer)] + cells)
        if rows:
            parts.append(table([f"{label(mine)}, times as fast as"] + list(job["bulk"]) + list(job["single"]), rows))
    return "\n\n".join(parts)


def ratio_cell(a, b):
    if not a or not b:
        return ""
    return f"{a / b:.2f}" if a >= b else f"**{a / b:.2f}**"


def single_table(job):
    rows = []
    for key, side in job["sides"].items():
        row = [label(key)]
        for measured in job["single"].values():
            got = measured["sides"].get(key)
            row += [f"{got['p50_ms']:.2f}", f"{got['p99_ms']:.2f}"] if got else ["", ""]
        if not side["missing"]:
            rows.append(row)
    head = ["ms"]
    for name in job["single"]:
        head += [f"{name}: p50", "p99"]
    return table(head, rows)


def beaten(job):
    """Where a peer is faster than ours of the same precision, or than the fastest of ours."""
    lines = []
    for what, names, value, faster in [("bulk", job["bulk"], speed, lambda a, b: a > b),
                                       ("latency", job["single"], p50, lambda a, b: a < b)]:
        for name in names:
            own = {k: value(job, name, k) for k in job["sides"] if ours(k) and value(job, name, k)}
            for peer in job["sides"]:
                theirs = None if ours(peer) else value(job, name, peer)
                same = own.get("embellama-" + peer.split("-")[1])
                if theirs and own and same and faster(theirs, same):
                    everyone = all(faster(theirs, mine) for mine in own.values())
                    lines.append(f"- {what}, {name}: {label(peer)} is faster than Embellama in the same precision"
                                 + (", and than Embellama in any." if everyone else "."))
    return "\n".join(lines) or "- nowhere."


def takes_part(job, mine, peers):
    return job and mine in job["sides"] and any(p in job["sides"] for p in peers)


def goal_rows(jobs):
    rows = []
    for job_name, mine, peers, must, aim in BULK_GOALS:
        job = jobs.get(job_name)
        for set_name in job["bulk"] if takes_part(job, mine, peers) else []:
            rivals = [v for v in (speed(job, set_name, p) for p in peers) if v]
            own = speed(job, set_name, mine)
            got = own / max(rivals) if own and rivals else None
            holds = "not measured" if got is None else "no" if got < must[set_name] else "yes"
            rows.append([f"{job_name}: {label(mine)} ÷ {' or '.join(map(label, peers))}, {set_name}",
                         f"{got:.2f}" if got else "", f"≥ {must[set_name]}", f"≥ {aim[set_name]}", holds])
    job = jobs.get("all-MiniLM-L6-v2")
    for single, mine, ending, most in SINGLE_GOALS if job and job["single"] else []:
        peers = [k for k in job["sides"] if not ours(k) and k.endswith(ending)]
        if not takes_part(job, mine, peers):
            continue
        rivals = [v for v in (p50(job, single, k) for k in peers) if v]
        own = p50(job, single, mine)
        got = own / min(rivals) if own and rivals else None
        holds = "not measured" if got is None else "yes" if got <= most else "no"
        rows.append([f"{single}, p50: {label(mine)} ÷ fastest {ending} peer".replace("  ", " "), f"{got:.2f}" if got else "",
                     f"≤ {most}", f"≤ {most}", holds])
    return rows


def read_gemm(path):
    """(The text gemm_peers wrote, [(tier, type, share of the peak, libxsmm's share or None)])."""
    with open(path, encoding="utf-8") as f:
        text = f.read().strip()
    rows, tier = [], ""
    for line in text.split("\n"):
        tier = m.group(1) if (m := re.match(r"Tier (\w+),", line)) else tier
        if m := re.match(r"\| (f32|bf16|int8) [^|]*\|[^|]*\| ([\d.]+) % \| (?:([\d.]+) %)?", line):
            rows.append((tier, m[1], float(m[2]) / 100, float(m[3]) / 100 if m[3] else None))
    return text, rows


def gemm_rows(gemm):
    rows = []
    for tier, kind, of, least in GEMM_GOALS:
        tier = tier or (gemm[0][0] if gemm else "")
        got = [share / (other if of == "libxsmm" else 1) for t, k, share, other in gemm
               if (t, k) == (tier, kind) and (of != "libxsmm" or other)]
        if got:
            rows.append([f"plain product, one core, {kind}, {tier}: least share of {of}", f"{min(got):.2f}", f"≥ {least}",
                         f"≥ {least}", "yes" if min(got) >= least else "no"])
    return rows


def ratios_to_yardstick(results):
    """{set: {our side: times as fast as the yardstick}}: what can be compared between runs and machines."""
    job = results["jobs"][0]
    return {name: {key: speed(job, name, key) / speed(job, name, YARDSTICK) for key in measured["sides"] if ours(key)}
            for name, measured in job["bulk"].items() if speed(job, name, YARDSTICK)}


def before_and_after(results):
    if not os.path.exists(BASELINE):
        return ""
    with open(BASELINE, encoding="utf-8") as f:
        before = json.load(f)
    old = before["ratios"]
    rows = [[f"{label(key)}, {name}", f"{old[name][key]:.2f}" if key in old.get(name, {}) else "–", f"{now:.2f}"]
            for name, sides in ratios_to_yardstick(results).items() for key, now in sides.items()]
    head = [f"times as fast as {label(YARDSTICK)}", "first version", "now"]
    return f"### Before and after\n\nThe first version: {before['measured']}.\n\n{table(head, rows)}" if rows else ""


def versions(job):
    seen = {f"{s['name']} {s['version']}" for k, s in job["sides"].items() if not s["missing"] and not ours(k)}
    return ", ".join(sorted(seen)) or "none"


def conditions(results):
    m = results["machine"]
    worst = max(j["other_load"]["mean"] for j in results["jobs"])
    idle = sum(j["other_load"]["idle_sides_seconds"] for j in results["jobs"])
    text = (f"{m['cpu']}, {m['cores']} cores; Linux {m['kernel']}; {results['date'][:10]}; "
            f"{results['threads']} threads a program; {results['rounds']} rounds taken in turn. Peers: {versions(results['jobs'][0])}. Programs not at their turn used "
            f"{idle:.2f} s of CPU time; everything else on the machine {worst * 100:.1f} % of it.")
    if worst > QUIET:
        text += " **The machine was not quiet: take these figures as rough.**"
    if results["share"] < 1:
        text += f" A quick look: {results['share'] * 100:.0f} % of the texts."
    if results["corpus"] != "dev":
        text += " The texts are made up of words; cosines are to a peer's f32 vectors."
    return text


def render(results, gemm=None):
    """gemm: the file with gemm_peers' tables, or None."""
    products, product_rows = read_gemm(gemm) if gemm else ("", [])
    jobs = {job["name"]: job for job in results["jobs"]}
    parts = [conditions(results)]
    for name, job in jobs.items():
        parts += [f"### {TITLES.get(name, name)}", bulk_table(job)]
        if job["single"]:
            parts += ["One text at a time, in process:", single_table(job)]
        ratios = ratio_tables(job)
        if ratios:
            parts += ["Ratios (bold where the peer is faster):", ratios, "Where a peer is faster:", beaten(job)]
    if products:
        parts += ["### Matrix products", products]
    parts += ["### Goals", table(["ratio", "measured", "goal", "aim", "holds"], goal_rows(jobs) + gemm_rows(product_rows)),
              before_and_after(results)]
    return "\n\n".join(filter(None, parts))


def bars(results):
    job = results["jobs"][0]
    return chart.bars(f"Tokens per second, {job['name']}, {results['threads']} threads, {results['machine']['cpu']}",
                      [(name, [(label(key), side["tokens_per_second"], ours(key)) for key, side in measured["sides"].items()])
                       for name, measured in job["bulk"].items()])


def write_docs(results, path, gemm=None):
    picture = os.path.splitext(path)[0] + ".svg"
    with open(path, encoding="utf-8") as f:
        page = f.read()
    head, _, rest = page.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise SystemExit(f"report: {path} lacks the lines {BEGIN} and {END}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{head}{BEGIN}\n![Tokens per second]({os.path.basename(picture)})\n\n{render(results, gemm)}\n{END}{tail}")
    with open(picture, "w", encoding="utf-8") as f:
        f.write(bars(results))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results")
    parser.add_argument("--gemm")
    parser.add_argument("--write-docs")
    parser.add_argument("--save-baseline")
    args = parser.parse_args()
    with open(args.results, encoding="utf-8") as f:
        results = json.load(f)
    print(render(results, args.gemm))
    if args.write_docs:
        write_docs(results, args.write_docs, args.gemm)
    if args.save_baseline:
        with open(args.save_baseline, "w", encoding="utf-8") as f:
            json.dump({"measured": f"wall time, {results['threads']} threads, {results['date'][:10]}",
                       "ratios": ratios_to_yardstick(results)}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
