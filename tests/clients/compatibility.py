"""docs/compatibility.md: its tables are made from what the clients' programs reported, and compared with it."""
import re

BEGIN = "<!-- clients:begin -->"
END = "<!-- clients:end -->"
DIALECTS = ["OpenAI", "Ollama", "TEI", "Cohere", "Voyage", "Jina", "any", "description"]
TITLES = {"any": "Transport", "description": "The description, /openapi.json and /docs"}
FEATURES = ["single", "batch", "2048 texts", "float", "base64", "encodings", "dimensions", "empty text", "token ids", "truncate", "too long",
            "models", "odd model ids", "unknown model", "bad request", "other errors", "wrong key", "keys", "rate limit", "repeats",
            "parallel", "old route", "similarity", "rerank", "h2c upgrade offers", "HTTP/2", "TLS", "HTTP/2 over TLS", "Unix socket",
            "100-continue", "compressed requests", "compressed replies"]
YES, NO = "yes", "**no**"


def rank(list_, value):
    return list_.index(value) if value in list_ else len(list_)


def tables(lines):
    """Markdown: a table for each dialect, a row for each client, a column for each feature that one of them has."""
    out = []
    for dialect in sorted({line["dialect"] for line in lines}, key=lambda d: rank(DIALECTS, d)):
        some = [line for line in lines if line["dialect"] == dialect]
        columns = sorted({line["feature"] for line in some}, key=lambda f: (rank(FEATURES, f), f))
        out += ["### " + TITLES.get(dialect, dialect), "", "| client | version | " + " | ".join(columns) + " |",
                "| --- | --- |" + " :-: |" * len(columns)]
        for client in dict.fromkeys(line["client"] for line in some):
            of = {line["feature"]: line for line in some if line["client"] == client}
            cells = [{True: YES, False: NO}[of[c]["ok"]] if c in of else "" for c in columns]
            out.append(f"| {client} | {next(iter(of.values()))['version']} | " + " | ".join(cells) + " |")
        out.append("")
    return "\n".join(out)


def cells(text):
    """{(dialect, client, feature): cell, (dialect, client): version} of the tables in a page."""
    found, dialect, columns = {}, None, []
    for line in text.partition(BEGIN)[2].partition(END)[0].splitlines():
        if line.startswith("### "):
            dialect = line[4:]
        elif line.startswith("| client |"):
            columns = [c.strip() for c in line.strip("|").split("|")]
        elif line.startswith("|") and not line.startswith("| ---"):
            row = [c.strip() for c in line.strip("|").split("|")]
            found[dialect, row[0]] = row[1]
            found |= {(dialect, row[0], column): cell for column, cell in zip(columns[2:], row[2:])}
    return found


def contradictions(page, lines):
    """What the page says otherwise than this run, one sentence each. Clients that did not run are not compared."""
    committed, seen = cells(page), cells(BEGIN + "\n" + tables(lines) + "\n" + END)
    ran = {key[1] for key in seen}
    wrong = []
    for key in sorted(set(committed) | set(seen)):
        if key[1] in ran and committed.get(key, "") != seen.get(key, ""):
            wrong.append(f"{' / '.join(key)}: the page says {committed.get(key, '') or 'nothing'}, the run {seen.get(key, '') or 'nothing'}")
    return wrong


def written(page, lines):
    """The page with its tables replaced; rows of clients that did not run are kept out."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{tables(lines)}{END}", page, flags=re.S)
