"""A flame graph (SVG) of what `perf script` prints, and the functions with the most time of their own.

    perf script -F comm,tid,time,event,ip,sym,dso -i perf.data | flamegraph.py TITLE OUTPUT.svg

Widths are shares of samples; frames narrower than a third of a pixel are left out. Hover a frame for its name and share.
"""
import sys
from collections import Counter
from xml.sax.saxutils import escape

WIDTH, ROW, TOP, CHARACTER, TOP_FUNCTIONS = 1400, 17, 40, 6.6, 25
NARROWEST = 0.33
PROGRAM = "bulk"


def stacks(lines):
    """Yields each sample's frames, outermost first: (function, the program or library it is in)."""
    frames = None
    for line in lines:
        if not line.strip():
            if frames:
                yield frames[::-1]
            frames = None
        elif frames is None:
            frames = []
        else:
            symbol, _, place = line.split(None, 1)[-1].rstrip().rpartition(" (")
            frames.append((symbol, place.rstrip(")").rsplit("/", 1)[-1]))
    if frames:
        yield frames[::-1]


class Node:
    def __init__(self):
        self.count = 0
        self.children = {}


def tree(samples):
    root, own = Node(), Counter()
    for frames in samples:
        own[frames[-1]] += 1
        root.count += 1
        node = root
        for name in frames:
            node = node.children.setdefault(name, Node())
            node.count += 1
    return root, own


def colour(name, place):
    """The program's own functions in warm tones, libraries' and the kernel's grey-blue; the same name has the same one."""
    tone = sum(name.encode()) % 50
    if place == PROGRAM:
        return f"rgb({205 + tone},{110 + 2 * tone},60)"
    return f"rgb({150 + tone},{165 + tone},{190 + tone})"


def draw(node, x, scale, depth, total, out):
    deepest = depth
    for (name, place), child in sorted(node.children.items()):
        width = child.count * scale
        if width >= NARROWEST:
            share = 100 * child.count / total
            box = f'<rect x="{x:.1f}" width="{width:.1f}" y="{{y}}" height="{ROW - 1}" fill="{colour(name, place)}"/>'
            label = name[:int(width / CHARACTER)] if width > 3 * CHARACTER else ""
            out.append((depth, box, f"{name} ({place}): {share:.2f} %", x, label))
            deepest = max(deepest, draw(child, x, scale, depth + 1, total, out))
        x += width
    return deepest


def svg(title, root):
    boxes = []
    depth = draw(root, 0.0, WIDTH / max(root.count, 1), 0, root.count, boxes) + 1
    height = TOP + depth * ROW + 10
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
           'font-family="monospace" font-size="11"><rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="8" y="22" font-size="15">{escape(title)}: {root.count} samples</text>']
    for level, rect, hover, x, label in boxes:
        y = TOP + (depth - 1 - level) * ROW
        out.append(f'<g><title>{escape(hover)}</title>{rect.format(y=y)}'
                   f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(label)}</text></g>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: perf script ... | flamegraph.py TITLE OUTPUT.svg")
    root, own = tree(stacks(sys.stdin))
    if root.count == 0:
        sys.exit("flamegraph: no samples")
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(svg(sys.argv[1], root))
    print(f"{sys.argv[1]}: {root.count} samples; functions with the most time of their own:")
    for (name, place), count in own.most_common(TOP_FUNCTIONS):
        print(f"{100 * count / root.count:6.2f} %  {name} ({place})")


if __name__ == "__main__":
    main()
