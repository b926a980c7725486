"""Tables and the chart of a run of serving.py, as Markdown and SVG.

    serving_report.py RESULTS.json [--write-docs FILE.md]
"""
import argparse
import json
import math
import os
import statistics

import chart

BEGIN, END = "<!-- bench-serving: begin -->", "<!-- bench-serving: end -->"
QUIET = 0.03  # share of the machine that others may use for a run to count as undisturbed
MARKS = [0, 0.5, 0.9, 0.99, 0.999]
TOP, BOTTOM, LEFT, RIGHT, HEIGHT = 60, 46, 56, 150, 380


def holds(value):
    return {True: "yes", False: "no", None: "—"}[value]


def tables(results):
    parts = []
    for show in results["shows"]:
        rows = ["| | measured | goal | holds |", "| --- | ---: | ---: | ---: |"]
        rows += [f"| {what} | {measured} | {goal} | {holds(ok)} |" for what, measured, goal, ok in show["rows"]]
        parts.append(f"**{show['title']}**\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def conditions(results):
    m = results["machine"]
    mean = statistics.fmean(results["disturbed"]) if results["disturbed"] else 0.0
    text = (f"{m['cpu']}, {m['cores']} cores; Linux {m['kernel']}; {results['date'][:10]}. The clients ran on the same cores. "
            f"Everything else on the machine used {mean * 100:.1f} % of it.")
    if mean > QUIET:
        text += " **The machine was not quiet: take these figures as rough.**"
    if results["quick"]:
        text += " A quick look: short runs."
    if results["corpus"] != "dev":
        text += " The texts are made up of words."
    return text


def render(results):
    return conditions(results) + "\n\n" + tables(results)


# ---- The chart ----

def across(share):
    """0 to 1 for a share of requests, each 9 of 99.9... as wide as the one before."""
    return -math.log10(max(1 - share, 10 ** -3.2)) / 3.2


def curve(values, top, color, width):
    inner, tall = chart.WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    shares = [i / 400 * 3.2 for i in range(401)]
    points = []
    for x in shares:
        share = 1 - 10 ** -x
        value = values[min(len(values) - 1, int(share * len(values)))]
        points.append(f"{LEFT + inner * x / 3.2:.1f},{TOP + tall * (1 - min(value, top) / top):.1f}")
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="{width}"/>'


def step_of(top):
    return next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10 ** 9) if top / s <= 8)


def latencies(data):
    """Latency by share of requests: alone, beside the large request, and how far it may rise."""
    alone, beside = data["latencies_ms"]["alone"], data["latencies_ms"]["beside"]
    bound = data["p99_ms"]["alone"] + 1.5 * data["single_ms"]
    top = 1.1 * max(alone[int(0.999 * (len(alone) - 1))], beside[int(0.999 * (len(beside) - 1))], bound)
    inner, tall = chart.WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    y = lambda ms: TOP + tall * (1 - ms / top)
    out = [chart.text(8, 20, "One short text every 20 ms, alone and beside a large request", weight="bold", size=14),
           chart.text(8, 42, "ms until its answer, by share of the texts")]
    for ms in range(0, int(top) + 1, step_of(top)):
        out.append(f'<line x1="{LEFT}" y1="{y(ms):.1f}" x2="{LEFT + inner}" y2="{y(ms):.1f}" stroke="#e4e7eb"/>')
        out.append(chart.text(LEFT - 8, y(ms) + 4, f"{ms}", "end"))
    for mark in MARKS:
        x = LEFT + inner * across(mark)
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + tall}" stroke="#e4e7eb"/>')
        out.append(chart.text(x, TOP + tall + 18, f"{mark * 100:g} %", "middle"))
    out.append(f'<line x1="{LEFT}" y1="{y(bound):.1f}" x2="{LEFT + inner}" y2="{y(bound):.1f}" stroke="#a33" '
               f'stroke-dasharray="5 4"/>')
    ends = []
    for name, values, color in (("alone", alone, chart.THEIRS), ("beside it", beside, chart.OURS)):
        out.append(curve(values, top, color, 2.5))
        ends.append((y(min(values[min(len(values) - 1, int((1 - 10 ** -3.2) * len(values)))], top)), name))
    ends.append((y(bound), "bound of the 99 %"))
    last = -math.inf
    for at, name in sorted(ends):
        last = max(at, last + 16)
        out.append(chart.text(LEFT + inner + 8, last + 4, name))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{chart.WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {chart.WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#1c2126">\n'
            '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(out) + "\n</svg>\n")


def write_docs(results, path):
    picture = os.path.join(os.path.dirname(path), "serving.svg")
    data = next((s["data"] for s in results["shows"] if s["data"].get("latencies_ms")), None)
    image = f"![Latency beside a large request]({os.path.basename(picture)})\n\n" if data else ""
    with open(path, encoding="utf-8") as f:
        page = f.read()
    head, _, rest = page.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise SystemExit(f"serving_report: {path} lacks the lines {BEGIN} and {END}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{head}{BEGIN}\n{image}{render(results)}\n{END}{tail}")
    if data:
        with open(picture, "w", encoding="utf-8") as f:
            f.write(latencies(data))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results")
    parser.add_argument("--write-docs")
    args = parser.parse_args()
    with open(args.results, encoding="utf-8") as f:
        results = json.load(f)
    print(render(results))
    if args.write_docs:
        write_docs(results, args.write_docs)


if __name__ == "__main__":
    main()
