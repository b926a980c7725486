"""Bar charts as SVG: groups of horizontal bars, ours in another colour than the peers'."""
from xml.sax.saxutils import escape

WIDTH, LABELS, VALUES = 860, 190, 80
ROW, BAR, TITLE, GAP = 20, 14, 34, 30
OURS, THEIRS = "#0b7a75", "#b8bec6"


def text(x, y, content, anchor="start", weight="normal", size=12):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}">'
            f"{escape(content)}</text>")


def group(top, name, rows):
    """One group's elements and its height. rows: (label, value, whether it is ours)."""
    longest = max((value for _, value, _ in rows), default=1)
    out = [text(8, top + 14, name, weight="bold")]
    for i, (label, value, mine) in enumerate(sorted(rows, key=lambda row: -row[1])):
        y = top + 24 + i * ROW
        length = (WIDTH - LABELS - VALUES) * value / longest
        out.append(text(LABELS - 8, y + 11, label, "end", "bold" if mine else "normal"))
        out.append(f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{OURS if mine else THEIRS}"/>')
        out.append(text(LABELS + length + 6, y + 11, f"{value:,.0f}"))
    return out, 24 + len(rows) * ROW


def bars(title, groups):
    out, top = [text(8, 20, title, weight="bold", size=14)], TITLE
    for name, rows in groups:
        elements, height = group(top, name, rows)
        out += elements
        top += height + GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
            f'font-family="sans-serif" fill="#1c2126">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
            + "\n".join(out) + "\n</svg>\n")
